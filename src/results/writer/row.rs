//! Predictions as rows of a table in Parquet.

use super::Results;
use crate::output;
use crate::results::{ListedObject, Prediction};

impl Results {
    /// A prediction as a row of the table in Parquet; its results have the place `output`.
    pub(super) fn row<'a>(
        &'a self,
        prediction: &'a Prediction,
        output: &'a str,
        shard: Option<usize>,
    ) -> output::TableRow<'a> {
        let name = |value: u16| match self.is_numbered {
            true => "region",
            false => self.labels.iter().find(|label| label.value == value).map_or("", |label| &label.name),
        };
        let object = |listed: &'a ListedObject| output::TableObject {
            label: listed.label,
            name: name(listed.label),
            bounding_box: listed.bounding_box,
            area_px: listed.area_px,
            confidence: listed.confidence,
            counts: &listed.segmentation.counts,
        };
        let result = prediction.result.as_ref().map(|measures| output::TableResult {
            output,
            size: [measures.width, measures.height],
            orientation: measures.orientation.unwrap_or(1),
            foreground_area_px: measures.foreground_area_px,
            confidence: measures.confidence,
            clusters: measures.clusters,
            bounding_box: measures.bounding_box,
            objects: measures.objects.iter().flatten().map(object).collect(),
        });
        output::TableRow {
            path: &prediction.path,
            shard,
            status: prediction.status.name(),
            reason: prediction.reason.as_deref(),
            warning: prediction.warning.as_deref(),
            content_hash: prediction.content_hash.as_deref(),
            result,
        }
    }
}
