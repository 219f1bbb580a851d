//! What the first bytes of a picture say: whether it is one, and how much memory it will take.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

#[cfg(feature = "avif")]
use super::avif;
use super::decode::error::DecodeError;
use super::settings::DecodeConfig;
use super::tiff;
use crate::files::{Format, HEAD_BYTES, Recognised, recognise};

/// JPEG files have a few segments before the frame's, which are passed over.
const MOST_SEGMENTS: usize = 4096;

/// What a picture declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Declared {
    pub format: Format,
    /// None where the first bytes do not tell it; decoding will.
    pub size: Option<DeclaredSize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeclaredSize {
    pub width: u32,
    pub height: u32,
    /// The most that decoding takes for a pixel, the result included.
    pub bytes_per_pixel: u64,
}

impl DeclaredSize {
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    pub fn bytes(self) -> u64 {
        self.pixels().saturating_mul(self.bytes_per_pixel)
    }

    /// Refuses what is not within the limits.
    pub fn check(self, limits: &DecodeConfig) -> Result<(), DecodeError> {
        let DeclaredSize { width, height, .. } = self;
        if self.pixels() == 0 {
            return Err(DecodeError::NoPixels { width, height });
        }
        if self.pixels() > limits.max_megapixels.saturating_mul(1_000_000) {
            return Err(DecodeError::TooManyPixels { width, height, max_megapixels: limits.max_megapixels });
        }
        Ok(())
    }
}

/// Reads the header of a picture, a few hundred bytes; of a JPEG the markers up to its frame's, of a TIFF the directories up to
/// that of the page, counted from 0.
///
/// The error inside is that of bytes which are no picture.
pub(super) fn declared(file: &mut (impl Read + Seek), page: u32) -> io::Result<Result<Declared, DecodeError>> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(Err(DecodeError::Empty));
    }
    let format = match recognise(&head) {
        Some(Recognised::Read(format)) => format,
        Some(Recognised::OtherPicture(kind) | Recognised::NoPicture(kind)) => {
            return Ok(Err(DecodeError::OtherKind { kind }));
        }
        None => return Ok(Err(DecodeError::UnknownFormat)),
    };
    let size = match format {
        Format::Jpeg => jpeg(file)?,
        Format::Png => png(&head),
        Format::WebP => webp(&head),
        Format::Bmp => bmp(&head),
        // The canvas in four channels, the first frame by itself, the result, opacity, and where there is no data.
        Format::Gif => two(&head, 6, u16::from_le_bytes).map(|size| of_size(size.map(u32::from), 4 + 4 + 3 + 2)),
        #[cfg(feature = "avif")]
        Format::Avif => match avif::container::read(file)? {
            Ok(container) => Some(of_size([container.width, container.height], avif::BYTES_PER_PIXEL)),
            Err(error) => return Ok(Err(error)),
        },
        Format::Tiff => match tiff::directory::page(file, page) {
            Ok(directory) => match tiff::declared(&directory) {
                Ok(size) => Some(size),
                Err(error) => return Ok(Err(error)),
            },
            // The directory lies beyond the end, or at a place that no file has.
            Err(error) if !is_of_the_system(&error) => return Ok(Err(tiff::cut_off(error))),
            Err(error) => return Err(error),
        },
    };
    Ok(Ok(Declared { format, size }))
}

/// Whether a file could not be read, rather than not understood.
fn is_of_the_system(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    !matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput)
}

fn of_size([width, height]: [u32; 2], bytes_per_pixel: u64) -> DeclaredSize {
    DeclaredSize { width, height, bytes_per_pixel }
}

/// Two numbers side by side.
fn two<const N: usize, T>(bytes: &[u8], at: usize, number: fn([u8; N]) -> T) -> Option<[T; 2]> {
    let number = |at: usize| Some(number(*bytes.get(at..)?.first_chunk()?));
    Some([number(at)?, number(at + N)?])
}

fn png(head: &[u8]) -> Option<DeclaredSize> {
    let size = two(head, 16, u32::from_be_bytes)?;
    let &[depth, colour] = head.get(24..26)? else { return None };
    // Palettes are looked up, and any of them may have a transparent colour.
    let channels = if matches!(colour, 0 | 4) { 2 } else { 4 };
    // Samples of 16 bits are put in the machine's order beside; then the result, opacity, and where there is no data.
    Some(of_size(size, channels * if depth == 16 { 4 } else { 1 } + 3 + 2))
}

fn bmp(head: &[u8]) -> Option<DeclaredSize> {
    let header = u32::from_le_bytes(*head.get(14..)?.first_chunk()?);
    let size = if header == 12 {
        two(head, 18, u16::from_le_bytes)?.map(u32::from)
    } else {
        // A negative height means that rows go from the top to the bottom.
        two(head, 18, i32::from_le_bytes)?.map(i32::unsigned_abs)
    };
    Some(of_size(size, 4 + 3 + 2))
}

fn webp(head: &[u8]) -> Option<DeclaredSize> {
    let size = match head.get(12..16)? {
        b"VP8X" => {
            let side =
                |at: usize| Some(u32::from_le_bytes([*head.get(at)?, *head.get(at + 1)?, *head.get(at + 2)?, 0]));
            [side(24)? + 1, side(27)? + 1]
        }
        b"VP8L" => {
            let bits = u32::from_le_bytes(*head.get(21..)?.first_chunk()?);
            [bits & 0x3FFF, bits >> 14 & 0x3FFF].map(|side| side + 1)
        }
        b"VP8 " => two(head, 26, u16::from_le_bytes)?.map(|side| u32::from(side & 0x3FFF)),
        _ => return None,
    };
    // Beside what is stored the decoder works on as much.
    Some(of_size(size, 4 + 4 + 3 + 2))
}

/// The size in a JPEG's frame header.
fn jpeg(file: &mut (impl Read + Seek)) -> io::Result<Option<DeclaredSize>> {
    file.seek(SeekFrom::Start(2))?;
    let mut file = BufReader::with_capacity(4096, file);
    let mut header = [0; 4];
    for _ in 0..MOST_SEGMENTS {
        match file.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let [0xFF, marker, high, low] = header else { return Ok(None) };
        if marker == 0xFF {
            // Fill bytes: the marker's code follows the last FF.
            file.seek_relative(-3)?;
            continue;
        }
        if matches!(marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF) {
            let mut frame = [0; 6];
            return Ok(file.read_exact(&mut frame).ok().map(|()| {
                let [_, height_high, height_low, width_high, width_low, components] = frame;
                let sides = [[width_high, width_low], [height_high, height_low]];
                // Coefficients of 16 bits each of a picture that comes in several scans, the colours, and once more where the
                // picture is turned upright.
                let coefficients = if marker & 3 == 2 { 2 * u64::from(components) } else { 0 };
                of_size(sides.map(|side| u32::from(u16::from_be_bytes(side))), 6 + coefficients)
            }));
        }
        // A segment's length counts its own two bytes.
        file.seek_relative(i64::from(u16::from_be_bytes([high, low])) - 2)?;
    }
    Ok(None)
}
