//! Which prediction belongs to which ground truth.

use std::collections::BTreeMap;

use super::Pair;
use crate::dataset::truth::Annotated;

/// Pairs in the predictions' order, and the rest.
pub struct Matches<P, T> {
    pub pairs: Vec<Pair<P, T>>,
    pub unmatched_predictions: Vec<String>,
    pub unmatched_truth: Vec<String>,
    /// How many of the pairs lie in folders of different names.
    pub by_name_only: usize,
}

/// Joins by the whole name (`folder/image`); then, for what is left, by the last part of the name where that is unique
/// among all predictions and among all ground truth, so that frames of several videos are never mixed up.
///
/// Names are unique within either list.
pub fn match_up<P, T>(predictions: Vec<(String, P)>, truth: Vec<Annotated<T>>) -> Matches<P, T> {
    let names: Vec<&str> = predictions.iter().map(|(key, _)| key.as_str()).collect();
    let partners = partners(&names, &truth.iter().map(|image| image.key.as_str()).collect::<Vec<_>>());
    let mut truth: Vec<Option<Annotated<T>>> = truth.into_iter().map(Some).collect();
    let mut matches =
        Matches { pairs: Vec::new(), unmatched_predictions: Vec::new(), unmatched_truth: Vec::new(), by_name_only: 0 };
    for ((key, prediction), partner) in predictions.into_iter().zip(partners) {
        match partner.and_then(|index| truth[index].take()) {
            Some(truth) => {
                matches.by_name_only += usize::from(truth.key != key);
                matches.pairs.push(Pair { key, prediction, truth });
            }
            None => matches.unmatched_predictions.push(key),
        }
    }
    matches.unmatched_truth = truth.into_iter().flatten().map(|image| image.key).collect();
    matches
}

/// For every prediction the index of its truth.
fn partners(predictions: &[&str], truth: &[&str]) -> Vec<Option<usize>> {
    let by_key: BTreeMap<&str, usize> = truth.iter().enumerate().map(|(index, key)| (*key, index)).collect();
    let mut partners: Vec<Option<usize>> = predictions.iter().map(|key| by_key.get(key).copied()).collect();
    let mut taken = vec![false; truth.len()];
    partners.iter().flatten().for_each(|&index| taken[index] = true);
    let (own, others) = (by_last_part(predictions), by_last_part(truth));
    for (partner, key) in partners.iter_mut().zip(predictions).filter(|(partner, _)| partner.is_none()) {
        let name = last_part(key);
        if let (Some([_]), Some([index])) = (own.get(name).map(Vec::as_slice), others.get(name).map(Vec::as_slice))
            && !taken[*index]
        {
            *partner = Some(*index);
        }
    }
    partners
}

fn last_part(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn by_last_part<'a>(keys: &[&'a str]) -> BTreeMap<&'a str, Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, key) in keys.iter().enumerate() {
        groups.entry(last_part(key)).or_default().push(index);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_first_then_unique_last_parts() {
        type Case = (&'static [&'static str], &'static [&'static str], &'static [Option<usize>]);
        let cases: [Case; 5] = [
            (&["a", "s/b", "c"], &["c", "s/b"], &[None, Some(1), Some(0)]),
            (&["images/a", "images/b"], &["a", "x/b"], &[Some(0), Some(1)]),
            // Frames of several videos have the same last part.
            (&["dog/1", "swan/1"], &["1"], &[None, None]),
            (&["1"], &["dog/1", "swan/1"], &[None]),
            // What the whole name has taken is gone.
            (&["a", "x/a"], &["a"], &[Some(0), None]),
        ];
        for (predictions, truth, expected) in cases {
            assert_eq!(partners(predictions, truth), expected, "{predictions:?} {truth:?}");
        }
    }
}
