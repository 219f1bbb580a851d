//! Files that are either complete or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::OutputError;

/// Lets `write` fill the file `path`, which then appears at once and complete, replacing an older one.
///
/// The bytes go to a dotted temporary file in the same folder, which is flushed, synced to the disk and renamed.
/// Missing parent folders are created. If anything fails, the temporary file is removed and an older `path` stays as
/// it was. The folder itself is not synced: a power cut can undo the newest renames but leaves no half-written file.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
    let mut pending = PendingFile::create(path)?;
    write(&mut pending.writer).map_err(|source| OutputError::write(path, source))?;
    pending.commit()
}

/// Removes a file of an earlier run; it may not be there.
pub fn remove_outdated(path: &Path) -> Result<(), OutputError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(OutputError::Remove { path: path.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}

/// A temporary file on its way to becoming `target`; dropped before [`PendingFile::commit`] it is removed again.
#[derive(Debug)]
pub(super) struct PendingFile {
    pub(super) writer: BufWriter<File>,
    target: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl PendingFile {
    /// Opens a fresh temporary file beside `target`, with the permissions of an ordinary new file.
    pub(super) fn create(target: &Path) -> Result<Self, OutputError> {
        // A rename would silently replace a device or pipe, such as /dev/stdout.
        if fs::metadata(target).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(OutputError::OccupiedTarget { path: target.to_path_buf() });
        }
        let folder = create_parent(target)?;
        let (temporary, file) = create_unique(folder).map_err(|source| OutputError::write(target, source))?;
        Ok(Self { writer: BufWriter::new(file), target: target.to_path_buf(), temporary, committed: false })
    }

    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the bytes durable, then gives the file its final name.
    pub(super) fn commit(mut self) -> Result<(), OutputError> {
        self.writer
            .flush()
            .and_then(|()| self.writer.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.temporary, &self.target))
            .map_err(|source| OutputError::write(&self.target, source))?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.committed {
            // The failure that led here is reported by whoever caused it; a leftover dotted file harms nobody.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Creates the folders above `path` and returns the innermost.
pub(super) fn create_parent(path: &Path) -> Result<&Path, OutputError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => return Ok(Path::new(".")),
    };
    fs::create_dir_all(folder).map_err(|source| OutputError::CreateFolder { path: folder.to_path_buf(), source })?;
    Ok(folder)
}

/// A new file whose name starts with a dot, so that no listing of a collection takes it for a result.
///
/// Plain `create_new` instead of a private temporary file: the result keeps the permissions that the umask grants.
fn create_unique(folder: &Path) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".deepcut-{}-{serial}.tmp", process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            // Left by a killed process that had the same number, or in use by one on another machine.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_complete_with_its_folders_and_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/result.txt");
        for text in ["first", "second"] {
            write_atomically(&path, |writer| writer.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(&folder.path().join("a/b")), ["result.txt"]);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.txt");
        fs::write(&path, "old").unwrap();
        let error = write_atomically(&path, |writer| {
            writer.write_all(b"half")?;
            assert!(names(folder.path()).iter().any(|name| name.starts_with('.')));
            Err(io::Error::other("disk on fire"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("result.txt") && error.to_string().contains("disk on fire"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["result.txt"]);
    }

    #[test]
    fn folders_and_obstructed_paths_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomically(folder.path(), |_| Ok(())).unwrap_err();
        assert!(matches!(error, OutputError::OccupiedTarget { .. }), "{error}");
        fs::write(folder.path().join("file"), "").unwrap();
        let error = write_atomically(&folder.path().join("file/below"), |_| Ok(())).unwrap_err();
        assert!(matches!(error, OutputError::CreateFolder { .. }), "{error}");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (plain, atomic) = (folder.path().join("plain"), folder.path().join("atomic"));
        fs::write(&plain, "").unwrap();
        write_atomically(&atomic, |_| Ok(())).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&atomic), mode(&plain));
    }

    #[test]
    fn concurrent_writers_of_one_file_leave_one_whole_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared");
        std::thread::scope(|scope| {
            for byte in b'a'..b'i' {
                let path = &path;
                scope.spawn(move || write_atomically(path, |writer| writer.write_all(&[byte; 50_000])).unwrap());
            }
        });
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() == 50_000 && bytes.iter().all(|&byte| byte == bytes[0]));
        assert_eq!(names(folder.path()), ["shared"]);
    }
}
