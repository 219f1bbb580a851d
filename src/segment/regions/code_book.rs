//! What the patches of a collection look like, in a few words.

use crate::numerics::k_means::{Rows, k_means};
use crate::numerics::principal::principal_directions;

/// Features are half as wide as colours: divided by so many standard deviations.
const FEATURE_DEVIATIONS: f64 = 2.0;
/// L*a*b* to the order of 1.
const COLOUR_SCALE: f64 = 1.0 / 100.0;
/// Starts of k-means, of which the best is kept.
const STARTS: usize = 3;
/// What varies less is constant.
const LEAST_DEVIATION: f64 = 1e-9;
/// Channels of L*a*b*.
pub const COLOURS: usize = 3;

/// Patches of a collection: their features and mean colours.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PatchSample {
    /// Row-major `[S, D]`.
    pub features: Vec<f32>,
    /// L*a*b*, `[S, 3]`.
    pub colours: Vec<f32>,
}

/// The kinds of patches of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeBook {
    /// Of the features, `[D]`.
    pub mean: Vec<f32>,
    /// Directions of features, orthonormal, row-major `[C, D]`.
    pub directions: Vec<f32>,
    /// What coordinates along the directions, and colours, are divided by, `[C + 3]`.
    pub scales: Vec<f32>,
    /// What colours are shifted by before that, `[3]`.
    pub colour_mean: Vec<f32>,
    /// Row-major `[K, C + 3]`.
    pub centres: Vec<f32>,
    /// Mean squared distance of a patch from the nearest centre.
    pub spread: f64,
}

impl CodeBook {
    /// Learns `labels` kinds of patches, which features tell apart along `components` directions; fewer of both where the
    /// sample has no more that differ.
    ///
    /// Features are projected on their principal directions and divided by two standard deviations, colours by one, and both
    /// are grouped by k-means.
    ///
    /// # Panics
    /// If the sample is empty, or features and colours are not of one number of patches.
    pub fn fit(sample: &PatchSample, labels: usize, components: usize, seed: u64) -> CodeBook {
        let patches = sample.colours.len() / COLOURS;
        assert!(patches > 0 && sample.features.len().is_multiple_of(patches), "a sample of whole patches");
        let width = sample.features.len() / patches;
        let rows: Vec<f64> = sample.features.iter().map(|&value| f64::from(value)).collect();
        let mean = channel_means(&rows, width);
        let directions = principal_directions(&rows, width, components);
        let colours: Vec<f64> = sample.colours.iter().map(|&value| f64::from(value) * COLOUR_SCALE).collect();
        let mut book = CodeBook {
            mean: mean.iter().map(|&value| value as f32).collect(),
            scales: vec![1.0; directions.len() / width + COLOURS],
            directions,
            colour_mean: channel_means(&colours, COLOURS).iter().map(|&value| value as f32).collect(),
            centres: Vec::new(),
            spread: 0.0,
        };
        let channels = book.scales.len();
        let unscaled: Vec<f64> =
            book.described(&sample.features, &sample.colours).iter().map(|&value| f64::from(value)).collect();
        for (channel, scale) in book.scales.iter_mut().enumerate() {
            let squares: f64 = unscaled.iter().skip(channel).step_by(channels).map(|value| value * value).sum();
            let deviation = (squares / patches as f64).sqrt();
            let deviations = if channel + COLOURS < channels { FEATURE_DEVIATIONS } else { 1.0 };
            // What does not vary tells nothing apart, whatever it is divided by.
            *scale = if deviation > LEAST_DEVIATION { (deviation * deviations) as f32 } else { 1.0 };
        }
        let described = book.described(&sample.features, &sample.colours);
        let found = k_means(Rows::new(&described, channels), labels.min(patches), STARTS, seed);
        // With fewer different patches than kinds some are of none.
        let mut in_use = vec![false; labels.min(patches)];
        found.starts[found.kept].iter().for_each(|&kind| in_use[kind as usize] = true);
        let kinds = found.centres.chunks_exact(channels).zip(in_use).filter(|(_, in_use)| *in_use);
        book.centres = kinds.flat_map(|(centre, _)| centre).map(|&value| value as f32).collect();
        book.spread = found.squared_distances / patches as f64;
        book
    }

    /// Kinds of patches, K.
    pub fn labels(&self) -> usize {
        self.centres.len() / self.scales.len()
    }

