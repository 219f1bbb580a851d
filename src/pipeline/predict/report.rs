//! What holds all images of a run: the table, annotations, and the page for people.

use crate::config::Settings;
use crate::dataset::Record;
use crate::output;
use crate::pipeline::PipelineError;
use crate::pixels::ImageContent;
use crate::report::MaskReport;
use crate::results::{self, Prediction, Results, ResultsFolder};

/// The collected results with the report, where one is wanted.
pub struct Collected<'a> {
    results: results::Collected<'a>,
    report: Option<MaskReport>,
    out: &'a Results,
    config: &'a Settings,
}

impl<'a> Collected<'a> {
    pub fn new(
        results: results::Collected<'a>,
        report: Option<MaskReport>,
        out: &'a Results,
        config: &'a Settings,
    ) -> Self {
        Collected { results, report, out, config }
    }

    /// Adds an image, whose record is there unless the image is none.
    pub fn push(&mut self, prediction: &Prediction, record: Option<&Record>) -> Result<(), PipelineError> {
        self.results.push(prediction)?;
        if let Some(report) = &mut self.report {
            report.push(prediction, || thumbnail(self.out.folder(), record?, self.config));
        }
        Ok(())
    }

    /// Writes what holds all images, the table last.
    pub fn finish(self) -> Result<(), PipelineError> {
        if let Some(report) = self.report {
            let page = report.finish();
            self.out.out().write(&self.out.folder().report(), |writer| writer.write_all(page.as_bytes()))?;
        }
        Ok(self.results.finish()?)
    }
}

/// A small overlay from the image and its mask on disk; none where they cannot be read.
fn thumbnail(folder: &ResultsFolder, record: &Record, config: &Settings) -> Option<Vec<u8>> {
    let image = ImageContent::read(&record.path, &config.pixels).ok()?.decode(&config.pixels).ok()?;
    let mask = output::read_mask(&folder.mask(&record.output)).ok()?;
    output::thumbnail(&output::overlay(&image, &mask, output::THUMBNAIL_SIDE_PX), output::THUMBNAIL_SIDE_PX).ok()
}
