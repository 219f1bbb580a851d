//! `cluster`: a collection → groups of alike images, without a number of groups; or new images → the groups of a run.

mod labels;
mod lay_out;
mod report;
mod sweep;
mod vectors;

pub use labels::LabelScores;
pub use lay_out::LayOut;
pub use sweep::{AlphaSweep, StableRange, SweepPoint};

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::backbone::{self, Backbone};
use super::machine::{Machine, thread_pool, workers};
use super::{PipelineError, Skip, remove_outdated, stored_config};
use crate::cluster::{
    self, Assigner, AssignerHeader, ClusterError, Clustering, Method, Propagation, Restart, Scaling, Vectors,
};
use crate::config::{Settings, with_overrides};
use crate::dataset::{self, Collection};
use crate::event::{Event, Observer};
use crate::output::{csv_line, write_atomically};
use crate::tensor::{self, Device};
use vectors::Gathered;

/// What to group and where to put the result.
#[derive(Debug, Clone, Default)]
pub struct ClusterRequest {
    /// A folder, a list of images, or one image; may be left out where vectors are given.
    pub data: Option<PathBuf>,
    pub out: PathBuf,
    pub weights: Option<PathBuf>,
    /// Vectors computed elsewhere, one per image of `data` in its order.
    pub features: Option<PathBuf>,
    /// The clusters of an earlier run, which the images then join.
    pub checkpoint: Option<PathBuf>,
    /// A CSV file with the class of every image, to score against.
    pub labels: Option<PathBuf>,
    /// Its column with the classes.
    pub label_column: Option<String>,
    /// Lay the images out in one folder per cluster.
    pub lay_out: Option<LayOut>,
    /// Try a range of α as well.
    pub alpha_sweep: bool,
    pub machine: Machine,
}

/// Everything a run found.
#[derive(Debug, Clone)]
pub struct ClusterResult {
    pub summary: ClusterSummary,
    /// In the collection's order.
    pub images: Vec<ClusteredImage>,
    /// The network's loss before every step of the restart that was kept, divided by N² max(F Fᵀ).
    pub curve: Vec<f64>,
}

/// One image and where it belongs.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusteredImage {
    /// Relative to the collection, `/` between folders; the row's number where only vectors were given.
    pub name: String,
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    pub cluster: u32,
    /// See [`cluster::Assignment::confidence`].
    pub confidence: f64,
    /// Its place on the map of the collection, in [−1, 1]².
    pub place: [f32; 2],
}

/// What `summary.json` says.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterSummary {
    /// Number of clusters found.
    pub clusters: usize,
    /// Images in every cluster, descending in the run that found them.
    pub sizes: Vec<usize>,
    /// The method's objective on its own scale; none for methods without one, and for images that joined clusters.
    pub objective: Option<f64>,
    pub method: Method,
    pub alpha: f64,
    pub images: usize,
    /// Channels of a vector.
    pub width: usize,
    /// What turned images into vectors; none where vectors were given.
    pub backbone: Option<String>,
    pub scaling: Scaling,
    pub propagation: Option<&'static str>,
    pub seed: u64,
    /// Whether the clusters are those of a checkpoint.
    pub joined: bool,
    pub restarts: Vec<Restart>,
    pub best_restart: Option<usize>,
    /// Spectral only: the smallest eigenvalues of the normalised Laplacian.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub eigenvalues: Vec<f64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelScores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha_sweep: Option<AlphaSweep>,
    pub skipped: Vec<Skip>,
    /// Where everything is; not part of the file.
    #[serde(skip)]
    pub out: PathBuf,
}

/// Images, vectors and clusters before they are written.
struct Grouped {
    gathered: Gathered,
    vectors: Vectors,
    assigner: Assigner,
    clusters: Vec<u32>,
    confidences: Vec<f64>,
    found: Option<Clustering>,
    sweep: Option<AlphaSweep>,
}

const ASSIGNMENTS: &str = "assignments.csv";
const REPORT: &str = "report.html";
const SUMMARY: &str = "summary.json";
const CHECKPOINT: &str = "clusters.safetensors";

