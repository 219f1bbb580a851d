//! Pictures through a method, one after the other, and what had to be said of how they were read.

use super::{Method, MethodError, Segmentation};
use crate::parallel::{Held, ThreadsError, parallel_map};
use crate::pixels::{DecodeConfig, Picture};

/// What was found in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentedPicture {
    pub segmentation: Segmentation,
    /// See [`Picture::remarks`].
    pub remarks: Vec<String>,
    /// See [`Picture::orientation`].
    pub orientation: u8,
}

/// Segments the pictures of `items` on as many threads as `workers`, and hands what was found to `consume` in the items' order,
/// on the calling thread.
///
/// `read` gives the picture of an item under the method's limits, or the reason for which there is none, which is then handed on
/// in the place of a result: a bad image never stops the others. Pictures are read on the threads that segment them, so no more
/// than `workers` of them are in memory. An error of `consume` ends the run after the pictures under way.
///
/// # Errors
/// Those of `consume`, if threads cannot be started, and if a GPU stops computing.
pub fn segment_each<I, E>(
    method: &dyn Method,
    items: I,
    workers: usize,
    read: impl Fn(I::Item, &DecodeConfig) -> Result<Held<Picture>, String> + Sync,
    mut consume: impl FnMut(Result<SegmentedPicture, String>) -> Result<(), E>,
) -> Result<(), E>
where
    I: Iterator + Send,
    I::Item: Send,
    E: From<MethodError> + From<ThreadsError>,
{
    let segment = |item: I::Item| -> Result<Result<SegmentedPicture, String>, MethodError> {
        let picture = match read(item, method.decoding()) {
            Ok(picture) => picture,
            Err(reason) => return Ok(Err(reason)),
        };
        let segmentation = method.segment_picture(&picture)?;
        let (remarks, orientation) = (picture.remarks.clone(), picture.orientation);
        Ok(Ok(SegmentedPicture { segmentation, remarks, orientation }))
    };
    parallel_map(items, workers, segment, |found| consume(found?))
}
