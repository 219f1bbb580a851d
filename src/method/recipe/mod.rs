//! A collection → its networks: a first one learns the objective, a second one its masks, further ones divide objects.
//!
//! The recipe sees graphs and images by number and keeps nothing: where they come from, and where its states go, is the
//! business of a [`TrainingSet`] and a [`Journal`].

mod first_stage;
mod restarts;
mod stages;
mod teacher;
mod views;

use stages::Task;
pub use stages::{Journal, StageStart, Trainee};

use std::sync::Arc;

use crate::config::Resolved;
use crate::event::{Event, Observer};
use crate::features::Backbone;
use crate::graph::Graph;
use crate::method::MethodError;
use crate::model::checkpoint::{Checkpoint, CheckpointHeader, Stage, TrainedStage};
use crate::model::{Diagnostics, Network, NetworkConfig, PositionShares};
use crate::objective::Objective;
use crate::parallel::{Held, MemoryBudget};
use crate::pixels::Picture;
use crate::raster::RgbImage;
use crate::segment::{Legend, Segmenter, SharedSegmenter, members};
use crate::train::{Choice, GraphSource, KeptGraphs, LoadError, Teacher};
use first_stage::FirstStage;
use teacher::{Guide, TaughtGraphs};
use views::Views;

/// Images in which the place of patches is looked at.
const MOST_PLACED: usize = 8;

/// The numbers of at most `most` images, spread evenly over a collection.
fn spread(images: usize, most: usize) -> impl Iterator<Item = usize> + Send {
    (0..images).step_by(images.div_ceil(most).max(1))
}

/// IoU of two foregrounds from whether each node is in the one and in the other, and its area; none where both are empty.
fn foreground_iou(nodes: impl Iterator<Item = (bool, bool, f32)>) -> Option<f64> {
    let (mut both, mut either) = (0.0, 0.0);
    for (one, other, area) in nodes {
        both += if one && other { f64::from(area) } else { 0.0 };
        either += if one || other { f64::from(area) } else { 0.0 };
    }
    (either > 0.0).then(|| both / either)
}

/// The images of a collection as graphs, and what else the recipe asks of them.
pub trait TrainingSet: GraphSource {
    /// The image at `index` < `len()`; none once it can no longer be had.
    fn image(&self, index: usize) -> Result<Option<Held<Picture>>, LoadError>;

    /// The graph of a picture, as those of the images are made.
    fn graph_of(&self, picture: &Picture) -> Graph;

    /// blake3 of the image's content.
    fn content_hash(&self, index: usize) -> blake3::Hash;

    /// What was kept under a key, if it is still there.
    fn recall(&self, key: &blake3::Hash) -> Option<Vec<u8>>;

    /// Keeps what is expensive to compute; `false` if there is no room for it.
    fn keep(&self, key: &blake3::Hash, bytes: &[u8]) -> Result<bool, LoadError>;
}

/// How networks are trained, and on what.
pub struct Recipe<'a> {
    pub resolved: &'a Resolved,
    pub backbone: &'a Backbone,
    /// Threads that segment images beside each other.
    pub workers: usize,
    /// Threads that share one task.
    pub pool: &'a rayon::ThreadPool,
    /// Identifies the run: two runs with the same fingerprint give the same networks.
    pub fingerprint: String,
    pub observer: &'a dyn Observer,
}

/// The networks of a collection and the story of their training.
pub struct Learnt {
    networks: Vec<(Stage, Network)>,
    background: Vec<bool>,
    border_shares: Vec<f64>,
    area_shares: Vec<f64>,
    objects: TrainedStage,
    teacher: Option<TrainedStage>,
    diagnostics: Diagnostics,
    parts: Option<TrainedStage>,
    background_parts: Option<TrainedStage>,
}

/// The network of objects, how it came about, and how it divides the collection.
struct ObjectNetwork {
    network: Network,
    objects: TrainedStage,
    teacher: Option<TrainedStage>,
    diagnostics: Diagnostics,
    /// Which of its clusters are background.
    background: Vec<bool>,
    first_stage: FirstStage,
}

