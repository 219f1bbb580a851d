//! Every format's reader, with its limits.

use std::borrow::Cow;
use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::error::DecodeError;
use super::{Decoded, Pixels, ResizedTo, is_shown_as_stored};
use crate::files::Format;
use crate::pixels::frames::SEVERAL_FRAMES;
use crate::pixels::header::{Declared, DeclaredSize};
use crate::pixels::orientation::QuarterTurn;
use crate::pixels::page::Page;
use crate::pixels::settings::{DecodeConfig, NoData};
use crate::pixels::{gif, jpeg, png, tiff};
use crate::raster::Raster;

/// For what has no part in the picture's size, such as colour profiles.
const SLACK_BYTES: u64 = 16 << 20;

/// How much memory a picture may take.
pub(super) struct Budget<'a> {
    settings: &'a DecodeConfig,
    /// By the settings.
    most: u64,
    /// Profiles and frames may ask for memory that the picture's size does not explain.
    explained: u64,
}

impl<'a> Budget<'a> {
    pub fn new(size: Option<DeclaredSize>, settings: &'a DecodeConfig) -> Self {
        let explained = size.map_or(u64::MAX, |size| size.bytes().saturating_add(SLACK_BYTES));
        Self { settings, most: settings.max_mebibytes.saturating_mul(1 << 20), explained }
    }

    pub fn bytes(&self) -> u64 {
        self.most.min(self.explained)
    }

    pub fn check(&self, needed: u64) -> Result<(), DecodeError> {
        if needed > self.most { Err(DecodeError::too_much_memory(self.settings)) } else { Ok(()) }
    }

    /// What an error means whose decoder knows of one limit only.
    pub fn explain(&self, error: DecodeError) -> DecodeError {
        match error {
            DecodeError::TooMuchMemory { .. } if self.explained < self.most => DecodeError::MoreThanDeclared,
            DecodeError::MoreThanDeclared if self.most <= self.explained => DecodeError::too_much_memory(self.settings),
            other => other,
        }
    }

    pub fn sides(&self, width: u32, height: u32) -> Result<(usize, usize), DecodeError> {
        let side = |side: u32| usize::try_from(side).map_err(|_| DecodeError::too_much_memory(self.settings));
        Ok((side(width)?, side(height)?))
    }
}

/// Bytes that turning a result upright takes, the result included.
fn turning(size: DeclaredSize, orientation: Orientation) -> u64 {
    if orientation == Orientation::NoTransforms { 0 } else { size.pixels().saturating_mul(2 * 3) }
}

pub(super) fn png(
    bytes: &[u8],
    declared: &Declared,
    settings: &DecodeConfig,
    announce: impl FnOnce(u64),
) -> Result<Decoded, DecodeError> {
    declared.size.map_or(Ok(()), |size| size.check(settings))?;
    let budget = Budget::new(declared.size, settings);
    let most = usize::try_from(budget.bytes()).unwrap_or(usize::MAX);
    let mut opened = png::Opened::new(bytes, most, true).map_err(|error| budget.explain(error))?;
    let (width, height) = budget.sides(opened.width, opened.height)?;
    let size = DeclaredSize { width: opened.width, height: opened.height, bytes_per_pixel: 3 };
    size.check(settings)?;
    let orientation = opened.orientation();
    let stored = opened.stored_bytes as u64;
    let result = if opened.is_rgb() { size.pixels() } else { size.pixels().saturating_mul(3 + 1 + 1) };
    let needed = stored + result + opened.converted_bytes();
    let needed = needed.max(turning(size, orientation));
    budget.check(needed)?;
    announce(needed);
    let remarks = opened.remarks.iter().map(ToString::to_string).collect();
    let pixels = if opened.is_rgb() {
        let mut values = vec![[0u8; 3]; width * height];
        opened.read_into(values.as_flattened_mut()).map_err(|error| budget.explain(error))?;
        Pixels::Rgb { image: Raster::from_values(width, height, values), lossless: true }
    } else {
        Pixels::Page(opened.read().map_err(|error| budget.explain(error))?)
    };
    Ok(Decoded { pixels, orientation, remarks })
}

