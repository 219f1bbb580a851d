//! What an error of the library is called on the command line: the library names settings, the program its flags.

use deepcut::pipeline::{ClusterError, ClusterRunError, LayOutError, PipelineError};

/// The error as the program says it.
pub fn message(error: &PipelineError) -> String {
    match error {
        PipelineError::Cluster(error) => cluster(error),
        PipelineError::ClusterRun(error) => cluster_run(error),
        PipelineError::LayOut(LayOutError::Occupied { folder }) => format!(
            "{} is there already and was not laid out by deepcut; remove it or choose another --out",
            folder.display()
        ),
        other => other.to_string(),
    }
}

fn cluster(error: &ClusterError) -> String {
    match error {
        ClusterError::NumberNeeded => "k-means needs to know the number of clusters; give it with --clusters K".into(),
        ClusterError::TooFew { clusters, count } => {
            format!("{clusters} clusters cannot be made of {count} images; give a smaller --clusters")
        }
        ClusterError::TooManyForSpectral { .. } | ClusterError::NoEigenvalues => {
            error.to_string().replace("set cluster.method to correlation", "use --method correlation")
        }
        ClusterError::Interrupted => "interrupted; repeat the command to continue; the vectors so far are kept".into(),
        other => other.to_string(),
    }
}

fn cluster_run(error: &ClusterRunError) -> String {
    match error {
        ClusterRunError::NoImages => "there are no images to work on; give them with --data PATH".into(),
        ClusterRunError::NoLabels { column } => {
            format!("--label-column {column} needs a file with labels; give it with --labels FILE")
        }
        ClusterRunError::PrecisionOfVectors => format!("{error}; leave out --precision"),
        ClusterRunError::SweepWithoutAlpha => "--alpha-sweep is for --method correlation only".into(),
        ClusterRunError::SweepOfClusters => "--alpha-sweep finds clusters anew; leave out --ckpt".into(),
        ClusterRunError::FeaturesGiven { path, backbone } => {
            format!("{} groups images by their {backbone} features; leave out --features", path.display())
        }
        ClusterRunError::FeaturesNeeded { path } => format!(
            "{} groups vectors from elsewhere; give those of the new images with --features FILE",
            path.display()
        ),
        other => other.to_string(),
    }
}