/// Groups a collection, or lets images join the clusters of a checkpoint.
///
/// Writes `OUT/assignments.csv`, `OUT/summary.json`, `OUT/report.html`, unless images join clusters `OUT/clusters.safetensors`, and where
/// asked for `OUT/clusters/`. Vectors of images are kept in `OUT/cache/`, so that a repeated run is quick.
pub fn cluster(
    config: Settings,
    request: &ClusterRequest,
    observer: &dyn Observer,
) -> Result<ClusterResult, PipelineError> {
    let pool = thread_pool(request.machine.threads)?;
    let device = request.machine.device.open()?;
    let device_name = tensor::name(&device);
    let collection = request.data.as_deref().map(dataset::open).transpose()?;
    if collection.is_none() && (request.features.is_none() || request.lay_out.is_some()) {
        return Err(PipelineError::Usage("there are no images to work on; give them with --data PATH".into()));
    }
    // Before any work: labels that cannot be read must not cost a run.
    let labels = labels::read(request)?;
    if let Some(kind) = request.lay_out {
        kind.check(&request.out)?;
    }
    let run = Run { request, device: &device, device_name, pool: &pool, observer };
    let grouped = match &request.checkpoint {
        None => run.group(config, collection.as_ref())?,
        Some(path) => run.join(path, collection.as_ref())?,
    };
    run.write(grouped, labels)
}

struct Run<'a> {
    request: &'a ClusterRequest,
    device: &'a Device,
    device_name: &'static str,
    pool: &'a rayon::ThreadPool,
    observer: &'a dyn Observer,
}

