//! The segments of a map, and what those of two maps share.

use crate::metrics::MetricError;
use crate::raster::LabelMap;

/// Most pairs of segments that are compared, so that a broken file cannot ask for all memory.
const MAX_SEGMENT_PAIRS: usize = 1 << 24;

/// The segments of a label map, numbered by ascending label. None is empty.
pub struct Segments {
    /// `[pixels]`: the number of each pixel's segment.
    numbers: Vec<u32>,
    /// `[segments]`
    pub areas_px: Vec<u64>,
}

impl Segments {
    pub fn of(map: &LabelMap) -> Self {
        let mut labels = map.values.clone();
        // Neighbouring pixels mostly share their label: sort and look up once per run.
        labels.dedup();
        labels.sort_unstable();
        labels.dedup();
        let mut areas_px = vec![0; labels.len()];
        let mut run = None;
        let number = |&label: &u32| {
            let number = match run {
                Some((known, number)) if known == label => number,
                _ => labels.partition_point(|&other| other < label),
            };
            run = Some((label, number));
            areas_px[number] += 1;
            number as u32
        };
        let numbers = map.values.iter().map(number).collect();
        Self { numbers, areas_px }
    }
}

/// How many pixels every segment of an annotation shares with every segment of a prediction.
pub struct SharedPixels<'a> {
    pub truth: &'a Segments,
    pub predicted: &'a Segments,
    /// `[true segments, predicted segments]`
    pub shared_px: Vec<u64>,
}

/// A pair of segments that touch.
#[derive(Clone, Copy)]
pub struct Pair {
    pub truth: usize,
    pub predicted: usize,
    /// At least 1.
    pub shared_px: u64,
    pub iou: f64,
}

impl<'a> SharedPixels<'a> {
    /// Counts the pixels of two maps of one size.
    pub fn of(truth: &'a Segments, predicted: &'a Segments) -> Result<Self, MetricError> {
        let (rows, columns) = (truth.areas_px.len(), predicted.areas_px.len());
        if rows.checked_mul(columns).is_none_or(|pairs| pairs > MAX_SEGMENT_PAIRS) {
            return Err(MetricError::TooManySegments { truth: rows, predicted: columns });
        }
        let mut shared_px = vec![0; rows * columns];
        for (&row, &column) in truth.numbers.iter().zip(&predicted.numbers) {
            shared_px[row as usize * columns + column as usize] += 1;
        }
        Ok(Self { truth, predicted, shared_px })
    }

    /// Pixels of the image.
    pub fn pixels(&self) -> u64 {
        self.truth.areas_px.iter().sum()
    }

    pub fn pair(&self, truth: usize, predicted: usize) -> Pair {
        let shared_px = self.shared_px[truth * self.predicted.areas_px.len() + predicted];
        let union_px = self.truth.areas_px[truth] + self.predicted.areas_px[predicted] - shared_px;
        Pair { truth, predicted, shared_px, iou: shared_px as f64 / union_px as f64 }
    }

    /// All pairs that share a pixel, by the annotation's segments.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        let columns = self.predicted.areas_px.len();
        let touching = self.shared_px.iter().enumerate().filter(|(_, shared_px)| **shared_px > 0);
        touching.map(move |(place, _)| self.pair(place / columns, place % columns))
    }
}
