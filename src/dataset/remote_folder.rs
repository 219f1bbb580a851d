//! The images below a key in object storage, in the order that those of a folder have.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{io, iter, vec};

use super::passed_over::PassedOver;
use super::{DatasetError, Found, has_image_name, holds_images, stored};
use crate::files::begins_as_picture;
use crate::manifest::{self, Manifest};
use crate::parallel::lock;
use crate::remote::{self, Address};

/// What lies in a folder: its name, and its bytes where it is no folder itself.
type Entry = (String, Option<u64>);

/// A folder on the way to the image that comes next.
struct Folder {
    path: PathBuf,
    relative: PathBuf,
    entries: vec::IntoIter<Entry>,
}

/// Walks through all that begins with the key of `root`, depth first, every folder's entries sorted by the bytes of their names,
/// and says in `passed_over` what is no image. What runs have made there is passed over. Of what has no extension the first bytes are
/// fetched.
pub(super) fn walk(
    root: &Path,
    passed_over: Arc<Mutex<PassedOver>>,
) -> impl Iterator<Item = Result<Found, DatasetError>> + Send + use<> {
    let (mut to_open, mut open) = (Some((root.to_path_buf(), PathBuf::new())), Vec::<Folder>::new());
    iter::from_fn(move || {
        loop {
            if let Some((path, relative)) = to_open.take() {
                match entries(&path, &passed_over) {
                    Ok(entries) => open.push(Folder { path, relative, entries: entries.into_iter() }),
                    Err(error) => return Some(Err(error)),
                }
            }
            let folder = open.last_mut()?;
            let Some((name, bytes)) = folder.entries.next() else {
                open.pop();
                continue;
            };
            let (path, relative) = (folder.path.join(&name), folder.relative.join(&name));
            if name.starts_with('.') {
                lock(&passed_over).add_hidden(&name, false);
            } else if let Some(bytes) = bytes {
                match is_image(&path, &passed_over) {
                    Ok(true) => return Some(Ok(Found::object(path, Some(bytes), relative))),
                    Ok(false) => {}
                    Err(error) => return Some(Err(error)),
                }
            } else {
                to_open = Some((path, relative));
            }
        }
    })
}

fn entries(path: &Path, passed_over: &Mutex<PassedOver>) -> Result<Vec<Entry>, DatasetError> {
    let Some(address) = Address::of(path) else { return Ok(Vec::new()) };
    let listing = remote::list(&address).map_err(|source| DatasetError::Remote { path: path.to_path_buf(), source })?;
    let folders = listing.folders.into_iter().map(|name| (name, None));
    let mut entries: Vec<Entry> =
        folders.chain(listing.objects.into_iter().map(|(name, bytes)| (name, Some(bytes)))).collect();
    if entries.iter().any(|(name, bytes)| name == manifest::FOLDER && bytes.is_none()) {
        let record = Manifest::path(path);
        let read = |address: Address| Manifest::from_reader(remote::open(&address)?);
        match Address::of(&record).map_or_else(|| Err(io::ErrorKind::NotFound.into()), read) {
            Ok(made) => {
                entries.retain(|(name, _)| made.get(name).is_none());
                let mut passed_over = lock(passed_over);
                passed_over.folders += 1;
                passed_over.first_folder.get_or_insert_with(|| path.to_path_buf());
            }
            // A folder of that name without a record is somebody's.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(DatasetError::OwnResults { path: record, source }),
        }
    }
    // Where an object and a folder have one name, the object comes first, as its path does.
    entries.sort_by(|(name, bytes), (other, others)| name.cmp(other).then(others.is_some().cmp(&bytes.is_some())));
    Ok(entries)
}

/// Whether an object is an image; tells what it is else.
fn is_image(path: &Path, passed_over: &Mutex<PassedOver>) -> Result<bool, DatasetError> {
    if has_image_name(path) {
        return Ok(true);
    }
    if path.extension().is_none() {
        let head = stored::head(path).map_err(|error| DatasetError::reading(path, error))?;
        if begins_as_picture(&head) {
            return Ok(true);
        }
    }
    let mut passed_over = lock(passed_over);
    if holds_images(path) {
        passed_over.add_collection(path)
    } else {
        passed_over.add_no_image(path)
    }
    Ok(false)
}
