//! Which prediction belongs to which ground truth.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Pair;
use crate::dataset::truth::{Annotated, bare_key, plain_path};
use crate::names::{tail_matches, tails};

/// Pairs in the predictions' order, and the rest.
pub struct Matches<P, T> {
    pub pairs: Vec<Pair<P, T>>,
    pub unmatched_predictions: Vec<String>,
    pub unmatched_truth: Vec<String>,
    /// How many of the pairs lie in folders of different names.
    pub by_name_only: usize,
    /// The keys of masks and images that are a pair without the suffix of a mask's name.
    pub by_suffix: Vec<(String, String)>,
    /// What has no partner although its name, or the end of it, is on the other side.
    pub ambiguous: Vec<String>,
}

/// Joins by the whole name (`folder/image`); then, for what is left, by the longest end of the path that is unique among all
/// predictions and among all ground truth, so that frames of several videos are never mixed up. Names of ground truth that
/// have no partner as they stand are read as those of other systems, and masks then by their names without a suffix.
///
/// Names are unique within either list.
pub fn match_up<P, T>(predictions: Vec<(String, P)>, truth: Vec<Annotated<T>>) -> Matches<P, T> {
    let found = partners(
        &predictions.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
        &truth.iter().map(|image| image.key.as_str()).collect::<Vec<_>>(),
    );
    let mut truth: Vec<Option<Annotated<T>>> = truth.into_iter().map(Some).collect();
    let mut matches = Matches {
        pairs: Vec::new(),
        unmatched_predictions: Vec::new(),
        unmatched_truth: Vec::new(),
        by_name_only: 0,
        by_suffix: Vec::new(),
        ambiguous: found.ambiguous,
    };
    for ((key, prediction), partner) in predictions.into_iter().zip(found.partners) {
        match partner.and_then(|(index, how)| Some((truth[index].take()?, how))) {
            Some((truth, how)) => {
                match how {
                    How::Whole => {}
                    How::End => matches.by_name_only += 1,
                    How::WithoutSuffix => matches.by_suffix.push((truth.key.clone(), key.clone())),
                }
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

/// How a partner was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Whole,
    End,
    WithoutSuffix,
}

struct Found {
    /// For every prediction the index of its truth.
    partners: Vec<Option<(usize, How)>>,
    ambiguous: Vec<String>,
}

fn partners(predictions: &[&str], truth: &[&str]) -> Found {
    let mut partners: Vec<Option<(usize, How)>> = vec![None; predictions.len()];
    let mut is_taken = vec![false; truth.len()];
    let bare = |key: &str| bare_key(key).unwrap_or(key).to_string();
    // As they stand; as other systems spell them; without the suffixes of masks.
    for round in 0..3 {
        let of_truth = |key: &str| match round {
            0 => key.to_string(),
            1 => plain_path(key),
            _ => bare(&plain_path(key)),
        };
        let left: Vec<usize> = (0..truth.len()).filter(|&index| !is_taken[index]).collect();
        let wanted: Vec<String> = left.iter().map(|&index| of_truth(truth[index])).collect();
        let have: Vec<String> =
            predictions.iter().map(|key| if round == 2 { bare(key) } else { key.to_string() }).collect();
        let [wanted, have] = [&wanted, &have].map(|keys| keys.iter().map(String::as_str).collect::<Vec<_>>());
        // Without their suffixes several may have one name.
        let [only_wanted, only_have] = [&wanted, &have].map(|keys| only(keys));
        let is_only = |key: &str, among: &HashMap<&str, Option<usize>>| among.get(key).is_some_and(Option::is_some);
        for ((&index, wanted), partner) in left.iter().zip(&wanted).zip(tail_matches(&wanted, &have)) {
            let is_free = |&partner: &usize| {
                partners[partner].is_none() && is_only(wanted, &only_wanted) && is_only(have[partner], &only_have)
            };
            let Some(partner) = partner.filter(is_free) else { continue };
            let how = match *wanted == have[partner] {
                _ if round == 2 => How::WithoutSuffix,
                true => How::Whole,
                false => How::End,
            };
            partners[partner] = Some((index, how));
            is_taken[index] = true;
        }
    }
    let is_alone: Vec<bool> = partners.iter().map(Option::is_none).collect();
    let truth_keys: Vec<String> = truth.iter().map(|key| bare(&plain_path(key))).collect();
    let keys: Vec<String> = predictions.iter().map(|key| bare(key)).collect();
    let mut ambiguous = named_alike(&truth_keys, |index| !is_taken[index], &keys, |index| is_alone[index])
        .map(|index| format!("{} of the ground truth", truth[index]))
        .collect::<Vec<_>>();
    ambiguous.extend(
        named_alike(&keys, |index| is_alone[index], &truth_keys, |index| !is_taken[index])
            .map(|index| format!("{} of the predictions", predictions[index])),
    );
    Found { partners, ambiguous }
}

/// The places of `keys` without partner that could be one of `others`: that is an end of it, or it is one of that, or both are
/// without partner and have one last name.
fn named_alike<'a>(
    keys: &'a [String],
    is_alone: impl Fn(usize) -> bool + 'a,
    others: &'a [String],
    is_other_alone: impl Fn(usize) -> bool,
) -> impl Iterator<Item = usize> + 'a {
    let whole: BTreeSet<&str> = others.iter().map(String::as_str).collect();
    let ends: BTreeSet<&str> = others.iter().flat_map(|key| tails(key)).collect();
    let alone = (0..others.len()).filter(|&index| is_other_alone(index));
    let names: BTreeSet<&str> = alone.map(|index| last_part(&others[index])).collect();
    (0..keys.len()).filter(move |&index| {
        let key = keys[index].as_str();
        is_alone(index)
            && (ends.contains(key) || names.contains(last_part(key)) || tails(key).any(|end| whole.contains(end)))
    })
}

/// For every key the one place that has it; none where several have.
fn only<'a>(keys: &[&'a str]) -> HashMap<&'a str, Option<usize>> {
    let mut only = HashMap::new();
    for (index, key) in keys.iter().enumerate() {
        only.entry(*key).and_modify(|only| *only = None).or_insert(Some(index));
    }
    only
}

