//! The directories of a TIFF, for what has to be known before pixels are read.
//!
//! Source: TIFF revision 6.0, section 2; BigTIFF as in its design by Adobe's successors (libtiff). Counts and offsets are not
//! trusted: what does not lie within the file is missing.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::iter;

/// No picture needs more entries.
const MOST_ENTRIES: u64 = 4096;
/// No file needs more directories.
const MOST_DIRECTORIES: usize = 1 << 20;

pub(in crate::pixels) const NEW_SUBFILE_TYPE: u16 = 254;
pub(in crate::pixels) const WIDTH: u16 = 256;
pub(in crate::pixels) const LENGTH: u16 = 257;
pub(in crate::pixels) const BITS_PER_SAMPLE: u16 = 258;
pub(in crate::pixels) const COMPRESSION: u16 = 259;
pub(in crate::pixels) const PHOTOMETRIC: u16 = 262;
pub(in crate::pixels) const ORIENTATION: u16 = 274;
pub(in crate::pixels) const SAMPLES_PER_PIXEL: u16 = 277;
pub(in crate::pixels) const ROWS_PER_STRIP: u16 = 278;
pub(in crate::pixels) const PLANAR: u16 = 284;
pub(in crate::pixels) const TILE_WIDTH: u16 = 322;
pub(in crate::pixels) const TILE_LENGTH: u16 = 323;
pub(in crate::pixels) const SUB_DIRECTORIES: u16 = 330;
pub(in crate::pixels) const SAMPLE_FORMAT: u16 = 339;
pub(in crate::pixels) const DNG_VERSION: u16 = 50706;

/// A directory: the first value of every entry that holds whole numbers.
#[derive(Debug, Clone)]
pub(in crate::pixels) struct Directory {
    numbers: Vec<(u16, Number)>,
    /// Where it stands in the file.
    at: u64,
    next: u64,
    order: Order,
}

/// A whole number, and where it stands in the file.
#[derive(Debug, Clone, Copy)]
pub(in crate::pixels) struct Number {
    pub value: u64,
    pub at: u64,
    pub bytes: u8,
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    big_endian: bool,
    /// Offsets and counts have 64 bits.
    big: bool,
}

impl Order {
    fn number(self, bytes: &[u8]) -> u64 {
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
    }
}

impl Directory {
    /// The first value of an entry.
    pub fn number(&self, tag: u16) -> Option<u64> {
        self.place(tag).map(|number| number.value)
    }

    /// Where the file says where its first directory is, and what stands there if this is to be it.
    pub fn as_first(&self) -> (u64, Vec<u8>) {
        let (at, bytes) = if self.order.big { (8, 8) } else { (4, 4) };
        (at, self.stored(self.at, bytes))
    }

    pub fn place(&self, tag: u16) -> Option<Number> {
        // Of entries with the same tag the last counts.
        self.numbers.iter().rev().find(|(known, _)| *known == tag).map(|(_, number)| *number)
    }

    /// A number of so many bytes as the file stores it.
    pub fn stored(&self, value: u64, bytes: u8) -> Vec<u8> {
        let all = if self.order.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let bytes = usize::from(bytes).min(8);
        if self.order.big_endian { all[8 - bytes..].to_vec() } else { all[..bytes].to_vec() }
    }
}

/// The first directory; an unexpected end of the file where it lies beyond it.
pub(in crate::pixels) fn first(file: &mut (impl Read + Seek)) -> io::Result<Directory> {
    let mut head = [0; 8];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head)?;
    let order = Order { big_endian: head[0] == b'M', big: head[2] == 43 || head[3] == 43 };
    let at = if order.big {
        file.read_exact(&mut head)?;
        order.number(&head)
    } else {
        order.number(&head[4..])
    };
    read(file, at, order)
}

/// The directories of pictures that are neither smaller copies of others nor masks, in order; the first is one in any case.
///
/// The chain ends where it says so, or comes to a directory for the second time; where it cannot be followed, with an error.
pub(in crate::pixels) fn pages<R: Read + Seek>(
    file: &mut R,
) -> io::Result<impl Iterator<Item = io::Result<Directory>> + use<'_, R>> {
    let first = first(file)?;
    let (order, mut next, mut seen) = (first.order, first.next, HashSet::from([first.at]));
    let others = iter::from_fn(move || {
        if next == 0 || !seen.insert(next) {
            return None;
        }
        if seen.len() > MOST_DIRECTORIES {
            next = 0;
            return Some(Err(io::ErrorKind::InvalidData.into()));
        }
        let directory = read(file, next, order);
        next = directory.as_ref().map_or(0, |directory| directory.next);
        Some(directory)
    });
    let is_page = |directory: &Directory| directory.number(NEW_SUBFILE_TYPE).unwrap_or(0) & 0b101 == 0;
    let others = others.filter(move |directory| directory.as_ref().map_or(true, is_page));
    Ok(iter::once(Ok(first)).chain(others))
}

/// The directory of a page, counted from 0.
pub(in crate::pixels) fn page(file: &mut (impl Read + Seek), number: u32) -> io::Result<Directory> {
    match number {
        0 => first(file),
        _ => pages(file)?.nth(number as usize).unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn read(file: &mut (impl Read + Seek), at: u64, order: Order) -> io::Result<Directory> {
    let (count_bytes, entry_bytes, offset_bytes) = if order.big { (8, 20, 8) } else { (2, 12, 4) };
    let mut count = vec![0; count_bytes];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut count)?;
    let count = order.number(&count);
    if count > MOST_ENTRIES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut entries = vec![0; count as usize * entry_bytes + offset_bytes];
    file.read_exact(&mut entries)?;
    let (entries, next) = entries.split_at(count as usize * entry_bytes);
    let mut numbers = Vec::new();
    for (index, entry) in entries.chunks_exact(entry_bytes).enumerate() {
        let [tag, kind] = [&entry[..2], &entry[2..4]].map(|bytes| order.number(bytes));
        let (count, field) = entry[4..].split_at(offset_bytes);
        let bytes = match kind {
            1 | 7 => 1,
            3 => 2,
            4 | 13 => 4,
            16 | 18 => 8,
            _ => continue,
        };
        let count = order.number(count);
        let field_at = at + count_bytes as u64 + (index * entry_bytes + 4 + offset_bytes) as u64;
        let number = match count.saturating_mul(bytes) {
            0 => continue,
            // Small values stand in the place of their offset.
            length if length <= offset_bytes as u64 => {
                Number { value: order.number(&field[..bytes as usize]), at: field_at, bytes: bytes as u8 }
            }
            _ if !is_wanted(tag as u16) => continue,
            _ => {
                let at = order.number(field);
                let mut value = vec![0; bytes as usize];
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(&mut value)?;
                Number { value: order.number(&value), at, bytes: bytes as u8 }
            }
        };
        numbers.push((tag as u16, number));
    }
    Ok(Directory { numbers, at, next: order.number(next), order })
}

/// Whether the first of several values has to be known: no other is looked for elsewhere in the file.
fn is_wanted(tag: u16) -> bool {
    matches!(tag, BITS_PER_SAMPLE | SAMPLE_FORMAT | SUB_DIRECTORIES)
}
