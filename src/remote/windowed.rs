//! What lies elsewhere, read as a file is: some bytes at a time, as few requests as bytes that are not needed.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::files::sought;

/// Bytes that are fetched where reading begins. Most images have no more.
pub(super) const FIRST_BYTES: u64 = 1 << 20;
/// Where reading goes on, twice as many as before, up to this.
const MOST_BYTES: u64 = 8 << 20;

/// Fetches a range of bytes, or as many of them as there are.
pub(super) type Fetch = Box<dyn FnMut(Range<u64>) -> io::Result<Vec<u8>> + Send>;

/// A file of which one window is in memory.
pub struct Windowed {
    fetch: Fetch,
    length: u64,
    position: u64,
    /// Where the window begins.
    start: u64,
    window: Vec<u8>,
    /// Bytes of the next one, if it follows this.
    next: u64,
}

impl Windowed {
    /// A file of `length` bytes, of which the first are `window`.
    pub(super) fn new(length: u64, window: Vec<u8>, fetch: Fetch) -> Windowed {
        Windowed { fetch, length, position: 0, start: 0, window, next: FIRST_BYTES }
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn end(&self) -> u64 {
        self.start + self.window.len() as u64
    }
}

impl Read for Windowed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.length || buffer.is_empty() {
            return Ok(0);
        }
        if !(self.start..self.end()).contains(&self.position) {
            let follows = self.position == self.end() && !self.window.is_empty();
            self.next = if follows { (2 * self.next).min(MOST_BYTES) } else { FIRST_BYTES };
            let wanted = self.position..self.position.saturating_add(self.next).min(self.length);
            // Not two windows in memory.
            self.window = Vec::new();
            self.window = (self.fetch)(wanted)?;
            self.start = self.position;
            if self.window.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let inside = &self.window[(self.position - self.start) as usize..];
        let count = inside.len().min(buffer.len());
        buffer[..count].copy_from_slice(&inside[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Windowed {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = sought(to, self.position, self.length)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::parallel::lock;

    #[test]
    fn a_file_is_read_in_windows_that_grow_while_reading_goes_on() {
        let bytes: Vec<u8> = (0..20u64 << 20).map(|at| (at % 251) as u8).collect();
        let asked: Arc<Mutex<Vec<Range<u64>>>> = Arc::default();
        let mut file = {
            let (bytes, asked) = (bytes.clone(), Arc::clone(&asked));
            let fetch = move |range: Range<u64>| {
                lock(&asked).push(range.clone());
                Ok(bytes[range.start as usize..range.end as usize].to_vec())
            };
            Windowed::new(20 << 20, Vec::new(), Box::new(fetch))
        };
        let mut head = [0; 100];
        file.read_exact(&mut head).unwrap();
        file.rewind().unwrap();
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert!(all == bytes && head == bytes[..100]);
        let mebibytes = |range: &Range<u64>| (range.start >> 20, range.end >> 20);
        let windows: Vec<_> = lock(&asked).iter().map(mebibytes).collect();
        assert_eq!(windows, [(0, 1), (1, 3), (3, 7), (7, 15), (15, 20)]);

        lock(&asked).clear();
        for at in [5 << 20, (5 << 20) + 1000, 2 << 20] {
            assert_eq!(file.seek(SeekFrom::Start(at)).unwrap(), at);
            file.read_exact(&mut head).unwrap();
            assert_eq!(head, bytes[at as usize..at as usize + 100]);
        }
        let windows: Vec<_> = lock(&asked).iter().map(mebibytes).collect();
        assert_eq!(windows, [(5, 6), (2, 3)], "what is there is not fetched again");
        assert_eq!((file.seek(SeekFrom::End(3)).unwrap(), file.read(&mut head).unwrap()), ((20 << 20) + 3, 0));
        assert!(file.seek(SeekFrom::Current(-(30 << 20))).is_err());
    }

    #[test]
    fn what_has_become_shorter_is_no_end() {
        let mut file = Windowed::new(10, Vec::new(), Box::new(|_| Ok(Vec::new())));
        assert_eq!(file.read(&mut [0; 4]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
