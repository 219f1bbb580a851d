//! Files: reading what strangers made, never more bytes than are expected and never what is no file; and writing what is
//! complete or not there.

mod atomic;

pub use atomic::{TemporaryFile, parent, remove_those_of_the_dead, sync_folder, write_whole};

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

/// First bytes of a file that tell whether it is a picture.
const HEAD_BYTES: u64 = 32;

/// Whether an ordinary file is a picture by its first bytes; see [`begins_as_picture`].
pub fn is_picture(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    open_ordinary(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(begins_as_picture(&head))
}

/// Whether bytes are the first 32 of a picture in a kind of file that is widely used for pictures, whether or not it can be
/// decoded here: JPEG, PNG, GIF, WebP, BMP, TIFF and BigTIFF, AVIF and HEIC, JPEG XL, JPEG 2000.
pub fn begins_as_picture(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 12] = [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF87a",
        b"GIF89a",
        b"II*\0",
        b"MM\0*",
        b"II+\0",
        b"MM\0+",
        // JPEG XL, bare and in boxes, and JPEG 2000 likewise.
        b"\xff\x0a",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"\xff\x4f\xff\x51",
    ];
    /// What a file of boxes says it is; films begin alike.
    const BRANDS: [&[u8; 4]; 10] =
        [b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"];
    /// Sizes of the second header of a BMP: two letters alone could begin a text.
    const BMP_HEADERS: [u8; 7] = [12, 40, 52, 56, 64, 108, 124];
    let is_webp = || head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP");
    let is_bmp = || {
        let size = head.get(14..18).filter(|size| size[1..] == [0; 3]);
        head.starts_with(b"BM") && size.is_some_and(|size| BMP_HEADERS.contains(&size[0]))
    };
    let is_boxes = || {
        // The first brand, a version, and the brands that it is compatible with.
        let brands = head.get(8..).unwrap_or_default().as_chunks::<4>().0.iter();
        head.get(4..8) == Some(b"ftyp") && brands.enumerate().any(|(at, brand)| at != 1 && BRANDS.contains(&brand))
    };
    MAGIC.iter().any(|magic| head.starts_with(magic)) || is_webp() || is_bmp() || is_boxes()
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

    #[test]
    fn pictures_are_known_by_their_first_bytes_and_texts_and_films_are_none() {
        let bmp = [b"BM\x36\0\x10\0\0\0\0\0\x36\0\0\0\x28\0\0\0".as_slice(), &[0; 14]].concat();
        for (head, expected) in [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], true),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", true),
            (b"RIFF\x24\0\0\0WEBPVP8 ", true),
            (b"RIFF\x24\0\0\0WAVEfmt ", false),
            (&bmp, true),
            (b"BMW 2002 and other cars, a list.", false),
            (b"MM\0+\0\x08\0\0", true),
            (b"\0\0\0\x20ftypheic\0\0\0\0mif1heic", true),
            (b"\0\0\0\x1cftypmsf1\0\0\0\0", true),
            (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2mp41", false),
            (b"\0\0\0\x0cjP  \r\n\x87\n", true),
            (b"\x93NUMPY\x01\0", false),
            (b"", false),
        ] {
            assert_eq!(begins_as_picture(head), expected, "{head:?}");
        }
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
