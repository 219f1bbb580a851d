//! Which values become black and white, in all bands alike so that colours stay what they are.

use crate::pixels::page::{Colour, Page, Values};
use crate::pixels::settings::{DecodeConfig, ValueRange};

/// The values that become black and white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    low: f64,
    high: f64,
}

/// What a picture's values are judged by: so many of them, evenly spread over it.
const SAMPLED: usize = 1 << 19;
/// Bits that sensors and converters have.
const USUAL_BITS: [i32; 4] = [10, 12, 14, 16];
/// A range is taken whole if the picture fills so much of it.
const WELL_FILLED: f64 = 0.5;
/// Percent of the values that may lie beyond either end: hot pixels must not make the rest dark.
const BEYOND: f64 = 0.1;

/// The range by the settings and, where these leave it open, by those pixels that count.
pub(super) fn chosen(
    page: &Page,
    bands: [usize; 3],
    settings: &DecodeConfig,
    counts: impl Fn(usize) -> bool,
    remarks: &mut Vec<String>,
) -> Range {
    let (least, most) = page.full_range();
    let full = Range { low: least, high: most };
    match settings.range {
        ValueRange::Full => full,
        ValueRange::Between(low, high) => Range { low, high },
        ValueRange::Auto if matches!(page.values, Values::U8(_)) => full,
        ValueRange::Auto => {
            let values = sampled(page, bands, counts);
            let (range, what) = own_range(page, &values);
            let Range { low, high } = range;
            if range != full {
                remarks.push(format!(
                    "its values from {low} to {high}{what} are shown from black to white; `pixels.range` says otherwise"
                ));
            }
            range
        }
        ValueRange::Percentile(percent) => {
            let values = sampled(page, bands, counts);
            let (low, high) = (percentile(&values, percent), percentile(&values, 100.0 - percent));
            remarks.push(format!(
                "its values from {low} to {high} (`pixels.range` percentile:{percent}) are shown from black to white"
            ));
            Range { low, high }
        }
    }
}

/// The usual range that values fill well, or else that of nearly all of them.
fn own_range(page: &Page, values: &[f64]) -> (Range, String) {
    let (Some(&least), Some(&most)) = (values.first(), values.last()) else {
        return (Range { low: 0.0, high: 1.0 }, String::new());
    };
    let (low, high) = (percentile(values, BEYOND), percentile(values, 100.0 - BEYOND));
    if page.is_whole() && low == high {
        // All of one brightness, which only the type tells.
        let (low, high) = page.full_range();
        return (Range { low, high }, String::new());
    }
    let is_filled = |end: f64| least >= 0.0 && most <= end && high - low >= WELL_FILLED * end;
    if page.is_whole() {
        let bits = USUAL_BITS.into_iter().find(|&bits| is_filled(2f64.powi(bits) - 1.0));
        if let Some(bits) = bits {
            return (Range { low: 0.0, high: 2f64.powi(bits) - 1.0 }, format!(" ({bits} bits)"));
        }
    } else if let Some(end) = [1.0, 255.0].into_iter().find(|&end| is_filled(end)) {
        return (Range { low: 0.0, high: end }, String::new());
    }
    (Range { low, high }, " (its own)".into())
}

/// Values of the pixels that count, in order.
fn sampled(page: &Page, bands: [usize; 3], counts: impl Fn(usize) -> bool) -> Vec<f64> {
    let step = page.pixels().div_ceil(SAMPLED).max(1);
    let bands = if bands == [bands[0]; 3] { &bands[..1] } else { &bands[..] };
    let pixels = (0..page.pixels()).step_by(step).filter(|&pixel| counts(pixel));
    let values = pixels.flat_map(|pixel| bands.iter().map(move |&band| page.at(pixel, band)));
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Of ordered values; 0 where there are none.
fn percentile(values: &[f64], percent: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    let at = (percent / 100.0 * last as f64).round() as usize;
    values.get(at.min(last)).copied().unwrap_or(0.0)
}

/// The bands in eight bits. What is no number becomes black.
pub(super) fn scaled(page: &Page, bands: [usize; 3], range: Range) -> Vec<[u8; 3]> {
    let is_inverted = page.colour == Colour::WhiteIsZero;
    let width = range.high - range.low;
    let eight_bits = |value: f64| {
        // A picture of one value is of one grey.
        let share = if width > 0.0 { (value - range.low) / width } else { 0.5 };
        let grey = (255.0 * share).round() as u8;
        if is_inverted { 255 - grey } else { grey }
    };
    let mut image = vec![[0u8; 3]; page.pixels()];
    let of_whole = |most: u16| (0..=most).map(|value| eight_bits(f64::from(value))).collect::<Vec<u8>>();
    match &page.values {
        Values::U8(values) => {
            let table = of_whole(255);
            fill(&mut image, page, bands, values, |value| table[usize::from(value)]);
        }
        Values::U16(values) => {
            let table = of_whole(u16::MAX);
            fill(&mut image, page, bands, values, |value| table[usize::from(value)]);
        }
        Values::F32(values) => fill(&mut image, page, bands, values, |value| eight_bits(f64::from(value))),
        Values::F64(values) => fill(&mut image, page, bands, values, eight_bits),
    }
    image
}

fn fill<T: Copy>(image: &mut [[u8; 3]], page: &Page, bands: [usize; 3], values: &[T], grey: impl Fn(T) -> u8) {
    let [first, ..] = bands;
    let (start, step) = page.place(first);
    let is_grey = bands == [first; 3];
    for (pixel, &value) in image.iter_mut().zip(values[start..].iter().step_by(step)) {
        *pixel = [grey(value); 3];
    }
    for (channel, &band) in bands.iter().enumerate().skip(if is_grey { 3 } else { 1 }) {
        let (start, step) = page.place(band);
        for (pixel, &value) in image.iter_mut().zip(values[start..].iter().step_by(step)) {
            pixel[channel] = grey(value);
        }
    }
}
