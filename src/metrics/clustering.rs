//! How well two labellings of the same items agree.

use std::collections::BTreeMap;

use super::MetricError;
use crate::raster::{LabelMap, Mask};

/// How many items have which pair of labels: n(t, p) = items with true label t and predicted label p.
///
/// A table can be filled bit by bit, so that one score covers a whole collection. The values of the labels do not
/// matter, only which items share one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contingency {
    /// (true label, predicted label) → items; every count is positive.
    cells: BTreeMap<(u32, u32), u64>,
}

impl Contingency {
    /// The table of two label sequences over the same items.
    ///
    /// # Shapes
    /// - `truth`, `predicted`: `[items]`
    pub fn from_labels(truth: &[u32], predicted: &[u32]) -> Result<Self, MetricError> {
        let mut table = Self::default();
        table.add_labels(truth, predicted)?;
        Ok(table)
    }

    /// Adds the items of two label sequences.
    ///
    /// # Shapes
    /// - `truth`, `predicted`: `[items]`
    pub fn add_labels(&mut self, truth: &[u32], predicted: &[u32]) -> Result<(), MetricError> {
        if truth.len() != predicted.len() {
            return Err(MetricError::LengthsDiffer { truth: truth.len(), predicted: predicted.len() });
        }
        self.add_pairs(truth.iter().copied().zip(predicted.iter().copied()));
        Ok(())
    }

    /// Adds the pixels of two label maps: all, or those where `counted` is not 0 (such as a part's foreground).
    pub fn add_pixels(
        &mut self,
        truth: &LabelMap,
        predicted: &LabelMap,
        counted: Option<&Mask>,
    ) -> Result<(), MetricError> {
        super::same_size(predicted, truth, "ground truth")?;
        let pairs = truth.values.iter().copied().zip(predicted.values.iter().copied());
        match counted {
            None => self.add_pairs(pairs),
            Some(counted) => {
                super::same_size(predicted, counted, "mask of counted pixels")?;
                self.add_pairs(pairs.zip(&counted.values).filter(|(_, counted)| **counted != 0).map(|(pair, _)| pair));
            }
        }
        Ok(())
    }

    fn add_pairs(&mut self, pairs: impl Iterator<Item = (u32, u32)>) {
        // Neighbouring pixels mostly share their labels: look up once per run.
        let mut run: Option<((u32, u32), u64)> = None;
        for pair in pairs {
            match &mut run {
                Some((same, count)) if *same == pair => *count += 1,
                _ => {
                    self.add_run(run);
                    run = Some((pair, 1));
                }
            }
        }
        self.add_run(run);
    }

    fn add_run(&mut self, run: Option<((u32, u32), u64)>) {
        if let Some((pair, count)) = run {
            *self.cells.entry(pair).or_default() += count;
        }
    }

    /// Number of items.
    pub fn item_count(&self) -> u64 {
        self.cells.values().sum()
    }

    /// Number of true classes.
    pub fn class_count(&self) -> usize {
        self.marginals().0.len()
    }

    /// Number of predicted clusters (the "K found" of a table).
    pub fn cluster_count(&self) -> usize {
        self.marginals().1.len()
    }

    /// Items of every true label, n(t), and of every predicted label, n(p).
    fn marginals(&self) -> (BTreeMap<u32, u64>, BTreeMap<u32, u64>) {
        let (mut classes, mut clusters) = (BTreeMap::new(), BTreeMap::new());
        for (&(truth, predicted), &count) in &self.cells {
            *classes.entry(truth).or_default() += count;
            *clusters.entry(predicted).or_default() += count;
        }
        (classes, clusters)
    }

