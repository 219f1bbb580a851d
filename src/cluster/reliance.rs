//! How far a grouping can be relied on.

use std::fmt::{self, Display, Formatter};

use serde::{Serialize, Serializer};

use super::vectors::squared_length;
use super::{ClusterConfig, Grouping, Method, Scaling, Vectors};
use crate::metrics::Contingency;

/// Restarts that agree less, by their mean adjusted Rand index, have found different groups.
///
/// Correlation clustering, four restarts, four to six seeds each, agreed by 0.84 to 1 on a transformer's features of
/// photographs (products 1.00, animals and products 1.00, animals 0.97, scenes of many objects 0.84 to 0.93), and by 0.71
/// to 0.77 on the colours of those scenes, whose groups had nothing to do with what is in them (ARI 0.01). Normally and
/// uniformly distributed vectors, 40 to 1000 of 8 to 384 channels, agreed by 0.04 to 0.77. Of 2 or 3 channels noise cannot
/// be told this way: arcs of a circle come out much alike from any start.
const LEAST_AGREEMENT: f64 = 0.8;

/// The smallest gap of eigenvalues that speaks for as many groups as spectral clustering finds.
///
/// On features of the same photographs it was 0.11 to 0.28, in noise of 64 channels and more 0.004 to 0.04: there k-means
/// often agrees with itself about two halves that mean nothing.
const LEAST_GAP: f64 = 0.05;

/// Standardised vectors that differed less before, as a share of their length, differ by what noise makes of equal images:
/// forty frames of random pixels by 0.009, where photographs differ by 0.14 (products on white) to 0.52. Standardising makes
/// small differences as large as any.
const LEAST_SPREAD: f64 = 0.03;

/// Vectors that differ by no more than this share of the longest are equal but for rounding.
const ROUNDING: f64 = 1e-6;

/// What speaks for and against a grouping.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Reliance {
    /// Most clusters that were allowed; none where nothing limits them, or where k-means was told how many.
    pub at_most: Option<usize>,
    /// Whether as many were found, and so maybe fewer than there are.
    pub limited: bool,
    /// Mean adjusted Rand index of the other restarts' clusters with those that were kept, at most 1, which is equal; none
    /// with a single start.
    pub restart_agreement: Option<f64>,
    /// Empty where nothing speaks against the grouping.
    pub doubts: Vec<Doubt>,
}

/// A reason not to rely on a grouping; its text says what to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Doubt {
    /// One image or two.
    TooFew { images: usize },
    /// All vectors are equal.
    Equal { images: usize },
    /// All vectors are nearly equal.
    Alike { spread: f64 },
    /// Everything is in one cluster.
    OneCluster { method: Method },
    /// Every image is a cluster of its own.
    AllApart { method: Method },
    /// As many clusters as were allowed.
    Limited { most: usize },
    /// The restarts found different groups.
    Unstable { method: Method, agreement: f64 },
    /// The eigenvalues do not say how many groups there are.
    NoGap { gap: f64 },
}

impl Reliance {
    /// Judges groups of `scaled` vectors, which were `vectors` before.
    pub(super) fn new(vectors: &Vectors, scaled: &Vectors, settings: &ClusterConfig, found: &Grouping) -> Reliance {
        let (images, clusters, method) = (vectors.count(), found.sizes.len(), settings.method);
        let at_most = settings.most_clusters();
        // As many clusters as images are no fewer than there are.
        let limited = at_most.filter(|most| clusters >= *most && clusters < images);
        let restart_agreement = found.details.restart_agreement;
        let doubts = if images <= 2 {
            vec![Doubt::TooFew { images }]
        } else if are_equal(scaled) {
            vec![Doubt::Equal { images }]
        } else {
            let one = (clusters == 1 && limited.is_none()).then_some(Doubt::OneCluster { method });
            let apart = (clusters == images).then_some(Doubt::AllApart { method });
            let limited = limited.map(|most| Doubt::Limited { most });
            let unstable = restart_agreement.filter(|agreement| *agreement < LEAST_AGREEMENT);
            let unstable = unstable.map(|agreement| Doubt::Unstable { method, agreement });
            let gaps = found.details.eigenvalues.windows(2).skip(1).map(|pair| pair[1] - pair[0]);
            let gap = gaps.reduce(f64::max).filter(|gap| clusters > 1 && *gap < LEAST_GAP);
            let no_gap = gap.map(|gap| Doubt::NoGap { gap });
            let spread = (settings.scaling == Scaling::Standardised).then(|| spread(vectors));
            let alike = spread.filter(|spread| *spread < LEAST_SPREAD).map(|spread| Doubt::Alike { spread });
            [one, apart, alike, limited, unstable, no_gap].into_iter().flatten().collect()
        };
        Reliance { at_most, limited: limited.is_some(), restart_agreement, doubts }
    }

