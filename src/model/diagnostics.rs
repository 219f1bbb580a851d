//! What is known without labels about how far a trained network can be trusted.

use serde::{Deserialize, Serialize};

use super::checkpoint::CheckpointHeader;
use crate::event::counted;

/// Below this the random starts found different things. Measured with ViT-Tiny: 0.71 and 0.75 on halves of SOD, 0.58 and 0.73
/// on 40 scenes of COCO, 0.88 on products and scenes together, 0.19 on white noise.
const LEAST_AGREEMENT: f64 = 0.5;

/// Below this a network gives something else than it was taught. Measured with ViT-Tiny: 0.50 to 0.55 on halves of SOD, 0.5 to 0.7
/// on 40 scenes of COCO; of white noise and of textures a network learns nothing and is not kept.
const LEAST_LEARNT: f64 = 0.3;

/// Below this, masks have little to do with the edges of their images.
const LEAST_SOLVER_AGREEMENT: f64 = 0.4;

/// Above this the place of a patch says more of its features than what is there.
const MOST_POSITION_SHARE: f64 = 0.5;

/// Of fewer images, what they have in common is what they are.
const LEAST_IMAGES: usize = 5;

/// A foreground of less is specks, one of more is a background. Measured with ViT-Tiny: 0.25 to 0.45.
const USUAL_FOREGROUND: std::ops::RangeInclusive<f64> = 0.01..=0.6;

/// Above this share of the images' borders, what was taken for foreground may as well be the background. Measured with
/// ViT-Tiny: 0.05 to 0.32, and 0.52 where it was.
const MOST_BORDER: f64 = 0.4;

/// What was measured while training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnostics {
    /// The random starts that the first network was chosen from, where there were several.
    pub restarts: Option<Restarts>,
    /// Shares of the features' variance that the place of a patch explains, where it can be told.
    pub position: Option<PositionShares>,
    /// Mean IoU of the masks that were taught, or of the network's own where nobody taught it, with the same masks fitted to the
    /// edges of their images; none if all are empty.
    pub solver_agreement: Option<f64>,
    /// Mean IoU of the network's masks with those that it was taught: whether what was cut out of the images one by one is
    /// something that they have in common.
    pub learnt: Option<f64>,
}

/// Random starts of one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restarts {
    /// The mean loss of each after its epochs, over a sample of all images.
    pub losses: Vec<f64>,
    /// The one that went on, from 0.
    pub chosen: usize,
    /// Mean IoU of the others' foregrounds with that one's, over the same images: whether the images have a foreground in
    /// common that does not depend on chance.
    pub agreement: f64,
}

/// How much of the variance of descriptors lies between places, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionShares {
    /// Of the transformer's descriptors.
    pub before: f64,
    /// Of what is left once position is removed; what centred objects cause remains.
    pub after: f64,
}

/// Whether to trust a network, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub trusted: bool,
    /// One sentence.
    pub sentence: String,
}