fn last_part(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
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
    fn whole_names_first_then_the_longest_unique_end() {
        type Case = (&'static [&'static str], &'static [&'static str], &'static [Option<usize>]);
        let cases: [Case; 12] = [
            (&["a", "s/b", "c"], &["c", "s/b"], &[None, Some(1), Some(0)]),
            (&["images/a", "images/b"], &["a", "x/b"], &[Some(0), Some(1)]),
            // Frames of several videos have the same last part.
            (&["dog/1", "swan/1"], &["1"], &[None, None]),
            (&["1"], &["dog/1", "swan/1"], &[None]),
            (&["dog/1", "swan/1"], &["x/swan/1", "x/dog/1"], &[Some(1), Some(0)]),
            (&["dog/1", "swan/1"], &["x/dog/1"], &[Some(0), None]),
            // What the whole name has taken is gone.
            (&["a", "x/a"], &["a"], &[Some(0), None]),
            (&["a"], &["train/a", "a"], &[Some(1)]),
            // Other systems' paths.
            (&["a", "my images/b"], &["C:\\data\\a", "old\\my images\\b"], &[Some(0), Some(1)]),
            // Masks of several kinds, and the plain name before all others.
            (&["a", "b", "c"], &["a_mask", "b_GT", "c", "c_mask"], &[Some(0), Some(1), Some(2)]),
            (&["a"], &["a_mask", "a_gt"], &[None]),
            (&["a_mask", "b_seg"], &["a", "b_mask"], &[Some(0), Some(1)]),
        ];
        for (predictions, truth, expected) in cases {
            let found = partners(predictions, truth).partners;
            let indices: Vec<Option<usize>> = found.iter().map(|found| found.map(|(index, _)| index)).collect();
            assert_eq!(indices, expected, "{predictions:?} {truth:?}");
        }
    }

    #[test]
    fn ambiguity_is_told_and_other_folders_are_none() {
        let found = partners(&["a", "b/1", "c", "val/c"], &["my%61/a", "train/c", "c", "d/1", "e/f", "a_mask"]);
        let indices: Vec<Option<usize>> = found.partners.iter().map(|found| found.map(|(index, _)| index)).collect();
        assert_eq!(indices, [Some(0), Some(3), Some(2), None]);
        assert_eq!(
            found.ambiguous,
            ["train/c of the ground truth", "a_mask of the ground truth", "val/c of the predictions"]
        );
        let videos = partners(&["dog/1", "dog/2"], &["dog/1", "dog/2", "swan/1", "swan/2"]);
        assert_eq!(videos.ambiguous, Vec::<String>::new());
    }
}