    /// Normalised mutual information, 0 to 1: I(T; P) / ((H(T) + H(P)) / 2).
    ///
    /// I = Σ n(t,p)/n · ln( n · n(t,p) / (n(t) · n(p)) ) and H = −Σ n(x)/n · ln( n(x)/n ). Two labellings without any
    /// split (or without items) agree: 1. If only one of them has no split, I = 0 and so is the score. Equals
    /// scikit-learn's `normalized_mutual_info_score` with its default, the arithmetic mean.
    pub fn normalised_mutual_information(&self) -> f64 {
        let (classes, clusters) = self.marginals();
        if classes.len() <= 1 && clusters.len() <= 1 {
            return 1.0;
        }
        let total = self.item_count();
        let items = total as f64;
        let mut information = 0.0;
        for (&(truth, predicted), &count) in &self.cells {
            let joint = u128::from(count) * u128::from(total);
            let independent = u128::from(classes[&truth]) * u128::from(clusters[&predicted]);
            // Compared as integers, so that independent labels give exactly 0.
            if joint != independent {
                information += count as f64 / items * (joint as f64 / independent as f64).ln();
            }
        }
        let entropy = |sizes: &BTreeMap<u32, u64>| -> f64 {
            sizes.values().map(|&size| -(size as f64 / items) * (size as f64 / items).ln()).sum()
        };
        // A sum of cancelling terms can end a rounding error outside of the range.
        (information / ((entropy(&classes) + entropy(&clusters)) / 2.0)).clamp(0.0, 1.0)
    }

    /// Adjusted Rand index, −0.5 to 1: 0 is expected of random labels, 1 is the same partition.
    ///
    /// Over ordered pairs of different items, with a = together in both, b = apart in both, c = together in truth only,
    /// d = together in prediction only: 2 (ab − cd) / ((a + c)(c + b) + (a + d)(d + b)), which is the pair-counting form
    /// of Hubert and Arabie's (index − expected) / (maximum − expected). Without any disagreeing pair (c = d = 0, also
    /// of one item or none) it is 1. Equals scikit-learn's `adjusted_rand_score`.
    pub fn adjusted_rand_index(&self) -> f64 {
        let (classes, clusters) = self.marginals();
        let squares =
            |sizes: &mut dyn Iterator<Item = u64>| -> u128 { sizes.map(|size| u128::from(size).pow(2)).sum() };
        let items = u128::from(self.item_count());
        let in_both = squares(&mut self.cells.values().copied());
        let in_truth = squares(&mut classes.values().copied());
        let in_prediction = squares(&mut clusters.values().copied());
        // A cell is part of its class and of its cluster, so none of these differences is negative.
        let together = in_both - items;
        let truth_only = in_truth - in_both;
        let prediction_only = in_prediction - in_both;
        let apart = items * items - in_truth - prediction_only;
        if truth_only == 0 && prediction_only == 0 {
            return 1.0;
        }
        // The counts are exact; from here on products of four item counts could exceed any integer.
        let [a, b, c, d] = [together, apart, truth_only, prediction_only].map(|count| count as f64);
        2.0 * (a * b - c * d) / ((a + c) * (c + b) + (a + d) * (d + b))
    }

