//! What an error of the library is called on the command line: the library names settings, the program its flags.

use deepcut::config::ConfigError;
use deepcut::method::MethodError;
use deepcut::parallel::ThreadsError;
use deepcut::pipeline::{ClusterError, ClusterRunError, EvaluateError, EvaluateSide, PipelineError, Run};

/// What the library quotes and the program has a flag for.
const FLAGS: [(&str, &str); 26] = [
    ("`cluster.alpha`", "--alpha"),
    ("`cluster.clusters`", "--clusters"),
    ("set `cluster.method` to", "use --method"),
    ("`train.epochs`", "--epochs"),
    ("`train.seed`", "--seed"),
    ("`segment.epochs`", "--epochs"),
    ("`segment.seed`", "--seed"),
    ("`segment.method` = \"spectral\"", "--method spectral"),
    ("`segment.method` = \"gnn\"", "--method gnn"),
    ("`device`", "--device"),
    ("`memory`", "--memory"),
    ("`objects.instances`", "--instances"),
    ("`label_column`", "--label-column"),
    ("`threads`", "--threads"),
    ("give it as `weights`", "give it with --weights FILE"),
    ("`data.max_bad`", "--max-bad"),
    ("`regions.lambda`", "--set regions.lambda=…"),
    ("`pixels.bands`", "--bands"),
    ("`pixels.range`", "--range"),
    ("`pixels.nodata` = \"none\"", "--nodata none"),
    ("`pixels.nodata`", "--nodata"),
    ("unless `data.respect_ignore` is set", "without --respect-ignore"),
    ("`data.frames` = \"all\"", "--frames all"),
    ("`shards`", "--shards"),
    ("set `accept_changes`", "add --accept-changes"),
    ("set `overwrite`", "add --overwrite"),
];

/// Parts of the configuration that are named in brackets, as in a configuration file.
const IN_BRACKETS: [&str; 10] = [
    "cluster",
    "superpixel",
    "pixel",
    "parts",
    "regions",
    "grapl",
    "objects",
    "teaching",
    "refine.bilateral",
    "refine.cut",
];

/// Arguments that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub String);

/// The error as the program says it.
pub fn message(error: &PipelineError) -> String {
    with_flags(&worded(error))
}

fn worded(error: &PipelineError) -> String {
    match error {
        PipelineError::Cluster(error) => cluster(error),
        PipelineError::ClusterRun(error) => cluster_run(error),
        PipelineError::Config(error) => config(error),
        PipelineError::Method(error) => method(error),
        PipelineError::Evaluate(error) => evaluate(error),
        PipelineError::NotStored { name } => {
            format!("{name} is not on this machine; `deepcut backbone pull {name}` fetches it")
        }
        PipelineError::SharedWeights { path } => format!(
            "{} lies in the cache of the Hugging Face Hub, which other programs use too; add --yes to remove it",
            path.display()
        ),
        PipelineError::NoMatrix { path } => {
            format!("--out {} must end in .npy or .safetensors; give another name", path.display())
        }
        PipelineError::Interrupted(run) => interrupted(Some(*run)).into(),
        other => other.to_string(),
    }
}

/// What is said of an interrupted run, or of a command that keeps nothing of what it has begun.
pub fn interrupted(run: Option<Run>) -> &'static str {
    match run {
        Some(Run::Training) => "interrupted; repeat the command with --resume to continue",
        Some(Run::Segmenting) => "interrupted; repeat the command to continue; finished masks are kept",
        Some(Run::Fetching) => "interrupted; repeat the command to continue; what came so far is kept",
        Some(Run::Grouping) => "interrupted; repeat the command to continue; the vectors so far are kept",
        Some(Run::Describing) => "interrupted; repeat the command to continue; the features so far are kept",
        Some(Run::Merging) => "interrupted; repeat the command to continue; what has its place is kept",
        Some(Run::Comparing | Run::Planning) | None => "interrupted; repeat the command",
    }
}

/// A text of the library with flags in place of the settings that they stand for.
pub fn with_flags(text: &str) -> String {
    FLAGS.iter().fold(text.to_string(), |text, (setting, flag)| text.replace(setting, flag))
}

fn config(error: &ConfigError) -> String {
    match error {
        ConfigError::Override(text) => {
            format!("--set {text}: write it as key=value, for example --set train.epochs=20")
        }
        ConfigError::Setting { room, invalid } if IN_BRACKETS.contains(room) => format!("[{room}] {invalid}"),
        other => other.to_string(),
    }
}

