//! Image → segmentation, in memory: the rooms before this one joined into methods.
//!
//! A [`Method`] decides for every node of an image what it is; [`Method::segment_timed`] makes a mask and objects of that.
//! [`Model`] is a trained network for all images of a collection and [`RegionModel`] a code book, [`PerImage`] treats every image by
//! itself, [`PatchRegions`] too, without a backbone, and [`recipe`] trains a model. No file is touched here but those that are
//! named to be opened.

mod backbone;
mod batches;
mod decision;
mod error;
mod machine;
mod model;
mod patch_kinds;
mod patch_regions;
mod per_image;
mod pictures;
mod precision;
pub mod recipe;
mod regions;
mod shared;
mod timings;

pub use backbone::{installed_weights, locate_weights, open_backbone, published_settings, published_weights};
pub use decision::{Decision, Segmentation};
pub use error::MethodError;
pub use machine::Machine;
pub use model::{Model, ModelOptions, read_checkpoint};
pub use patch_regions::PatchRegions;
pub use per_image::PerImage;
pub use pictures::{SegmentedPicture, segment_each};
pub use precision::{COMPARED_IMAGES, LEAST_IMAGES, OpenPrecision, PrecisionChoice};
pub use regions::{RegionMethod, RegionModel, read_code_book};
pub use shared::SharedMethod;
pub use timings::{StepMilliseconds, Timings};

pub(crate) use batches::{images_per_batch, waiting_threads, with_batches};
pub(crate) use patch_kinds::{patch_picture, refuse_needless};
pub(crate) use regions::mean_colours;

use crate::parallel::parallel_map;
use crate::pixels::{DecodeConfig, Picture};
use crate::raster::{Mask, RgbImage};
use crate::refine::{ObjectsConfig, RefineConfig};
use crate::segment::Legend;

/// A way to segment images. What it gives for an image depends on nothing but the image.
pub trait Method: Sync {
    /// What the values of its masks mean.
    fn legend(&self) -> Legend;

    /// How masks are made of its decisions.
    fn finish(&self) -> Finish<'_>;

    /// How its pictures are read.
    fn decoding(&self) -> &DecodeConfig;

    /// Decides for every node of `image` that lies where it has data what it is.
    fn decide(&self, image: &RgbImage, outside: Option<&Mask>, timings: &mut Timings) -> Result<Decision, MethodError>;

    /// Segments an image, which has no data where `outside` is 1; objects are listed one by one only if `list` says so, or
    /// the settings tell instances apart.
    fn segment_timed(
        &self,
        image: &RgbImage,
        outside: Option<&Mask>,
        list: bool,
        timings: &mut Timings,
    ) -> Result<Segmentation, MethodError> {
        let decision = self.decide(image, outside, timings)?;
        timings.lap(|spent| &mut spent.network);
        let segmentation = decision.into_segmentation(image, outside, self.legend(), self.finish(), list);
        timings.lap(|spent| &mut spent.refine);
        Ok(segmentation)
    }

    /// Segments a picture as it was read: what has no data is in no graph, and nothing is found there. Objects are listed.
    fn segment_picture(&self, picture: &Picture) -> Result<Segmentation, MethodError> {
        self.segment_timed(&picture.image, picture.outside.as_ref(), true, &mut Timings::start())
    }

    /// Segments images on as many threads as `workers`, in order.
    fn segment_all(&self, images: &[RgbImage], workers: usize) -> Result<Vec<Segmentation>, MethodError> {
        let mut found = Vec::with_capacity(images.len());
        let segment = |image: &RgbImage| self.segment_timed(image, None, true, &mut Timings::start());
        parallel_map(images.iter(), workers, segment, |segmentation| {
            found.push(segmentation?);
            Ok::<(), MethodError>(())
        })?;
        Ok(found)
    }
}

/// How a mask is made of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    /// From clusters to a mask of the image's size.
    pub refine: &'a RefineConfig,
    /// From the mask to objects.
    pub objects: &'a ObjectsConfig,
}
