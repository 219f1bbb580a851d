//! What a run is asked for.

use std::path::PathBuf;
use std::time::Duration;

use super::ClusterRunError;
use crate::cluster::Classes;
use crate::dataset::Sources;
use crate::dataset::truth::{self, Labels};
use crate::event::{Event, Observer};
use crate::output::LayOut;
use crate::pipeline::{Machine, PipelineError};

/// What to group and where to put the result.
#[derive(Debug, Clone, Default)]
pub struct ClusterRequest {
    /// Folders, lists of images, or images; may be left out where vectors are given.
    pub data: Option<Sources>,
    pub out: PathBuf,
    pub weights: Option<PathBuf>,
    /// Vectors computed elsewhere, one per image of `data` in its order.
    pub features: Option<PathBuf>,
    /// The clusters of an earlier run, which the images then join.
    pub checkpoint: Option<PathBuf>,
    /// A table with the class of every image, to score against; see [`truth::labels()`].
    pub labels: Option<PathBuf>,
    /// Its column with the classes.
    pub label_column: Option<String>,
    /// Lay the images out in one folder per cluster.
    pub lay_out: Option<LayOut>,
    /// Try a range of α as well.
    pub alpha_sweep: bool,
    /// How long to wait for another run that writes to the same folder; none waits until it has finished.
    pub wait: Option<Duration>,
    pub machine: Machine,
}

impl ClusterRequest {
    /// What is grouped, for people.
    pub(super) fn source(&self) -> String {
        let features = || self.features.as_ref().map(|path| path.display().to_string());
        let data = self.data.as_ref().map(|data| data.display().to_string());
        data.or_else(features).unwrap_or_default()
    }

    /// The classes that the run is scored against, if any.
    pub(super) fn read_classes(&self, observer: &dyn Observer) -> Result<Option<Classes>, PipelineError> {
        match (&self.labels, &self.label_column) {
            (None, None) => Ok(None),
            (None, Some(column)) => Err(ClusterRunError::NoLabels { column: column.clone() }.into()),
            (Some(path), column) => {
                let folders = self.data.as_ref().map_or(&[][..], Sources::paths);
                let is_image = |name: &str| folders.iter().any(|folder| folder.is_dir() && folder.join(name).is_file());
                let Labels { rows, guesses } = truth::labels(path, column.as_deref(), &is_image)?;
                guesses.into_iter().for_each(|guess| observer.observe(Event::Warning(guess)));
                Ok(Some(Classes { source: path.display().to_string(), rows }))
            }
        }
    }
}