fn method(error: &MethodError) -> String {
    match error {
        MethodError::CheckpointUnreadable { .. } => {
            error.to_string().replace("training writes one", "`deepcut train` writes one")
        }
        MethodError::FixedByTraining { key } => format!(
            "--set {key}: a trained network fixes this; only refine.…, objects.…, output.…, pixels.…, data.max_bad, data.respect_ignore and data.frames can be set for inference, and --precision"
        ),
        MethodError::WeightsNeeded { backbone } => format!(
            "the {backbone} backbone needs weights; fetch them with `deepcut backbone pull`, give them with --weights FILE or install them with `deepcut backbone install FILE`"
        ),
        MethodError::WeightsNotFetched { name, by_hand } => format!(
            "the weights {name} are not on this machine; fetch them with `deepcut backbone pull {name}`, or {by_hand}"
        ),
        MethodError::WeightsChanged { name, .. } => error.to_string().replace(
            "remove and pull them again",
            &format!("`deepcut backbone remove {name}` and `deepcut backbone pull {name}` get them anew"),
        ),
        MethodError::NeedlessWeights { backbone, path } => {
            format!("the {backbone} backbone takes no weights; leave out --weights {}", path.display())
        }
        MethodError::NeedlessDevice { backbone } => {
            format!("the {backbone} backbone computes nothing on a GPU; leave out --device cuda")
        }
        MethodError::Precision(error) => format!("{error}; leave out --precision"),
        MethodError::UnsupportedPrecision { precision, lacking } => {
            format!("{lacking}; {precision} cannot be used: add --precision f32")
        }
        MethodError::OtherWeights { .. } => format!("{error} with --weights"),
        MethodError::SpectralCutsInTwo => {
            "--method spectral cuts images in two by the ncut objective; leave out clusters, parts and other objectives"
                .into()
        }
        MethodError::NeedlessForPatchNetwork { setting } => format!(
            "regions.by=patch-network divides images by their pixels, without a backbone; leave out {}",
            flag_of(setting)
        ),
        MethodError::NeedlessForPixels { method, setting } => format!(
            "--method {method} divides an image by its pixels, without a backbone: leave out {}",
            flag_of(setting)
        ),
        MethodError::DeviceStopped => {
            format!("{error}: repeat the command, and if it stops again, add --device cpu")
        }
        MethodError::StateOfOtherRun { path } => format!(
            "{} is from a run with other settings or other images; repeat that run's command, or leave out --resume to start anew",
            path.display()
        ),
        MethodError::DamagedState { path, source } => {
            format!("{} cannot be used: {source}; leave out --resume to start anew", path.display())
        }
        MethodError::Threads(ThreadsError::TooMany { threads, most }) => too_many_threads(*threads, *most),
        MethodError::Config(error) => config(error),
        other => other.to_string(),
    }
}

/// The flag of a setting, which may be in a configuration file too.
fn flag_of(setting: &str) -> String {
    let flag = match setting {
        "weights" => return "--weights".into(),
        "device" => return "--device cuda".into(),
        "backbone" => "--backbone",
        "objective.kind" => "--objective",
        "model.clusters" => "--clusters",
        "parts.foreground" => "--parts",
        "parts.background" => "--background-parts",
        "vit.precision" => "--precision",
        other => return other.into(),
    };
    format!("{flag} ({setting})")
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
        ClusterError::Interrupted => interrupted(Some(Run::Grouping)).into(),
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

fn too_many_threads(threads: usize, most: usize) -> String {
    format!("--threads must be at most {most}, not {threads}")
}

fn evaluate(error: &EvaluateError) -> String {
    match error {
        EvaluateError::Missing { side, path, source } => {
            let flag = match side {
                EvaluateSide::Predictions => "--pred",
                EvaluateSide::Truth => "--truth",
            };
            format!("{flag} {}: {source}; check the path", path.display())
        }
        EvaluateError::NoFolder { path } => {
            format!("--pred {} is no folder; name the --out of `deepcut infer` or a folder of masks", path.display())
        }
        EvaluateError::TruthNeeded => "only --task video can do without --truth".into(),
        EvaluateError::TaskWithoutMaps => {
            "--void and --foreground-class tell what the values of label maps mean: tasks objects, parts and video"
                .into()
        }
        EvaluateError::TaskWithoutRegions => "--oracle and --scales are for --task regions".into(),
        EvaluateError::NoScale { folder } => format!(
            "no mask in {} has a name ID_k with a scale k; leave out --scales, or name the maps of each image so",
            folder.display()
        ),
        EvaluateError::TruthWithoutMaps { truth } => {
            format!("--void and --foreground-class are for label maps, not for {truth}")
        }
        EvaluateError::VoidForeground => "a value cannot be --void and a --foreground-class".into(),
        EvaluateError::AbsentClasses { classes } => {
            format!("no pixel of the ground truth has a --foreground-class ({classes:?}); check the classes' numbers")
        }
        EvaluateError::NoForeground => {
            "the ground truth has no foreground pixel in any image; check its values, --void and --foreground-class"
                .into()
        }
        EvaluateError::NoMask { folder } => {
            format!("no mask was found in {}; name the --out of `deepcut infer` or a folder of masks", folder.display())
        }
        EvaluateError::MaskMissing { folder, image } => format!(
            "{} has no mask of {image}, which its predictions.jsonl lists; run `deepcut infer` with --save masks",
            folder.display()
        ),
        EvaluateError::Threads(ThreadsError::TooMany { threads, most }) => too_many_threads(*threads, *most),
        EvaluateError::Interrupted => interrupted(None).into(),
        other => other.to_string(),
    }
}