    /// Whether to trust the groups, as a sentence without a full stop.
    pub fn verdict(&self) -> String {
        let trusted = match &self.doubts[..] {
            [] if self.restart_agreement.is_none() => "a single start does not say whether the groups are stable",
            [] => "the groups are stable",
            [Doubt::Limited { .. }] => "there may be more groups",
            [Doubt::TooFew { .. } | Doubt::Equal { .. } | Doubt::OneCluster { .. } | Doubt::AllApart { .. }, ..] => {
                return "no groups were found".into();
            }
            _ => "do not trust the groups",
        };
        match self.restart_agreement {
            Some(agreement) => format!("restarts agree: {agreement:.2} of 1, {trusted}"),
            None => trusted.into(),
        }
    }
}

impl Doubt {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Doubt::TooFew { .. } => "too_few",
            Doubt::Equal { .. } => "equal",
            Doubt::Alike { .. } => "alike",
            Doubt::OneCluster { .. } => "one_cluster",
            Doubt::AllApart { .. } => "all_apart",
            Doubt::Limited { .. } => "limited",
            Doubt::Unstable { .. } => "unstable",
            Doubt::NoGap { .. } => "no_gap",
        }
    }
}

impl Serialize for Doubt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Display for Doubt {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        match self {
            Doubt::TooFew { images: 1 } => write!(formatter, "one image cannot be grouped; give more"),
            Doubt::TooFew { images } => {
                write!(formatter, "{images} images are too few to find groups among; give more")
            }
            Doubt::Equal { images } => write!(
                formatter,
                "the vectors of all {images} images are equal, so there is nothing to group them by; check the images, or \
                 choose other features"
            ),
            Doubt::Alike { spread } => write!(
                formatter,
                "the images are nearly equal (their vectors differ by {:.1} % of their length), so groups may be chance: do not \
                 trust them; choose other features",
                100.0 * spread
            ),
            Doubt::OneCluster { method: Method::Correlation } => {
                write!(formatter, "all images are in one cluster: no groups were found; lower `cluster.alpha`")
            }
            Doubt::OneCluster { method: Method::Kmeans } => {
                write!(formatter, "all images are in one cluster: no groups were found; raise `cluster.clusters`")
            }
            Doubt::OneCluster { .. } => write!(
                formatter,
                "all images are in one cluster: no groups were found; set `cluster.method` to correlation"
            ),
            Doubt::AllApart { method: Method::Correlation } => {
                write!(formatter, "every image is a cluster of its own: no groups were found; raise `cluster.alpha`")
            }
            Doubt::AllApart { method: Method::Components } => write!(
                formatter,
                "every image is a cluster of its own: no groups were found; set `cluster.method` to correlation"
            ),
            Doubt::AllApart { .. } => {
                write!(formatter, "every image is a cluster of its own: no groups were found; lower `cluster.clusters`")
            }
            Doubt::Limited { most } => write!(
                formatter,
                "as many clusters were found as `cluster.clusters` allows ({most}), so there may be more; raise it"
            ),
            Doubt::Unstable { method, agreement } => write!(
                formatter,
                "the restarts found different groups (mean adjusted Rand index {agreement:.2} of 1, below {LEAST_AGREEMENT}): \
                 do not trust them; choose other features or {}",
                match method {
                    Method::Correlation => "another `cluster.alpha`",
                    _ => "another `cluster.clusters`",
                }
            ),
            Doubt::NoGap { gap } => write!(
                formatter,
                "no gap of the eigenvalues says how many groups there are (the largest is {gap:.3}, below {LEAST_GAP}): do not \
                 trust them; choose other features"
            ),
        }
    }
}

/// Mean adjusted Rand index of the other restarts' clusters, each `[N]`, with the kept one's; none without others.
pub(super) fn agreement(restarts: &[Vec<u32>], kept: usize) -> Option<f64> {
    let others = restarts.iter().enumerate().filter(|(restart, _)| *restart != kept);
    let agreements = others.map(|(_, other)| Contingency::from_labels(&restarts[kept], other).adjusted_rand_index());
    (restarts.len() > 1).then(|| agreements.sum::<f64>() / (restarts.len() - 1) as f64)
}

