//! Whether confidences rank errors: the area under the risk-coverage curve.

use super::mean;

/// Areas under risk-coverage curves, in the unit of the risks; the lower, the better.
///
/// The selective risk at coverage n / N is the mean risk of the n most confident of N images; the area is the mean of
/// the selective risks over n = 1 to N.
///
/// Curve: Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NIPS 2017 (arXiv 1705.08500). Area
/// and its excess over the perfect ranking, `area` − `perfect`: Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty
/// Estimation for Deep Neural Classifiers", ICLR 2019 (arXiv 1805.08206).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RiskCoverage {
    /// Of the images ranked by their confidences.
    pub area: f64,
    /// Of the images ranked by their true risks: no ranking has less.
    pub perfect: f64,
    /// Expected of a ranking by chance: the mean risk.
    pub random: f64,
}

impl RiskCoverage {
    /// The areas for `images`, each with its confidence and its risk; none without images.
    ///
    /// An image without a confidence, or with one that is not finite, counts as one of confidence 0. Images of equal
    /// confidence have the selective risks that are expected of their group in random order, so the order of `images`
    /// never matters.
    pub fn of(images: impl IntoIterator<Item = (Option<f64>, f64)>) -> Option<Self> {
        let known = |confidence: Option<f64>| confidence.filter(|confidence| confidence.is_finite()).unwrap_or(0.0);
        let mut images: Vec<(f64, f64)> =
            images.into_iter().map(|(confidence, risk)| (known(confidence), risk)).collect();
        // By risk too, so that not even rounding depends on the order given.
        images.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.total_cmp(&other.1)));
        let random = mean(images.iter().map(|&(_, risk)| risk))?;
        let mut best_first: Vec<(f64, f64)> = images.iter().map(|&(_, risk)| (-risk, risk)).collect();
        best_first.sort_by(|one, other| one.1.total_cmp(&other.1));
        Some(Self { area: area(&images), perfect: area(&best_first), random })
    }
}

/// The area under the curve of `ranked`, confidences and risks, highest confidence first; at least one.
fn area(ranked: &[(f64, f64)]) -> f64 {
    let (mut before, mut risk_before, mut selective_risks) = (0, 0.0, 0.0);
    for tied in ranked.chunk_by(|one, other| one.0 == other.0) {
        let tied_risk: f64 = tied.iter().map(|(_, risk)| risk).sum();
        let expected = tied_risk / tied.len() as f64;
        for place in 1..=tied.len() {
            selective_risks += (risk_before + place as f64 * expected) / (before + place) as f64;
        }
        before += tied.len();
        risk_before += tied_risk;
    }
    selective_risks / ranked.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_areas(images: &[(Option<f64>, f64)], expected: [f64; 3]) {
        let found = RiskCoverage::of(images.iter().copied()).unwrap();
        for (found, expected) in [found.area, found.perfect, found.random].into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{images:?}: {found} instead of {expected}");
        }
    }

    #[test]
    fn areas_of_small_rankings() {
        // Selective risks 0.2, 0.1, 0.2; at best 0, 0.1, 0.2.
        assert_areas(&[(Some(0.9), 0.2), (Some(0.5), 0.4), (Some(0.7), 0.0)], [0.5 / 3.0, 0.1, 0.2]);
        // The worst first: 1, 0.5; at best 0, 0.5.
        assert_areas(&[(Some(0.1), 0.0), (Some(0.2), 1.0)], [0.75, 0.25, 0.5]);
        // Only the order of confidences counts.
        assert_areas(&[(Some(7.0), 0.0), (Some(-3.0), 1.0)], [0.25, 0.25, 0.5]);
        assert_areas(&[(None, 0.3)], [0.3, 0.3, 0.3]);
        assert_eq!(RiskCoverage::of([]), None);
    }

    #[test]
    fn ties_have_their_expected_risk_in_any_order() {
        let mut images = [(Some(0.5), 0.6), (None, 1.0), (Some(0.9), 0.1), (Some(0.0), 0.5), (Some(0.5), 0.2)];
        // 0.1; the two of 0.5 with 0.4 each: 0.5 / 2, 0.9 / 3; the last two with 0.75 each: 1.65 / 4, 2.4 / 5.
        let area = (0.1 + 0.25 + 0.3 + 0.4125 + 0.48) / 5.0;
        let perfect = (0.1 + 0.3 / 2.0 + 0.8 / 3.0 + 1.4 / 4.0 + 2.4 / 5.0) / 5.0;
        assert_areas(&images, [area, perfect, 0.48]);
        let first = RiskCoverage::of(images);
        for _ in 0..images.len() {
            images.rotate_left(1);
            assert_eq!(RiskCoverage::of(images), first);
            images.swap(0, 1);
            assert_eq!(RiskCoverage::of(images), first);
        }
    }

    #[test]
    fn confidences_that_say_nothing_are_a_random_ranking() {
        assert_areas(&[(None, 0.9), (Some(f64::NAN), 0.0), (Some(-0.0), 0.3)], [0.4, (0.15 + 0.4) / 3.0, 0.4]);
    }
}
