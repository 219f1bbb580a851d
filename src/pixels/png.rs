//! PNG: read directly, so that what browsers overlook is overlooked, and nothing else.

use std::borrow::Cow;
use std::io::{self, Cursor};

use image::metadata::Orientation;
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Limits, Reader, Transformations};

use super::decode::error::DecodeError;
use super::frames::SEVERAL_FRAMES;
use super::page::{Colour, Page, Values, unpacked};

/// What follows the signature, and every chunk: length, name and checksum.
const CHUNK_BYTES: usize = 12;
const SIGNATURE_BYTES: usize = 8;
const END: [u8; CHUNK_BYTES] = *b"\0\0\0\0IEND\xAE\x42\x60\x82";

/// A PNG whose pixels have not been read yet.
pub(super) struct Opened<'a> {
    reader: Reader<Cursor<Cow<'a, [u8]>>>,
    pub width: u32,
    pub height: u32,
    colour: ColorType,
    depth: BitDepth,
    /// Bytes of the pixels in their own layout.
    pub stored_bytes: usize,
    pub remarks: Vec<&'static str>,
}

impl<'a> Opened<'a> {
    /// Palettes are looked up and samples of fewer than eight bits are stretched if `looked_up`, else both are kept.
    pub fn new(bytes: &'a [u8], most: usize, looked_up: bool) -> Result<Opened<'a>, DecodeError> {
        let Walk { lacks_end, has_wrong_pixels, has_wrong_others } = walk(bytes);
        let mut remarks = Vec::new();
        let bytes = match lacks_end {
            true => {
                remarks.push("the end of the file is missing, but nothing of the picture");
                Cow::Owned([bytes, &END].concat())
            }
            false => Cow::Borrowed(bytes),
        };
        let mut options = DecodeOptions::default();
        // Checksums that are known to be right need not be computed again; of other wrong ones the decoder knows which matter.
        options.set_ignore_crc(has_wrong_pixels || !has_wrong_others);
        if has_wrong_pixels {
            // That of the compressed pixels as a whole tells whether they are as they were written.
            options.set_ignore_adler32(false);
            remarks.push("a checksum of its pixels is wrong; the one of all pixels is right");
        }
        options.set_ignore_text_chunk(true);
        options.set_ignore_iccp_chunk(true);
        let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
        decoder.set_limits(Limits { bytes: most });
        decoder.set_transformations(if looked_up { Transformations::EXPAND } else { Transformations::IDENTITY });
        let reader = decoder.read_info().map_err(failed)?;
        let (colour, depth) = reader.output_color_type();
        let stored_bytes = reader.output_buffer_size().ok_or(DecodeError::MoreThanDeclared)?;
        let info = reader.info();
        if info.animation_control.as_ref().is_some_and(|animation| animation.num_frames > 1) {
            remarks.push(SEVERAL_FRAMES);
        }
        Ok(Opened { width: info.width, height: info.height, colour, depth, stored_bytes, reader, remarks })
    }

    pub fn orientation(&self) -> Orientation {
        let exif = self.reader.info().exif_metadata.as_ref();
        exif.and_then(|exif| Orientation::from_exif_chunk(exif)).unwrap_or(Orientation::NoTransforms)
    }

    /// Three samples of eight bits: red, green and blue.
    pub fn is_rgb(&self) -> bool {
        (self.colour, self.depth) == (ColorType::Rgb, BitDepth::Eight)
    }

    /// Bytes that are taken besides those of the stored pixels.
    pub fn converted_bytes(&self) -> u64 {
        if self.depth == BitDepth::Sixteen { self.stored_bytes as u64 } else { 0 }
    }

    /// The stored pixels into `buffer`, of `stored_bytes`.
    pub fn read_into(&mut self, buffer: &mut [u8]) -> Result<(), DecodeError> {
        self.reader.next_frame(buffer).map(drop).map_err(failed)
    }

    pub fn read(mut self) -> Result<Page, DecodeError> {
        let mut stored = vec![0; self.stored_bytes];
        self.read_into(&mut stored)?;
        let (width, height) = (self.width as usize, self.height as usize);
        let bands = self.colour.samples();
        let values = match self.depth {
            BitDepth::Sixteen => {
                Values::U16(stored.as_chunks::<2>().0.iter().map(|&pair| u16::from_be_bytes(pair)).collect())
            }
            BitDepth::Eight => Values::U8(stored),
            _ => Values::U8(unpacked(&stored, self.stored_bytes / height, width * bands, self.depth as usize)),
        };
        let mut page = Page::of_bytes(width, height, bands, Vec::new());
        page.values = values;
        page.bits = self.depth as u32;
        if self.colour == ColorType::Indexed {
            let palette = self.reader.info().palette.as_deref().unwrap_or_default();
            page.colour = Colour::Palette(palette.as_chunks::<3>().0.to_vec());
        }
        Ok(page)
    }
}

/// Names and contents of the chunks, without the last if it is cut off, and how many bytes they are.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8], u32)> {
    let mut rest = bytes.get(SIGNATURE_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, after) = after.split_first_chunk::<4>()?;
        let (content, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (checksum, after) = after.split_first_chunk::<4>()?;
        rest = after;
        Some((name, content, u32::from_be_bytes(*checksum)))
    })
}

/// What the chunks of a file tell before anything is decoded.
#[derive(Default)]
struct Walk {
    /// All chunks are whole and there are pixels, but no chunk ends the file.
    lacks_end: bool,
    /// Pixels have another checksum than the file says.
    has_wrong_pixels: bool,
    /// Another chunk has.
    has_wrong_others: bool,
}

fn walk(bytes: &[u8]) -> Walk {
    let mut walk = Walk::default();
    let (mut has_pixels, mut has_end, mut length) = (false, false, SIGNATURE_BYTES);
    for (name, content, checksum) in chunks(bytes) {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(name);
        hasher.update(content);
        let is_wrong = hasher.finalize() != checksum;
        match name {
            b"IDAT" => {
                has_pixels = true;
                walk.has_wrong_pixels |= is_wrong;
            }
            _ => walk.has_wrong_others |= is_wrong,
        }
        has_end |= name == b"IEND";
        length += CHUNK_BYTES + content.len();
    }
    walk.lacks_end = has_pixels && !has_end && length == bytes.len();
    walk
}

fn failed(error: DecodingError) -> DecodeError {
    match error {
        DecodingError::IoError(source) if source.kind() == io::ErrorKind::UnexpectedEof => DecodeError::Truncated,
        DecodingError::LimitsExceeded => DecodeError::MoreThanDeclared,
        error => DecodeError::Broken { reason: error.to_string() },
    }
}
