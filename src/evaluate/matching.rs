//! Which prediction belongs to which ground truth.

use std::collections::{BTreeMap, BTreeSet};

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

/// Gives ground truth that names its image's file the key of that file's prediction: images that differ in nothing but
/// their extensions are told apart. Where another's prediction has the key of what is left, the file's name is the key.
pub fn renamed<T>(mut truth: Vec<Annotated<T>>, keys: &BTreeMap<String, String>) -> Vec<Annotated<T>> {
    let key = |image: &Annotated<T>| image.file.as_ref().and_then(|file| keys.get(file)).cloned();
    let found: BTreeSet<String> = truth.iter().filter_map(key).collect();
    for image in &mut truth {
        match (key(image), &image.file) {
            (Some(key), _) => image.key = key,
            (None, Some(file)) if found.contains(&image.key) => image.key = file.clone(),
            _ => {}
        }
    }
    truth
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
    fn files_of_one_stem_have_the_truth_of_their_own() {
        let keys = |truth: &[&str], predictions: &[(&str, &str)]| -> Vec<String> {
            let image =
                |file: &&str| Annotated { key: "a".into(), file: Some(file.to_string()), size: None, content: () };
            let predictions = predictions.iter().map(|(file, key)| (file.to_string(), key.to_string())).collect();
            renamed(truth.iter().map(image).collect(), &predictions).into_iter().map(|image| image.key).collect()
        };
        let both = [("a.jpg", "a"), ("a.png", "a.png")];
        assert_eq!(keys(&["a.png"], &both), ["a.png"]);
        assert_eq!(keys(&["a.jpg", "a.png"], &both), ["a", "a.png"]);
        assert_eq!(keys(&["a.jpg", "a.png"], &[("a.png", "a")]), ["a.jpg", "a"]);
        assert_eq!(keys(&["a.png"], &[("a.jpg", "a")]), ["a"]);
    }

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
