//! How well two labellings of the same items agree.

use std::collections::BTreeMap;

/// How many items have which pair of labels: n(t, p) = items with true label t and predicted label p.
///
/// Tables add up, so that one score can cover a whole collection. The values of the labels do not
/// matter, only which items share one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contingency {
    /// (true label, predicted label) → items; every count is positive.
    cells: BTreeMap<(u32, u32), u64>,
}

impl FromIterator<(u32, u32)> for Contingency {
    /// The table of items, each with its true and its predicted label.
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(items: I) -> Self {
        let mut table = Self::default();
        // Neighbouring pixels mostly share their labels: look up once per run.
        let mut run = ((0, 0), 0);
        for pair in items {
            if pair != run.0 {
                table.add_run(run);
                run = (pair, 0);
            }
            run.1 += 1;
        }
        table.add_run(run);
        table
    }
}

impl Contingency {
    /// The table of two label sequences over the same items, both `[items]`.
    ///
    /// # Panics
    /// If one is longer than the other.
    pub fn from_labels(truth: &[u32], predicted: &[u32]) -> Self {
        assert_eq!(truth.len(), predicted.len(), "one true and one predicted label for every item");
        truth.iter().copied().zip(predicted.iter().copied()).collect()
    }

    /// Adds the items of another table.
    pub fn add(&mut self, other: &Contingency) {
        other.cells.iter().for_each(|(&pair, &count)| self.add_run((pair, count)));
    }

    fn add_run(&mut self, (pair, count): ((u32, u32), u64)) {
        if count > 0 {
            *self.cells.entry(pair).or_default() += count;
        }
    }

    /// Number of items.
    pub fn item_count(&self) -> u64 {
        self.cells.values().sum()
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
        let table = Contingency::from_labels(truth, predicted);
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
    fn tables_add_up() {
        let mut table = Contingency::from_labels(&[0, 1, 1, 1, 2], &[5, 5, 5, 6, 6]);
        table.add(&Contingency::from_labels(&[0, 0, 1, 1, 1, 2], &[0, 5, 5, 5, 6, 6]));
        let all = [0, 1, 1, 1, 2, 0, 0, 1, 1, 1, 2];
        assert_eq!(table, Contingency::from_labels(&all, &[5, 5, 5, 6, 6, 0, 5, 5, 5, 6, 6]));
        assert_eq!(table.item_count(), 11);
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