impl CheckpointHeader {
    /// Whether to trust the masks of the network, by what is known without labels; none if nothing was measured.
    pub fn verdict(&self) -> Option<Verdict> {
        let diagnostics = self.diagnostics.as_ref()?;
        let agreement = diagnostics.restarts.as_ref().map(|restarts| restarts.agreement);
        let of_foreground = |shares: &[f64]| -> f64 {
            let shares = shares.iter().zip(&self.background).filter(|(_, is_background)| !**is_background);
            shares.map(|(share, _)| share).sum()
        };
        let (foreground, border) = (of_foreground(&self.area_shares), of_foreground(&self.border_shares));
        let mut doubts = Vec::new();
        if self.objects.images < LEAST_IMAGES {
            doubts.push(format!(
                "{} are too few to have anything in common",
                counted(self.objects.images as u64, "image")
            ));
        }
        if self.objects.collapsed {
            doubts.push("nearly all nodes lie in one cluster".to_string());
        } else if !USUAL_FOREGROUND.contains(&foreground) {
            doubts.push(format!("the foreground covers {:.0} % of the images", 100.0 * foreground));
        }
        if border > MOST_BORDER {
            doubts.push(format!("the foreground holds {:.0} % of the images' borders", 100.0 * border));
        }
        if let Some(agreement) = agreement.filter(|agreement| *agreement < LEAST_AGREEMENT) {
            doubts
                .push(format!("random starts agree to {agreement:.2} only, so that chance decides what is foreground"));
        }
        if let Some(learnt) = diagnostics.learnt.filter(|learnt| *learnt < LEAST_LEARNT) {
            doubts.push(format!(
                "the network gives what it was taught to {learnt:.2} only, so that the images have little in common"
            ));
        }
        if let Some(share) = diagnostics.solver_agreement.filter(|share| *share < LEAST_SOLVER_AGREEMENT) {
            doubts.push(format!("the masks follow the edges of their images to {share:.2} only"));
        }
        if let Some(shares) = diagnostics.position.filter(|shares| shares.after > MOST_POSITION_SHARE) {
            doubts.push(format!("the place of a patch explains {:.0} % of its features", 100.0 * shares.after));
        }
        let trusted = doubts.is_empty();
        let sentence = if !trusted {
            format!("look at the masks before you trust them: {}", doubts.join("; "))
        } else if let Some(agreement) = agreement {
            format!("the images have a foreground in common: random starts agree on it to {agreement:.2}")
        } else if let Some(learnt) = diagnostics.learnt {
            format!(
                "the images have a foreground in common: what was cut out of them one by one is found again to {learnt:.2}"
            )
        } else if let Some(agreement) = diagnostics.solver_agreement {
            format!(
                "only the edges of the images were compared, which the masks follow to {agreement:.2}: look at them"
            )
        } else {
            "nothing is known that speaks for or against the masks: look at them".to_string()
        };
        Some(Verdict { trusted, sentence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NetworkConfig;
    use crate::model::checkpoint::TrainedStage;

    #[test]
    fn every_doubt_is_said() {
        let network =
            NetworkConfig { input: 3, hidden: [4, 5], clusters: 2, dropout: 0.25, root_weight: false, scale: 1.0 };
        let restarts = |agreement| Some(Restarts { losses: vec![-0.5, -0.4], chosen: 0, agreement });
        let header = |collapsed, foreground: f64, diagnostics| CheckpointHeader {
            config: serde_json::Value::Null,
            backbone: "vit".into(),
            backbone_hash: None,
            seed: 0,
            collection_hash: String::new(),
            background: vec![true, false],
            border_shares: vec![0.9, 0.1],
            area_shares: vec![1.0 - foreground, foreground],
            objects: TrainedStage { network: network.clone(), images: 9, best_epoch: 1, collapsed, curve: Vec::new() },
            teacher: None,
            diagnostics,
            parts: None,
            background_parts: None,
        };
        let good = Diagnostics {
            restarts: restarts(0.8),
            position: Some(PositionShares { before: 0.6, after: 0.1 }),
            solver_agreement: Some(0.7),
            learnt: Some(0.9),
        };
        assert_eq!(header(false, 0.3, None).verdict(), None, "nothing was measured");
        let verdict = header(false, 0.3, Some(good.clone())).verdict().unwrap();
        assert!(verdict.trusted && verdict.sentence.contains("0.80"), "{verdict:?}");
        let taught = Diagnostics { restarts: None, ..good.clone() };
        let verdict = header(false, 0.3, Some(taught)).verdict().unwrap();
        assert!(verdict.trusted && verdict.sentence.contains("again to 0.90"), "{verdict:?}");
        let surrounding = CheckpointHeader { border_shares: vec![0.4, 0.6], ..header(false, 0.3, Some(good.clone())) };
        assert!(surrounding.verdict().unwrap().sentence.contains("60 % of the images' borders"));
        for (collapsed, foreground, diagnostics, expected) in [
            (true, 0.3, good.clone(), "one cluster"),
            (false, 0.9, good.clone(), "90 %"),
            (false, 0.3, Diagnostics { restarts: restarts(0.3), ..good.clone() }, "agree to 0.30"),
            (false, 0.3, Diagnostics { solver_agreement: Some(0.2), ..good.clone() }, "edges"),
            (false, 0.3, Diagnostics { learnt: Some(0.2), ..good.clone() }, "taught to 0.20"),
            (
                false,
                0.3,
                Diagnostics { position: Some(PositionShares { before: 0.9, after: 0.8 }), ..good },
                "explains 80 %",
            ),
        ] {
            let verdict = header(collapsed, foreground, Some(diagnostics)).verdict().unwrap();
            assert!(!verdict.trusted && verdict.sentence.contains(expected), "{expected}: {verdict:?}");
        }
    }
}
