//! `cluster`: a collection → groups of alike images, without a number of groups; or new images → the groups of a run.

mod error;
mod report;
mod request;
mod vectors;

pub use error::ClusterRunError;
pub use request::ClusterRequest;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{PipelineError, Precision, SkippedFile, stored_config, tell_of_passed_over};
use crate::cluster::{
    self, AlphaSweep, ClassScores, Classes, ClusterError, ClusterModel, ClusterNetwork, ClusteredImage, Fitted,
    Membership, Method, Propagation, Provenance, Reliance, Restart, Scaling, Vectors,
};
use crate::config::{Purpose, SampleConfig, Settings, with_overrides};
use crate::dataset::{self, Collection, Record, Sources};
use crate::event::{Event, Observer, Plan, counted};
use crate::features::Backbone;
use crate::files;
use crate::method::{MethodError, installed_weights, open_backbone};
use crate::names;
use crate::output::{Claim, LayOut, OutputFolder};
use crate::parallel::{thread_pool, workers};
use crate::tensor::{self, Device};
use vectors::Gathered;

/// Everything a run found.
#[derive(Debug, Clone)]
pub struct ClusterResult {
    pub summary: ClusterSummary,
    /// In the collection's order.
    pub images: Vec<ClusteredImage>,
    /// The network's loss before every step of the restart that was kept, divided by N² max(F Fᵀ).
    pub curve: Vec<f64>,
}

/// What `summary.json` says.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterSummary {
    /// Number of clusters found.
    pub clusters: usize,
    /// Images in every cluster, descending in the run that found them.
    pub sizes: Vec<usize>,
    /// Where the clusters were found in this run.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub reliance: Option<Reliance>,
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
    pub labels: Option<ClassScores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha_sweep: Option<AlphaSweep>,
    pub skipped: Vec<SkippedFile>,
    /// Where everything is; not part of the file.
    #[serde(skip)]
    pub out: PathBuf,
}

/// Clusters have a vector each, and there are no millions of them.
const MOST_BYTES: u64 = 4 << 30;

const ASSIGNMENTS: &str = "assignments.csv";
const REPORT: &str = "report.html";
const SUMMARY: &str = "summary.json";
const CHECKPOINT: &str = "clusters.safetensors";
const CACHE: &str = "cache";

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
    request.machine.limit_memory();
    let device = request.machine.device.open().map_err(MethodError::from)?;
    let device_name = tensor::name(&device);
    let open = |data: &Sources| dataset::open_sources(data, &config.data);
    let collection = request.data.as_ref().map(open).transpose()?;
    if collection.is_none() && (request.features.is_none() || request.lay_out.is_some()) {
        return Err(ClusterRunError::NoImages.into());
    }
    // Before any work: classes that cannot be read must not cost a run.
    let classes = request.read_classes(observer)?;
    if request.lay_out.is_some() {
        LayOut::check_folder(&request.out)?;
    }
    let run = Run { request, device: &device, device_name, pool: &pool, observer };
    match &request.checkpoint {
        None => run.group(config, collection.as_ref(), classes),
        Some(path) => run.join(path, config.data, collection.as_ref(), classes),
    }
}

