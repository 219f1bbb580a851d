//! Settings with nothing left open: what was chosen, and what follows where nothing was.

use super::Settings;
use crate::cluster::Scaling;
use crate::features::vit::Precision;
use crate::features::{BackboneChoice, BackboneSettings, Entry};
use crate::graph::{Affinity, Offset};
use crate::model::{ModelConfig, NetworkConfig};
use crate::objective::{Objective, ObjectiveKind};
use crate::refine::RefineMethod;
use crate::segment::PerImageMethod;
use crate::train::Teacher;

/// Of fewer images several views are taken unasked: what they teach depends much on which images they are. Of more images views are
/// no gain, and cost time.
const FEW: usize = 64;

/// How many.
const VIEWS_OF_FEW: usize = 6;

/// What settings are resolved for: each chooses differently where nothing is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One network for a collection. Association finds the better objects, correlation clustering the better parts in a
    /// transformer's features. On superpixels, whose affinities join neighbours only, it merges parts.
    Train,
    /// Every image by itself, as in the paper.
    Segment,
    /// One vector for every image.
    Cluster,
    /// What an earlier run has resolved.
    Reuse,
}

/// A precision was asked for of a backbone without products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} backbone has no products to choose a precision for")]
pub struct NeedlessPrecision(pub &'static str);

/// Settings of which every choice is made.
#[derive(Clone)]
pub struct Resolved {
    settings: Settings,
    backbone: Entry,
    purpose: Purpose,
}

impl Settings {
    /// Makes every choice that was left open.
    ///
    /// `has_weights` says whether there are weights of a transformer; `precision` is the machine's, where it differs. One that
    /// is still open becomes single precision.
    pub fn resolve(
        mut self,
        purpose: Purpose,
        has_weights: bool,
        precision: Option<Precision>,
    ) -> Result<Resolved, NeedlessPrecision> {
        if self.backbone == BackboneChoice::Auto {
            self.backbone = if has_weights { BackboneChoice::Vit } else { BackboneChoice::Superpixel };
        }
        let backbone = self.backbone.entry().unwrap_or_else(|| unreachable!("the backbone was chosen above"));
        let is_deep = backbone.needs_weights();
        match precision {
            // What was resolved before stays.
            None | Some(Precision::Auto) => {}
            Some(_) if !is_deep => return Err(NeedlessPrecision(backbone.name())),
            Some(precision) => self.vit.precision = precision,
        }
        // Who chooses by time has done so.
        if self.vit.precision == Precision::Auto || (precision == Some(Precision::Auto) && purpose != Purpose::Reuse) {
            self.vit.precision = Precision::F32;
        }
        if purpose == Purpose::Segment && self.segment.method.is_none() {
            let of_network = self.objective.kind.is_some()
                || self.model.clusters.is_some_and(|clusters| clusters != 2)
                || self.parts.is_asked_for()
                || self.segment.epochs.is_some()
                || self.segment.learning_rate.is_some();
            let by_eigenvector = is_deep && !of_network;
            self.segment.method = Some(if by_eigenvector { PerImageMethod::Spectral } else { PerImageMethod::Gnn });
        }
        let is_spectral = purpose == Purpose::Segment && self.segment.method() == PerImageMethod::Spectral;
        let objective = &mut self.objective;
        match purpose {
            Purpose::Train => {
                if objective.kind.is_none() && is_deep {
                    objective.parts.get_or_insert(ObjectiveKind::Cc);
                }
                objective.kind.get_or_insert(ObjectiveKind::Association);
                if *self.train.self_training.get_or_insert(is_deep) {
                    let of_network = !is_deep
                        || objective.kind != Some(ObjectiveKind::Association)
                        || self.model.clusters.is_some_and(|clusters| clusters != 2)
                        || self.train.restarts.or(self.train.restart_epochs).is_some();
                    let teacher = if of_network { Teacher::Network } else { Teacher::Eigenvector };
                    self.train.teacher.get_or_insert(teacher);
                }
                self.train.restarts.get_or_insert(if is_deep { 4 } else { 1 });
            }
            Purpose::Segment if is_deep => {
                objective.kind.get_or_insert(ObjectiveKind::Ncut);
            }
            // One channel is soon learnt: what the eigenvector would find is reached in a few large steps.
            Purpose::Segment => {
                let kind = if is_spectral { ObjectiveKind::Ncut } else { ObjectiveKind::Association };
                objective.kind.get_or_insert(kind);
                self.segment.epochs.get_or_insert(30);
                self.segment.learning_rate.get_or_insert(0.01);
                self.model.scale.get_or_insert(8.0);
            }
            Purpose::Cluster => {
                if self.cluster.scaling == Scaling::Auto {
                    self.cluster.scaling = if is_deep { Scaling::Unit } else { Scaling::Standardised };
                }
            }
            Purpose::Reuse => {}
        }
        if matches!(purpose, Purpose::Train | Purpose::Segment) {
            // The paper's objectives follow what an image's features have in common, which the corrections take away.
            let is_corrected = is_spectral || self.objective.kind == Some(ObjectiveKind::Association);
            self.graph.offset.get_or_insert(if is_corrected { Offset::Mean } else { Offset::None });
            let directions = if is_corrected { self.vit.remove_position() } else { 0 };
            self.vit.remove_position.get_or_insert(directions);
            // The solver sees labels one by one, and none of what the network says between the parts of an object.
            let is_fitted = is_deep && !self.parts.is_asked_for();
            self.refine.method.get_or_insert(if is_fitted { RefineMethod::Bilateral } else { RefineMethod::None });
        }
        Ok(Resolved { backbone, settings: self, purpose })
    }
}

impl Resolved {
    /// The settings with the choices written into them, as checkpoints keep them.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn backbone(&self) -> Entry {
        self.backbone
    }

    /// Who finds the masks that the network of objects learns; none where it learns the objective.
    pub fn teacher(&self) -> Option<Teacher> {
        self.settings.train.teacher.filter(|_| self.settings.train.self_training == Some(true))
    }

    /// Views of every image of so many that the network of objects is trained on.
    pub fn views(&self, images: usize) -> usize {
        let by_default = match self.teacher() {
            Some(Teacher::Eigenvector) if images < FEW => VIEWS_OF_FEW,
            _ => 1,
        };
        self.settings.train.views.unwrap_or(by_default)
    }

    /// Epochs of the network of objects, by who teaches it, where every image is seen in so many views.
    pub fn epochs(&self, teacher: Option<Teacher>, views: usize) -> usize {
        let Settings { train, teaching, .. } = &self.settings;
        match teacher {
            // An epoch of several views shows every image several times.
            Some(Teacher::Eigenvector) if views > 1 => train.epochs.min(teaching.epochs.div_ceil(2)),
            Some(Teacher::Eigenvector) => train.epochs.min(teaching.epochs),
            Some(Teacher::Network) | None => train.epochs,
        }
    }

    /// Number of clusters, K.
    pub fn clusters(&self) -> usize {
        self.settings.clusters_for(self.objective_kind())
    }

    pub fn objective_kind(&self) -> ObjectiveKind {
        self.settings.objective.kind()
    }

    pub fn parts_objective_kind(&self) -> ObjectiveKind {
        self.settings.objective.parts()
    }

    pub fn objective(&self) -> Objective {
        self.settings.objective.weighted(self.objective_kind())
    }

    pub fn parts_objective(&self) -> Objective {
        self.settings.objective.weighted(self.parts_objective_kind())
    }

    /// How the graph of an image is weighted.
    pub fn affinity(&self) -> Affinity {
        self.affinity_for(self.objective_kind())
    }

    /// How the graph of an object is weighted, to be divided into parts.
    pub fn parts_affinity(&self) -> Affinity {
        self.affinity_for(self.parts_objective_kind())
    }

    /// The network for features of so many channels, with so many clusters, for an objective.
    pub fn network(&self, channels: usize, clusters: usize, objective: Objective) -> NetworkConfig {
        let ModelConfig { hidden, dropout, scale, .. } = self.settings.model;
        let has_unit_length = self.backbone.needs_weights() && self.settings.vit.normalise;
        // Over a collection the paper's objectives are best not followed to their end: correlation clustering merges all it is
        // given, the cut loses half of its IoU.
        let is_scaled = match objective {
            Objective::Association | Objective::CrossEntropy => has_unit_length,
            Objective::Ncut { .. } => has_unit_length && self.purpose == Purpose::Segment,
            Objective::Cc => false,
        };
        let default = if is_scaled { (channels as f64).sqrt() / 3.5 } else { 1.0 };
        let scale = scale.unwrap_or(default);
        NetworkConfig { input: channels, hidden, clusters, dropout, root_weight: false, scale }
    }

    fn affinity_for(&self, kind: ObjectiveKind) -> Affinity {
        match kind {
            ObjectiveKind::Association | ObjectiveKind::Ncut => match self.settings.graph.offset {
                Some(Offset::Mean) => Affinity::AboveMean,
                Some(Offset::None) | None => Affinity::NonNegative,
            },
            ObjectiveKind::Cc => Affinity::Correlation { alpha: self.settings.graph.alpha },
        }
    }
}

