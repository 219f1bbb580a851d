//! Segments whole collections of images without any labels.
//!
//! A frozen, self-supervised vision transformer (or SLIC superpixels, where no weights are at hand) turns each image
//! into nodes; the nodes become a graph; one small graph network, trained once on the whole collection with a classical
//! clustering objective, assigns the nodes of new images in a single pass. The method is that of Aflalo et al.,
//! "DeepCut: Unsupervised Segmentation using Graph Neural Networks Clustering", arXiv 2212.05853.
//!
//! * [`train`] makes a [`Model`] of any burn dataset of images; [`Model::segment`] gives masks and objects of new ones.
//! * [`train_regions`] makes a [`RegionModel`] in the same way, which divides whole images into regions whose labels mean the same
//!   in all of them.
//! * [`PerImage`] segments without training, every image by itself; [`PatchRegions`] divides it into regions.
//! * [`ClusterModel`] groups vectors, one per image, without being told into how many groups.
//! * [`Settings`] is everything that can be chosen, room by room ([`settings`]); `deepcut config` lists it.
//!
//! ```
//! use deepcut::{Model, RgbImage};
//!
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/demonstration.safetensors");
//! let model = Model::open(path)?;
//! let image = RgbImage::filled(320, 240, [40, 90, 160]);
//! let found = model.segment(&image)?;
//! assert_eq!((found.mask.width, found.mask.height), (320, 240));
//! for object in &found.objects {
//!     println!("{} at {:?}", found.legend[usize::from(object.label)].name, object.bounding_box);
//! }
//! # Ok::<(), deepcut::Error>(())
//! ```
//!
//! # The story of one image, room by room
//!
//! The library's rooms are modules; each uses those before it (`tests/house/architecture.rs` holds who may use whom, and
//! checks it). They are open to whoever builds a method of their own, but only what this page shows is kept stable.
//!
//! 1. `pixels` decodes files under limits and turns pictures upright; `dataset` finds the files, and the pictures in those that
//!    hold several (animations, tars, tables), in an order that is the same everywhere.
//! 2. `features` describes its `nodes`: patches of a transformer, whose `weights` others trained, superpixels or pixels.
//!    A node has a vector of values and a place in the image.
//! 3. `graph` joins the nodes by affinities W and propagates their features once, P = Â X. No later step needs the image.
//! 4. `model` maps P to soft assignments S; `train` has fitted it to a collection of graphs with the loss of `objective`.
//! 5. `segment` takes the most probable cluster of every node, and may divide objects into parts by a further network;
//!    `refine` has decided which clusters are background, goes from nodes to pixels, fits the mask to the image and finds
//!    the objects in it. For all regions of an image a code book of the collection takes the network's place, and a graph cut
//!    gives the labels (`train --regions`).
//! 6. `method` is all of this in memory: [`Model`], [`RegionModel`], [`PerImage`], and the recipe that trains a model, on a transformer's
//!    features by masks: what the eigenvector or a first network finds in every image, after refinement.
//! 7. `results` writes masks, pictures, annotations and tables in the forms of `output`, and reads them back; `report`
//!    makes a page of them.
//!
//! Collections have a story of their own: `cluster` groups their images, one vector each. `evaluate` holds results against
//! ground truth, and `metrics` says how good masks, boxes and clusterings are. `config` is every room's settings in one place, `pipeline` adds
//! files, threads and progress, and every room reports through [`event`]. `error`, `files`, `names`, `raster`, `remote`, `numerics`,
//! `parallel` and `tensor` are foundations that any room may stand on.

#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used))]

#[doc(hidden)]
pub mod cluster;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod dataset;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod evaluate;
pub mod event;
#[doc(hidden)]
pub mod features;
#[doc(hidden)]
pub mod files;
#[doc(hidden)]
pub mod graph;
#[doc(hidden)]
pub mod manifest;
#[doc(hidden)]
pub mod method;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod names;
#[doc(hidden)]
pub mod nodes;
#[doc(hidden)]
pub mod numerics;
#[doc(hidden)]
pub mod objective;
#[doc(hidden)]
pub mod output;
#[doc(hidden)]
pub mod parallel;
#[doc(hidden)]
pub mod pipeline;
#[doc(hidden)]
pub mod pixels;
#[doc(hidden)]
pub mod raster;
#[doc(hidden)]
pub mod refine;
#[doc(hidden)]
pub mod remote;
#[doc(hidden)]
pub mod report;
#[doc(hidden)]
pub mod results;
#[doc(hidden)]
pub mod segment;
#[doc(hidden)]
pub mod tensor;
#[doc(hidden)]
pub mod train;
#[doc(hidden)]
pub mod weights;

pub use cluster::{ClusterModel, ClusterNetwork, Doubt, FitDetails, Fitted, Membership, Provenance, Reliance, Vectors};
pub use config::Settings;
pub use dataset::Collection;
pub use error::ErrorKind;
pub use method::{Machine, Model, ModelOptions, PatchRegions, PerImage, RegionModel, Segmentation};
pub use pipeline::{PipelineError as Error, train_model as train, train_model_with as train_with};
pub use pipeline::{train_region_model as train_regions, train_region_model_with as train_regions_with};
pub use pixels::{ImageContent, ImageItem};
pub use raster::{Mask, Raster, Rectangle, RgbImage, RunLengthMask};
pub use refine::FoundObject;
pub use segment::{Label, Role};
pub use tensor::DeviceChoice;

/// What can be set, room by room; [`Settings`] puts it together.
pub mod settings {
    pub use crate::cluster::{Method as ClusterMethod, Propagation, Scaling};
    pub use crate::config::*;
    pub use crate::features::Descriptor;
    pub use crate::features::vit::{Facet, Precision, Resize};
    pub use crate::refine::bilateral::BilateralConfig;
    pub use crate::refine::{BackgroundRule, CutConfig, RefineMethod, Upscale};
    pub use crate::segment::PerImageMethod;
    pub use crate::segment::grapl::{PatchAffinity, Positions, StoppingLoss};
    pub use crate::segment::regions::{KindsBy, RegionAffinity};
    pub use crate::train::{Schedule, Teacher};
}
