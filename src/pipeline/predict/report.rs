//! What holds all images of a run: the table, annotations, and the page for people.

use crate::config::Settings;
use crate::dataset::Record;
use crate::event::Observer;
use crate::output;
use crate::pipeline::PipelineError;
use crate::pipeline::page_pictures::page_pictures;
use crate::pixels::ImageItem;
use crate::report::MaskReport;
use crate::results::{self, Prediction, Results};

/// The collected results with the report, where one is wanted.
pub struct Collected<'a> {
    results: results::Collected<'a>,
    report: Option<MaskReport<Option<Record>>>,
    out: &'a Results,
    config: &'a Settings,
    observer: &'a dyn Observer,
}

impl<'a> Collected<'a> {
    pub fn new(
        results: results::Collected<'a>,
        report: Option<MaskReport<Option<Record>>>,
        out: &'a Results,
        config: &'a Settings,
        observer: &'a dyn Observer,
    ) -> Self {
        Collected { results, report, out, config, observer }
    }

    /// Adds an image of the `shard`, if there are shards; its record is there unless the image is none.
    pub fn push(
        &mut self,
        prediction: &Prediction,
        record: Option<&Record>,
        shard: Option<usize>,
    ) -> Result<(), PipelineError> {
        self.results.push(prediction, shard)?;
        if let Some(report) = &mut self.report {
            report.push(prediction, || record.cloned());
        }
        Ok(())
    }

    /// Writes what holds all images, the table last.
    pub fn finish(self) -> Result<(), PipelineError> {
        if let Some(report) = self.report {
            let wanted = report.pictured().filter_map(|(place, record)| Some((place, record.as_ref()?)));
            let mut pictures =
                page_pictures(wanted, |record| thumbnails(self.out, record, self.config), self.observer)?;
            let page = report.finish(|place| pictures.remove(&place).unwrap_or_default());
            self.out.out().write(&self.out.folder().report(), |writer| writer.write_all(page.as_bytes()))?;
        }
        Ok(self.results.finish()?)
    }
}

/// A small overlay from the image and its mask on disk, and of regions their mean colours; the error is the reason why there is
/// none.
fn thumbnails(results: &Results, record: &Record, config: &Settings) -> Result<Vec<Vec<u8>>, String> {
    let image = record.content(&config.pixels)?.decode(&config.pixels)?;
    let mask = output::read_wide_mask(&results.folder().mask(&record.output)).map_err(|error| error.to_string())?;
    let mut pictures = vec![output::overlay(&image, &mask, output::THUMBNAIL_SIDE_PX)];
    if results.is_of_regions() {
        pictures.push(output::mean_colours(&image, &mask, output::THUMBNAIL_SIDE_PX));
    }
    let small = pictures.iter().map(|picture| output::thumbnail(picture, output::THUMBNAIL_SIDE_PX));
    small.collect::<Result<_, _>>().map_err(|error| error.to_string())
}
