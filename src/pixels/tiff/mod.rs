//! TIFF: strips and tiles, chunky and planar, of whole and floating-point numbers, in one to many bands.
//!
//! The decoder is asked for samples as they are stored, whatever they stand for: it is told that they are brightness.

pub(super) mod directory;

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use tiff::decoder::{BufferLayoutPreference, ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{SampleFormat, Tag};
use tiff::{TiffError, TiffFormatError};

use self::directory::Directory;
use super::decode::error::DecodeError;
use super::header::DeclaredSize;
use super::jpeg;
use super::page::{Alpha, Colour, Page, Values, unpacked};

/// More bands are no picture that can be looked at.
const MOST_BANDS: u64 = 256;
/// More strips and tiles than pictures within the limits have.
const MOST_CHUNKS: u64 = 1 << 18;
/// Tiles of so many pixels may be larger than their picture.
const LARGE_TILE_PX: u64 = 1 << 20;
/// Compression by JPEG, one file in each strip or tile.
const JPEG: u64 = 7;

/// Values of the tag of what samples stand for.
const WHITE_IS_ZERO: u64 = 0;
const BLACK_IS_ZERO: u64 = 1;
const RGB: u64 = 2;
const PALETTE: u64 = 3;
const MASK: u64 = 4;
const CMYK: u64 = 5;
const YCBCR: u64 = 6;

/// How large the picture is by its directory; refused if no limit can be held against it.
pub(super) fn declared(directory: &Directory) -> Result<DeclaredSize, DecodeError> {
    let number = |tag, default: u64| directory.number(tag).unwrap_or(default);
    let is_copy = number(directory::NEW_SUBFILE_TYPE, 0) & 1 == 1;
    if directory.place(directory::DNG_VERSION).is_some()
        || (is_copy && directory.place(directory::SUB_DIRECTORIES).is_some())
    {
        return Err(DecodeError::OtherKind { kind: "a camera's raw picture" });
    }
    let side = |tag| u32::try_from(number(tag, 0)).map_err(|_| broken("its sides are no sides of a picture"));
    let (width, height) = (side(directory::WIDTH)?, side(directory::LENGTH)?);
    let (bits, bands) = (number(directory::BITS_PER_SAMPLE, 1), number(directory::SAMPLES_PER_PIXEL, 1));
    if bands == 0 || bands > MOST_BANDS {
        return Err(broken(format!("it has {bands} bands; at most {MOST_BANDS} are read")));
    }
    if bits == 0 || bits > 64 {
        return Err(broken(format!("its samples have {bits} bits")));
    }
    let stored = (bands * bits).div_ceil(8);
    // Whole numbers with a sign, and half precision, become single precision, wider ones double.
    let is_plain = number(directory::SAMPLE_FORMAT, 1) == 1 && bits <= 16;
    let converted = match bits {
        0..=7 if is_plain => bands,
        _ if is_plain => 0,
        0..=16 => 4 * bands,
        _ => 8 * bands,
    };
    // What JPEG takes besides: its samples, and their coefficients.
    let jpeg = if number(directory::COMPRESSION, 1) == JPEG { 3 * bands } else { 0 };
    // Colours from a table or of other kinds, the result, opacity, and where there is no data.
    let bytes_per_pixel = stored + converted.max(jpeg) + 3 + 3 + 2;
    Ok(DeclaredSize { width, height, bytes_per_pixel })
}

/// Refuses what the decoder would take memory for that the picture's size does not explain.
fn check_pieces(directory: &Directory, size: &DeclaredSize) -> Result<(), DecodeError> {
    if chunks(directory, size).is_none_or(|chunks| chunks > MOST_CHUNKS) {
        return Err(broken("it is divided into too many strips or tiles"));
    }
    let side = |tag| directory.number(tag).unwrap_or(0);
    let tile = side(directory::TILE_WIDTH).saturating_mul(side(directory::TILE_LENGTH));
    if tile > size.pixels().max(LARGE_TILE_PX) {
        return Err(broken("its tiles are larger than the picture"));
    }
    Ok(())
}

/// Number of strips or tiles.
fn chunks(directory: &Directory, size: &DeclaredSize) -> Option<u64> {
    let side = |tag, default: u32| directory.number(tag).unwrap_or(u64::from(default)).max(1);
    let across = match directory.place(directory::TILE_WIDTH) {
        Some(_) => u64::from(size.width).div_ceil(side(directory::TILE_WIDTH, size.width)),
        None => 1,
    };
    let rows = if directory.place(directory::TILE_WIDTH).is_some() {
        directory::TILE_LENGTH
    } else {
        directory::ROWS_PER_STRIP
    };
    let down = u64::from(size.height).div_ceil(side(rows, size.height));
    let planes = if directory.number(directory::PLANAR) == Some(2) {
        directory.number(directory::SAMPLES_PER_PIXEL).unwrap_or(1)
    } else {
        1
    };
    across.checked_mul(down)?.checked_mul(planes)
}

/// Whether there are pages after the first.
pub(super) fn has_several_pages(bytes: &[u8]) -> bool {
    directory::pages(&mut Cursor::new(bytes)).is_ok_and(|mut pages| matches!(pages.nth(1), Some(Ok(_))))
}

/// Reads a page, counted from 0, with at most `most` bytes of memory for its samples; and its EXIF orientation.
pub(super) fn read(bytes: &[u8], page: u32, most: u64) -> Result<(Page, u8), DecodeError> {
    let directory = directory::page(&mut Cursor::new(bytes), page).map_err(cut_off)?;
    let size = declared(&directory)?;
    check_pieces(&directory, &size)?;
    let photometric = directory.number(directory::PHOTOMETRIC).unwrap_or(u64::MAX);
    if photometric > YCBCR {
        return Err(unsupported(match photometric {
            8..=10 => "colours of L*a*b*",
            32803 | 34892 => "a sensor's own values",
            _ => "samples of an unknown meaning",
        }));
    }
    let is_jpeg = directory.number(directory::COMPRESSION) == Some(JPEG);

    let usize_most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut limits = Limits::unlimited();
    limits.decoding_buffer_size = usize_most;
    limits.intermediate_buffer_size = usize_most;
    limits.ifd_value_size = Limits::default().ifd_value_size;
    let file = Overlaid::new(bytes, &directory);
    let mut decoder = Decoder::new(file).map_err(failed)?.with_limits(limits.clone());
    if decoder.dimensions().map_err(failed)? != (size.width, size.height) {
        return Err(broken("its directory says two sizes"));
    }
    let subsampling: Option<Vec<u16>> = decoder.find_tag_unsigned_vec(Tag::ChromaSubsampling).map_err(failed)?;
    if photometric == YCBCR && !is_jpeg && subsampling != Some(vec![1, 1]) {
        return Err(unsupported("colours of fewer samples than brightness, not compressed by JPEG"));
    }
    if is_jpeg {
        check_jpegs(bytes, &mut decoder, directory.number(directory::PLANAR) == Some(2))?;
    }
    let bits = directory.number(directory::BITS_PER_SAMPLE).unwrap_or(1) as u32;
    let bands = directory.number(directory::SAMPLES_PER_PIXEL).unwrap_or(1) as usize;
    let mut result = DecodingResult::U8(Vec::new());
    let layout = decoder.image_buffer_layout().map_err(failed)?;
    if layout.complete_len > usize_most {
        return Err(DecodeError::MoreThanDeclared);
    }
    if decoder.get_chunk_type() == ChunkType::Tile {
        result.resize_to(&layout, &limits).map_err(failed)?;
        let samples = if layout.planes > 1 { 1 } else { bands };
        read_tiles(&mut decoder, &layout, samples * bits as usize, result.as_buffer(0).as_bytes_mut())?;
    } else {
        decoder.read_image_to_buffer(&mut result).map_err(failed)?;
    }

    let planar = layout.planes > 1;
    let (width, height) = (size.width as usize, size.height as usize);
    let row = if planar { width } else { width * bands };
    let signed = layout.sample_format == SampleFormat::Int;
    let values = match result {
        DecodingResult::U8(values) if bits < 8 => {
            let stride = layout.row_stride.map_or(1, usize::from);
            Values::U8(unpacked(&values, stride, row, bits as usize))
        }
        DecodingResult::U8(values) => Values::U8(values),
        DecodingResult::U16(values) => Values::U16(values),
        DecodingResult::I8(_) if bits < 8 => return Err(unsupported("whole numbers with a sign of fewer than 8 bits")),
        DecodingResult::I8(values) => Values::F32(values.into_iter().map(f32::from).collect()),
        DecodingResult::I16(values) => Values::F32(values.into_iter().map(f32::from).collect()),
        DecodingResult::F16(values) => Values::F32(values.into_iter().map(f32::from).collect()),
        DecodingResult::F32(values) => Values::F32(values),
        DecodingResult::U32(values) => Values::F64(values.into_iter().map(f64::from).collect()),
        DecodingResult::I32(values) => Values::F64(values.into_iter().map(f64::from).collect()),
        DecodingResult::F64(values) => Values::F64(values),
        DecodingResult::U64(_) | DecodingResult::I64(_) => return Err(unsupported("whole numbers of 64 bits")),
    };
    let colour = match photometric {
        WHITE_IS_ZERO => Colour::WhiteIsZero,
        PALETTE => Colour::Palette(palette(&mut decoder, bits)?),
        CMYK => Colour::Cmyk,
        YCBCR => Colour::YCbCr,
        _ => Colour::Light,
    };
    let of_colour = match photometric {
        RGB | YCBCR => 3,
        CMYK => 4,
        _ => 1,
    };
    let page = Page {
        width,
        height,
        bands,
        values,
        planar,
        bits,
        signed,
        colour,
        alpha: alpha(&mut decoder, bands, of_colour),
        nodata: nodata(&mut decoder),
        lossless: !is_jpeg && matches!(photometric, WHITE_IS_ZERO | BLACK_IS_ZERO | RGB | PALETTE | MASK),
    };
    let needed = if planar { row * height * bands } else { row * height };
    if page.values.len() < needed {
        return Err(DecodeError::Truncated);
    }
    Ok((page, directory.number(directory::ORIENTATION).map_or(1, |value| value as u8)))
}

/// Reads tile after tile, each at once and whole. The decoder's own way takes the last tiles of all planes but the first for
/// larger ones than there are, and panics; and its reader of LZW finds no end if it is asked for the last row alone.
fn read_tiles<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    layout: &BufferLayoutPreference,
    bits_per_pixel: usize,
    target: &mut [u8],
) -> Result<(), DecodeError> {
    let (width, height) = decoder.dimensions().map_err(failed)?;
    let (tile_width, tile_height) = decoder.chunk_dimensions();
    let (across, down) = (width.div_ceil(tile_width), height.div_ceil(tile_height));
    let [row, plane] = [layout.row_stride, layout.plane_stride].map(|stride| stride.map_or(0, usize::from));
    let row_of_tile = (tile_width as usize * bits_per_pixel).div_ceil(8);
    let mut tile = DecodingResult::U8(Vec::new());
    for index in 0..across * down * layout.planes as u32 {
        decoder.read_chunk_to_buffer(&mut tile, index, row_of_tile).map_err(failed)?;
        let (of_plane, place) = ((index / (across * down)) as usize, index % (across * down));
        let first_row = place / across * tile_height;
        // Where several tiles lie side by side, their rows are whole bytes.
        let before = (place % across) as usize * row_of_tile;
        let length = row_of_tile.min(row.saturating_sub(before));
        let buffer = tile.as_buffer(0);
        let rows = buffer.as_bytes().chunks_exact(row_of_tile).take((height - first_row) as usize);
        for (from, y) in rows.zip(first_row as usize..) {
            let at = of_plane * plane + y * row + before;
            let to = target.get_mut(at..at + length).ok_or_else(|| broken("its tiles do not fit the picture"))?;
            to.copy_from_slice(&from[..length]);
        }
    }
    Ok(())
}

