//! Seals: a file of results carries the checksum of its own bytes, so that it can be known for what it is anywhere.
//!
//! The seal is the word `deepcut-seal`, the first 16 hexadecimal digits of the blake3 of all other bytes of the file, and 8 of
//! the number of these bytes. It stands where its format has room for remarks: in a text chunk ahead of the end of a PNG, in a comment of a JPEG, in a
//! comment after the document of an XML file.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use super::claim::{FileState, state_unread};
use crate::pixels::{self, DecodeConfig, DecodeError};

/// A file format that has room for a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    Png,
    Jpeg,
    Xml,
}

const KEYWORD: &[u8] = b"deepcut-seal";
const HASH_DIGITS: usize = 16;
/// Those of the checksum and those of the length.
const DIGITS: usize = HASH_DIGITS + LENGTH_DIGITS;
const LENGTH_DIGITS: usize = 8;
/// Keyword, one byte, digits.
const TEXT: usize = KEYWORD.len() + 1 + DIGITS;
const PNG_END: usize = 12;
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const XML_START: &[u8] = b"<!-- ";
const XML_END: &[u8] = b" -->\n";

impl Sealed {
    /// The bytes of a whole file of this format with its seal.
    pub fn seal(self, mut bytes: Vec<u8>) -> Vec<u8> {
        let seal = self.seal_for(&[&bytes]);
        let place = match self {
            Sealed::Png => bytes.len() - PNG_END,
            Sealed::Jpeg => after_header(&bytes),
            Sealed::Xml => bytes.len(),
        };
        bytes.splice(place..place, seal);
        bytes
    }

    /// The seal of a file that has these bytes besides.
    fn seal_for(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let digits = format!("{}{:08x}", &hasher.finalize().to_hex()[..HASH_DIGITS], length as u32);
        let digits = digits.as_bytes();
        match self {
            Sealed::Png => {
                // In a text chunk a zero byte stands between keyword and text.
                let mut chunk = [b"tEXt".as_slice(), KEYWORD, b"\0", digits].concat();
                let checksum = crc32fast::hash(&chunk);
                chunk.splice(0..0, (TEXT as u32).to_be_bytes());
                chunk.extend(checksum.to_be_bytes());
                chunk
            }
            Sealed::Jpeg => {
                let length = ((2 + TEXT) as u16).to_be_bytes();
                [&[0xff, 0xfe], length.as_slice(), KEYWORD, b" ", digits].concat()
            }
            Sealed::Xml => [XML_START, KEYWORD, b" ", digits, XML_END].concat(),
        }
    }

    /// Where the seal stands, whether it fits or not, if there is one.
    fn find(self, bytes: &[u8]) -> Option<Range<usize>> {
        let length = self.seal_for(&[]).len();
        let start = match self {
            Sealed::Png => bytes.len().checked_sub(PNG_END + length)?,
            Sealed::Jpeg => after_header(bytes),
            Sealed::Xml => bytes.len().checked_sub(length)?,
        };
        has_keyword(bytes.get(start..start + length)?).then_some(start..start + length)
    }

    /// The state of the file at `path`: changed if it is whole but has no seal that fits.
    pub fn state(self, path: &Path) -> io::Result<FileState> {
        match state_unread(path)? {
            Some(state) => Ok(state),
            None => Ok(self.state_of(&fs::read(path)?)),
        }
    }

    /// Whether a file has a seal, fitting or not, by its first and its last bytes alone.
    pub fn is_marked(path: &Path) -> io::Result<bool> {
        const SEARCHED: u64 = 4096;
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(SEARCHED).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(length.saturating_sub(SEARCHED)))?;
        file.take(SEARCHED).read_to_end(&mut bytes)?;
        Ok(has_keyword(&bytes))
    }

    /// The state of a file's bytes.
    pub fn state_of(self, bytes: &[u8]) -> FileState {
        let found = self.find(bytes);
        let fits_in = |bytes: &[u8]| {
            let fits =
                |seal: Range<usize>| bytes[seal.clone()] == *self.seal_for(&[&bytes[..seal.start], &bytes[seal.end..]]);
            self.find(bytes).is_some_and(fits)
        };
        if fits_in(bytes) {
            return FileState::Intact;
        }
        if bytes.iter().all(|&byte| byte == 0) {
            return FileState::Damaged;
        }
        let whole = match self {
            // The format has checksums of its own: what decodes was not damaged by chance.
            Sealed::Png => is_whole_png(bytes) || !self.is_recognisable(bytes),
            // The format has none. Programs that write a picture anew may keep its comments, but hardly ever its length.
            Sealed::Jpeg => match found {
                Some(seal) => {
                    let length = str::from_utf8(&bytes[seal.end - LENGTH_DIGITS..seal.end]).ok();
                    let length =
                        length.and_then(|digits| usize::from_str_radix(digits, 16).ok()).unwrap_or(0) + seal.len();
                    let only_lengthened =
                        bytes.get(..length).is_some_and(|own| own.len() < bytes.len() && fits_in(own));
                    length != bytes.len() && !only_lengthened && is_whole_jpeg(bytes)
                }
                None => is_whole_jpeg(bytes) || !self.is_recognisable(bytes),
            },
            // Text of a run that has lost its end is no whole one; any other may have been written by hand.
            Sealed::Xml => match str::from_utf8(bytes) {
                Ok(text) => {
                    let cut = text.starts_with("<annotation>") && !text.contains("</annotation>");
                    !text.contains('\0') && (found.is_some() || !cut)
                }
                Err(_) => !bytes.contains(&0) && !has_keyword(bytes),
            },
        };
        if whole { FileState::Changed } else { FileState::Damaged }
    }

    /// Whether bytes that cannot be read are at least the rest of a file of this format.
    fn is_recognisable(self, bytes: &[u8]) -> bool {
        let start = match self {
            Sealed::Png => PNG_SIGNATURE,
            Sealed::Jpeg => &[0xff, 0xd8],
            Sealed::Xml => b"<annotation>",
        };
        bytes.starts_with(start) || has_keyword(bytes)
    }
}

