//! Files that are either complete or not there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

const TEMPORARY_START: &str = ".deepcut-";
const TEMPORARY_END: &str = ".tmp";

/// Lets `write` fill the file `path`, which then appears at once and complete, replacing an older one.
///
/// The bytes go to a dotted temporary file in the same folder, which is flushed, synced to the disk and renamed; then the
/// folder is synced. Missing parent folders are created. If anything fails, the temporary file is removed and an older
/// `path` stays as it was. Temporary files that dead processes have left in the folder are removed.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = parent(path);
    fs::create_dir_all(folder)?;
    remove_those_of_the_dead(folder);
    let mut pending = TemporaryFile::create(folder)?;
    write(&mut pending.writer)?;
    pending.rename(path)?;
    sync_folder(folder)
}

/// The folder that a file lies in, as its path names it.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file on its way to its name; dropped before [`TemporaryFile::rename`] it is removed again. It is locked, so that other
/// processes see that its own is alive.
#[derive(Debug)]
pub struct TemporaryFile {
    pub writer: BufWriter<File>,
    path: PathBuf,
    synced: bool,
    /// Whether it outlasts this value, under its own name or its final one.
    stays: bool,
}

impl TemporaryFile {
    /// A new file in `folder` whose name starts with a dot, so that no listing of a collection takes it for a result.
    ///
    /// Plain `create_new` instead of a private temporary file: the result keeps the permissions that the umask grants.
    pub fn create(folder: &Path) -> io::Result<TemporaryFile> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{TEMPORARY_START}{}-{serial}{TEMPORARY_END}", process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    // Before the lock another process may have taken the file for a dead one's. Where a file system knows no
                    // locks, nobody takes any.
                    let taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || !path.exists();
                    if !taken {
                        return Ok(TemporaryFile { writer: BufWriter::new(file), path, synced: false, stays: false });
                    }
                }
                // Left by a killed process that had the same number, or in use by one on another machine.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The file `path` with what is in it, written at its start; it stays where it is until it gets its name. Only for those
    /// who alone write in its folder.
    pub fn resume(path: &Path) -> io::Result<TemporaryFile> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(TemporaryFile { writer: BufWriter::new(file), path: path.to_path_buf(), synced: false, stays: true })
    }

    /// Makes the bytes durable, so that the file can get its name; nothing may be written afterwards.
    pub fn sync(&mut self) -> io::Result<()> {
        if !self.synced {
            self.writer.flush()?;
            self.writer.get_ref().sync_all()?;
            self.synced = true;
        }
        Ok(())
    }

    /// blake3 of the bytes so far, which must be synced.
    pub fn hash(&mut self) -> io::Result<blake3::Hash> {
        // Through the same handle: where locks are mandatory, no other may read.
        let file = self.writer.get_mut();
        file.rewind()?;
        let mut hasher = blake3::Hasher::new();
        io::copy(file, &mut hasher)?;
        Ok(hasher.finalize())
    }

    /// Makes the bytes durable, then gives the file its final name. The name itself is durable once the folder is synced.
    pub fn rename(mut self, target: &Path) -> io::Result<()> {
        self.sync()?;
        fs::rename(&self.path, target)?;
        self.stays = true;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.stays {
            // The failure that led here is reported by whoever caused it; a leftover dotted file harms nobody.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what killed processes have left in a folder. What cannot be removed harms nobody.
pub fn remove_those_of_the_dead(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let named = name.to_str().is_some_and(|name| {
            name.strip_prefix(TEMPORARY_START)
                .and_then(|name| name.strip_suffix(TEMPORARY_END))
                .is_some_and(|numbers| numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
        });
        if !named || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        let dead = match File::open(&path).map(|file| file.try_lock()) {
            Ok(Ok(())) => true,
            Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) | Err(_) => false,
        };
        if dead {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
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
            write_whole(&path, |writer| writer.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(&folder.path().join("a/b")), ["result.txt"]);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.txt");
        fs::write(&path, "old").unwrap();
        let error = write_whole(&path, |writer| {
            writer.write_all(b"half")?;
            assert!(names(folder.path()).iter().any(|name| name.starts_with('.')));
            Err(io::Error::other("disk on fire"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("disk on fire"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["result.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (plain, atomic) = (folder.path().join("plain"), folder.path().join("atomic"));
        fs::write(&plain, "").unwrap();
        write_whole(&atomic, |_| Ok(())).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&atomic), mode(&plain));
    }

    #[test]
    fn temporary_files_of_the_dead_go_and_those_of_the_living_stay() {
        let folder = tempfile::tempdir().unwrap();
        let of_user = [".deepcut-notes.tmp", ".deepcut-1-2.txt", "note.tmp"];
        of_user.iter().for_each(|name| fs::write(folder.path().join(name), "mine").unwrap());
        fs::write(folder.path().join(".deepcut-1-2.tmp"), "half").unwrap();
        let living = TemporaryFile::create(folder.path()).unwrap();
        write_whole(&folder.path().join("result"), |_| Ok(())).unwrap();
        let left = names(folder.path());
        assert!(of_user.iter().all(|name| left.contains(&name.to_string())), "{left:?}");
        assert_eq!(left.len(), of_user.len() + 2, "{left:?}");
        drop(living);
        assert_eq!(names(folder.path()).len(), of_user.len() + 1);
    }

    #[test]
    fn concurrent_writers_of_one_file_leave_one_whole_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared");
        std::thread::scope(|scope| {
            for byte in b'a'..b'i' {
                let path = &path;
                scope.spawn(move || write_whole(path, |writer| writer.write_all(&[byte; 50_000])).unwrap());
            }
        });
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() == 50_000 && bytes.iter().all(|&byte| byte == bytes[0]));
        assert_eq!(names(folder.path()), ["shared"]);
    }
}
