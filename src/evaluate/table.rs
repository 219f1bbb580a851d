//! What an evaluation says besides its scores: warnings, and a table with one line per image.

use std::io;

use super::EvaluateSummary;
use crate::event::{Event, Observer, and_more, counted};
use crate::names;

/// Names that a warning writes out; the summary has them all.
const SHOWN: usize = 8;

/// A table for a CSV file (RFC 4180, with plain line ends).
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(ToString::to_string).collect()] }
    }

    /// Adds the line of an image; numbers are written with all their digits, none as an empty field.
    pub fn push(&mut self, image: &str, numbers: &[Option<f64>]) {
        let numbers = numbers.iter().map(|number| number.map_or(String::new(), |number| number.to_string()));
        self.rows.push(std::iter::once(names::in_sheet(image).into_owned()).chain(numbers).collect());
    }

    pub fn write(&self, writer: impl io::Write) -> io::Result<()> {
        let mut table = csv::Writer::from_writer(writer);
        self.rows.iter().try_for_each(|row| table.write_record(row))?;
        table.flush()
    }
}

/// Tells the observer about everything that was not scored, or not as it was.
pub fn announce(summary: &EvaluateSummary, observer: &dyn Observer) {
    let lists = [
        (&summary.unmatched_predictions, "prediction", "no ground truth: not scored"),
        (&summary.unmatched_truth, "ground truth image", "no prediction: not scored"),
        (&summary.without_annotation, "image", "nothing annotated to compare with: not scored"),
        (&summary.resized, "prediction", "another size than the ground truth: resized to it"),
        (&summary.turned, "image", "a ground truth drawn before the photograph was turned upright: turned too"),
        (&summary.empty_predictions, "prediction", "no foreground"),
    ];
    for (list, noun, what) in lists.into_iter().filter(|(list, ..)| !list.is_empty()) {
        let verb = if list.len() == 1 { "has" } else { "have" };
        let text = format!("{} {verb} {what} ({})", counted(list.len() as u64, noun), some_of(list));
        observer.observe(Event::Warning(text));
    }
    if !summary.skipped.is_empty() {
        let told: Vec<String> =
            summary.skipped.iter().map(|skipped| format!("{}: {}", skipped.image, skipped.reason)).collect();
        observer.observe(Event::Warning(format!("{} not scored: {}", told.len(), some_of(&told))));
    }
    for remark in &summary.remarks {
        observer.observe(Event::Warning(remark.clone()));
    }
}

/// The first names of a list, and how many more there are.
pub fn some_of(list: &[String]) -> String {
    let shown = list[..list.len().min(SHOWN)].join(", ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}{} (--json lists all)", and_more(more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_quotes_they_need_and_none_is_a_formula() {
        let mut table = Table::new(&["image", "iou"]);
        table.push("a,\"b\"", &[Some(0.1)]);
        table.push("a\nb", &[None]);
        table.push("=1+1", &[Some(-1.0)]);
        let mut written = Vec::new();
        table.write(&mut written).unwrap();
        assert_eq!(written, b"image,iou\n\"a,\"\"b\"\"\",0.1\n\"a\nb\",\n./=1+1,-1\n");
    }
}
