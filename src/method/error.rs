//! Why an image cannot be segmented, or a collection not be learnt.

use std::io;
use std::path::PathBuf;

use crate::config::{ConfigError, NeedlessPrecision};
use crate::error::ErrorKind;
use crate::model::container::ContainerError;
use crate::output::OutputError;
use crate::parallel::ThreadsError;
use crate::tensor::DeviceError;
use crate::train::TrainError;
use crate::weights::{ByHand, WeightsError, published};

/// What can go wrong between an image and its segmentation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    #[error("cannot read the checkpoint {}: {source}; {}", path.display(), remedy(source, "training writes one"))]
    CheckpointUnreadable { path: PathBuf, source: io::Error },
    #[error("{name} is no usable checkpoint: {source}; train again or copy it anew")]
    Checkpoint { name: String, source: ContainerError },
    #[error("{name} was made by another version of deepcut ({source}); train again")]
    OtherVersion { name: String, source: serde_json::Error },
    #[error("{name} was trained on features of {found} channels, its backbone gives {given}")]
    OtherChannels { name: String, found: usize, given: usize },
    #[error("{name} has more clusters than masks have values; train again")]
    TooManyClusters { name: String },
    #[error(
        "a trained network fixes {key}; only refine.…, objects.…, output.…, pixels.…, data.max_bad, data.respect_ignore and data.frames can be set for inference"
    )]
    FixedByTraining { key: String },
    #[error("the {backbone} backbone needs weights; give them or install them")]
    WeightsNeeded { backbone: &'static str },
    #[error("the weights {name} are not on this machine; pull them, or {by_hand}")]
    WeightsNotFetched { name: String, by_hand: ByHand },
    #[error("there is neither a file {name} nor a published backbone of that name; they are {}", published_names())]
    UnknownBackbone { name: String },
    #[error(
        "the weights {name} in {} are not those that were recorded when they were first used; remove and pull them again",
        path.display()
    )]
    WeightsChanged { name: String, path: PathBuf },
    #[error("the {backbone} backbone takes no weights, such as {}", path.display())]
    NeedlessWeights { backbone: &'static str, path: PathBuf },
    #[error("the {backbone} backbone computes nothing on a GPU; leave out `device`")]
    NeedlessDevice { backbone: &'static str },
    #[error(transparent)]
    Precision(#[from] NeedlessPrecision),
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    #[error("{lacking}; `vit.precision` cannot be {precision}")]
    UnsupportedPrecision { precision: &'static str, lacking: &'static str },
    #[error(
        "{} is not the weights file this checkpoint was trained with (blake3 {}…, expected {}…); give that file",
        path.display(), &hash[..12], expected.get(..12).unwrap_or(expected)
    )]
    OtherWeights { path: PathBuf, hash: String, expected: String },
    #[error(
        "segment.method = spectral cuts images in two by the ncut objective; leave out clusters, parts and other objectives"
    )]
    SpectralCutsInTwo,
    #[error("segment.method = {method} divides an image by its pixels, without a backbone: leave out {setting}")]
    NeedlessForPixels { method: &'static str, setting: &'static str },
    #[error("regions.by = patch-network divides an image by its pixels, without a backbone: leave out {setting}")]
    NeedlessForPatchNetwork { setting: &'static str },
    #[error("segment.method = {method} has no backbone: `PatchRegions` segments by it")]
    WithoutBackbone { method: &'static str },
    #[error("there are more clusters and parts than masks have values")]
    TooManyValues,
    #[error("the device stopped computing (the messages above say why); finished results are kept")]
    DeviceStopped,
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("{} is from a run with other settings or other images; repeat that run, or start anew", path.display())]
    StateOfOtherRun { path: PathBuf },
    #[error("{} cannot be used: {source}; start anew", path.display())]
    DamagedState { path: PathBuf, source: ContainerError },
    #[error(transparent)]
    Output(#[from] OutputError),
    /// An image or a graph of the collection could not be read again, or a state not be saved.
    #[error("{0}")]
    Collection(String),
    #[error("the network cannot be kept: {0}")]
    Unkept(ContainerError),
    #[error("interrupted; the same call continues where states are kept")]
    Interrupted,
}

pub(crate) fn published_names() -> String {
    published().iter().map(|published| published.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What to do about a file that cannot be read; `absent` where it is not there.
fn remedy<'a>(error: &io::Error, absent: &'a str) -> &'a str {
    match error.kind() {
        io::ErrorKind::NotFound => absent,
        io::ErrorKind::PermissionDenied => "allow to read it",
        _ => "check the path and the disk",
    }
}

impl MethodError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            MethodError::CheckpointUnreadable { source, .. } if source.kind() != io::ErrorKind::NotFound => {
                ErrorKind::InputOutput
            }
            MethodError::CheckpointUnreadable { .. }
            | MethodError::FixedByTraining { .. }
            | MethodError::WeightsNeeded { .. }
            | MethodError::NeedlessWeights { .. }
            | MethodError::NeedlessDevice { .. }
            | MethodError::WeightsNotFetched { .. }
            | MethodError::UnknownBackbone { .. }
            | MethodError::Precision(_)
            | MethodError::UnsupportedPrecision { .. }
            | MethodError::SpectralCutsInTwo
            | MethodError::NeedlessForPixels { .. }
            | MethodError::NeedlessForPatchNetwork { .. }
            | MethodError::WithoutBackbone { .. }
            | MethodError::StateOfOtherRun { .. }
            | MethodError::TooManyValues
            | MethodError::Device(_) => ErrorKind::Usage,
            MethodError::Checkpoint { .. }
            | MethodError::OtherVersion { .. }
            | MethodError::OtherChannels { .. }
            | MethodError::TooManyClusters { .. }
            | MethodError::OtherWeights { .. }
            | MethodError::WeightsChanged { .. }
            | MethodError::DamagedState { .. }
            | MethodError::Unkept(_) => ErrorKind::Untrusted,
            MethodError::Config(error) => error.kind(),
            MethodError::Threads(error) => error.kind(),
            MethodError::Weights(error) => error.kind(),
            MethodError::Train(error) => error.kind(),
            MethodError::Output(error) => error.kind(),
            MethodError::DeviceStopped | MethodError::Collection(_) => ErrorKind::InputOutput,
            MethodError::Interrupted => ErrorKind::Interrupted,
        }
    }
}