/// What the first stage took for foreground, or for background, as graphs of their own.
struct PartGraphs<'a> {
    set: &'a dyn TrainingSet,
    resolved: &'a Resolved,
    /// Images with enough nodes of that kind.
    indices: Vec<usize>,
    segmenter: &'a SharedSegmenter,
    background: &'a [bool],
    of_background: bool,
}

impl ObjectNetwork {
    /// With who taught it, and what else was measured.
    fn with(self, teacher: Option<TrainedStage>, diagnostics: Diagnostics) -> ObjectNetwork {
        let diagnostics = Diagnostics { learnt: self.diagnostics.learnt, ..diagnostics };
        ObjectNetwork { teacher, diagnostics, ..self }
    }
}

impl Learnt {
    /// The checkpoint that keeps the networks; `config` is what it says of the settings.
    pub fn into_checkpoint(
        self,
        config: serde_json::Value,
        seed: u64,
        backbone: &Backbone,
        collection_hash: String,
    ) -> Checkpoint {
        let Learnt {
            networks,
            background,
            border_shares,
            area_shares,
            objects,
            teacher,
            diagnostics,
            parts,
            background_parts,
        } = self;
        let header = CheckpointHeader {
            config,
            backbone: backbone.name.to_string(),
            backbone_hash: backbone.hash.clone(),
            seed,
            collection_hash,
            background,
            border_shares,
            area_shares,
            objects,
            teacher,
            diagnostics: Some(diagnostics),
            parts,
            background_parts,
        };
        Checkpoint::new(header, &networks, backbone.extractor.position_directions())
    }
}