/// The names that a run writes.
fn claims(request: &ClusterRequest) -> Vec<Claim> {
    let is_whole: fn(&Path) -> bool =
        |path| std::fs::read(path).is_ok_and(|bytes| ClusterModel::from_bytes(&bytes).is_ok());
    let claims = [
        (true, Claim::file(ASSIGNMENTS)),
        (true, Claim::file(SUMMARY)),
        (true, Claim::file(REPORT)),
        (request.checkpoint.is_none(), Claim { is_whole: Some(is_whole), ..Claim::file(CHECKPOINT) }),
        (request.features.is_none(), Claim::folder(CACHE)),
        (request.lay_out.is_some(), LayOut::claim()),
    ];
    claims.into_iter().filter_map(|(written, claim)| written.then_some(claim)).collect()
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
    fn group(
        &self,
        mut config: Settings,
        collection: Option<&Collection>,
        classes: Option<Classes>,
    ) -> Result<ClusterResult, PipelineError> {
        // Told before any vector is computed.
        let precision = self.request.machine.precision.filter(|precision| *precision != Precision::Auto);
        if self.request.features.is_some() && precision.is_some() {
            return Err(ClusterRunError::PrecisionOfVectors.into());
        }
        if self.request.alpha_sweep && config.cluster.method != Method::Correlation {
            return Err(ClusterRunError::SweepWithoutAlpha.into());
        }
        if config.cluster.method == Method::Kmeans && config.cluster.clusters.is_none() {
            return Err(ClusterError::NumberNeeded.into());
        }
        let backbone = match &self.request.features {
            Some(_) => None,
            None => Some(self.open_backbone(&mut config, Purpose::Cluster, None)?),
        };
        self.plan("grouping", &config, backbone.as_ref());
        let out = self.open_out()?;
        let Gathered { names, records, values, width, skipped } =
            self.gather(&out, &config, collection, backbone.as_ref())?;
        let vectors = self.checked(values, width)?;
        if config.cluster.scaling == Scaling::Auto {
            // Only of vectors from elsewhere nothing is known.
            config.cluster.scaling = Scaling::Unit;
        }
        let &Run { device, observer, .. } = self;
        let network = ClusterNetwork { hidden: config.model.hidden, dropout: config.model.dropout };
        let sweep = || cluster::alpha_sweep(&vectors, &config.cluster, &network, device, observer);
        let alpha_sweep = self.request.alpha_sweep.then(|| self.pool.install(sweep)).transpose()?;
        let provenance = Provenance {
            config: stored_config(&config),
            backbone: backbone.as_ref().map(|backbone| backbone.name.to_string()),
            backbone_hash: backbone.and_then(|backbone| backbone.hash),
        };
        let fit = || ClusterModel::fit(&vectors, &config.cluster, &network, provenance, device, observer);
        let Fitted { model, clusters, confidences, details, reliance } = self.pool.install(fit)?;
        let memberships = clusters.into_iter().zip(confidences);
        let memberships = memberships.map(|(cluster, confidence)| Membership { cluster, confidence }).collect();
        let images = self.placed(names, memberships, model.scale(vectors), config.cluster.seed);
        self.write_assignments(&out, &images)?;
        let bytes = model.to_bytes().map_err(ClusterRunError::Written)?;
        out.write(&out.root().join(CHECKPOINT), |writer| writer.write_all(&bytes))?;
        let curve = details.best_restart.map_or(Vec::new(), |best| details.restarts[best].curve.clone());
        let summary = ClusterSummary {
            reliance: Some(reliance),
            objective: details.objective,
            propagation: details.propagation,
            joined: false,
            restarts: details.restarts,
            best_restart: details.best_restart,
            eigenvalues: details.eigenvalues,
            alpha_sweep,
            ..self.summary(&config, &model, &images, skipped, classes)?
        };
        self.finish(&out, &config, &records, ClusterResult { summary, images, curve })
    }

    /// Lets images join the clusters of a checkpoint.
    fn join(
        &self,
        path: &Path,
        data: SampleConfig,
        collection: Option<&Collection>,
        classes: Option<Classes>,
    ) -> Result<ClusterResult, PipelineError> {
        if self.request.alpha_sweep {
            return Err(ClusterRunError::SweepOfClusters.into());
        }
        let at = || path.to_path_buf();
        let bytes =
            files::read(path, MOST_BYTES).map_err(|source| ClusterRunError::Unreadable { path: at(), source })?;
        let model =
            ClusterModel::from_bytes(&bytes).map_err(|source| ClusterRunError::Unusable { path: at(), source })?;
        let header = model.header();
        let stored: Settings = serde_json::from_value(header.config.clone())
            .map_err(|source| ClusterRunError::OtherVersion { path: at(), source })?;
        let mut config = Settings { data, ..with_overrides(&stored, &[])? };
        let backbone = match (&header.backbone, &self.request.features) {
            (Some(name), Some(_)) => {
                return Err(ClusterRunError::FeaturesGiven { path: at(), backbone: name.clone() }.into());
            }
            (None, None) => return Err(ClusterRunError::FeaturesNeeded { path: at() }.into()),
            (None, Some(_)) => None,
            (Some(_), None) => {
                Some(self.open_backbone(&mut config, Purpose::Reuse, header.backbone_hash.as_deref())?)
            }
        };
        self.plan(&format!("putting into the clusters of {}", path.display()), &config, backbone.as_ref());
        let out = self.open_out()?;
        let Gathered { names, records, values, width, skipped } =
            self.gather(&out, &config, collection, backbone.as_ref())?;
        if width != header.width {
            return Err(ClusterRunError::OtherWidth { path: at(), expected: header.width, found: width }.into());
        }
        let vectors = self.checked(values, width)?;
        let memberships = self.pool.install(|| model.predict(&vectors));
        let images = self.placed(names, memberships, model.scale(vectors), config.cluster.seed);
        self.write_assignments(&out, &images)?;
        let summary = self.summary(&config, &model, &images, skipped, classes)?;
        self.finish(&out, &config, &records, ClusterResult { summary, images, curve: Vec::new() })
    }

    /// The backbone of the settings, into which every choice is written.
    fn open_backbone(
        &self,
        config: &mut Settings,
        purpose: Purpose,
        expected_hash: Option<&str>,
    ) -> Result<Backbone, PipelineError> {
        let &Run { request, device, .. } = self;
        let has_weights = request.weights.is_some() || installed_weights().is_some();
        let resolved = config.clone().resolve(purpose, has_weights, request.machine.precision)?;
        *config = resolved.settings().clone();
        Ok(open_backbone(&resolved, request.weights.as_deref(), expected_hash, device)?)
    }

    fn plan(&self, doing: &str, config: &Settings, backbone: Option<&Backbone>) {
        let settings = &config.cluster;
        let most = settings.most_clusters().map_or(String::new(), |most| format!(", at most {most} clusters"));
        let method = match (settings.method, settings.propagation) {
            (Method::Correlation, Propagation::Sparse) => {
                format!("sparse correlation (alpha {}{most})", settings.alpha)
            }
            (Method::Correlation, _) => format!("correlation (alpha {}{most})", settings.alpha),
            (method, _) => method.name().to_string(),
        };
        let data = self.request.source();
        self.observer.observe(Event::Plan(Plan {
            doing: format!("{doing} {data}"),
            backbone: backbone.map_or("given vectors".to_string(), |backbone| backbone.description.clone()),
            could_be_deeper: backbone.is_some_and(|backbone| backbone.hash.is_none()),
            how: format!("device {}, method {method}", self.device_name),
        }));
    }

    /// Takes the output folder, once everything that was asked for is known to be possible.
    fn open_out(&self) -> Result<OutputFolder, PipelineError> {
        let &Run { request, observer, .. } = self;
        Ok(OutputFolder::open(&request.out, "cluster", &claims(request), request.wait, observer)?)
    }

    fn gather(
        &self,
        out: &OutputFolder,
        config: &Settings,
        collection: Option<&Collection>,
        backbone: Option<&Backbone>,
    ) -> Result<Gathered, PipelineError> {
        match (backbone, collection) {
            (Some(backbone), Some(collection)) => {
                let workers = workers(self.request.machine.threads)?;
                let &Run { device, observer, .. } = self;
                vectors::of_images(collection, out, config, backbone, device, workers, observer)
            }
            _ => {
                let gathered = vectors::from_file(self.request, collection);
                if let Some(collection) = collection {
                    tell_of_passed_over(collection, self.observer);
                }
                gathered
            }
        }
    }

    /// The gathered values as vectors that can be grouped.
    fn checked(&self, values: Vec<f32>, width: usize) -> Result<Vectors, PipelineError> {
        Vectors::new(values, width).map_err(|source| match &self.request.features {
            Some(path) => ClusterRunError::Vectors { path: path.clone(), source }.into(),
            None => source.into(),
        })
    }

    /// The images with their clusters and their places on the map.
    fn placed(
        &self,
        names: Vec<String>,
        memberships: Vec<Membership>,
        scaled: Vectors,
        seed: u64,
    ) -> Vec<ClusteredImage> {
        let places = self.pool.install(|| cluster::map(&scaled, seed));
        let placed = names.into_iter().zip(memberships).zip(places);
        placed
            .map(|((name, Membership { cluster, confidence }), place)| ClusteredImage {
                name,
                cluster,
                confidence,
                place,
            })
            .collect()
    }

    /// Writes where every image belongs, first of all: the search's result must outlast an error after it.
    fn write_assignments(&self, out: &OutputFolder, images: &[ClusteredImage]) -> Result<(), PipelineError> {
        // A summary that is there belongs to the files of an earlier run.
        out.remove(&out.root().join(SUMMARY))?;
        out.write(&out.root().join(ASSIGNMENTS), |writer| {
            let mut table = csv::Writer::from_writer(writer);
            table.write_record(["path", "cluster", "confidence"])?;
            images.iter().try_for_each(|image| {
                let (name, cluster) = (names::in_sheet(&image.name), image.cluster.to_string());
                table.write_record([&*name, &cluster, &format!("{:.6}", image.confidence)])
            })?;
            table.flush()
        })?;
        Ok(())
    }

    /// What there is to say of images in a model's clusters, however those were found.
    fn summary(
        &self,
        config: &Settings,
        model: &ClusterModel,
        images: &[ClusteredImage],
        skipped: Vec<SkippedFile>,
        classes: Option<Classes>,
    ) -> Result<ClusterSummary, PipelineError> {
        let mut sizes = vec![0; model.count()];
        images.iter().for_each(|image| sizes[image.cluster as usize] += 1);
        let header = model.header();
        Ok(ClusterSummary {
            clusters: sizes.iter().filter(|size| **size > 0).count(),
            sizes,
            reliance: None,
            objective: None,
            method: header.method,
            alpha: config.cluster.alpha,
            images: images.len(),
            width: header.width,
            backbone: header.backbone.clone(),
            scaling: config.cluster.scaling,
            propagation: None,
            seed: config.cluster.seed,
            joined: true,
            restarts: Vec::new(),
            best_restart: None,
            eigenvalues: Vec::new(),
            labels: classes.map(|classes| classes.score(images, self.observer)).transpose()?,
            alpha_sweep: None,
            skipped,
            out: self.request.out.clone(),
        })
    }

    /// Lays the images out, and writes the report and the summary.
    fn finish(
        &self,
        out: &OutputFolder,
        config: &Settings,
        records: &[Record],
        result: ClusterResult,
    ) -> Result<ClusterResult, PipelineError> {
        let ClusterResult { summary, images, curve } = &result;
        if let Some(kind) = self.request.lay_out {
            // What is no file by itself cannot be linked.
            let inside = records.iter().filter(|record| record.own_file().is_none()).count();
            if inside > 0 {
                let images = counted(inside as u64, "image");
                let said = format!("{images} in files with several (frames, members of tars) are not laid out");
                self.observer.observe(Event::Warning(said));
            }
            let files = images.iter().zip(records);
            let files =
                files.filter_map(|(image, record)| Some((names::path(&image.name), record.own_file()?, image.cluster)));
            kind.lay_out(out, files)?;
        }
        let write_report =
            || report::write(out, self.request, config, summary, (images, records), curve, self.observer);
        self.pool.install(write_report)?;
        // Last: where there is a summary, everything else is there and of the same run.
        out.write(&out.root().join(SUMMARY), |writer| {
            serde_json::to_writer_pretty(&mut *writer, summary)?;
            writer.write_all(b"\n")
        })?;
        out.sync()?;
        Ok(result)
    }
}
