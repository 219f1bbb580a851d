//! What can go wrong while a collection is grouped.

use crate::error::ErrorKind;
use crate::numerics::range::InvalidSetting;

/// Why vectors cannot be grouped, or clusters not be held against classes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    #[error("there is nothing to group")]
    Empty,
    #[error("vector {row} (counted from 0) holds {value}; only finite values can be grouped")]
    NotFinite { row: usize, value: f32 },
    #[error("vector {row} (counted from 0) is too long for single precision; divide all vectors by a large number")]
    TooLong { row: usize },
    #[error("cluster.{} must be {}, not {}", .0.setting, .0.range, .0.value)]
    Setting(#[from] InvalidSetting),
    #[error("k-means needs to know the number of clusters; set cluster.clusters")]
    NumberNeeded,
    #[error("{clusters} clusters cannot be made of {count} images; lower cluster.clusters")]
    TooFew { clusters: usize, count: usize },
    #[error("spectral clustering is limited to {most} images and these are {count}; set cluster.method to correlation")]
    TooManyForSpectral { most: usize, count: usize },
    #[error("the eigenvalues of these vectors' Laplacian could not be found; set cluster.method to correlation")]
    NoEigenvalues,
    #[error("{classes} gives {image} more than one class; keep one")]
    TwoClasses { classes: String, image: String },
    #[error(
        "no name in {classes} is that of an image; names are paths within the collection or file names, with or \
         without extension"
    )]
    NoClass { classes: String },
    #[error("interrupted")]
    Interrupted,
}

impl ClusterError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ClusterError::TwoClasses { .. } => ErrorKind::Untrusted,
            ClusterError::Interrupted => ErrorKind::Interrupted,
            _ => ErrorKind::Usage,
        }
    }
}