impl<'a> From<&'a Settings> for BackboneSettings<'a> {
    fn from(settings: &'a Settings) -> Self {
        BackboneSettings { vit: &settings.vit, superpixel: &settings.superpixel, pixel: &settings.pixel }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;

    #[test]
    fn no_precision_stays_open() {
        use Precision::{Auto, Bf16, F32};
        for (stored, asked, purpose, expected) in [
            (Auto, None, Purpose::Train, F32),
            (Auto, Some(Auto), Purpose::Segment, F32),
            (Bf16, None, Purpose::Segment, Bf16),
            (Bf16, Some(Auto), Purpose::Segment, F32),
            (Bf16, Some(Auto), Purpose::Reuse, Bf16),
            (F32, Some(Bf16), Purpose::Reuse, Bf16),
        ] {
            let mut settings = Settings::default();
            settings.vit.precision = stored;
            let resolved = settings.resolve(purpose, true, asked).unwrap();
            assert_eq!(resolved.settings().vit.precision, expected, "{stored:?} {asked:?} {purpose:?}");
        }
        let superpixels = || resolve(None, &["backbone=superpixel".to_string()]).unwrap();
        assert!(superpixels().resolve(Purpose::Train, true, Some(Auto)).is_ok());
        assert!(superpixels().resolve(Purpose::Train, true, Some(F32)).is_err());
    }

    #[test]
    fn images_are_cut_by_the_eigenvector_unless_a_network_is_asked_for() {
        use PerImageMethod::{Gnn, Grapl, Spectral};
        for (has_weights, overrides, expected) in [
            (true, vec![], Spectral),
            (true, vec!["model.clusters=2", "segment.seed=3"], Spectral),
            (true, vec!["objective.kind=ncut"], Gnn),
            (true, vec!["segment.epochs=20"], Gnn),
            (true, vec!["parts.foreground=4"], Gnn),
            (true, vec!["model.clusters=3"], Gnn),
            (true, vec!["segment.method=gnn"], Gnn),
            (true, vec!["segment.method=grapl"], Grapl),
            (false, vec![], Gnn),
            (false, vec!["segment.method=spectral"], Spectral),
        ] {
            let settings: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            let resolved = resolve(None, &settings).unwrap().resolve(Purpose::Segment, has_weights, None).unwrap();
            assert_eq!(resolved.settings().segment.method, Some(expected), "{overrides:?}");
        }
        for preset in ["paper", "official"] {
            let path = format!("{}/configs/{preset}.toml", env!("CARGO_MANIFEST_DIR"));
            let resolved = resolve(Some(path.as_ref()), &[]).unwrap().resolve(Purpose::Segment, true, None).unwrap();
            assert_eq!(resolved.settings().segment.method, Some(Gnn), "{preset}");
        }
    }

    #[test]
    fn masks_of_patches_are_fitted_to_their_images() {
        use RefineMethod::{Bilateral, Cut, None};
        for (purpose, has_weights, overrides, expected) in [
            (Purpose::Train, true, vec![], Some(Bilateral)),
            (Purpose::Segment, true, vec![], Some(Bilateral)),
            (Purpose::Segment, true, vec!["segment.method=spectral"], Some(Bilateral)),
            (Purpose::Train, true, vec!["refine.method=cut"], Some(Cut)),
            (Purpose::Train, true, vec!["parts.foreground=4"], Some(None)),
            (Purpose::Train, true, vec!["parts.foreground=4", "refine.method=bilateral"], Some(Bilateral)),
            (Purpose::Train, false, vec![], Some(None)),
            (Purpose::Cluster, true, vec![], Option::None),
        ] {
            let settings: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            let resolved =
                resolve(Option::None, &settings).unwrap().resolve(purpose, has_weights, Option::None).unwrap();
            assert_eq!(resolved.settings().refine.method, expected, "{purpose:?} {overrides:?}");
        }
        for preset in ["paper", "official"] {
            let path = format!("{}/configs/{preset}.toml", env!("CARGO_MANIFEST_DIR"));
            let settings = resolve(Some(path.as_ref()), &[]).unwrap();
            assert_eq!(settings.refine.method, Some(None), "{preset}");
        }
    }

    #[test]
    fn the_eigenvector_teaches_unless_only_a_network_can() {
        use Teacher::{Eigenvector, Network};
        for (has_weights, overrides, expected) in [
            (true, vec![], Some(Eigenvector)),
            (true, vec!["objective.kind=association", "parts.foreground=4", "model.clusters=2"], Some(Eigenvector)),
            (true, vec!["objective.kind=cc"], Some(Network)),
            (true, vec!["model.clusters=3"], Some(Network)),
            (true, vec!["train.restarts=8"], Some(Network)),
            (true, vec!["train.teacher=network"], Some(Network)),
            (true, vec!["train.self_training=false"], None),
            (false, vec![], None),
            (false, vec!["train.self_training=true"], Some(Network)),
            (false, vec!["train.self_training=true", "train.teacher=eigenvector"], Some(Eigenvector)),
        ] {
            let settings: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            let resolved = resolve(None, &settings).unwrap().resolve(Purpose::Train, has_weights, None).unwrap();
            assert_eq!(resolved.teacher(), expected, "{overrides:?}");
        }
    }

    #[test]
    fn training_chooses_what_is_left_open() {
        use ObjectiveKind::{Association, Cc, Ncut};
        for (has_weights, overrides, expected) in [
            (true, vec![], (Association, Cc)),
            (false, vec![], (Association, Association)),
            (true, vec!["objective.parts=ncut"], (Association, Ncut)),
            (true, vec!["objective.kind=ncut"], (Ncut, Ncut)),
            (true, vec!["objective.kind=association"], (Association, Association)),
            (false, vec!["objective.kind=ncut", "objective.parts=cc"], (Ncut, Cc)),
            (true, vec!["backbone=pixel"], (Association, Association)),
        ] {
            let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            let resolved = resolve(None, &overrides).unwrap().resolve(Purpose::Train, has_weights, None).unwrap();
            let found = (resolved.objective_kind(), resolved.parts_objective_kind());
            assert_eq!(found, expected, "{overrides:?}");
        }
    }
}
