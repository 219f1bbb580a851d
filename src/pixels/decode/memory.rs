//! A picture whose samples are in memory already.

use super::error::DecodeError;
use super::{is_shown_as_stored, nodata, shown};
use crate::pixels::page::{Page, Values};
use crate::pixels::picture::Picture;
use crate::pixels::settings::DecodeConfig;
use crate::raster::RgbImage;

/// The samples of a picture, row by row, those of a pixel side by side, `[height, width, bands]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Samples<'a> {
    /// The last of two or four bands is the opacity.
    U8(&'a [u8]),
    U16(&'a [u16]),
    /// What is no number has no data.
    F32(&'a [f32]),
}

impl Samples<'_> {
    fn len(&self) -> usize {
        match self {
            Samples::U8(samples) => samples.len(),
            Samples::U16(samples) => samples.len(),
            Samples::F32(samples) => samples.len(),
        }
    }
}

/// A picture of samples in memory: bands, range, opacity and places without data as [`decode`](super::decode) has them of a
/// file, but that no edge is taken for empty by its looks. Copies the samples, once where they are plain red, green and blue.
///
/// # Errors
/// If there are no pixels, none has data, or there is no such band as the settings name.
///
/// # Panics
/// If there are not `width` × `height` × `bands` samples.
pub fn picture_of_samples(
    width: usize,
    height: usize,
    bands: usize,
    samples: Samples,
    settings: &DecodeConfig,
) -> Result<Picture, DecodeError> {
    assert_eq!(samples.len(), width * height * bands, "whole pixels");
    if samples.len() == 0 {
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        return Err(DecodeError::NoPixels { width: size(width), height: size(height) });
    }
    if let (Samples::U8(samples), 3, true) = (samples, bands, is_shown_as_stored(settings)) {
        return Ok(RgbImage::from_values(width, height, samples.as_chunks::<3>().0.to_vec()).into());
    }
    let (bits, values) = match samples {
        Samples::U8(samples) => (8, Values::U8(samples.to_vec())),
        Samples::U16(samples) => (16, Values::U16(samples.to_vec())),
        Samples::F32(samples) => (32, Values::F32(samples.to_vec())),
    };
    let bytes = Page::of_bytes(width, height, bands, Vec::new());
    // Wider types mostly hold what somebody measured, whose last band is a band like the others.
    let alpha = bytes.alpha.filter(|_| bits == 8);
    let mut remarks = Vec::new();
    let (image, outside) = shown(Page { values, bits, alpha, lossless: false, ..bytes }, settings, &mut remarks)?;
    let image = match &outside {
        Some(outside) => nodata::filled(image, outside).ok_or(DecodeError::NoData)?,
        None => image,
    };
    Ok(Picture { image, outside, remarks, orientation: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::settings::{Bands, ValueRange};
    use crate::raster::Raster;

    const DEFAULT: DecodeConfig = DecodeConfig::DEFAULT;

    #[test]
    fn every_kind_of_samples_shows_the_same_picture() {
        let grey: Vec<u8> = (0..=255).collect();
        let expected = RgbImage::from_values(32, 8, grey.iter().map(|&value| [value; 3]).collect());
        let wide: Vec<u16> = grey.iter().map(|&value| u16::from(value) * 257).collect();
        let real: Vec<f32> = grey.iter().map(|&value| f32::from(value) / 255.0).collect();
        let triple: Vec<u8> = expected.values.as_flattened().to_vec();
        let opaque: Vec<u8> = expected.values.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
        for (bands, samples) in [
            (1, Samples::U8(&grey)),
            (1, Samples::U16(&wide)),
            (1, Samples::F32(&real)),
            (3, Samples::U8(&triple)),
            (4, Samples::U8(&opaque)),
        ] {
            let picture = picture_of_samples(32, 8, bands, samples, &DEFAULT).unwrap();
            assert_eq!(
                (picture.image, picture.outside, picture.orientation),
                (expected.clone(), None, 1),
                "{samples:?}"
            );
        }
        let green = DecodeConfig { bands: Some(Bands::One(2)), range: ValueRange::Full, ..DEFAULT };
        let picture = picture_of_samples(1, 1, 4, Samples::U16(&[0, 65535, 0, 9]), &green).unwrap();
        assert_eq!(picture.image.values, [[255; 3]]);
    }

    #[test]
    fn what_is_no_number_has_no_data() {
        let values = [f32::NAN, 0.0, 0.5, 1.0];
        let picture = picture_of_samples(2, 2, 1, Samples::F32(&values), &DEFAULT).unwrap();
        assert_eq!(picture.outside.unwrap().values, [1, 0, 0, 0]);
        assert!(!picture.remarks.is_empty());
        let read = |width, samples| picture_of_samples(width, 1, 1, samples, &DEFAULT);
        assert!(matches!(read(1, Samples::F32(&[f32::NAN])), Err(DecodeError::NoData)));
        assert!(matches!(read(0, Samples::U8(&[])), Err(DecodeError::NoPixels { .. })));
        // Black edges of what is in memory stay what they are.
        let black: Vec<u8> = (0..64).map(|place| if place % 8 < 3 { 0 } else { 90 }).collect();
        assert_eq!(picture_of_samples(8, 8, 1, Samples::U8(&black), &DEFAULT).unwrap().outside, None::<Raster<u8>>);
    }
}
