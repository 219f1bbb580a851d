//! The pictures of a page for people.

use std::collections::BTreeMap;

use super::PipelineError;
use crate::dataset::Record;
use crate::event::{Event, Observer};
use crate::names::portable;
use crate::parallel::parallel_map;

/// Draws the pictures of the `wanted` images, each under its key, on all cores. What cannot be drawn is told with `draw`'s reason
/// and has no picture.
pub fn page_pictures<'a, Key: Ord + Send, Picture: Send>(
    wanted: impl Iterator<Item = (Key, &'a Record)> + Send,
    draw: impl Fn(&Record) -> Result<Picture, String> + Sync,
    observer: &dyn Observer,
) -> Result<BTreeMap<Key, Picture>, PipelineError> {
    let picture = |(key, record): (Key, &Record)| match draw(record) {
        Ok(picture) => Some((key, picture)),
        Err(reason) => {
            let name = portable(&record.relative);
            observer.observe(Event::Warning(format!("report.html has no picture of {name}: {reason}")));
            None
        }
    };
    let mut pictures = BTreeMap::new();
    parallel_map(wanted, rayon::current_num_threads(), picture, |drawn| {
        pictures.extend(drawn);
        Ok::<(), PipelineError>(())
    })?;
    Ok(pictures)
}
