//! The run as one page for people.

use super::{ClusterRequest, ClusterSummary, ClusteredImage, REPORT};
use crate::config::Settings;
use crate::dataset::Record;
use crate::event::Observer;
use crate::output::{OutputFolder, THUMBNAIL_SIDE_PX, thumbnail};
use crate::pipeline::PipelineError;
use crate::pipeline::page_pictures::page_pictures;
use crate::pixels::ImageItem;
use crate::report::ClusterReport;

/// Writes the report. An image that cannot be read again has no picture in it.
pub fn write(
    out: &OutputFolder,
    request: &ClusterRequest,
    config: &Settings,
    summary: &ClusterSummary,
    (images, records): (&[ClusteredImage], &[Record]),
    curve: &[f64],
    observer: &dyn Observer,
) -> Result<(), PipelineError> {
    let collection = request.source();
    let report = ClusterReport {
        collection: &collection,
        method: &method(summary),
        alpha: summary.objective.is_some().then_some(summary.alpha),
        objective: summary.objective,
        reliance: summary.reliance.as_ref(),
        scores: summary.labels.as_ref(),
        images,
        curve,
        sweep: summary.alpha_sweep.as_ref(),
        skipped: &summary.skipped,
    };
    let wanted = report.pictured().into_iter().filter_map(|index| Some((index, records.get(index)?)));
    let draw = |record: &Record| {
        let picture = record.content(&config.pixels)?.decode(&config.pixels)?;
        thumbnail(&picture, THUMBNAIL_SIDE_PX).map_err(|error| error.to_string())
    };
    let mut pictures = page_pictures(wanted, draw, observer)?;
    let page = report.html(|index| pictures.remove(&index));
    Ok(out.write(&out.root().join(REPORT), |writer| writer.write_all(page.as_bytes()))?)
}

/// How the clusters came to be, for the reader.
fn method(summary: &ClusterSummary) -> String {
    let vectors = match &summary.backbone {
        Some(backbone) => format!("{backbone} features"),
        None => "given vectors".to_string(),
    };
    match summary.joined {
        true => format!("{} clusters of an earlier run, {vectors}", summary.method.name()),
        false => format!("{}, {vectors}", summary.method.name()),
    }
}
