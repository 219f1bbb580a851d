//! What is to be known of the images that were compared, besides their scores.

use super::EvaluateSummary;
use crate::event::{and_more, counted};

/// Annotations that are written out; more are only counted.
const SHOWN: usize = 5;

/// What comparing one image gives.
pub struct Compared<R> {
    pub result: R,
    pub notes: Notes,
}

/// What is to be known of the comparison of one image.
#[derive(Default)]
pub struct Notes {
    /// Nothing was predicted but background.
    pub empty: bool,
    /// The prediction had another size than the ground truth.
    pub resized: bool,
    /// The ground truth was turned upright.
    pub turned: bool,
    /// To the side on which it fits better, for nobody told which.
    pub turn_guessed: bool,
    /// Masks with grey edges that were cut at their middle.
    pub cut_prediction: bool,
    pub cut_truth: bool,
    /// What of the ground truth cannot be drawn.
    pub left_out: Vec<String>,
}

/// The notes of all images.
#[derive(Default)]
pub struct NotedImages {
    empty: Vec<String>,
    resized: Vec<String>,
    turned: Vec<String>,
    turns_guessed: usize,
    cut_predictions: usize,
    cut_truth: usize,
    left_out_count: usize,
    /// The first of them.
    left_out: Vec<String>,
}

impl NotedImages {
    pub fn add(&mut self, key: &str, notes: Notes) {
        for (is_so, list) in
            [(notes.empty, &mut self.empty), (notes.resized, &mut self.resized), (notes.turned, &mut self.turned)]
        {
            list.extend(is_so.then(|| key.to_string()));
        }
        self.turns_guessed += usize::from(notes.turn_guessed);
        self.cut_predictions += usize::from(notes.cut_prediction);
        self.cut_truth += usize::from(notes.cut_truth);
        self.left_out_count += notes.left_out.len();
        let room = SHOWN - self.left_out.len();
        self.left_out.extend(notes.left_out.into_iter().take(room).map(|what| format!("{what} (image {key})")));
    }

    /// Puts them into the summary.
    pub fn tell(self, summary: &mut EvaluateSummary) {
        summary.empty_predictions = self.empty;
        summary.resized = self.resized;
        summary.turned = self.turned;
        for (count, whose) in [(self.cut_truth, "of the ground truth"), (self.cut_predictions, "of the predictions")] {
            if count > 0 {
                summary.remarks.push(format!(
                    "{} {whose} with grey edges between black and white: cut at the middle, 128 and above are foreground",
                    counted(count as u64, "mask")
                ));
            }
        }
        if self.turns_guessed > 0 {
            summary.remarks.push(format!(
                "{}: the results do not tell how the photograph was turned upright; its ground truth was turned to the side on \
                 which it overlaps more, which favours the score; predict again to have it told",
                counted(self.turns_guessed as u64, "image")
            ));
        }
        if !self.left_out.is_empty() {
            let more = and_more(self.left_out_count - self.left_out.len());
            summary.remarks.push(format!("left out: {}{more}", self.left_out.join(", ")));
        }
    }
}