/// Every strip or tile must be a whole JPEG of its own size: its decoder would fill up what is missing, and take memory for
/// what is too much.
fn check_jpegs<R: Read + Seek>(bytes: &[u8], decoder: &mut Decoder<R>, planar: bool) -> Result<(), DecodeError> {
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    let (_, height) = decoder.dimensions().map_err(failed)?;
    let (offsets, counts, most_rows) = match decoder.get_chunk_type() {
        // The only strip may be said to have more rows than there are.
        ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts, chunk_height.min(height)),
        ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts, chunk_height),
    };
    let offsets = decoder.get_tag_u64_vec(offsets).map_err(failed)?;
    let counts = decoder.get_tag_u64_vec(counts).map_err(failed)?;
    let bands = decoder.find_tag_unsigned(Tag::SamplesPerPixel).map_err(failed)?.unwrap_or(1u16);
    let bands = if planar { 1 } else { bands };
    for (index, (offset, count)) in offsets.into_iter().zip(counts).enumerate() {
        let place = usize::try_from(offset).ok().zip(usize::try_from(offset.saturating_add(count)).ok());
        let chunk = place.and_then(|(start, end)| bytes.get(start..end)).ok_or(DecodeError::Truncated)?;
        let structure = jpeg::structure(chunk);
        let (_, rows) = decoder.chunk_data_dimensions(index as u32);
        let [width, height] = [structure.width, structure.height].map(u32::from);
        let fits = width == chunk_width && (rows..=most_rows).contains(&height);
        if !structure.complete {
            return Err(DecodeError::Truncated);
        }
        if !fits || u16::from(structure.components) != bands {
            return Err(broken("a strip or tile has another size than the directory says"));
        }
    }
    Ok(())
}

