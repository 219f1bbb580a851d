//! Single files whose names the user gave, complete or not there.

use std::io::{self, Write};
use std::path::Path;

use super::OutputError;
use crate::files::{parent, write_whole};
use crate::remote::is_remote;

/// Lets `write` fill the file `path`, which then appears at once and complete; see [`write_whole`].
///
/// What runs write below their output folders goes through [`super::OutputFolder`].
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
    if is_remote(path) {
        return Err(OutputError::NotHere { path: path.to_path_buf() });
    }
    // A rename would silently replace a device or pipe, such as /dev/stdout.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(OutputError::OccupiedTarget { path: path.to_path_buf() });
    }
    create_parent(path)?;
    write_whole(path, write).map_err(|source| OutputError::write(path, source))
}

/// Creates the folders above `path`.
pub(super) fn create_parent(path: &Path) -> Result<(), OutputError> {
    let folder = parent(path);
    std::fs::create_dir_all(folder).map_err(|source| OutputError::CreateFolder { path: folder.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_obstructed_paths_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomically(folder.path(), |_| Ok(())).unwrap_err();
        assert!(matches!(error, OutputError::OccupiedTarget { .. }), "{error}");
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = write_atomically(&folder.path().join("file/below"), |_| Ok(())).unwrap_err();
        assert!(matches!(error, OutputError::CreateFolder { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