fn has_keyword(bytes: &[u8]) -> bool {
    bytes.windows(KEYWORD.len()).any(|window| window == KEYWORD)
}

/// Whether the bytes are a PNG whose parts all fit their checksums.
fn is_whole_png(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(PNG_SIGNATURE) else { return false };
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Some((chunk, after)) = after.split_at_checked(4 + u32::from_be_bytes(*length) as usize) else {
            return false;
        };
        let Some((checksum, after)) = after.split_first_chunk::<4>() else { return false };
        if crc32fast::hash(chunk) != u32::from_be_bytes(*checksum) {
            return false;
        }
        if chunk == b"IEND" {
            return after.is_empty();
        }
        rest = after;
    }
    false
}

/// Whether the bytes are a JPEG that can be decoded with nothing to remark, or one that only is too much for this program.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    use DecodeError::{Broken, Empty, OtherKind, Truncated, UnknownFormat};
    match pixels::decode(bytes, &DecodeConfig::default()) {
        Ok(picture) => picture.remarks.is_empty(),
        Err(error) => !matches!(error, Truncated | Broken { .. } | Empty | UnknownFormat | OtherKind { .. }),
    }
}

/// After the marker that starts a JPEG, and after the header of its most common wrapping (JFIF), which has to come first.
fn after_header(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, 0xff, 0xe0, high, low, ..] => bytes.len().min(4 + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => bytes.len().min(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{encode_grey_png, encode_indexed_png, encode_jpeg};
    use crate::raster::{Mask, RgbImage};

    fn files() -> [(Sealed, Vec<u8>); 4] {
        let mask = Mask::from_values(9, 5, (0..45).map(|value| value % 3).collect());
        let picture = RgbImage::from_values(9, 5, (0..45).map(|value| [value, 9, 200 - value]).collect());
        [
            (Sealed::Png, encode_indexed_png(&mask, &[("deepcut", "{}")]).unwrap()),
            (Sealed::Png, encode_grey_png(&mask).unwrap()),
            (Sealed::Jpeg, encode_jpeg(&picture, 90).unwrap()),
            (Sealed::Xml, b"<annotation>\n\t<size/>\n</annotation>\n".to_vec()),
        ]
    }

    #[test]
    fn every_changed_byte_breaks_the_seal_and_readers_do_not_mind_it() {
        for (format, plain) in files() {
            let sealed = format.seal(plain.clone());
            assert_eq!(format.state_of(&sealed), FileState::Intact, "{format:?}");
            for position in 0..sealed.len() {
                for bit in [1, 0x40] {
                    let mut damaged = sealed.clone();
                    damaged[position] ^= bit;
                    let state = format.state_of(&damaged);
                    assert_ne!(state, FileState::Intact, "{format:?} byte {position}");
                    // Within the compressed pixels of a PNG every damage is seen to be one.
                    assert!(format != Sealed::Png || state == FileState::Damaged, "{format:?} byte {position}");
                }
                assert_ne!(format.state_of(&sealed[..position]), FileState::Intact, "{format:?} cut at {position}");
            }
            assert_eq!(format.state_of(&vec![0; sealed.len()]), FileState::Damaged);
            let lengthened = [sealed.clone(), b"more".to_vec()].concat();
            assert!(
                format == Sealed::Xml || format.state_of(&lengthened) == FileState::Damaged,
                "{format:?} lengthened"
            );
            assert_eq!(format.state_of(b""), FileState::Damaged);
            assert_eq!(format.state_of(&plain), FileState::Changed, "{format:?}: whole, and not from a run");
            assert_eq!(format.state_of(b"a note of mine"), FileState::Changed);
            if format != Sealed::Xml {
                let (seen, plain) = [&sealed, &plain].map(|bytes| image::load_from_memory(bytes).unwrap()).into();
                assert_eq!(seen, plain);
            }
        }
    }
}
