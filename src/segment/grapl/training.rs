//! Rounds of training on an image's patches, with a cut of their graph between two rounds that says what is learnt next.

use super::config::{GraplConfig, StoppingLoss};
use super::cut::{HIGHEST_COST, PatchGraph};
use super::network::{Pass, PatchNetwork};
use super::patches::PatchImage;
use crate::numerics::random;
use crate::train::HostOptimiser;

/// The first round ends once its loss is below this.
const GOOD_ENOUGH: f64 = 1.0;

/// Trains a network on the patches of one image, from their labels at the start on.
///
/// # Shapes
/// start `[patches²]`
///
/// # Panics
/// If there is not a label for every patch.
pub fn learn(image: &PatchImage, graph: &PatchGraph, start: &[usize], config: &GraplConfig, seed: u64) -> PatchNetwork {
    let count = image.patches() * image.patches();
    assert_eq!(start.len(), count, "a label for every patch");
    let labels = start.iter().max().map_or(1, |largest| largest + 1);
    let mut network = PatchNetwork::new(image.patch_side(), labels, &mut random::stream(seed, "patch network", 0));
    let mut optimiser = HostOptimiser::new(0.0, &network.parameters);
    let mut loss = GridLoss::new(image.patches(), labels, start, config.continuity);
    let halves = [0, 1].map(|first| (first..count).step_by(2).collect::<Vec<_>>());
    let (rates, all) = (network.dropout_rates(), (0..count).collect::<Vec<_>>());
    let (mut targets, mut pass, mut step) = (start.to_vec(), Pass::default(), 0);
    for (round, &steps) in config.steps.iter().enumerate() {
        for _ in 0..steps {
            let half = &halves[step % 2];
            let mut generator = random::stream(seed, "patch dropout", step as u64);
            network.forward(image, half, rates, &mut generator, &mut pass);
            let (losses, gradient) = loss.of(half, &pass.logits, &targets);
            let gradients = network.backward(&mut pass, &gradient);
            optimiser.step(config.learning_rate, &mut network.parameters, &gradients);
            step += 1;
            let judged = match config.stop {
                StoppingLoss::Total => losses.total,
                StoppingLoss::CrossEntropy => losses.cross_entropy,
            };
            if round == 0 && judged < GOOD_ENOUGH {
                break;
            }
        }
        if round + 1 < config.steps.len() {
            targets = graph.cut(&costs(&network.logits(image, &all), labels), labels);
        }
    }
    network
}

/// −ln of the probabilities of labels.
///
/// # Shapes
/// `[n, labels]` → `[n, labels]`
pub fn costs(logits: &[f32], labels: usize) -> Vec<f64> {
    let mut costs = Vec::with_capacity(logits.len());
    for row in logits.chunks_exact(labels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|value| f64::from(value - largest).exp()).sum();
        costs.extend(row.iter().map(|value| (sum.ln() - f64::from(value - largest)).min(HIGHEST_COST)));
    }
    costs
}

/// What training minimises: the cross-entropy of labels, and how much neighbouring patches differ over the whole grid.
#[derive(Debug)]
pub struct GridLoss {
    patches: usize,
    labels: usize,
    /// By the latest answer to every patch, `[patches², labels]`.
    probabilities: Vec<f32>,
    continuity: f64,
}

/// The loss of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Losses {
    /// Mean over the patches that were answered.
    pub cross_entropy: f64,
    /// Σ ‖P_p − P_q‖₁ over neighbours of the grid, divided by its patches.
    pub continuity: f64,
    /// With the continuity times its weight.
    pub total: f64,
}

impl GridLoss {
    /// Before there are answers, 1 for a patch's label and 0 for the others stand for them.
    pub fn new(patches: usize, labels: usize, start: &[usize], continuity: f64) -> GridLoss {
        let mut probabilities = vec![0.0; start.len() * labels];
        for (row, &label) in probabilities.chunks_exact_mut(labels).zip(start) {
            row[label] = 1.0;
            softmax(row);
        }
        GridLoss { patches, labels, probabilities, continuity }
    }