    /// Purity, 0 to 1: Σ_p max_t n(t, p) / n; 1 without items.
    pub fn purity(&self) -> f64 {
        let mut largest: BTreeMap<u32, u64> = BTreeMap::new();
        for (&(_, predicted), &count) in &self.cells {
            let most = largest.entry(predicted).or_default();
            *most = count.max(*most);
        }
        super::share(largest.values().sum(), self.item_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scores(truth: &[u32], predicted: &[u32]) -> [f64; 3] {
        let table = Contingency::from_labels(truth, predicted).unwrap();
        [table.normalised_mutual_information(), table.adjusted_rand_index(), table.purity()]
    }

    /// What scikit-learn 1.9 says (purity by hand).
    #[test]
    fn degenerate_cases_are_those_of_scikit_learn() {
        let cases: [(&[u32], &[u32], [f64; 3]); 9] = [
            (&[], &[], [1.0, 1.0, 1.0]),
            (&[4], &[7], [1.0, 1.0, 1.0]),
            (&[0, 0, 0], &[5, 5, 5], [1.0, 1.0, 1.0]),
            (&[0, 0, 1, 1], &[0, 0, 0, 0], [0.0, 0.0, 0.5]),
            (&[0, 0, 0, 0], &[0, 1, 2, 3], [0.0, 0.0, 1.0]),
            (&[0, 1, 2, 3], &[3, 2, 1, 0], [1.0, 1.0, 1.0]),
            (&[0, 0, 1, 1], &[0, 1, 0, 1], [0.0, -0.5, 0.5]),
            (&[0, 0, 1, 1], &[1, 1, 0, 0], [1.0, 1.0, 1.0]),
            (&[0, 0, 1, 2], &[0, 0, 1, 1], [0.8, 0.571_428_571_428_571_4, 0.75]),
        ];
        for (truth, predicted, expected) in cases {
            let found = scores(truth, predicted);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{truth:?} {predicted:?}: {found} instead of {expected}");
            }
        }
    }

    #[test]
    fn pixels_add_up_over_images_and_only_counted_ones_do() {
        let truth = LabelMap::from_values(3, 2, vec![0, 0, 1, 1, 1, 2]);
        let predicted = LabelMap::from_values(3, 2, vec![0, 5, 5, 5, 6, 6]);
        let counted = Mask::from_values(3, 2, vec![0, 1, 1, 255, 1, 1]);
        let mut table = Contingency::default();
        table.add_pixels(&truth, &predicted, Some(&counted)).unwrap();
        table.add_pixels(&truth, &predicted, None).unwrap();
        let all = [0, 1, 1, 1, 2, 0, 0, 1, 1, 1, 2];
        let expected = Contingency::from_labels(&all, &[5, 5, 5, 6, 6, 0, 5, 5, 5, 6, 6]).unwrap();
        assert_eq!(table, expected);
        assert_eq!((table.item_count(), table.class_count(), table.cluster_count()), (11, 3, 3));

        let narrow = LabelMap::filled(2, 2, 0);
        assert!(matches!(table.add_pixels(&narrow, &predicted, None), Err(MetricError::SizesDiffer { .. })));
        assert!(matches!(table.add_labels(&[1], &[]), Err(MetricError::LengthsDiffer { truth: 1, predicted: 0 })));
        assert_eq!(table, expected, "a refused addition leaves the table alone");
    }

    #[test]
    fn counts_of_any_size_do_not_overflow() {
        let half = u64::MAX / 2;
        let table = Contingency { cells: BTreeMap::from([((0, 0), half), ((1, 1), half)]) };
        assert_eq!(table.adjusted_rand_index(), 1.0);
        assert!((table.normalised_mutual_information() - 1.0).abs() < 1e-12);
        let table = Contingency { cells: BTreeMap::from([((0, 0), half), ((0, 1), half)]) };
        assert_eq!((table.adjusted_rand_index(), table.normalised_mutual_information()), (0.0, 0.0));
    }

    proptest! {
        #[test]
        fn scores_are_symmetric_and_blind_to_names(
            pairs in proptest::collection::vec((0u32..5, 0u32..7), 1..60),
            rotation in 1u32..7,
        ) {
            let (truth, predicted): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
            let here = scores(&truth, &predicted);
            let mirrored = scores(&predicted, &truth);
            prop_assert!((here[0] - mirrored[0]).abs() < 1e-12);
            prop_assert!((here[1] - mirrored[1]).abs() < 1e-12);
            let renamed: Vec<u32> = predicted.iter().map(|label| u32::MAX - (label + rotation) % 7).collect();
            for (one, other) in here.iter().zip(scores(&truth, &renamed)) {
                prop_assert!((one - other).abs() < 1e-12);
            }
            prop_assert!((0.0..=1.0).contains(&here[0]) && (-0.5..=1.0).contains(&here[1]));
            for score in scores(&truth, &truth) {
                prop_assert!((score - 1.0).abs() < 1e-12);
            }
        }
    }
}
