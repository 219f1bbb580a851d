//! What holds all images of a run: the table, annotations, and the page for people.

use crate::config::Settings;
use crate::dataset::Record;
use crate::event::{Event, Observer};
use crate::output;
use crate::pipeline::PipelineError;
use crate::pixels::ImageItem;
use crate::report::MaskReport;
use crate::results::{self, Prediction, Results, ResultsFolder};

/// The collected results with the report, where one is wanted.
pub struct Collected<'a> {
    results: results::Collected<'a>,
    report: Option<MaskReport>,
    out: &'a Results,
    config: &'a Settings,
    observer: &'a dyn Observer,
}

impl<'a> Collected<'a> {
    pub fn new(
        results: results::Collected<'a>,
        report: Option<MaskReport>,
        out: &'a Results,
        config: &'a Settings,
        observer: &'a dyn Observer,
    ) -> Self {
        Collected { results, report, out, config, observer }
    }

    /// Adds an image, whose record is there unless the image is none.
    pub fn push(&mut self, prediction: &Prediction, record: Option<&Record>) -> Result<(), PipelineError> {
        self.results.push(prediction)?;
        if let Some(report) = &mut self.report {
            let picture = || match thumbnail(self.out.folder(), record?, self.config) {
                Ok(picture) => Some(picture),
                Err(reason) => {
                    let name = &prediction.path;
                    self.observer.observe(Event::Warning(format!("report.html has no picture of {name}: {reason}")));
                    None
                }
            };
            report.push(prediction, picture);
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

/// A small overlay from the image and its mask on disk; the error is the reason why there is none.
fn thumbnail(folder: &ResultsFolder, record: &Record, config: &Settings) -> Result<Vec<u8>, String> {
    let image = record.content(&config.pixels)?.decode(&config.pixels)?;
    let mask = output::read_mask(&folder.mask(&record.output)).map_err(|error| error.to_string())?;
    let overlay = output::overlay(&image, &mask, output::THUMBNAIL_SIDE_PX);
    output::thumbnail(&overlay, output::THUMBNAIL_SIDE_PX).map_err(|error| error.to_string())
}