impl Run<'_> {
    /// Finds clusters.
    fn group(&self, mut config: Settings, collection: Option<&Collection>) -> Result<Grouped, PipelineError> {
        // Told before any vector is computed.
        if self.request.features.is_some() && self.request.machine.precision.is_some() {
            return Err(PipelineError::Usage(
                "vectors from elsewhere have no precision to choose; leave out --precision".into(),
            ));
        }
        if self.request.alpha_sweep && config.cluster.method != Method::Correlation {
            return Err(PipelineError::Usage("--alpha-sweep is for --method correlation only".into()));
        }
        if config.cluster.method == Method::Kmeans && config.cluster.clusters.is_none() {
            return Err(usage(ClusterError::NumberNeeded));
        }
        let backbone = match &self.request.features {
            Some(_) => None,
            None => Some(backbone::open(
                &mut config,
                self.request.weights.as_deref(),
                None,
                &self.request.machine,
                self.device,
            )?),
        };
        self.plan("grouping", &config, backbone.as_ref());
        let mut gathered = self.gather(&config, collection, backbone.as_ref())?;
        let raw = self.checked(&mut gathered)?;
        if config.cluster.scaling == Scaling::Auto {
            let statistics = backbone.as_ref().is_some_and(|backbone| backbone.hash.is_none());
            config.cluster.scaling = if statistics { Scaling::Standardised } else { Scaling::Unit };
        }
        let scaling = raw.fit(config.cluster.scaling);
        let vectors = scaling.apply(raw);
        let sweep = || sweep::sweep(&vectors, &config, self.device, self.observer);
        let sweep = self.request.alpha_sweep.then(|| self.pool.install(sweep)).transpose()?;
        let (found, confidences, assigner) = self.pool.install(|| -> Result<_, PipelineError> {
            let found = find(&vectors, &config, self.device, self.observer)?;
            let header = AssignerHeader {
                config: stored_config(&config),
                backbone: backbone.as_ref().map(|backbone| backbone.name.to_string()),
                backbone_hash: backbone.as_ref().and_then(|backbone| backbone.hash.clone()),
                method: config.cluster.method,
                offset: vectors.largest_product() / config.cluster.alpha,
                width: 0,
                sizes: Vec::new(),
                unit_length: false,
                standardised: false,
                objective: None,
                seed: config.cluster.seed,
            };
            let assigner = Assigner::new(header, scaling, &vectors, &found);
            let confidences = assigner.confidences(&vectors, &found.clusters);
            Ok((found, confidences, assigner))
        })?;
        Ok(Grouped {
            gathered,
            vectors,
            assigner,
            clusters: found.clusters.clone(),
            confidences,
            found: Some(found),
            sweep,
        })
    }

    /// Lets images join the clusters of a checkpoint.
    fn join(&self, path: &Path, collection: Option<&Collection>) -> Result<Grouped, PipelineError> {
        if self.request.alpha_sweep {
            return Err(PipelineError::Usage("--alpha-sweep finds clusters anew; leave out --ckpt".into()));
        }
        let bytes = std::fs::read(path).map_err(|error| {
            PipelineError::Usage(format!(
                "cannot read the clusters {}: {error}; `deepcut cluster` writes them as OUT/{CHECKPOINT}",
                path.display()
            ))
        })?;
        let untrusted = |reason: String| PipelineError::Untrusted(format!("{} {reason}", path.display()));
        let assigner = Assigner::from_bytes(&bytes).map_err(|error| {
            untrusted(format!("holds no usable clusters: {error}; run `deepcut cluster` again or copy it anew"))
        })?;
        let header = &assigner.header;
        let stored: Settings = serde_json::from_value(header.config.clone())
            .map_err(|error| untrusted(format!("was made by another version of deepcut ({error}); group again")))?;
        let mut config = with_overrides(&stored, &[])?;
        let backbone = match (&header.backbone, &self.request.features) {
            (Some(name), Some(_)) => {
                return Err(PipelineError::Usage(format!(
                    "{} groups images by their {name} features; leave out --features",
                    path.display()
                )));
            }
            (None, None) => {
                return Err(PipelineError::Usage(format!(
                    "{} groups vectors from elsewhere; give those of the new images with --features FILE",
                    path.display()
                )));
            }
            (None, Some(_)) => None,
            (Some(_), None) => {
                let expected = header.backbone_hash.as_deref();
                Some(backbone::open(
                    &mut config,
                    self.request.weights.as_deref(),
                    expected,
                    &self.request.machine,
                    self.device,
                )?)
            }
        };
        self.plan(&format!("putting into the clusters of {}", path.display()), &config, backbone.as_ref());
        let mut gathered = self.gather(&config, collection, backbone.as_ref())?;
        if gathered.width != header.width {
            let reason = format!("groups vectors of {} channels, these have {}", header.width, gathered.width);
            return Err(untrusted(format!("{reason}; give the same kind of features")));
        }
        let vectors = assigner.scale(self.checked(&mut gathered)?);
        let assigned = self.pool.install(|| assigner.assign(&vectors));
        Ok(Grouped {
            gathered,
            vectors,
            clusters: assigned.iter().map(|assignment| assignment.cluster).collect(),
            confidences: assigned.iter().map(|assignment| assignment.confidence).collect(),
            assigner,
            found: None,
            sweep: None,
        })
    }

    fn plan(&self, doing: &str, config: &Settings, backbone: Option<&Backbone>) {
        let settings = &config.cluster;
        let data = self.request.data.as_ref().or(self.request.features.as_ref());
        let method = match (settings.method, settings.propagation) {
            (Method::Correlation, Propagation::Sparse) => {
                format!("sparse correlation (alpha {}, at most {} clusters)", settings.alpha, settings.most_clusters())
            }
            (Method::Correlation, _) => {
                format!("correlation (alpha {}, at most {} clusters)", settings.alpha, settings.most_clusters())
            }
            (method, _) => method.name().to_string(),
        };
        self.observer.observe(Event::Plan(format!(
            "{doing} {}: {}, device {}, method {method}",
            data.map_or(String::new(), |data| data.display().to_string()),
            backbone.map_or("given vectors".to_string(), Backbone::description_with_hint),
            self.device_name,
        )));
    }

    fn gather(
        &self,
        config: &Settings,
        collection: Option<&Collection>,
        backbone: Option<&Backbone>,
    ) -> Result<Gathered, PipelineError> {
        match (backbone, collection) {
            (Some(backbone), Some(collection)) => {
                let workers = workers(self.request.machine.threads)?;
                let &Run { request, device, observer, .. } = self;
                let vectoriser = vectors::Vectoriser { request, config, backbone, device, observer };
                vectors::of_images(&vectoriser, collection, workers)
            }
            _ => vectors::from_file(self.request, collection),
        }
    }

    /// The gathered values as vectors that can be grouped.
    fn checked(&self, gathered: &mut Gathered) -> Result<Vectors, PipelineError> {
        let values = std::mem::take(&mut gathered.values);
        Vectors::new(values, gathered.width).map_err(|error| match &self.request.features {
            Some(path) => PipelineError::Untrusted(format!("cannot use the vectors {}: {error}", path.display())),
            None => usage(error),
        })
    }

    /// Scores and writes everything.
    fn write(&self, grouped: Grouped, labels: Option<labels::Labels>) -> Result<ClusterResult, PipelineError> {
        let Grouped { gathered, vectors, assigner, clusters, confidences, found, sweep } = grouped;
        let config: Settings = serde_json::from_value(assigner.header.config.clone()).unwrap_or_default();
        let mut sizes = vec![0; assigner.count()];
        clusters.iter().for_each(|&cluster| sizes[cluster as usize] += 1);
        let places = self.pool.install(|| cluster::map(&vectors, config.cluster.seed));
        let images: Vec<ClusteredImage> = gathered
            .images
            .into_iter()
            .zip(clusters.iter().zip(&confidences))
            .zip(places)
            .map(|((image, (&cluster, &confidence)), place)| ClusteredImage {
                name: image.name,
                file: image.file,
                cluster,
                confidence,
                place,
            })
            .collect();
        let out = &self.request.out;
        // A summary that is there belongs to the other files; the search's result must outlast an error after it.
        remove_outdated(&out.join(SUMMARY))?;
        write_atomically(&out.join(ASSIGNMENTS), |writer| {
            writer.write_all(csv_line(&["path", "cluster", "confidence"]).as_bytes())?;
            images.iter().try_for_each(|image| {
                let fields = [&image.name, &image.cluster.to_string(), &format!("{:.6}", image.confidence)];
                writer.write_all(csv_line(&fields).as_bytes())
            })
        })?;
        if found.is_some() {
            let bytes = assigner.to_bytes().map_err(|error| PipelineError::Untrusted(error.to_string()))?;
            write_atomically(&out.join(CHECKPOINT), |writer| writer.write_all(&bytes))?;
        }
        let used = sizes.iter().filter(|size| **size > 0).count();
        let scores = labels.map(|labels| labels.score(&images, used, self.observer)).transpose()?;
        let restarts = found.as_ref().map_or(Vec::new(), |found| found.restarts.clone());
        let best_restart = found.as_ref().and_then(|found| found.best_restart);
        let summary = ClusterSummary {
            clusters: used,
            sizes,
            objective: found.as_ref().and_then(|found| found.objective),
            method: assigner.header.method,
            alpha: config.cluster.alpha,
            images: images.len(),
            width: vectors.width(),
            backbone: assigner.header.backbone.clone(),
            scaling: config.cluster.scaling,
            propagation: found.as_ref().and_then(|found| found.propagation),
            seed: config.cluster.seed,
            joined: found.is_none(),
            best_restart,
            eigenvalues: found.as_ref().map_or(Vec::new(), |found| found.eigenvalues.clone()),
            labels: scores,
            alpha_sweep: sweep,
            skipped: gathered.skipped,
            out: self.request.out.clone(),
            restarts,
        };

        if let Some(kind) = self.request.lay_out {
            lay_out::lay_out(kind, out, &images)?;
        }
        let curve = best_restart.and_then(|best| summary.restarts.get(best)).map_or(Vec::new(), |r| r.curve.clone());
        let write_report = || report::write(&out.join(REPORT), self.request, &config, &summary, &images, &curve);
        self.pool.install(write_report)?;
        // Last: where there is a summary, everything else is there and of the same run.
        write_atomically(&out.join(SUMMARY), |writer| {
            serde_json::to_writer_pretty(&mut *writer, &summary)?;
            writer.write_all(b"\n")
        })?;
        Ok(ClusterResult { summary, images, curve })
    }
}

/// Groups scaled vectors as the configuration says.
fn find(
    vectors: &Vectors,
    config: &Settings,
    device: &Device,
    observer: &dyn Observer,
) -> Result<Clustering, PipelineError> {
    let (hidden, dropout) = (config.model.hidden, config.model.dropout);
    cluster::cluster(vectors, &config.cluster, hidden, dropout, device, observer).map_err(usage)
}

fn usage(error: ClusterError) -> PipelineError {
    match error {
        ClusterError::Interrupted => interrupted(),
        other => PipelineError::Usage(other.to_string()),
    }
}

fn interrupted() -> PipelineError {
    PipelineError::Interrupted("repeat the command to continue; the vectors so far are kept".into())
}
