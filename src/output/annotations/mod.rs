//! Segmented collections as annotations that training programs for detection and segmentation read.
//!
//! | form | writer | what it holds |
//! |---|---|---|
//! | COCO, one JSON file for the collection | [`CocoWriter`] | masks, boxes, scores |
//! | YOLO, one text file for each image and one for the collection | [`yolo_labels`], [`yolo_data`] | boxes |
//! | Pascal VOC, one XML file for each image | [`voc_annotation`] | boxes |
//!
//! All three are made image by image: no collection is ever held in memory.

mod coco;
mod voc;
mod yolo;

pub use coco::CocoWriter;
pub use voc::voc_annotation;
pub use yolo::{yolo_data, yolo_labels};

use serde::Serialize;

use crate::raster::{Rectangle, RunLengthMask};

/// A kind of object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Category {
    /// Counted from 1, and no two categories share one.
    pub id: u32,
    pub name: String,
    /// What the category is a kind of; empty if nobody knows.
    pub supercategory: String,
}

/// An image and what was found in it.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnotatedImage {
    /// The image's place within the collection, `/` between folders.
    pub path: String,
    /// In pixels, as the height.
    pub width: usize,
    pub height: usize,
    pub objects: Vec<AnnotatedObject>,
}

/// An object of an image, in the image's own pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnotatedObject {
    /// The [`Category::id`], from 1.
    pub category: u32,
    pub bounding_box: Rectangle,
    pub area_px: u64,
    /// How sure the object is, where that is known; higher is surer.
    pub score: Option<f64>,
    pub mask: RunLengthMask,
}

impl AnnotatedObject {
    /// The object that `mask` marks, with the box and the area of the mask; none if no pixel is inside.
    ///
    /// # Shapes
    /// - `mask`: `[height, width]` of the image
    pub fn from_mask(category: u32, score: Option<f64>, mask: RunLengthMask) -> Option<Self> {
        let bounding_box = mask.bounding()?;
        Some(Self { category, bounding_box, area_px: mask.area_px(), score, mask })
    }

    /// Whether there is a box around the object: one of no width or no height holds no pixel.
    fn has_box(&self) -> bool {
        self.bounding_box.width > 0 && self.bounding_box.height > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Mask;

    /// An image of `width` × `height` pixels whose objects fill boxes `[category, x, y, width, height]`.
    pub(super) fn image(path: &str, width: usize, height: usize, boxes: &[[usize; 5]]) -> AnnotatedImage {
        let object = |&[category, left, top, columns, rows]: &[usize; 5]| {
            let mut mask = Mask::filled(width, height, 0);
            for y in top..top + rows {
                mask.values[y * width + left..][..columns].fill(1);
            }
            AnnotatedObject::from_mask(category as u32, None, RunLengthMask::encode(&mask, |value| value > 0)).unwrap()
        };
        AnnotatedImage { path: path.into(), width, height, objects: boxes.iter().map(object).collect() }
    }

    /// An object whose mask and box are empty.
    pub(super) fn nothing(width: usize, height: usize) -> AnnotatedObject {
        AnnotatedObject {
            category: 1,
            bounding_box: Rectangle { x: 0, y: 0, width: 0, height: 0 },
            area_px: 0,
            score: None,
            mask: RunLengthMask::encode(&Mask::filled(width, height, 0), |value| value > 0),
        }
    }

    /// Categories 1, 2, … with the `names`.
    pub(super) fn categories(names: &[&str]) -> Vec<Category> {
        let category = |(id, name): (u32, &&str)| Category { id, name: name.to_string(), supercategory: String::new() };
        (1..).zip(names).map(category).collect()
    }

    #[test]
    fn an_object_has_the_box_and_the_area_of_its_mask() {
        let mask = Mask::from_values(4, 3, vec![0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0]);
        let runs = RunLengthMask::encode(&mask, |value| value > 0);
        let object = AnnotatedObject::from_mask(2, Some(0.5), runs.clone()).unwrap();
        let bounding_box = Rectangle { x: 2, y: 1, width: 2, height: 2 };
        assert_eq!(object, AnnotatedObject { category: 2, bounding_box, area_px: 3, score: Some(0.5), mask: runs });
        assert_eq!(AnnotatedObject::from_mask(1, None, nothing(4, 3).mask), None);
    }
}
