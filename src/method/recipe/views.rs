//! A small collection in several views of every image, mirrored and in windows: what holds for all of them is less of an accident.

use std::ops::Range;
use std::sync::Arc;

use rand::Rng;

use super::{Recipe, TrainingSet};
use crate::graph::Graph;
use crate::numerics::random;
use crate::parallel::Held;
use crate::pixels::Picture;
use crate::raster::{Raster, Rectangle};
use crate::train::{GraphSource, LoadError};

/// Views that show all of an image: as it is, and mirrored.
const WHOLE: usize = 2;

/// The sides of windows as shares of the image's.
const SIDES: Range<f64> = 0.55..0.85;

/// The views of a collection's images as graphs, those of one image in a row, the image as it is the first of them.
pub(super) struct Views<'a> {
    set: &'a dyn TrainingSet,
    views: usize,
}

impl<'a> Views<'a> {
    pub fn new(recipe: &Recipe, set: &'a dyn TrainingSet) -> Views<'a> {
        Views { set, views: recipe.resolved.views(set.len()) }
    }

    /// The image and the view of it that an index stands for.
    fn place(&self, index: usize) -> (usize, usize) {
        (index / self.views, index % self.views)
    }

    /// Identifies what is kept of a view of an image.
    fn key(&self, purpose: &str, image: usize, view: usize) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.set.content_hash(image).as_bytes()).update(purpose.as_bytes());
        hasher.update(&view.to_le_bytes()).finalize()
    }
}

impl GraphSource for Views<'_> {
    fn len(&self) -> usize {
        self.set.len() * self.views
    }

    fn views(&self) -> usize {
        self.views
    }

    fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError> {
        let (image, view) = self.place(index);
        if view == 0 {
            return self.set.load(image);
        }
        let key = self.key("graph of a view, by its pixels", image, view);
        if let Some(graph) = self.set.recall(&key).and_then(|bytes| Graph::from_bytes(&bytes).ok()) {
            return Ok(Some(Arc::new(graph)));
        }
        let Some(picture) = self.image(index)? else { return Ok(None) };
        let graph = self.graph_of(&picture);
        self.set.keep(&key, &graph.to_bytes())?;
        Ok(Some(Arc::new(graph)))
    }
}

impl TrainingSet for Views<'_> {
    fn image(&self, index: usize) -> Result<Option<Held<Picture>>, LoadError> {
        let (image, view) = self.place(index);
        let Some(picture) = self.set.image(image)? else { return Ok(None) };
        if view == 0 {
            return Ok(Some(picture));
        }
        Ok(Some(picture.map(|whole| seen(&whole, view))))
    }

    fn graph_of(&self, picture: &Picture) -> Graph {
        self.set.graph_of(picture)
    }

    fn content_hash(&self, index: usize) -> blake3::Hash {
        let (image, view) = self.place(index);
        if view == 0 { self.set.content_hash(image) } else { self.key("view, by its pixels", image, view) }
    }

    fn recall(&self, key: &blake3::Hash) -> Option<Vec<u8>> {
        self.set.recall(key)
    }

    fn keep(&self, key: &blake3::Hash, bytes: &[u8]) -> Result<bool, LoadError> {
        self.set.keep(key, bytes)
    }
}

/// A view of a picture from 1 on, always the same of the same pixels, whether they come from a file or not: every second mirrored, and
/// from [`WHOLE`] on windows.
fn seen(picture: &Picture, view: usize) -> Picture {
    let (width, height) = (picture.image.width, picture.image.height);
    let mut window = Rectangle { x: 0, y: 0, width, height };
    if view >= WHOLE {
        let pixels = blake3::hash(picture.image.values.as_flattened());
        let mut drawn = random::stream(0, &pixels.to_hex(), view as u64);
        let share = drawn.random_range(SIDES);
        let scaled = |side: usize| ((side as f64 * share).round() as usize).max(1);
        (window.width, window.height) = (scaled(width), scaled(height));
        window.x = drawn.random_range(0..=width - window.width);
        window.y = drawn.random_range(0..=height - window.height);
    }
    let is_mirrored = view % 2 == 1;
    let outside = picture.outside.as_ref().map(|outside| shown(outside, window, is_mirrored));
    Picture { image: shown(&picture.image, window, is_mirrored), outside, remarks: Vec::new(), orientation: 1 }
}

/// What a window shows of a raster.
fn shown<T: Copy>(raster: &Raster<T>, window: Rectangle, is_mirrored: bool) -> Raster<T> {
    let rows = raster.values.chunks_exact(raster.width).skip(window.y).take(window.height);
    let mut values: Vec<T> = rows.flat_map(|row| &row[window.x..window.x + window.width]).copied().collect();
    if is_mirrored {
        values.chunks_exact_mut(window.width).for_each(<[T]>::reverse);
    }
    Raster::from_values(window.width, window.height, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_show_parts_of_the_image_and_depend_on_its_pixels_alone() {
        let image =
            Raster::from_values(40, 30, (0..1200u16).map(|place| [place as u8, (place >> 8) as u8, 7]).collect());
        let outside = image.map(|[low, ..]| low % 2);
        let picture = Picture { outside: Some(outside), ..Picture::from(image.clone()) };
        let mut other = picture.clone();
        other.image.values[0] = [0, 0, 8];
        let mirrored = seen(&picture, 1);
        assert!((0..30).all(|y| (0..40).all(|x| mirrored.image.at(x, y) == image.at(39 - x, y))));
        for view in WHOLE..6 {
            let found = seen(&picture, view);
            assert_eq!(found, seen(&picture, view));
            assert_ne!(found, seen(&other, view));
            let (width, height) = (found.image.width, found.image.height);
            assert!((22..=34).contains(&width) && (16..=26).contains(&height), "{width}x{height}");
            let place = |[low, high, _]: [u8; 3]| usize::from(low) + 256 * usize::from(high);
            let step = if view % 2 == 1 { -1 } else { 1 };
            let first = place(found.image.at(0, 0)) as i64;
            for (index, value) in found.image.values.iter().enumerate() {
                let (x, y) = (index % width, index / width);
                assert_eq!(place(*value) as i64, first + step * x as i64 + 40 * y as i64);
            }
            assert_eq!(found.outside.unwrap(), found.image.map(|[low, ..]| low % 2));
        }
        assert_eq!(seen(&Picture::from(Raster::filled(1, 1, [3; 3])), 5).image.values, [[3; 3]]);
    }
}