pub(super) fn tiff(
    bytes: &[u8],
    declared: &Declared,
    page: Option<u32>,
    settings: &DecodeConfig,
    announce: impl FnOnce(u64),
) -> Result<Decoded, DecodeError> {
    let budget = Budget::new(declared.size, settings);
    let size = declared.size.ok_or(DecodeError::Truncated)?;
    size.check(settings)?;
    budget.check(size.bytes())?;
    announce(size.bytes());
    let mut remarks = Vec::new();
    if page.is_none() && tiff::has_several_pages(bytes) {
        remarks.push(
            "it has several pages, of which the first is taken; `data.frames` = \"all\" takes every one".to_string(),
        );
    }
    let (page, orientation) = tiff::read(bytes, page.unwrap_or(0), budget.bytes())?;
    let orientation = Orientation::from_exif(orientation).unwrap_or(Orientation::NoTransforms);
    Ok(Decoded { pixels: Pixels::Page(page), orientation, remarks })
}

#[cfg(feature = "avif")]
pub(super) fn avif(
    bytes: &[u8],
    declared: &Declared,
    settings: &DecodeConfig,
    announce: impl FnOnce(u64),
) -> Result<Decoded, DecodeError> {
    let size = declared.size.ok_or(DecodeError::Truncated)?;
    size.check(settings)?;
    Budget::new(declared.size, settings).check(size.bytes())?;
    announce(size.bytes());
    let (page, orientation) = crate::pixels::avif::read(bytes)?;
    Ok(Decoded { pixels: Pixels::Page(page), orientation, remarks: Vec::new() })
}

/// A JPEG, in full or, where it is brought to a smaller size anyway, at a fraction of its own.
pub(super) fn jpeg(
    bytes: &[u8],
    declared: &Declared,
    settings: &DecodeConfig,
    target: Option<&ResizedTo>,
    announce: impl FnOnce(u64),
) -> Result<Decoded, DecodeError> {
    let structure = jpeg::structure(bytes);
    if let Some(decoded) = target.and_then(|target| reduced_jpeg(bytes, &structure, declared, settings, target)) {
        return Ok(decoded);
    }
    let mut remarks = Vec::new();
    let mut file = Cow::Borrowed(bytes);
    if structure.lacks_tables {
        file = Cow::Owned(jpeg::with_standard_tables(bytes));
        remarks.push("it has no Huffman tables; the standard's were taken".to_string());
    }
    let mut decoded = if structure.complete {
        scans_or_common(&file, &structure, declared, settings, announce)?
    } else {
        if !structure.has_all_scans() {
            return Err(DecodeError::Truncated);
        }
        remarks.push("its end marker is missing, but nothing of the picture".to_string());
        completed(&file, &structure, declared, settings, announce)?
    };
    decoded.remarks = remarks;
    Ok(decoded)
}

/// A whole file at a fraction of its size; none where it must be read in full, or cannot be read in this way: reading it in full will
/// tell why.
fn reduced_jpeg(
    bytes: &[u8],
    structure: &jpeg::Structure,
    declared: &Declared,
    settings: &DecodeConfig,
    target: &ResizedTo,
) -> Option<Decoded> {
    // Where the values of single pixels count, none is averaged.
    if !is_shown_as_stored(settings) || matches!(settings.nodata, NoData::Value(_)) {
        return None;
    }
    declared.size?.check(settings).ok()?;
    let budget = Budget::new(declared.size, settings);
    let orientation = jpeg_orientation(bytes);
    let (width, height) = (usize::from(structure.width), usize::from(structure.height));
    let [across, down] = if QuarterTurn::from_exif(orientation.to_exif()).is_some() {
        target(height, width).map(|[width, height]| [height, width])
    } else {
        target(width, height)
    }?;
    let factor = structure.reduction([across, down])?;
    // What a decoder of the whole picture takes, coefficients included, is more, and has room.
    budget.check(declared.size?.bytes()).ok()?;
    let jpeg::reduced::Reduced { width, height, bands, values } = jpeg::reduced::read(bytes, structure, factor)?;
    let pixels = if bands == 3 {
        let values = values.as_chunks::<3>().0.to_vec();
        Pixels::Rgb { image: Raster::from_values(width, height, values), lossless: false }
    } else {
        let mut page = Page::of_bytes(width, height, bands, values);
        page.lossless = false;
        Pixels::Page(page)
    };
    Some(Decoded { pixels, orientation, remarks: Vec::new() })
}

