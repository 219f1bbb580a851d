//! What can go wrong with a request to group images, besides the grouping itself.

use std::path::PathBuf;

use crate::cluster::ClusterError;
use crate::error::ErrorKind;
use crate::model::container::ContainerError;

/// A request that cannot be answered, or a file of clusters or vectors that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterRunError {
    #[error("there are no images to work on; give them as `data`")]
    NoImages,
    #[error("the column {column} of classes needs a file with them; give it as `labels`")]
    NoLabels { column: String },
    #[error("vectors from elsewhere have no precision to choose")]
    PrecisionOfVectors,
    #[error("a sweep of alpha needs cluster.method to be correlation")]
    SweepWithoutAlpha,
    #[error("a sweep of alpha finds clusters anew; leave out the checkpoint")]
    SweepOfClusters,
    #[error(
        "cannot read the clusters {}: {source}; `deepcut cluster` writes them as OUT/{}",
        path.display(),
        super::CHECKPOINT
    )]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} holds no usable clusters: {source}; run `deepcut cluster` again or copy it anew", path.display())]
    Unusable { path: PathBuf, source: ContainerError },
    #[error("{} was made by another version of deepcut ({source}); group again", path.display())]
    OtherVersion { path: PathBuf, source: serde_json::Error },
    #[error("{} groups images by their {backbone} features; leave out `features`", path.display())]
    FeaturesGiven { path: PathBuf, backbone: String },
    #[error("{} groups vectors from elsewhere; give those of the new images as `features`", path.display())]
    FeaturesNeeded { path: PathBuf },
    #[error(
        "{} groups vectors of {expected} channels, these have {found}; give the same kind of features",
        path.display()
    )]
    OtherWidth { path: PathBuf, expected: usize, found: usize },
    #[error("none of the {count} images can be used")]
    NoUsableImage { count: usize },
    #[error(
        "{} holds {vectors} vectors for {images} images; give one vector per image, in the order of the images' paths",
        path.display()
    )]
    OtherCount { path: PathBuf, vectors: usize, images: usize },
    #[error("cannot use the vectors {}: {source}", path.display())]
    Vectors { path: PathBuf, source: ClusterError },
    #[error(transparent)]
    Written(ContainerError),
}

impl ClusterRunError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ClusterRunError::Unusable { .. }
            | ClusterRunError::OtherVersion { .. }
            | ClusterRunError::OtherWidth { .. }
            | ClusterRunError::OtherCount { .. }
            | ClusterRunError::Vectors { .. }
            | ClusterRunError::NoUsableImage { .. }
            | ClusterRunError::Written(_) => ErrorKind::Untrusted,
            ClusterRunError::Unreadable { source, .. } if source.kind() != std::io::ErrorKind::NotFound => {
                ErrorKind::InputOutput
            }
            _ => ErrorKind::Usage,
        }
    }
}
