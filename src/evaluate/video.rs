//! Sequences of frames: objects per sequence, and how steady the labels are from frame to frame.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::objects::{self, ObjectScores};
use super::table::Table;
use super::{EvaluateError, Run, SequenceScores, SkippedImage, in_size, predictions, read_mask};
use crate::event::counted;
use crate::metrics::{Overlap, mean};

/// A predicted frame: its name and its mask.
type Frame = (String, PathBuf);

pub fn evaluate(run: &mut Run) -> Result<Table, EvaluateError> {
    let truth = if run.request.truth.is_some() { Some(objects::read_truth(run)?) } else { None };
    let frames = predictions::masks(run)?;
    let sequences = sequences(&frames);
    let steadiness = consistencies(run, &sequences)?;
    let (mut overlaps, mut max_f_beta): (BTreeMap<String, Overlap>, _) = (BTreeMap::new(), None);
    match truth {
        Some(truth) => {
            let pairs = run.matched(frames.clone(), truth)?;
            let ObjectScores { overlaps: scored, max_f_beta: largest, .. } = objects::score(run, &pairs)?;
            max_f_beta = largest;
            overlaps.extend(scored);
        }
        None => run.summary.images = frames.len(),
    }

    let mut table = Table::new(&["image", "iou", "accuracy", "consistency"]);
    for (name, frames) in &sequences {
        let scored: Vec<&Overlap> = frames.iter().filter_map(|(key, _)| overlaps.get(key)).collect();
        let steps = frames.iter().map(|(key, _)| steadiness.get(key).copied());
        for ((key, _), step) in frames.iter().zip(steps.clone()) {
            let overlap = overlaps.get(key);
            table.push(key, &[overlap.map(Overlap::iou), overlap.map(Overlap::accuracy), step]);
        }
        run.summary.sequences.push(SequenceScores {
            sequence: name.clone(),
            frames: frames.len(),
            miou: mean(scored.iter().map(|overlap| overlap.iou())),
            accuracy: mean(scored.iter().map(|overlap| overlap.accuracy())),
            consistency: mean(steps.flatten()),
        });
    }
    let over = |score: fn(&SequenceScores) -> Option<f64>| mean(run.summary.sequences.iter().filter_map(score));
    let [miou, accuracy, consistency] =
        [over(|sequence| sequence.miou), over(|sequence| sequence.accuracy), over(|sequence| sequence.consistency)];
    if miou.is_some() {
        let order = "mean over the frames of a sequence (a folder; first and last frame too), then over sequences";
        run.score("miou", miou, format!("the foreground's IoU, {order}; {}", objects::foreground(run)));
        let definition = format!("share of pixels whose foreground or background is right, {order}");
        run.score("accuracy", accuracy, definition);
        run.score(
            "max_f_beta",
            max_f_beta,
            "the largest F_beta with beta² = 0.3 over thresholds, of precision and recall averaged over all frames; of \
             saliency maps where there are any, of masks elsewhere",
        );
    }
    run.score(
        "consistency",
        consistency,
        "share of pixels with the same label (background too) in a frame and in the next predicted one; mean over the \
         frames of a sequence (a folder), then over sequences",
    );
    Ok(table)
}

/// The frames of every folder, in the order of their numbers.
fn sequences(frames: &[Frame]) -> BTreeMap<String, Vec<Frame>> {
    let mut sequences: BTreeMap<String, Vec<Frame>> = BTreeMap::new();
    for (key, path) in frames {
        let folder = key.rsplit_once('/').map_or(".", |(folder, _)| folder);
        sequences.entry(folder.to_string()).or_default().push((key.clone(), path.clone()));
    }
    sequences.values_mut().for_each(|frames| frames.sort_by(|(a, _), (b, _)| by_number(a, b)));
    sequences
}

/// Orders names by their text, numbers in them by value: frame9 comes before frame10.
fn by_number(a: &str, b: &str) -> Ordering {
    let (mut a_rest, mut b_rest) = (a, b);
    while let (Some(a_first), Some(b_first)) = (a_rest.chars().next(), b_rest.chars().next()) {
        if a_first.is_ascii_digit() && b_first.is_ascii_digit() {
            let split = |text: &'_ str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (a_number, a_after) = a_rest.split_at(split(a_rest));
            let (b_number, b_after) = b_rest.split_at(split(b_rest));
            let (a_plain, b_plain) = (a_number.trim_start_matches('0'), b_number.trim_start_matches('0'));
            // Without leading zeros the longer number is the larger one.
            let order = (a_plain.len(), a_plain).cmp(&(b_plain.len(), b_plain));
            if order != Ordering::Equal {
                return order;
            }
            (a_rest, b_rest) = (a_after, b_after);
        } else if a_first != b_first {
            return a_first.cmp(&b_first);
        } else {
            (a_rest, b_rest) = (&a_rest[a_first.len_utf8()..], &b_rest[b_first.len_utf8()..]);
        }
    }
    (a_rest.len(), a).cmp(&(b_rest.len(), b))
}

/// For every frame but the first of its sequence, the share of pixels with the label of the frame before.
fn consistencies(
    run: &mut Run,
    sequences: &BTreeMap<String, Vec<Frame>>,
) -> Result<BTreeMap<String, f64>, EvaluateError> {
    let steps: Vec<(&Frame, &Frame)> =
        sequences.values().flat_map(|frames| frames.windows(2).map(|pair| (&pair[0], &pair[1]))).collect();
    let (mut shares, mut resized, mut skipped, mut first_error) = (BTreeMap::new(), 0, Vec::new(), None);
    let is_told = run.predicted_foreground.is_told();
    let share = |(before, after): &(&Frame, &Frame)| {
        let (before, _) = read_mask(&before.1, is_told)?;
        let (after, resized) = in_size(read_mask(&after.1, is_told)?.0, before.width, before.height);
        let equal = before.values.iter().zip(&after.values).filter(|(a, b)| a == b).count();
        Ok((equal as f64 / before.values.len().max(1) as f64, resized))
    };
    run.for_each(&steps, share, |(_, after), compared| {
        match compared {
            Ok((share, was_resized)) => {
                shares.insert(after.0.clone(), share);
                resized += usize::from(was_resized);
            }
            Err(error) if error.is_of_one_image() => {
                skipped.push(SkippedImage { image: format!("the step to {}", after.0), reason: error.to_string() });
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    match first_error {
        Some(error) if shares.is_empty() => return Err(error),
        _ => run.summary.skipped.extend(skipped),
    }
    if resized > 0 {
        run.summary.remarks.push(format!(
            "{} of another size than the frame before; resized to compare them",
            counted(resized as u64, "frame")
        ));
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_in_the_order_of_their_numbers() {
        let mut names = ["s/f10", "s/f9", "s/f009b", "s/f0100", "s/f1", "s/f", "s/é2", "s/g1"];
        names.sort_by(|a, b| by_number(a, b));
        assert_eq!(names, ["s/f", "s/f1", "s/f9", "s/f009b", "s/f10", "s/f0100", "s/g1", "s/é2"]);
    }
}