/// √(Σ_i ‖f_i − mean‖² / Σ_i ‖f_i‖²), in [0, 1].
fn spread(vectors: &Vectors) -> f64 {
    let rows = || (0..vectors.count()).map(|row| vectors.row(row));
    let mut sums = vec![0.0; vectors.width()];
    rows().for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value)));
    let count = vectors.count() as f64;
    let from_mean = |row: &[f32]| -> f64 {
        row.iter().zip(&sums).map(|(value, sum)| (f64::from(*value) - sum / count).powi(2)).sum()
    };
    let total: f64 = rows().map(squared_length).sum();
    (rows().map(from_mean).sum::<f64>() / total.max(f64::MIN_POSITIVE)).sqrt()
}

fn are_equal(vectors: &Vectors) -> bool {
    let least = ROUNDING * vectors.largest_product().sqrt();
    let first = vectors.row(0);
    (1..vectors.count()).all(|row| {
        let differences = vectors.row(row).iter().zip(first).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
        differences.sum::<f64>().sqrt() <= least
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::FitDetails;

    fn judged(values: &[f32], settings: &ClusterConfig, sizes: &[usize], details: FitDetails) -> Reliance {
        let vectors = Vectors::new(values.to_vec(), 1).unwrap();
        Reliance::new(&vectors, &vectors, settings, &Grouping { clusters: Vec::new(), sizes: sizes.to_vec(), details })
    }

    #[test]
    fn agreement_is_the_mean_over_the_other_restarts() {
        let restarts = [vec![0, 0, 1, 1], vec![5, 5, 2, 2], vec![0, 0, 0, 0]];
        assert_eq!(agreement(&restarts, 0), Some(0.5));
        assert_eq!(agreement(&restarts[..1], 0), None);
    }

    #[test]
    fn every_reason_is_named_and_nothing_else() {
        let (different, equal) = ([1.0, 2.0, 3.0, 4.0], [7.0; 4]);
        let agreeing = |agreement| FitDetails { restart_agreement: Some(agreement), ..FitDetails::default() };
        let gap = |gap| FitDetails { eigenvalues: vec![0.0, 0.1, 0.1 + gap, 0.101 + gap], ..agreeing(1.0) };
        let of = |method, clusters| ClusterConfig { method, clusters, ..ClusterConfig::default() };
        let standardised = ClusterConfig { scaling: Scaling::Standardised, ..ClusterConfig::default() };
        use Method::{Components, Correlation, Kmeans, Spectral};
        for (values, settings, sizes, details, expected, verdict) in [
            (
                &different[..],
                of(Correlation, None),
                &[2, 2][..],
                agreeing(0.9),
                &[][..],
                "0.90 of 1, the groups are stable",
            ),
            (&different, of(Correlation, Some(2)), &[2, 2], agreeing(0.9), &["limited"], "there may be more groups"),
            (&different, of(Correlation, None), &[2, 2], agreeing(0.3), &["unstable"], "do not trust the groups"),
            (&different, of(Correlation, Some(2)), &[2, 2], agreeing(0.3), &["limited", "unstable"], "do not trust"),
            (&different, of(Correlation, None), &[4], agreeing(1.0), &["one_cluster"], "no groups were found"),
            (&different, of(Correlation, Some(4)), &[1; 4], agreeing(1.0), &["all_apart"], "no groups were found"),
            (&[1.0, 1.001, 1.002, 1.001], standardised, &[2, 2], agreeing(0.9), &["alike"], "do not trust"),
            (&different, of(Kmeans, Some(2)), &[3, 1], agreeing(1.0), &[], "stable"),
            (&different, of(Components, Some(2)), &[3, 1], FitDetails::default(), &[], "a single start"),
            (&different, of(Spectral, None), &[2, 2], gap(0.2), &[], "stable"),
            (&different, of(Spectral, None), &[2, 2], gap(0.01), &["no_gap"], "do not trust"),
            (&equal, of(Correlation, None), &[4], agreeing(1.0), &["equal"], "no groups were found"),
            (&equal, of(Components, None), &[1; 4], FitDetails::default(), &["equal"], "no groups were found"),
            (&different[..2], of(Correlation, None), &[1, 1], agreeing(1.0), &["too_few"], "no groups were found"),
        ] {
            let found = judged(values, &settings, sizes, details);
            let names: Vec<&str> = found.doubts.iter().map(|doubt| doubt.name()).collect();
            assert_eq!(
                (&names[..], found.limited),
                (expected, expected.contains(&"limited")),
                "{settings:?} {sizes:?}"
            );
            assert!(found.verdict().contains(verdict), "{} is not {verdict}", found.verdict());
        }
    }
}