/// A file without its end marker, if nothing else is missing.
///
/// Its decoder makes up what is missing: if something is, the picture depends on what is put in its place.
fn completed(
    bytes: &[u8],
    structure: &jpeg::Structure,
    declared: &Declared,
    settings: &DecodeConfig,
    announce: impl FnOnce(u64),
) -> Result<Decoded, DecodeError> {
    const END: [u8; 2] = [0xFF, 0xD9];
    // Many different codes, and no marker.
    let filling: Vec<u8> = (0..96u8).map(|index| index.wrapping_mul(73).wrapping_add(91) & 0xEF).collect();
    let (plain, filled) = ([bytes, &END].concat(), [bytes, &filling, &END].concat());
    let size = declared.size.map_or(0, |size| size.bytes());
    Budget::new(declared.size, settings).check(size.saturating_mul(2))?;
    let twice = |needed: u64| announce(needed.saturating_mul(2).saturating_add(size + 2 * bytes.len() as u64));
    let one = scans_or_common(&plain, structure, declared, settings, twice)?;
    let other = scans_or_common(&filled, structure, declared, settings, |_| ())?;
    if one.pixels == other.pixels { Ok(one) } else { Err(DecodeError::Truncated) }
}

fn scans_or_common(
    bytes: &[u8],
    structure: &jpeg::Structure,
    declared: &Declared,
    settings: &DecodeConfig,
    announce: impl FnOnce(u64),
) -> Result<Decoded, DecodeError> {
    if !structure.comes_in_scans {
        // Coefficients of 16 bits each.
        let coefficients = if structure.holds_coefficients { 2 * u64::from(structure.components) } else { 0 };
        let container = Container { uncounted_bytes: coefficients, lossless: false, remarks: Vec::new() };
        return common(bytes, declared, container, settings, announce);
    }
    let (width, height) = (u32::from(structure.width), u32::from(structure.height));
    // Planes of all components, and the result.
    let size = DeclaredSize { width, height, bytes_per_pixel: 3 + 3 };
    size.check(settings)?;
    Budget::new(declared.size, settings).check(size.bytes())?;
    announce(size.bytes());
    let (values, bands) = jpeg::scans::read(bytes, structure)?;
    let (width, height) = (usize::from(structure.width), usize::from(structure.height));
    if values.len() != width * height * bands {
        return Err(DecodeError::Broken { reason: "its scans have another size than its frame".into() });
    }
    let mut page = Page::of_bytes(width, height, bands, values);
    page.lossless = false;
    Ok(Decoded { pixels: Pixels::Page(page), orientation: jpeg_orientation(bytes), remarks: Vec::new() })
}

/// From EXIF, as the usual decoder finds it.
fn jpeg_orientation(bytes: &[u8]) -> Orientation {
    let reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Jpeg);
    let orientation = reader.into_decoder().and_then(|mut decoder| decoder.orientation());
    orientation.unwrap_or(Orientation::NoTransforms)
}

