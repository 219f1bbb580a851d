//! Label maps and masks of one image: read, turned as the photograph was, and brought to one size.

use std::path::Path;

use super::EvaluateError;
use crate::files;
use crate::pixels::{QuarterTurn, cut_grey_edges, decode_label_map};
use crate::raster::{LabelMap, Raster};

/// No map that can be decoded has a larger file.
const MOST_BYTES: u64 = 1 << 30;

/// How far the aspects of a prediction and of its truth may be apart: they are of the same picture in two sizes.
const ASPECT_TOLERANCE: f64 = 0.02;

/// Reads a label map, of results or of ground truth.
pub fn read_map(path: &Path) -> Result<LabelMap, EvaluateError> {
    let bytes = files::read(path, MOST_BYTES)
        .map_err(|source| EvaluateError::Unreadable { path: path.to_path_buf(), source })?;
    decode_label_map(&bytes).map_err(|source| EvaluateError::BrokenMap { path: path.to_path_buf(), source })
}

/// Reads a map whose values nobody has told the meaning of, and whether it was a mask with grey edges that was cut at its
/// middle.
pub fn read_mask(path: &Path, is_told: bool) -> Result<(LabelMap, bool), EvaluateError> {
    let map = read_map(path)?;
    Ok(match if is_told { None } else { cut_grey_edges(&map) } {
        Some(cut) => (cut, true),
        None => (map, false),
    })
}

/// `map` in the size of the ground truth, and whether that is another size than its own.
pub fn in_size<T: Copy>(map: Raster<T>, width: usize, height: usize) -> (Raster<T>, bool) {
    if (map.width, map.height) == (width, height) { (map, false) } else { (map.resized_nearest(width, height), true) }
}

/// Width and height in pixels.
pub type Size = (usize, usize);

/// How a ground truth lies to the prediction of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// In the same frame, in whatever size.
    Upright,
    /// Drawn on the photograph as it lies in its file, which the prediction turned upright so.
    Turned(QuarterTurn),
    /// The same, and nobody knows to which side the photograph was turned.
    TurnedSomehow,
}

impl Frame {
    /// How a truth of size `truth` (width, height) lies to a prediction of size `prediction`, whose image was turned by this EXIF
    /// orientation as far as that is known.
    pub fn of(truth: Size, prediction: Size, orientation: Option<u8>) -> Result<Frame, EvaluateError> {
        if have_one_aspect(truth, prediction) {
            return Ok(Frame::Upright);
        }
        if have_one_aspect((truth.1, truth.0), prediction) {
            return Ok(orientation.and_then(QuarterTurn::from_exif).map_or(Frame::TurnedSomehow, Frame::Turned));
        }
        Err(EvaluateError::OtherShape { truth, prediction })
    }

    /// The turn; an error where it is not known, for a score needs it.
    pub fn known(self, truth: Size, prediction: Size) -> Result<Option<QuarterTurn>, EvaluateError> {
        match self {
            Frame::Upright => Ok(None),
            Frame::Turned(turn) => Ok(Some(turn)),
            Frame::TurnedSomehow => Err(EvaluateError::TurnUnknown { truth, prediction }),
        }
    }
}

/// Whether one size is the other, enlarged or reduced and rounded to whole pixels.
fn have_one_aspect(one: Size, other: Size) -> bool {
    if [one.0, one.1, other.0, other.1].contains(&0) {
        return true;
    }
    let [width, height, other_width, other_height] = [one.0, one.1, other.0, other.1].map(|side| side as f64);
    let within = |side: f64, expected: f64| (side - expected).abs() <= (ASPECT_TOLERANCE * expected).max(1.0);
    within(other_width, width * other_height / height) && within(other_height, height * other_width / width)
        || within(width, other_width * height / other_height) && within(height, other_height * width / other_width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_lies_upright_turned_or_not_at_all() {
        let turn = QuarterTurn::from_exif(6);
        for (truth, prediction, orientation, expected) in [
            ((160, 120), (160, 120), None, Some(Frame::Upright)),
            ((160, 120), (161, 120), None, Some(Frame::Upright)),
            ((33, 50), (17, 25), None, Some(Frame::Upright)),
            ((2000, 1500), (500, 375), Some(6), Some(Frame::Upright)),
            ((160, 120), (120, 160), Some(6), turn.map(Frame::Turned)),
            ((320, 240), (120, 160), Some(6), turn.map(Frame::Turned)),
            ((160, 120), (120, 160), None, Some(Frame::TurnedSomehow)),
            ((160, 120), (120, 160), Some(3), Some(Frame::TurnedSomehow)),
            ((160, 120), (160, 100), Some(6), None),
            ((1000, 1000), (1000, 970), None, None),
            ((100, 100), (100, 100), Some(6), Some(Frame::Upright)),
        ] {
            assert_eq!(Frame::of(truth, prediction, orientation).ok(), expected, "{truth:?} {prediction:?}");
        }
    }
}
