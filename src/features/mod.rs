//! Image → nodes: what each patch, region or pixel of an image looks like, before any graph exists.

mod backbone;
mod descriptor;
mod image_vector;
mod log_bin;
mod pixel;
mod region_graph;
mod registry;
mod slic;
mod superpixel;
mod vector_file;
pub mod vit;

pub use backbone::Backbone;
pub use descriptor::Descriptor;
pub use log_bin::{LOG_BINS, log_binned};
pub use pixel::{PixelConfig, PixelExtractor};
pub use region_graph::region_graph;
pub use registry::{BackboneChoice, BackboneSettings, BoxedExtractor, Entry};
pub use slic::{SlicParameters, slic, slic_clusters, slic_seeds};
pub use superpixel::{SuperpixelConfig, SuperpixelExtractor};
pub use vector_file::{VectorFile, VectorFileError, is_whole_matrix, read_vectors};

use crate::nodes::{Layout, NodeFeatures};
use crate::raster::{Mask, RgbImage};
use crate::tensor::Tensor;

/// Turns one image into the nodes of its graph.
pub trait Extractor {
    /// Identifies everything that features follow from besides the image: backbone, weights, settings, and the version of
    /// the algorithm, which is raised when the same settings come to mean other values.
    fn fingerprint(&self) -> String;

    /// Features and placement of every node of an image that has data everywhere.
    fn extract(&self, image: &RgbImage) -> NodeFeatures {
        self.extract_within(image, None)
    }

    /// Features and placement of every node of `image` that lies where it has data: where `outside` is 0.
    fn extract_within(&self, image: &RgbImage, outside: Option<&Mask>) -> NodeFeatures;

    /// Where these nodes lie, without describing them where that can be known.
    fn layout(&self, image: &RgbImage, outside: Option<&Mask>) -> Layout {
        self.extract_within(image, outside).layout
    }

    /// Channels of every node.
    fn width(&self) -> usize;

    /// The extractor as one of whole batches, if it computes on a device that is not the processor.
    fn batches(&self) -> Option<&dyn BatchExtractor> {
        None
    }

    /// The directions that are removed from features, row-major `[directions, width]`; empty where none are.
    fn position_directions(&self) -> Vec<f32> {
        Vec::new()
    }

    /// Takes the directions of an earlier run, which a network was trained without, in place of finding them again. Only
    /// before any image is described.
    fn adopt_position_directions(&self, _values: &[f32]) {}

    /// How much of the variance of these images' features lies between places, in [0, 1], before position is removed and
    /// after; none where that has no meaning.
    fn position_shares(&self, _images: &[RgbImage]) -> Option<[f64; 2]> {
        None
    }

    /// What an image of this width and height is resized to before it is described, across and down; none where all of its
    /// pixels count.
    fn input_size(&self, _width: usize, _height: usize) -> Option<[usize; 2]> {
        None
    }

    /// One vector for the whole image, by which a collection can be grouped; of colours only those count that lie where
    /// `outside` is 0.
    ///
    /// # Shapes
    /// → `[image_width]`
    fn image_vector(&self, image: &RgbImage, outside: Option<&Mask>) -> Vec<f32>;

    /// Channels of an image's vector.
    fn image_width(&self) -> usize;
}

/// Describes the nodes of several images at once and leaves the result where it was computed. Nodes form a grid with an
/// affinity between every pair.
pub trait BatchExtractor: Sync {
    /// An image as the transformer takes it.
    fn prepare(&self, image: &RgbImage) -> Prepared;

    /// Most images of one batch where so many bytes of the device may be used, at least one; more than one only where all
    /// images are prepared to one size.
    fn images_per_batch(&self, bytes: u64) -> usize;

    /// Features of every node; what is computed of an image does not depend on the others.
    ///
    /// # Shapes
    /// `images` prepared images, missing ones as zeros → `[images, nodes, width]`
    ///
    /// # Panics
    /// If `batch` is empty, or longer than `images`, or mixes sizes.
    fn describe(&self, batch: &[Prepared], images: usize) -> Tensor<3>;

    /// The vector of every image, as [`Extractor::image_vector`] gives it; otherwise, panics included, as
    /// [`BatchExtractor::describe`].
    ///
    /// # Shapes
    /// → `[images, image_width]`
    fn image_vectors(&self, batch: &[Prepared], images: usize) -> Tensor<2>;
}

/// An image as a transformer takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Row-major `[3, height, width]`.
    pub values: Vec<f32>,
    pub height: usize,
    pub width: usize,
    /// Where its nodes will lie.
    pub layout: Layout,
}