/// The formats that one library reads in one way.
pub(super) fn common(
    bytes: &[u8],
    declared: &Declared,
    container: Container,
    settings: &DecodeConfig,
    announce: impl FnOnce(u64),
) -> Result<Decoded, DecodeError> {
    let budget = Budget::new(declared.size, settings);
    let failed = |error| budget.explain(DecodeError::from_image(error, settings));
    let format = match declared.format {
        Format::Jpeg => ImageFormat::Jpeg,
        Format::WebP => ImageFormat::WebP,
        Format::Bmp => ImageFormat::Bmp,
        Format::Gif => ImageFormat::Gif,
        #[cfg(feature = "avif")]
        Format::Avif => return Err(DecodeError::UnknownFormat),
        Format::Png | Format::Tiff => return Err(DecodeError::UnknownFormat),
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(budget.bytes());
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(failed)?;

    let (width, height) = decoder.dimensions();
    let size = DeclaredSize { width, height, bytes_per_pixel: 3 };
    size.check(settings)?;
    // The decoders read orientation from EXIF; a file without a legible one is upright.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    let result_bytes = if color == ColorType::Rgb8 { 0 } else { size.bytes() };
    let uncounted_bytes = container.uncounted_bytes.saturating_mul(size.pixels());
    let stored_bytes = decoder.total_bytes().saturating_add(uncounted_bytes);
    let needed = stored_bytes.saturating_add(result_bytes).max(turning(size, orientation));
    budget.check(needed)?;
    // The decoder of JPEG copies the file.
    announce(needed.saturating_add(if format == ImageFormat::Jpeg { bytes.len() as u64 } else { 0 }));
    limits.reserve(decoder.total_bytes()).map_err(failed)?;
    decoder.set_limits(limits).map_err(failed)?;
    let (width, height) = budget.sides(width, height)?;
    let pixels = if color == ColorType::Rgb8 {
        let mut values = vec![[0u8; 3]; width * height];
        decoder.read_image(values.as_flattened_mut()).map_err(failed)?;
        Pixels::Rgb { image: Raster::from_values(width, height, values), lossless: container.lossless }
    } else {
        let bands = match color {
            ColorType::L8 => 1,
            ColorType::La8 => 2,
            ColorType::Rgba8 => 4,
            other => return Err(DecodeError::Unsupported { what: format!("samples of {other:?}") }),
        };
        let total = usize::try_from(decoder.total_bytes()).map_err(|_| DecodeError::too_much_memory(settings))?;
        let mut stored = vec![0u8; total];
        decoder.read_image(&mut stored).map_err(failed)?;
        let mut page = Page::of_bytes(width, height, bands, stored);
        page.lossless = container.lossless;
        Pixels::Page(page)
    };
    Ok(Decoded { pixels, orientation, remarks: container.remarks })
}

/// What a file's container says that its decoder does not.
pub(super) struct Container {
    /// Bytes per pixel that the decoder takes without counting them.
    uncounted_bytes: u64,
    pub lossless: bool,
    remarks: Vec<String>,
}

/// Finds cut-off files by their container where the decoder is silent about them, too.
pub(super) fn container(bytes: &[u8], format: Format) -> Result<Container, DecodeError> {
    let mut container = Container { uncounted_bytes: 0, lossless: true, remarks: Vec::new() };
    match format {
        Format::WebP => {
            // RIFF: the size of all that follows it stands in bytes 4 to 7. Some writers forget the last padding byte.
            let size = bytes.get(4..8).and_then(|field| field.try_into().ok()).map_or(0, u32::from_le_bytes);
            if (bytes.len() as u64) + 1 < u64::from(size) + 8 {
                return Err(DecodeError::Truncated);
            }
            // Lossless pictures are decoded as RGBA, lossy ones as planes of luma and chroma, beside the result.
            container.uncounted_bytes = 4;
            container.lossless = is_lossless_webp(bytes);
            if bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0) {
                container.remarks.push(SEVERAL_FRAMES.into());
            }
        }
        Format::Gif => {
            // Of bytes in memory none is unreadable.
            let structure = gif::structure(&mut Cursor::new(bytes), 2).unwrap_or_default();
            if structure.frames > 1 {
                container.remarks.push(SEVERAL_FRAMES.into());
            }
            if structure.is_covered_in_part {
                container.remarks.push("its first frame covers a part of it; the rest is transparent".into());
            }
        }
        #[cfg(feature = "avif")]
        Format::Avif => {}
        Format::Bmp | Format::Jpeg | Format::Png | Format::Tiff => {}
    }
    Ok(container)
}

/// Whether the first picture among the chunks is of the kind without loss.
fn is_lossless_webp(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((&[a, b, c, d, ref size @ ..], after)) = rest.split_first_chunk::<8>() {
        match &[a, b, c, d] {
            b"VP8L" => return true,
            b"VP8 " => return false,
            // Before the chunks of a frame stand its place and its size.
            b"ANMF" => rest = after.get(16..).unwrap_or_default(),
            _ => rest = after.get((u32::from_le_bytes(*size) as usize).next_multiple_of(2)..).unwrap_or_default(),
        }
    }
    false
}
