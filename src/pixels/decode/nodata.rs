//! Where a picture has no data.

use super::edges;
use crate::pixels::page::{Page, Values};
use crate::pixels::settings::{DecodeConfig, NoData};
use crate::raster::{Mask, Raster, RgbImage};

/// Pixels whose bands all have the value that says so, or one of which is no number; 1 is without data.
pub(super) fn by_value(page: &Page, settings: &DecodeConfig, remarks: &mut Vec<String>) -> Option<Mask> {
    let (value, named) = match settings.nodata {
        NoData::None => return None,
        NoData::Value(value) => (Some(value), "the value of `pixels.nodata`"),
        NoData::Auto => (page.nodata, "a value that the file names for it"),
    };
    let is_float = matches!(page.values, Values::F32(_) | Values::F64(_)) && !page.is_whole();
    if value.is_none() && !is_float {
        return None;
    }
    let opacity = page.alpha.map(|alpha| alpha.band);
    let bands: Vec<usize> = (0..page.bands).filter(|&band| Some(band) != opacity || page.bands == 1).collect();
    // Texts have more digits than single precision.
    let is_single = matches!(page.values, Values::F32(_));
    let is_empty =
        |found: f64| value.is_some_and(|value| found == value || (is_single && found as f32 == value as f32));
    let is_outside = |pixel: usize| {
        bands.iter().all(|&band| is_empty(page.at(pixel, band)))
            || (is_float && bands.iter().any(|&band| page.at(pixel, band).is_nan()))
    };
    let outside = Raster::from_values(
        page.width,
        page.height,
        (0..page.pixels()).map(|pixel| u8::from(is_outside(pixel))).collect(),
    );
    noted(outside, if value.is_some() { named } else { "values that are no numbers" }, remarks)
}

/// Empty edges of a page that no compression has changed.
pub(super) fn empty_edges(
    page: &Page,
    bands: [usize; 3],
    settings: &DecodeConfig,
    remarks: &mut Vec<String>,
) -> Option<Mask> {
    if settings.nodata != NoData::Auto || !page.lossless || !page.is_whole() || page.alpha.is_some() || page.bits < 8 {
        return None;
    }
    let (least, most) = page.full_range();
    let has = |value: f64| move |pixel: usize| bands.iter().all(|&band| page.at(pixel, band) == value);
    let ends = [least.max(0.0), most];
    let found = ends.into_iter().find_map(|value| edges::empty(page.width, page.height, has(value)));
    noted(found?, "empty edges", remarks)
}

/// Where an image has no data that is shown as it is stored.
pub(super) fn of_image(
    image: &RgbImage,
    lossless: bool,
    settings: &DecodeConfig,
    remarks: &mut Vec<String>,
) -> Option<Mask> {
    match settings.nodata {
        NoData::None => None,
        NoData::Auto if !lossless => None,
        NoData::Auto => {
            let has = |value: u8| move |pixel: usize| image.values[pixel] == [value; 3];
            let found = [0, u8::MAX].into_iter().find_map(|value| edges::empty(image.width, image.height, has(value)));
            noted(found?, "empty edges", remarks)
        }
        NoData::Value(value) => {
            let outside = image.map(|pixel| u8::from(pixel.iter().all(|&channel| f64::from(channel) == value)));
            noted(outside, "the value of `pixels.nodata`", remarks)
        }
    }
}

/// None where all pixels have data; else said in a remark.
fn noted(outside: Mask, why: &str, remarks: &mut Vec<String>) -> Option<Mask> {
    let count = outside.values.iter().filter(|&&value| value != 0).count();
    if count == 0 {
        return None;
    }
    let percent = 100.0 * count as f64 / outside.values.len() as f64;
    remarks.push(format!("{percent:.1} % of its pixels are without data ({why}); `pixels.nodata` none keeps them"));
    Some(outside)
}

/// The image with the mean colour of its pixels with data where it has none, so that features of neighbours are not disturbed;
/// none where it has none at all.
pub(super) fn filled(mut image: RgbImage, outside: &Mask) -> Option<RgbImage> {
    let mut sums = [0u64; 3];
    let mut count = 0u64;
    for (pixel, _) in image.values.iter().zip(&outside.values).filter(|(_, outside)| **outside == 0) {
        count += 1;
        for (sum, &channel) in sums.iter_mut().zip(pixel) {
            *sum += u64::from(channel);
        }
    }
    if count == 0 {
        return None;
    }
    let mean = sums.map(|sum| ((sum + count / 2) / count) as u8);
    for (pixel, _) in image.values.iter_mut().zip(&outside.values).filter(|(_, outside)| **outside != 0) {
        *pixel = mean;
    }
    Some(image)
}
