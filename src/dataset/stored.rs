//! Where the bytes of an image lie, and how they are read: the one way from a record to its file.

use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "parquet")]
use super::table::Cell;
use crate::files::{self, HEAD_BYTES, Section};
use crate::remote::{self, Address};

/// Where the bytes of an image's file lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stored {
    /// They are a file by themselves.
    File,
    /// They are an object by themselves, elsewhere.
    Object {
        /// Bytes that it had when it was listed, if it was.
        length: Option<u64>,
    },
    /// They are a member of a tar, which is read in place, wherever it is.
    Member {
        tar: Arc<Path>,
        /// Bytes of the tar before them.
        offset: u64,
        length: u64,
    },
    /// They are a value in a Parquet file.
    #[cfg(feature = "parquet")]
    Cell(Cell),
    /// They were somewhere, by a plan, and are not to be had there any more: why.
    Lost(Arc<str>),
}

/// A file that is open for reading, wherever it is.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// Opens an ordinary file, or an object elsewhere; gives its length in bytes, too.
pub(super) fn open(path: &Path) -> io::Result<(Box<dyn Source>, u64)> {
    if let Some(address) = Address::of(path) {
        let object = remote::open(&address)?;
        let length = object.length();
        return Ok((Box::new(object), length));
    }
    let file = files::open_ordinary(path)?;
    let length = file.metadata()?.len();
    Ok((Box::new(file), length))
}

/// The first bytes of an ordinary file, or of an object elsewhere, which tell its kind.
pub(super) fn head(path: &Path) -> io::Result<Vec<u8>> {
    match Address::of(path) {
        Some(address) => Ok(remote::head(&address, HEAD_BYTES as u64)?),
        None => files::head(path),
    }
}

impl Stored {
    /// Opens the file, whose path is `path` if it is one by itself; gives its length in bytes, too. The error is the reason for
    /// which it cannot be read.
    pub fn open(&self, path: &Path) -> Result<(Box<dyn Source>, u64), String> {
        match self {
            Stored::File | Stored::Object { .. } => open(path).map_err(unreadable),
            Stored::Member { tar, offset, length } => {
                let member: Box<dyn Source> = match Address::of(tar) {
                    Some(address) => Box::new(remote::open_section(&address, *offset, *length)),
                    None => Box::new(Section::open(tar, *offset, *length).map_err(unreadable)?),
                };
                Ok((member, *length))
            }
            #[cfg(feature = "parquet")]
            Stored::Cell(cell) => {
                let bytes = cell.read()?;
                let length = bytes.as_ref().len() as u64;
                Ok((Box::new(io::Cursor::new(bytes)), length))
            }
            Stored::Lost(reason) => Err(reason.to_string()),
        }
    }
}

fn unreadable(error: io::Error) -> String {
    format!("cannot read it: {error}")
}