/// The table of colours, of 16 bits each: all reds, then all greens, then all blues.
fn palette<R: Read + Seek>(decoder: &mut Decoder<R>, bits: u32) -> Result<Vec<[u8; 3]>, DecodeError> {
    let table: Vec<u16> = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(failed)?;
    let colours = 1usize.checked_shl(bits).filter(|&colours| bits <= 16 && table.len() >= 3 * colours);
    let colours = colours.ok_or_else(|| broken("its table of colours is too short"))?;
    // Some writers fill in 8 bits.
    let is_wide = table.iter().any(|&value| value > 255);
    let eight_bits = |value: u16| if is_wide { ((u32::from(value) + 128) / 257) as u8 } else { value as u8 };
    Ok((0..colours).map(|index| [0, 1, 2].map(|channel| eight_bits(table[channel * colours + index]))).collect())
}

/// The band that the file says to be the opacity.
fn alpha<R: Read + Seek>(decoder: &mut Decoder<R>, bands: usize, of_colour: usize) -> Option<Alpha> {
    let extra: Vec<u16> = decoder.find_tag_unsigned_vec(Tag::ExtraSamples).ok()??;
    let first = bands.checked_sub(extra.len()).filter(|&first| first >= of_colour.min(bands))?;
    let position = extra.iter().position(|&kind| matches!(kind, 1 | 2))?;
    Some(Alpha { band: first + position, premultiplied: extra[position] == 1 })
}