    /// The loss of new answers to some patches, beside the latest ones to the others, and its gradient.
    ///
    /// # Shapes
    /// numbers `[n]`, logits `[n, labels]`, targets of all patches `[patches²]` → gradient `[n, labels]`
    pub fn of(&mut self, numbers: &[usize], logits: &[f32], targets: &[usize]) -> (Losses, Vec<f32>) {
        let labels = self.labels;
        let answered = numbers.len() as f64;
        let mut cross_entropy = 0.0;
        for (&number, logits) in numbers.iter().zip(logits.chunks_exact(labels)) {
            cross_entropy += costs(logits, labels)[targets[number]] / answered;
            let row = &mut self.probabilities[number * labels..][..labels];
            row.copy_from_slice(logits);
            softmax(row);
        }
        let (continuity, signs) = self.continuity();

        // d‖P_p − P_q‖₁ / dP_p is a sum of signs.
        let share = (self.continuity / (self.patches * self.patches) as f64) as f32;
        let mut gradient = Vec::with_capacity(logits.len());
        for &number in numbers {
            let row = &self.probabilities[number * labels..][..labels];
            let signs = &signs[number * labels..][..labels];
            let mean: f32 = row.iter().zip(signs).map(|(probability, sign)| probability * sign).sum();
            gradient.extend(row.iter().zip(signs).enumerate().map(|(label, (&probability, sign))| {
                let wanted = f32::from(u8::from(label == targets[number]));
                (probability - wanted) / answered as f32 + share * probability * (sign - mean)
            }));
        }
        (Losses { cross_entropy, continuity, total: cross_entropy + self.continuity * continuity }, gradient)
    }

    /// Σ ‖P_p − P_q‖₁ per patch, and for every probability how many neighbours have a smaller one less how many a larger.
    fn continuity(&self) -> (f64, Vec<f32>) {
        let (patches, labels) = (self.patches, self.labels);
        let mut signs = vec![0.0; self.probabilities.len()];
        let mut sum = 0.0;
        let mut compare = |one: usize, other: usize| {
            for label in 0..labels {
                let (one, other) = (one * labels + label, other * labels + label);
                let difference = self.probabilities[one] - self.probabilities[other];
                let sign = if difference == 0.0 { 0.0 } else { difference.signum() };
                sum += f64::from(difference.abs());
                signs[one] += sign;
                signs[other] -= sign;
            }
        };
        for patch in 0..patches * patches {
            if patch % patches + 1 < patches {
                compare(patch, patch + 1);
            }
            if patch / patches + 1 < patches {
                compare(patch, patch + patches);
            }
        }
        (sum / (patches * patches) as f64, signs)
    }
}

fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Raster;
    use crate::segment::grapl::PatchAffinity;

    #[test]
    fn an_underflowed_probability_costs_what_is_bounded() {
        assert_eq!(costs(&[0.0, -200.0, 0.0, -200.0], 4)[1..2], [HIGHEST_COST]);
        assert!((costs(&[1.0, 1.0], 2)[0] - 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_of_the_loss_is_its_slope() {
        let (patches, labels) = (3, 3);
        let start = [0, 1, 2, 1, 0, 2, 2, 0, 1];
        let numbers = [0, 2, 4, 6, 8];
        let logits: Vec<f32> = (0..15).map(|place| (place as f32 * 1.7).sin()).collect();
        let of = |logits: &[f32]| GridLoss::new(patches, labels, &start, 3.0).of(&numbers, logits, &start);
        let (_, gradient) = of(&logits);
        for place in 0..logits.len() {
            let moved = [1e-2f32, -1e-2].map(|step| {
                let mut logits = logits.clone();
                logits[place] += step;
                of(&logits).0.total
            });
            let slope = (moved[0] - moved[1]) / 2e-2;
            assert!((slope - f64::from(gradient[place])).abs() < 1e-3, "{place}: {slope} {}", gradient[place]);
        }
    }

    #[test]
    fn training_learns_regions_and_repeats() {
        // Red beside green, with labels at the start that are right for three patches of four.
        let (patches, patch_side) = (8, 5);
        let side = patches * patch_side;
        let values = (0..side * side).map(|pixel| {
            let noise = (pixel * 7 % 11) as u8;
            if pixel % side < side / 2 { [200 + noise, 30, 40] } else { [30, 180 - noise, 50] }
        });
        let image = PatchImage::new(&Raster::from_values(side, side, values.collect()), patches);
        let half = |patch: usize| usize::from(patch % patches >= patches / 2);
        let start: Vec<usize> =
            (0..patches * patches).map(|patch| if patch % 5 == 3 { 2 } else { half(patch) }).collect();
        let config = GraplConfig { patches, steps: vec![12, 6], ..GraplConfig::default() };
        let graph = PatchGraph::new(&image, PatchAffinity::Colour, 4.0);
        let found = |config: &GraplConfig, seed| {
            let network = learn(&image, &graph, &start, config, seed);
            let logits = network.logits(&image, &(0..patches * patches).collect::<Vec<_>>());
            (logits.chunks_exact(3).map(crate::numerics::argmax).collect::<Vec<_>>(), logits)
        };
        let (labels, logits) = found(&config, 1);
        assert_eq!(labels, (0..patches * patches).map(half).collect::<Vec<_>>());
        assert_eq!(found(&config, 1).1, logits);
        assert_ne!(found(&config, 2).1, logits);
        // The cross-entropy is below 1 while the sum of losses is not.
        let early = GraplConfig { stop: StoppingLoss::CrossEntropy, ..config };
        assert_ne!(found(&early, 1).1, logits);
    }
}
