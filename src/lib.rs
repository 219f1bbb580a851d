//! Segments whole collections of images without any labels.
//!
//! A frozen, self-supervised vision transformer (or SLIC superpixels, where no weights are at hand) turns each image
//! into nodes; the nodes become a graph; one small graph network, trained once on the whole collection with a classical
//! clustering objective, assigns the nodes of new images in a single pass. The method is that of Aflalo et al.,
//! "DeepCut: Unsupervised Segmentation using Graph Neural Networks Clustering", arXiv 2212.05853.
//!
//! # The story of one image, room by room
//!
//! 1. [`dataset`] finds the file, in an order that is the same everywhere; [`pixels`] decodes it under limits and turns
//!    it upright.
//! 2. [`features`] describes its nodes: patches of a transformer ([`features::vit`]), superpixels or pixels. A node has
//!    a vector of values and a place in the image.
//! 3. [`graph`] joins the nodes by affinities W and propagates their features once, P = Â X. No later step needs the
//!    image.
//! 4. [`model`] maps P to soft assignments S; [`train`] has fitted it to a collection of graphs with the loss of
//!    [`objective`]; on a transformer's features a second network has learnt the first one's masks after refinement, and a
//!    checkpoint keeps that one.
//! 5. [`segment`] takes the most probable cluster of every node, and may divide objects into parts by a further network;
//!    [`refine`] has decided which clusters are background, goes from nodes to pixels, fits the mask to the image and finds
//!    the objects in it.
//! 6. [`output`] writes the mask, pictures and a report for people, annotations and a line for machines.
//! 7. [`cluster`] groups whole collections, one vector per image, and finds the number of groups.
//! 8. [`metrics`] says how good masks, boxes and clusterings are, where there is ground truth to hold them against.
//!
//! Collections have a story of their own: [`cluster`] groups their images, one vector each, without being told into how
//! many groups.
//!
//! [`pipeline`] joins the rooms into runs, [`config`] says how, and every room reports through [`event`].
//! [`raster`], [`numerics`] and [`tensor`] are foundations that any room may stand on. `tests/architecture.rs` holds who
//! may use whom, and checks it.
//!
//! # Example
//!
//! ```no_run
//! use deepcut::config::Settings;
//! use deepcut::event::Silent;
//! use deepcut::pipeline::{self, Machine, TrainRequest};
//!
//! let request = TrainRequest {
//!     data: "photographs".into(),
//!     out: None,
//!     weights: None,
//!     machine: Machine::default(),
//!     resume: false,
//! };
//! let summary = pipeline::train(Settings::default(), &request, &Silent)?;
//! println!("{}", summary.checkpoint.display());
//! # Ok::<(), pipeline::PipelineError>(())
//! ```

#![deny(unsafe_code)]

pub mod cluster;
pub mod config;
pub mod dataset;
pub mod error;
pub mod event;
pub mod features;
pub mod graph;
pub mod method;
pub mod metrics;
pub mod model;
pub mod nodes;
pub mod numerics;
pub mod objective;
pub mod output;
pub mod parallel;
pub mod pipeline;
pub mod pixels;
pub mod raster;
pub mod refine;
pub mod segment;
pub mod tensor;
pub mod train;
pub mod weights;
