//! Files: reading what strangers made, never more bytes than are expected and never what is no file; and writing what is
//! complete or not there.

mod atomic;
mod recognise;
mod section;

pub use atomic::{TemporaryFile, parent, remove_those_of_the_dead, sync_folder, write_whole};
pub use recognise::{Format, HEAD_BYTES, Recognised, begins_as_picture, recognise};
pub use section::{Section, sought};

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Devices and pipes have no end that could be known beforehand; of them no more is read.
const MOST_OF_STREAM: u64 = 64 << 20;

/// Opens a file for reading, also one that comes through a pipe from another program or from standard input; not a named
/// pipe, a socket or a disk, which could be waited for without end.
pub fn open(path: &Path) -> io::Result<File> {
    let metadata = std::fs::metadata(path)?;
    match kind(&metadata) {
        // A pipe without a name is somebody's output: `<(command)`, `/dev/stdin`.
        Some(NAMED_PIPE) if path.canonicalize().is_err() => {}
        Some(CHARACTER_DEVICE | FOLDER) | None => {}
        Some(other) => return Err(refused(other)),
    }
    File::open(path)
}

/// Opens an ordinary file for reading, and nothing else.
pub fn open_ordinary(path: &Path) -> io::Result<File> {
    let check = |metadata: Metadata| kind(&metadata).map_or(Ok(()), |kind| Err(refused(kind)));
    // What is no file must not even be opened; what was opened may have taken the place of a file meanwhile.
    check(std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    check(file.metadata()?)?;
    Ok(file)
}

/// The first bytes of an ordinary file, which tell its kind.
pub fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    open_ordinary(path)?.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether an ordinary file is a picture by its first bytes; see [`begins_as_picture`].
pub fn is_picture(path: &Path) -> io::Result<bool> {
    Ok(begins_as_picture(&head(path)?))
}

/// Whether two paths are names of one file, as far as the system tells.
pub fn is_same(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |path: &Path| path.symlink_metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        place(one).is_some_and(|one| place(other) == Some(one))
    }
    #[cfg(not(unix))]
    {
        one == other
    }
}

/// Whether an error says that there is no file, as there cannot be one whose name is too long.
pub fn says_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename)
}

/// Of what was removed: that it was not there is as good.
pub fn absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if !says_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Reads a whole file of at most `most_bytes`; a larger one is an error of the kind [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    let most_bytes = if metadata.is_file() { most_bytes } else { most_bytes.min(MOST_OF_STREAM) };
    if metadata.is_file() && metadata.len() > most_bytes {
        return Err(too_large(most_bytes));
    }
    read_rest(file, most_bytes, metadata.len())
}

/// The same of UTF-8 text.
pub fn read_text(path: &Path, most_bytes: u64) -> io::Result<String> {
    String::from_utf8(read(path, most_bytes)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
}

/// Reads what is left of `file`, which seems to have `expected` bytes and must not have more than `most_bytes`.
pub fn read_rest(file: impl Read, most_bytes: u64, expected: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(expected.min(most_bytes)).unwrap_or(usize::MAX))?;
    file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes { Err(too_large(most_bytes)) } else { Ok(bytes) }
}

const FOLDER: &str = "a folder";
const NAMED_PIPE: &str = "a named pipe";
const CHARACTER_DEVICE: &str = "a device";

/// What a path leads to if that is no ordinary file.
pub fn kind(metadata: &Metadata) -> Option<&'static str> {
    if metadata.is_file() {
        return None;
    }
    if metadata.is_dir() {
        return Some(FOLDER);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        for (is, name) in [
            (kind.is_fifo(), NAMED_PIPE),
            (kind.is_socket(), "a socket"),
            (kind.is_char_device(), CHARACTER_DEVICE),
            (kind.is_block_device(), "a disk"),
        ] {
            if is {
                return Some(name);
            }
        }
    }
    Some("something else")
}

fn refused(kind: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {kind}, no file"))
}

fn too_large(most_bytes: u64) -> io::Error {
    let error = format!("it has more than {} MiB", most_bytes >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_more_bytes_than_expected_is_refused_also_while_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap(), [7; 100]);
        assert_eq!(read(&path, 99).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let growing = io::repeat(7);
        assert_eq!(read_rest(growing, 1 << 20, 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn endless_and_waiting_files_are_refused() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(Path::new("/dev/zero"), u64::MAX).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(open_ordinary(Path::new("/dev/zero")).unwrap_err().to_string().contains("a device"));
        let [pipe, socket] = ["pipe", "socket"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listener = UnixListener::bind(&socket).unwrap();
        for (path, kind) in [(&pipe, "a named pipe"), (&socket, "a socket")] {
            assert!(read(path, 100).unwrap_err().to_string().contains(kind));
            assert!(open_ordinary(path).unwrap_err().to_string().contains(kind));
        }
        assert!(open_ordinary(folder.path()).unwrap_err().to_string().contains("a folder"));
        assert_eq!(read(Path::new("/dev/null"), 100).unwrap(), b"");
    }
}
