//! One segmentation: polygons or runs.

use super::file::Annotation;
use super::values::{RawCounts, Shape};
use crate::raster::{Mask, RunLengthMask, mask_from_polygons};

/// The farthest that a corner may be from the image's; see [`mask_from_polygons`].
const FARTHEST: f64 = 1e8;

/// A segmentation that can be drawn as far as it can be known without drawing it.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The annotation's name in messages.
    annotation: String,
    area: Area,
}

#[derive(Debug, Clone, PartialEq)]
enum Area {
    /// At least one, each of at least three corners.
    Polygons(Vec<Vec<f64>>),
    Lengths {
        size: (usize, usize),
        counts: Vec<u64>,
    },
    Compressed {
        size: (usize, usize),
        counts: String,
    },
}

impl Segment {
    /// The segmentation of an annotation. COCO's own tools draw nothing for a polygon of fewer than three corners or without
    /// finite numbers, and pass over an odd last number; so does this.
    pub fn read(annotation: &mut Annotation, remarks: &mut Vec<&'static str>) -> Result<Segment, &'static str> {
        let mut polygons = match std::mem::take(&mut annotation.segmentation) {
            Shape::Nothing => return Err("left out, for there is no segmentation"),
            Shape::Runs { size, counts } => {
                let area = runs(&size, counts).ok_or("left out, for the runs have no size or no lengths")?;
                return Ok(Segment { annotation: annotation.name(), area });
            }
            Shape::Flat(numbers) => {
                if numbers.len() >= 6 {
                    remarks.push("one list of numbers as segmentation, read as one polygon");
                }
                vec![numbers]
            }
            Shape::Lists(parts) => {
                let is_pairs = parts.len() > 2 && parts.iter().all(|part| part.numbers.len() == 2 && !part.is_nested);
                if is_pairs || parts.iter().any(|part| part.is_nested) {
                    remarks.push("corners in pairs, read as polygons");
                }
                let polygons = parts.into_iter().map(|part| part.numbers);
                if is_pairs { vec![polygons.flatten().collect()] } else { polygons.collect() }
            }
        };
        let count = polygons.len();
        for polygon in &mut polygons {
            polygon.truncate(polygon.len() / 2 * 2);
        }
        polygons.retain(|polygon| polygon.len() >= 6 && polygon.iter().all(|number| number.abs() <= FARTHEST));
        if polygons.is_empty() {
            return Err("left out, for the segmentation has no polygon of three corners or more");
        }
        if polygons.len() < count {
            remarks.push("polygons of fewer than three corners or without finite numbers draw nothing");
        }
        Ok(Segment { annotation: annotation.name(), area: Area::Polygons(polygons) })
    }

    /// The mask of an image of this size, 1 inside.
    pub fn draw(&self, width: usize, height: usize) -> Result<Mask, String> {
        let told = |reason: String| format!("{}: {reason}", self.annotation);
        let runs = match &self.area {
            Area::Polygons(polygons) => {
                return mask_from_polygons(polygons, width, height).map_err(|error| told(error.to_string()));
            }
            Area::Lengths { size, .. } | Area::Compressed { size, .. } if *size != (width, height) => {
                return Err(told(format!("its runs have {}x{} pixels, its image {width}x{height}", size.0, size.1)));
            }
            Area::Lengths { counts, .. } => RunLengthMask::from_counts(width, height, counts),
            Area::Compressed { counts, .. } => RunLengthMask::from_compressed(width, height, counts),
        };
        runs.map(|mask| mask.decode()).map_err(|error| told(error.to_string()))
    }
}

impl Area {
    fn size(&self) -> Option<(usize, usize)> {
        match self {
            Area::Polygons(_) => None,
            Area::Lengths { size, .. } | Area::Compressed { size, .. } => Some(*size),
        }
    }
}

/// The size of the first runs among `segments`.
pub fn size_of_runs<'a>(segments: impl IntoIterator<Item = &'a Segment>) -> Option<(usize, usize)> {
    segments.into_iter().find_map(|segment| segment.area.size())
}

fn runs(size: &[f64], counts: RawCounts) -> Option<Area> {
    let length =
        |&number: &f64| (number >= 0.0 && number.fract() == 0.0 && number < 2f64.powi(53)).then_some(number as u64);
    let side = |number| length(number).and_then(|length| usize::try_from(length).ok()).filter(|&side| side > 0);
    let &[height, width] = size.iter().map(side).collect::<Option<Vec<usize>>>()?.as_slice() else { return None };
    let size = (width, height);
    Some(match counts {
        RawCounts::Lengths(numbers) => {
            Area::Lengths { size, counts: numbers.iter().map(length).collect::<Option<Vec<u64>>>()? }
        }
        RawCounts::Compressed(counts) => Area::Compressed { size, counts },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is drawn of a segmentation in an image of 4x3 pixels, and what is said of it.
    fn drawn(segmentation: &str) -> (String, Vec<&'static str>) {
        let mut annotation: Annotation =
            serde_json::from_str(&format!(r#"{{"id":"7","segmentation":{segmentation}}}"#)).unwrap();
        let mut remarks = Vec::new();
        let read = Segment::read(&mut annotation, &mut remarks).map_err(str::to_string);
        let text = match read.and_then(|segment| segment.draw(4, 3)) {
            Ok(mask) => mask
                .values
                .chunks(4)
                .map(|row| row.iter().map(u8::to_string).collect())
                .collect::<Vec<String>>()
                .join("/"),
            Err(reason) => reason,
        };
        (text, remarks)
    }

    #[test]
    fn what_has_a_meaning_is_drawn_and_what_is_odd_is_told() {
        let square = "1100/1100/0000";
        for (segmentation, expected, remark) in [
            ("[[0,0,2,0,2,2,0,2]]", square, None),
            ("[[0,0,2,0,\"2\",2,0,2.0,9]]", square, None),
            ("[0,0,2,0,2,2,0,2]", square, Some("one list")),
            ("[[0,0],[2,0],[2,2],[0,2]]", square, Some("pairs")),
            ("[[[0,0],[2,0],[2,2],[0,2]]]", square, Some("pairs")),
            ("[[0,0,2,0,2,2,0,2],[3,1,3,2],[]]", square, Some("draw nothing")),
            ("[[0,0,2,0,2,2,0,2],[null,null,1,1,2,2]]", square, Some("draw nothing")),
            ("[[1,2,3,4]]", "three corners", None),
            ("[[]]", "three corners", None),
            ("[]", "three corners", None),
            ("null", "no segmentation", None),
            ("\"x\"", "no segmentation", None),
            (r#"{"size":["3",4.0],"counts":[0,2,1,2,7]}"#, square, None),
            (r#"{"size":[3,4],"counts":"02106"}"#, square, None),
            (r#"{"size":[3,4],"counts":[0,2]}"#, "annotation 7: ", None),
            (r#"{"size":[4,3],"counts":[12]}"#, "annotation 7: its runs have 3x4 pixels", None),
            (r#"{"size":[3],"counts":[12]}"#, "no size", None),
            (r#"{"size":[3,4],"counts":[-1,13]}"#, "no size or no lengths", None),
        ] {
            let (text, remarks) = drawn(segmentation);
            assert!(text.contains(expected), "{segmentation}: {text}");
            assert_eq!(remarks.len(), usize::from(remark.is_some()), "{segmentation}: {remarks:?}");
            assert!(remark.is_none_or(|remark| remarks[0].contains(remark)), "{segmentation}: {remarks:?}");
        }
    }
}
