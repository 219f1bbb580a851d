//! What lies elsewhere: in object storage (`s3://`, `gs://`, `az://`) and on web servers (`https://`), read as files are.
//!
//! Addresses are known in every build; what is there is had only with the feature `remote`. Who asks and whom is told by the
//! variables of the environment that the services' own programs use. Requests that fail are repeated for some seconds.

mod address;
mod error;
#[cfg(feature = "remote")]
mod store;
#[cfg(not(feature = "remote"))]
#[path = "without.rs"]
mod store;
mod windowed;

use std::fs::File;
use std::io;
use std::path::Path;

pub use address::{Address, Service};
pub use error::RemoteError;
pub use windowed::Windowed;

use crate::files;

/// More of a file that can only be had as a whole is not taken into memory.
const MOST_WHOLE_BYTES: u64 = 1 << 30;

/// Whether a path is the address of something that lies elsewhere.
pub fn is_remote(path: &Path) -> bool {
    Address::of(path).is_some()
}

/// What lies right below an address.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of what further keys begin with.
    pub folders: Vec<String>,
    /// Names and bytes of the objects.
    pub objects: Vec<(String, u64)>,
}

/// A part of an object.
#[derive(Debug)]
#[cfg_attr(not(feature = "remote"), allow(dead_code, reason = "no store makes one"))]
struct Part {
    bytes: Vec<u8>,
    /// Bytes of the whole object.
    size: u64,
    /// What is another one when the object is.
    tag: Option<String>,
}

/// Opens an object for reading; its beginning is fetched at once.
///
/// # Errors
/// [`RemoteError`]; reading gives them as [`std::io::Error`].
pub fn open(address: &Address) -> Result<Windowed, RemoteError> {
    let first = match store::part(address, 0..windowed::FIRST_BYTES, None) {
        Err(RemoteError::NoParts) => {
            let whole = store::whole(address, MOST_WHOLE_BYTES)?;
            let gone = |_| Err(RemoteError::NoParts.into());
            return Ok(Windowed::new(whole.size, whole.bytes, Box::new(gone)));
        }
        first => first?,
    };
    let (address, tag) = (address.clone(), first.tag);
    let fetch = move |range| Ok(store::part(&address, range, tag.as_deref())?.bytes);
    Ok(Windowed::new(first.size, first.bytes, Box::new(fetch)))
}

/// Opens `length` bytes of an object from `offset` on as a file of its own; nothing is fetched before it is read.
pub fn open_section(address: &Address, offset: u64, length: u64) -> Windowed {
    let (address, mut tag) = (address.clone(), None);
    let fetch = move |range: std::ops::Range<u64>| {
        let range = offset.saturating_add(range.start)..offset.saturating_add(range.end);
        let part = store::part(&address, range, tag.as_deref())?;
        tag = part.tag;
        Ok(part.bytes)
    };
    Windowed::new(length, Vec::new(), Box::new(fetch))
}

/// The first bytes of an object, at most so many.
///
/// # Errors
/// [`RemoteError`].
pub fn head(address: &Address, bytes: u64) -> Result<Vec<u8>, RemoteError> {
    match store::part(address, 0..bytes, None) {
        Err(RemoteError::NoParts) => {
            let mut whole = store::whole(address, MOST_WHOLE_BYTES)?.bytes;
            whole.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
            Ok(whole)
        }
        part => Ok(part?.bytes),
    }
}

/// Copies an object into the file at `path`, replacing one that is there.
///
/// # Errors
/// [`RemoteError`].
pub fn fetch(address: &Address, path: &Path) -> Result<(), RemoteError> {
    let mut object = open(address)?;
    let copy = File::create(path).and_then(|mut file| io::copy(&mut object, &mut file));
    copy.map(drop).map_err(|error| RemoteError::within(&error).cloned().unwrap_or_else(|| RemoteError::of_disk(error)))
}

/// Puts the bytes of the file at `path` into an object, which then appears at once and complete, replacing an older one.
///
/// # Errors
/// [`RemoteError`].
pub fn put(address: &Address, path: &Path) -> Result<(), RemoteError> {
    let file = files::open_ordinary(path).map_err(RemoteError::of_disk)?;
    let bytes = file.metadata().map_err(RemoteError::of_disk)?.len();
    store::put(address, file, bytes)
}

/// Removes an object; it may not be there.
///
/// # Errors
/// [`RemoteError`].
pub fn remove(address: &Address) -> Result<(), RemoteError> {
    match store::remove(address) {
        Err(RemoteError::Missing { .. }) => Ok(()),
        result => result,
    }
}

/// Bytes of an object.
///
/// # Errors
/// [`RemoteError`].
pub fn size(address: &Address) -> Result<u64, RemoteError> {
    store::size(address)
}

/// What lies right below an address, in no order. All of it is in memory.
///
/// # Errors
/// [`RemoteError`].
pub fn list(address: &Address) -> Result<Listing, RemoteError> {
    store::list(address)
}

/// Whether anything lies below an address.
///
/// # Errors
/// [`RemoteError`].
pub fn is_folder(address: &Address) -> Result<bool, RemoteError> {
    store::is_folder(address)
}