    /// Channels of the features, D.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// What every patch costs as one of every kind: ‖x − c‖² / (2 · spread).
    ///
    /// # Shapes
    /// features `[N, D]`, colours (L*a*b*) `[N, 3]` → `[N, K]`
    pub fn costs(&self, features: &[f32], colours: &[f32]) -> Vec<f64> {
        let channels = self.scales.len();
        let described = self.described(features, colours);
        // Of as many patches as kinds each is its own.
        let scale = if self.spread > 0.0 { 1.0 / (2.0 * self.spread) } else { 1.0 };
        let cost = |row: &[f32], centre: &[f32]| {
            let squared = row.iter().zip(centre).map(|(value, centre)| f64::from(value - centre).powi(2));
            scale * squared.sum::<f64>()
        };
        described
            .chunks_exact(channels)
            .flat_map(|row| self.centres.chunks_exact(channels).map(move |centre| cost(row, centre)))
            .collect()
    }

    /// The channels in which patches are compared, `[N, C + 3]`.
    fn described(&self, features: &[f32], colours: &[f32]) -> Vec<f32> {
        let width = self.width();
        let (of_features, of_colours) = self.scales.split_at(self.scales.len() - COLOURS);
        let mut described = Vec::with_capacity(colours.len() / COLOURS * self.scales.len());
        for (feature, colour) in features.chunks_exact(width).zip(colours.chunks_exact(COLOURS)) {
            let centred: Vec<f64> =
                feature.iter().zip(&self.mean).map(|(&value, &mean)| f64::from(value) - f64::from(mean)).collect();
            for (direction, &scale) in self.directions.chunks_exact(width).zip(of_features) {
                let coordinate: f64 = direction.iter().zip(&centred).map(|(&one, other)| f64::from(one) * other).sum();
                described.push((coordinate / f64::from(scale)) as f32);
            }
            for ((&value, &mean), &scale) in colour.iter().zip(&self.colour_mean).zip(of_colours) {
                described.push(((f64::from(value) * COLOUR_SCALE - f64::from(mean)) / f64::from(scale)) as f32);
            }
        }
        described
    }
}

fn channel_means(rows: &[f64], width: usize) -> Vec<f64> {
    let count = (rows.len() / width) as f64;
    let mut sums = vec![0.0; width];
    rows.chunks_exact(width).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
    sums.into_iter().map(|sum| sum / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three kinds of patches: two of one colour, which features tell apart, and two of one feature.
    fn sample() -> PatchSample {
        let mut sample = PatchSample::default();
        for patch in 0..90usize {
            let (feature, colour) =
                [([1.0, 0.0, 0.0], 20.0), ([0.0, 1.0, 0.0], 20.0), ([0.0, 1.0, 0.0], 80.0)][patch % 3];
            let noise = |seed: usize| ((patch * 37 + seed * 101) % 17) as f32 * 0.004;
            sample.features.extend((0..3).map(|channel| feature[channel] + noise(channel)));
            sample.colours.extend([colour + 10.0 * noise(3), 5.0, -5.0]);
        }
        sample
    }

    #[test]
    fn kinds_are_told_apart_by_features_and_by_colours() {
        let sample = sample();
        let book = CodeBook::fit(&sample, 3, 2, 0);
        assert_eq!((book.labels(), book.width(), book.scales.len()), (3, 3, 5));
        let costs = book.costs(&sample.features, &sample.colours);
        let kinds: Vec<usize> =
            costs.chunks_exact(3).map(|row| (0..3).min_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()).collect();
        assert!(kinds.iter().enumerate().all(|(patch, &kind)| kind == kinds[patch % 3]), "{kinds:?}");
        let mut first = kinds[..3].to_vec();
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2]);
        // A patch costs half on average as its own kind: ‖x − c‖² is the spread.
        let own: f64 = kinds.iter().zip(costs.chunks_exact(3)).map(|(&kind, row)| row[kind]).sum();
        assert!((own / 90.0 - 0.5).abs() < 1e-5, "{own}");
        assert_eq!(book, CodeBook::fit(&sample, 3, 2, 0));
    }

    #[test]
    fn there_are_no_more_kinds_than_different_patches() {
        for (patches, colours, kinds) in [(1, 1, 1), (2, 1, 1), (2, 2, 2), (40, 1, 1), (40, 3, 3), (40, 40, 32)] {
            let colour = |patch: usize| [30.0 + (patch % colours) as f32, 0.0, 5.0];
            let sample =
                PatchSample { features: vec![0.5; 4 * patches], colours: (0..patches).flat_map(colour).collect() };
            let book = CodeBook::fit(&sample, 32, 16, 0);
            let costs = book.costs(&sample.features, &sample.colours);
            assert_eq!(
                (book.labels(), costs.len()),
                (kinds, patches * kinds),
                "{patches} patches of {colours} colours"
            );
            assert!(costs.iter().all(|cost| cost.is_finite()), "{costs:?}");
        }
    }
}
