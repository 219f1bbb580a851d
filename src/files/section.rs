//! A run of bytes of a file, read as a file of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::open_ordinary;

/// Bytes `start..start + length` of a file.
///
/// A file that has become shorter ends where it ends.
#[derive(Debug)]
pub struct Section {
    /// Always at `start + position`.
    file: File,
    start: u64,
    length: u64,
    position: u64,
}

impl Section {
    /// Opens an ordinary file for these of its bytes.
    pub fn open(path: &Path, start: u64, length: u64) -> io::Result<Section> {
        let mut file = open_ordinary(path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Section { file, start, length, position: 0 })
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(rest);
        let count = self.file.read(&mut buffer[..wanted])?;
        self.position += count as u64;
        Ok(count)
    }
}

/// Where seeking leads from a position of a file of so many bytes; before its beginning nothing is.
pub fn sought(to: SeekFrom, position: u64, length: u64) -> io::Result<u64> {
    let sought = match to {
        SeekFrom::Start(position) => Some(position),
        SeekFrom::End(offset) => length.checked_add_signed(offset),
        SeekFrom::Current(offset) => position.checked_add_signed(offset),
    };
    Ok(sought.ok_or(io::ErrorKind::InvalidInput)?)
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = sought(to, self.position, self.length)?;
        let in_file = self.start.checked_add(position).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.seek(SeekFrom::Start(in_file))?;
        self.position = position;
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_as_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"0123456789").unwrap();
        let mut section = Section::open(&path, 3, 4).unwrap();
        let rest = |section: &mut Section| {
            let mut bytes = Vec::new();
            section.read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(rest(&mut section), b"3456");
        for (to, position, expected) in [
            (SeekFrom::Start(1), 1, &b"456"[..]),
            (SeekFrom::End(-1), 3, b"6"),
            (SeekFrom::Current(-4), 0, b"3456"),
            (SeekFrom::Start(9), 9, b""),
        ] {
            assert_eq!(section.seek(to).unwrap(), position);
            assert_eq!(rest(&mut section), expected, "{to:?}");
        }
        assert!(section.seek(SeekFrom::End(-5)).is_err() && section.seek(SeekFrom::Start(u64::MAX)).is_err());
        assert_eq!(rest(&mut Section::open(&path, 8, 4).unwrap()), b"89");
    }
}
