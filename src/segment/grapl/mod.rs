//! Regions of an image by learning to tell its own patches apart, with a graph cut between rounds of training.
//!
//! Source: "GraPL: Unsupervised Image Segmentation by Graph-based Patch Learning", arXiv 2311.01475; where its text and its
//! official code differ, the defaults are the code's. Differs from it: α-expansion instead of αβ-swap, no biases before
//! normalisations, a limit for the size of images, and streams of random numbers of its own.

mod config;
mod cut;
mod layers;
mod network;
mod normalisation;
mod patches;
mod pixels;
mod training;

pub use config::{GraplConfig, LEAST_PATCH, PatchAffinity, Positions, StoppingLoss};
pub use cut::{PatchGraph, colour_components};
pub use layers::Extent;
pub use network::{DropoutRates, Pass, PatchNetwork};
pub use normalisation::Running;
pub use patches::{PatchImage, label_counts};
pub use pixels::label_pixels;
pub use training::{GridLoss, Losses, costs as label_costs, learn};