impl Recipe<'_> {
    /// Trains the network of objects, and those of parts where they are asked for.
    pub fn train(&self, set: &dyn TrainingSet, journal: &mut dyn Journal) -> Result<Learnt, MethodError> {
        let ObjectNetwork { network, objects, teacher, diagnostics, background, first_stage } =
            self.train_objects(set, journal)?;
        let segmenter = SharedSegmenter::new(&network);
        let mut networks = vec![(Stage::Objects, network)];
        let settings = &self.resolved.settings().parts;
        let mut second_stage = |stage, count, of_background| {
            let graphs = PartGraphs {
                set,
                resolved: self.resolved,
                indices: first_stage.with_nodes(&background, of_background, settings.least_nodes(count)),
                segmenter: &segmenter,
                background: &background,
                of_background,
            };
            let found = self.train_parts(stage, count, &graphs, journal)?;
            Ok::<_, MethodError>(found.map(|(network, description)| {
                networks.push((stage, network));
                description
            }))
        };
        let parts = second_stage(Stage::Parts, settings.foreground, false)?;
        let background_parts = second_stage(Stage::BackgroundParts, settings.background, true)?;
        Ok(Learnt {
            networks,
            border_shares: first_stage.statistics.border_shares(),
            area_shares: first_stage.statistics.area_shares(),
            background,
            objects,
            teacher,
            diagnostics,
            parts,
            background_parts,
        })
    }

    /// Trains the network that tells objects and background apart: for masks, where someone teaches it, else for the objective.
    fn train_objects(&self, set: &dyn TrainingSet, journal: &mut dyn Journal) -> Result<ObjectNetwork, MethodError> {
        let teacher = self.resolved.teacher();
        let seen = Views::new(self, set);
        if seen.views() > 1 {
            self.observer.observe(Event::Note(format!("every image is seen in {} views", seen.views())));
        }
        if teacher == Some(Teacher::Eigenvector) {
            self.observer.observe(Event::Note(
                "the network learns what the eigenvector cuts out of every image, fitted to the image".into(),
            ));
            let guide = Guide::Eigenvector(self.resolved.settings().segment.background);
            let taught = TaughtGraphs::new(self, &seen, guide);
            let position = self.position_shares(set)?;
            let diagnostics = Diagnostics { solver_agreement: taught.prepare(self)?, position, ..Default::default() };
            match self.train_taught(set, &taught, journal)? {
                Some(student) => return Ok(student.with(None, diagnostics)),
                None => self.observer.observe(Event::Warning(
                    "the network learnt nothing of the masks that the eigenvector gives; one that learns the objective is trained instead".into(),
                )),
            }
        }
        let resolved = self.resolved;
        let trainee = if teacher.is_some() { Trainee::Teacher } else { Trainee::Kept(Stage::Objects) };
        let clusters = resolved.clusters();
        let network = resolved.network(self.backbone.extractor.width(), clusters, resolved.objective());
        let kept_graphs = self.keeping(&seen, resolved.objective());
        let task = Task {
            trainee,
            objective: resolved.objective(),
            source: &kept_graphs,
            network: &network,
            epochs: self.resolved.epochs(None, 1),
            choice: Choice::LowestLoss,
        };
        let (trained, description, restarts) = self.train_restarted(task, journal)?;
        let segmenter = SharedSegmenter::new(&trained.network);
        let graphs: &dyn GraphSource = if seen.views() > 1 { set } else { &kept_graphs };
        let first_stage = FirstStage::of(self, graphs, &segmenter, clusters)?;
        drop(kept_graphs);
        let background = first_stage.statistics.background();
        let objects = background.iter().filter(|&&is_background| !is_background).count();
        let network = trained.network;
        let diagnostics = Diagnostics { restarts, position: self.position_shares(set)?, ..Default::default() };
        let mut first =
            ObjectNetwork { network, objects: description, teacher: None, diagnostics, background, first_stage };
        let Some(legend) = Legend::new(objects, 0, 0) else { return Ok(first) };
        let guide = |first: &ObjectNetwork| {
            let class_of_cluster = legend.of_clusters(&first.background);
            Guide::Network { network: first.network.clone(), segmenter: &segmenter, class_of_cluster }
        };
        if teacher != Some(Teacher::Network) {
            if objects > 0 {
                let taught = TaughtGraphs::new(self, &seen, guide(&first));
                first.diagnostics.solver_agreement = taught.agreement_of_some(self)?;
            }
            return Ok(first);
        }
        let keep_first = |first, why: &str| {
            self.observer.observe(Event::Warning(format!("{why}; the network that was to teach it is kept instead")));
            Ok(first)
        };
        if objects == 0 {
            return keep_first(first, "the first network found no foreground for a second one to learn");
        }

        self.observer.observe(Event::Note(
            "self-training: a second network learns the first one's masks, fitted to their images".into(),
        ));
        let taught = TaughtGraphs::new(self, &seen, guide(&first));
        first.diagnostics.solver_agreement = taught.prepare(self)?;
        match self.train_taught(set, &taught, journal)? {
            Some(student) => Ok(student.with(Some(first.objects), first.diagnostics)),
            None => keep_first(first, "the second network collapsed"),
        }
    }

    /// Trains a network that says of nodes what it is taught; none if it says the same of all.
    fn train_taught(
        &self,
        set: &dyn TrainingSet,
        taught: &TaughtGraphs,
        journal: &mut dyn Journal,
    ) -> Result<Option<ObjectNetwork>, MethodError> {
        let (resolved, classes) = (self.resolved, taught.classes());
        let teaching = &resolved.settings().teaching;
        // It is told where objects end, which a node's own features tell best; and it is half as wide as one that learns the
        // objective, for the less it can hold, the fewer of its teacher's mistakes it copies.
        let network = resolved.network(self.backbone.extractor.width(), classes, Objective::CrossEntropy);
        let hidden = network.hidden.map(|size| teaching.student_size(size));
        let network = NetworkConfig { root_weight: true, hidden, ..network };
        let kept_graphs = self.keeping(taught, Objective::CrossEntropy);
        let trainee = Trainee::Kept(Stage::Objects);
        let epochs = resolved.epochs(Some(taught.teacher()), taught.views());
        // What is learnt of a network has its objective behind it; of eigenvectors one by one it is what they have in common.
        let choice = match taught.teacher() {
            Teacher::Eigenvector => Choice::Average(teaching.averaging),
            Teacher::Network => Choice::LowestLoss,
        };
        let objective = Objective::CrossEntropy;
        let task = Task { trainee, objective, source: &kept_graphs, network: &network, epochs, choice };
        let (trained, objects) = self.train_stage(task, journal)?;
        drop(kept_graphs);
        if trained.collapsed {
            return Ok(None);
        }
        let segmenter = SharedSegmenter::new(&trained.network);
        Ok(Some(ObjectNetwork {
            network: trained.network,
            objects,
            teacher: None,
            diagnostics: Diagnostics { learnt: taught.learnt(self, &segmenter)?, ..Default::default() },
            background: (0..classes).map(|class| class == 0).collect(),
            first_stage: FirstStage::of(self, set, &segmenter, classes)?,
        }))
    }

    /// The graphs of `source` for many epochs, as far as they may be kept in memory: in as much as images may take at most, which
    /// no longer need it then.
    fn keeping<'a>(&self, source: &'a dyn GraphSource, objective: Objective) -> KeptGraphs<'a> {
        let bytes = self.resolved.settings().cache.memory_mebibytes.saturating_mul(1 << 20);
        let bytes = bytes.min(MemoryBudget::of_process().total());
        let uses_affinities = matches!(objective, Objective::Association | Objective::Ncut { .. });
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        KeptGraphs::new(source, bytes, uses_affinities)
    }

    /// How much of the features' variance the place of a patch explains in some images of the collection.
    fn position_shares(&self, set: &dyn TrainingSet) -> Result<Option<PositionShares>, MethodError> {
        if !self.resolved.backbone().needs_weights() {
            return Ok(None);
        }
        let images = spread(set.len(), MOST_PLACED).filter_map(|index| set.image(index).transpose());
        let images = images.map(|image| image.map(|image| image.into_value().image));
        let images = images.collect::<Result<Vec<RgbImage>, _>>();
        let images = images.map_err(|error| MethodError::Collection(error.to_string()))?;
        let shares = self.pool.install(|| self.backbone.extractor.position_shares(&images));
        Ok(shares.map(|[before, after]| PositionShares { before, after }))
    }

    /// Trains the network that divides what the first stage took for foreground, or for background, into `count` parts;
    /// none if no parts are asked for, or no image has enough nodes to divide.
    fn train_parts(
        &self,
        stage: Stage,
        count: usize,
        graphs: &PartGraphs,
        journal: &mut dyn Journal,
    ) -> Result<Option<(Network, TrainedStage)>, MethodError> {
        if count == 0 {
            return Ok(None);
        }
        let what = if graphs.of_background { "background" } else { "foreground" };
        if graphs.indices.is_empty() {
            self.observer.observe(Event::Warning(format!(
                "no image has a {what} large enough for {count} parts; the checkpoint has none"
            )));
            return Ok(None);
        }
        let images = graphs.indices.len();
        self.observer.observe(Event::Note(format!("training {count} parts of the {what} on {images} images")));
        let objective = self.resolved.parts_objective();
        let network = self.resolved.network(self.backbone.extractor.width(), count, objective);
        let kept_graphs = self.keeping(graphs, objective);
        let task = Task {
            trainee: Trainee::Kept(stage),
            objective,
            source: &kept_graphs,
            network: &network,
            epochs: self.resolved.epochs(None, 1),
            choice: Choice::LowestLoss,
        };
        let (trained, description) = self.train_stage(task, journal)?;
        Ok(Some((trained.network, description)))
    }
}

impl GraphSource for PartGraphs<'_> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    /// The first stage costs less than reading its result would: nothing is kept.
    fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError> {
        let Some(graph) = self.set.load(self.indices[index])? else { return Ok(None) };
        let members = members(&self.segmenter.segment(&graph).clusters, self.background, self.of_background);
        let centred = self.resolved.settings().parts.centred;
        Ok(Some(Arc::new(graph.subgraph(&members, self.resolved.parts_affinity(), centred))))
    }
}