/// The value in GDAL's tag, a text.
fn nodata<R: Read + Seek>(decoder: &mut Decoder<R>) -> Option<f64> {
    let text = decoder.find_tag(Tag::GdalNodata).ok()??.into_string().ok()?;
    text.trim_end_matches('\0').trim().parse().ok()
}

/// A TIFF whose first directory is another, and in which samples are said to be brightness.
struct Overlaid<'a> {
    file: Cursor<&'a [u8]>,
    /// What is read instead, and where.
    patches: Vec<(u64, Vec<u8>)>,
}

impl<'a> Overlaid<'a> {
    fn new(bytes: &'a [u8], directory: &Directory) -> Self {
        let place = directory.place(directory::PHOTOMETRIC);
        let brightness = place.map(|number| (number.at, directory.stored(BLACK_IS_ZERO, number.bytes)));
        Self { file: Cursor::new(bytes), patches: brightness.into_iter().chain([directory.as_first()]).collect() }
    }
}

impl Read for Overlaid<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = self.file.position();
        let count = self.file.read(buffer)?;
        for (at, value) in &self.patches {
            for (at, byte) in (*at..).zip(value) {
                let place = at.checked_sub(start).and_then(|place| usize::try_from(place).ok());
                if let Some(place) = place.and_then(|place| buffer[..count].get_mut(place)) {
                    *place = *byte;
                }
            }
        }
        Ok(count)
    }
}

impl Seek for Overlaid<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// An error of reading a directory.
pub(super) fn cut_off(error: io::Error) -> DecodeError {
    match error.kind() {
        io::ErrorKind::InvalidData => broken("its directory has too many entries"),
        _ => DecodeError::Truncated,
    }
}

fn failed(error: TiffError) -> DecodeError {
    match error {
        TiffError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => DecodeError::Truncated,
        TiffError::LimitsExceeded => DecodeError::MoreThanDeclared,
        TiffError::UnsupportedError(error) => unsupported(error.to_string()),
        TiffError::FormatError(TiffFormatError::InvalidDimensions(width, height)) => {
            DecodeError::NoPixels { width, height }
        }
        error => broken(error.to_string()),
    }
}

fn unsupported(what: impl Into<String>) -> DecodeError {
    DecodeError::Unsupported { what: format!("a TIFF of {}", what.into()) }
}

fn broken(reason: impl Into<String>) -> DecodeError {
    DecodeError::Broken { reason: reason.into() }
}

#[cfg(test)]
mod tests;
