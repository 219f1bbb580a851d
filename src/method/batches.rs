//! Images computed on a device in batches, while other images are read, decoded and written.

use std::ops::{Deref, Range};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Decision, Finish, Method, MethodError, Timings};
use crate::features::{BatchExtractor, Prepared};
use crate::nodes::Layout;
use crate::parallel::{ThreadsError, lock};
use crate::pixels::DecodeConfig;
use crate::raster::{Mask, RgbImage};
use crate::segment::Legend;
use crate::tensor::{self, Device, Tensor};

/// Batches on the device at a time: while one is read back and the next brought there, the other is computed.
const UNDER_WAY: usize = 2;

/// Most images of one batch of `extractor` on `device`: as many as its free memory takes.
pub(crate) fn images_per_batch(extractor: &dyn BatchExtractor, device: &Device) -> usize {
    extractor.images_per_batch(tensor::usable_bytes(device) / UNDER_WAY as u64)
}

/// Threads that wait for the device when it is never idle: those of the batches under way, and of one that fills.
pub(crate) fn waiting_threads(images_per_batch: usize) -> usize {
    (UNDER_WAY + 1) * images_per_batch
}

/// Hands images to a device that computes whole batches of them.
pub(crate) struct Batches<'a> {
    extractor: &'a dyn BatchExtractor,
    requests: Sender<Request>,
}

struct Request {
    input: Prepared,
    answer: Sender<Row>,
}

/// What was computed of one image.
pub(crate) struct Row {
    batch: Arc<Vec<f32>>,
    range: Range<usize>,
}

impl Deref for Row {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.batch[self.range.clone()]
    }
}

/// Runs `work` beside threads that compute at most `images` images at a time: `compute` goes from a batch to one row for
/// every image, on the device; one transfer brings back a whole batch.
///
/// `compute` must fill a batch that is not full: its size decides how products are summed, and what is computed of an image
/// must not depend on which others happened to wait.
pub(crate) fn with_batches<R, E: From<MethodError>>(
    extractor: &dyn BatchExtractor,
    images: usize,
    compute: impl Fn(&[Prepared]) -> Tensor<2> + Sync,
    work: impl FnOnce(&Batches) -> Result<R, E>,
) -> Result<R, E> {
    let (requests, waiting) = mpsc::channel();
    let waiting = Arc::new(Mutex::new(waiting));
    thread::scope(|scope| {
        let mut servers = Vec::with_capacity(UNDER_WAY);
        for _ in 0..UNDER_WAY {
            // The last server to stop takes the queue with it, and whoever waits there is told.
            let (waiting, compute) = (waiting.clone(), &compute);
            let server = thread::Builder::new().spawn_scoped(scope, move || serve(&waiting, images, compute));
            // Those that have started end with the queue, which nobody can send to any more.
            servers.push(
                server
                    .map_err(|source| ThreadsError::Start { workers: UNDER_WAY, source })
                    .map_err(MethodError::from)?,
            );
        }
        drop(waiting);
        let result = work(&Batches { extractor, requests });
        let ends: Vec<_> = servers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        if ends.iter().any(Result::is_err) { Err(MethodError::DeviceStopped.into()) } else { result }
    })
}

impl Batches<'_> {
    /// An image as [`Batches::compute`] takes it.
    pub fn prepare(&self, image: &RgbImage) -> Prepared {
        self.extractor.prepare(image)
    }

    /// The row that is computed for an image; waits for it.
    pub fn compute(&self, input: Prepared) -> Result<Row, MethodError> {
        let (answer, row) = mpsc::channel();
        self.requests.send(Request { input, answer }).map_err(|_| MethodError::DeviceStopped)?;
        row.recv().map_err(|_| MethodError::DeviceStopped)
    }
}

/// A method whose first steps a device computes of whole batches.
pub(super) trait BatchMethod: Method {
    /// What computes its batches, if its backbone does, and where.
    fn batches(&self) -> Option<(&dyn BatchExtractor, &Device)>;

    /// One row for every image of a batch, on the device.
    fn rows(&self, extractor: &dyn BatchExtractor, batch: &[Prepared], images: usize) -> Tensor<2>;

    /// Decides for every node of an image by its row.
    fn decide_by_row(&self, layout: Layout, row: &[f32], timings: &mut Timings) -> Decision;
}

/// Calls `work` with `method` in the form that is fastest on its device, and the number of threads that should wait for that
/// device beside those that compute: on a GPU images are computed in batches.
pub(super) fn run_fastest<M: BatchMethod, R, E: From<MethodError>>(
    method: &M,
    work: impl FnOnce(&dyn Method, usize) -> Result<R, E>,
) -> Result<R, E> {
    let Some((extractor, device)) = method.batches() else { return work(method, 0) };
    let images = images_per_batch(extractor, device);
    let compute = |batch: &[Prepared]| method.rows(extractor, batch, images);
    with_batches(extractor, images, compute, |batches| work(&InBatches { method, batches }, waiting_threads(images)))
}

/// A method on a device that computes whole batches.
struct InBatches<'a, M> {
    method: &'a M,
    batches: &'a Batches<'a>,
}

impl<M: BatchMethod> Method for InBatches<'_, M> {
    fn legend(&self) -> Legend {
        self.method.legend()
    }

    fn finish(&self) -> Finish<'_> {
        self.method.finish()
    }

    fn decoding(&self) -> &DecodeConfig {
        self.method.decoding()
    }

    fn decide(&self, image: &RgbImage, outside: Option<&Mask>, timings: &mut Timings) -> Result<Decision, MethodError> {
        if outside.is_some() {
            // Batches are of whole grids.
            return self.method.decide(image, outside, timings);
        }
        let input = self.batches.prepare(image);
        let layout = input.layout.clone();
        let row = timings.wait(|| self.batches.compute(input))?;
        Ok(self.method.decide_by_row(layout, &row, timings))
    }
}

/// Computes batches until nobody can ask for more.
fn serve(requests: &Mutex<Receiver<Request>>, images: usize, compute: impl Fn(&[Prepared]) -> Tensor<2>) {
    loop {
        let batch: Vec<Request> = {
            let requests = lock(requests);
            let Ok(first) = requests.recv() else { return };
            std::iter::once(first).chain(requests.try_iter()).take(images).collect()
        };
        let (inputs, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|Request { input, answer }| (input, answer)).unzip();
        let rows = compute(&inputs);
        drop(inputs);
        let [_, width] = rows.dims();
        let batch = Arc::new(tensor::into_vec(rows));
        for (index, answer) in answers.iter().enumerate() {
            // Who asked may have been stopped meanwhile.
            let _ = answer.send(Row { batch: batch.clone(), range: index * width..(index + 1) * width });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::parallel_map;

    /// One node with one channel for every image: its only value.
    struct Values;

    impl BatchExtractor for Values {
        fn prepare(&self, image: &RgbImage) -> Prepared {
            let layout = Layout::Grid { rows: 1, columns: 1 };
            Prepared { values: vec![f32::from(image.values[0][0])], height: 1, width: 1, layout }
        }

        fn images_per_batch(&self, _bytes: u64) -> usize {
            3
        }

        fn describe(&self, batch: &[Prepared], images: usize) -> Tensor<3> {
            let mut values: Vec<f32> = batch.iter().map(|input| input.values[0]).collect();
            assert!(values.len() <= images);
            values.resize(images, 0.0);
            tensor::from_vec(values, [images, 1, 1], &tensor::cpu())
        }

        fn image_vectors(&self, batch: &[Prepared], images: usize) -> Tensor<2> {
            self.describe(batch, images).flatten(1, 2)
        }
    }

    fn image(value: u8) -> RgbImage {
        RgbImage::filled(1, 1, [value; 3])
    }

    #[test]
    fn every_image_gets_its_own_row_whatever_its_batch() {
        let compute = |batch: &[Prepared]| {
            let rows = Values.image_vectors(batch, 3);
            Tensor::cat(vec![rows.clone(), rows * 2.0], 1)
        };
        let found: Result<_, MethodError> = with_batches(&Values, 3, compute, |batches| {
            let mut found = Vec::new();
            let one = |number: u8| batches.compute(batches.prepare(&image(number)));
            parallel_map(0..100, 11, one, |row| {
                found.push(row?.to_vec());
                Ok::<(), MethodError>(())
            })?;
            Ok(found)
        });
        let expected: Vec<Vec<f32>> = (0..100).map(|number| vec![number as f32, 2.0 * number as f32]).collect();
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn a_device_that_fails_is_an_error() {
        let fail = |batch: &[Prepared]| -> Tensor<2> {
            assert!(batch[0].values[0] < 5.0, "out of memory");
            Values.image_vectors(batch, 3)
        };
        let result = with_batches(&Values, 3, fail, |batches| {
            let one = |number: u8| batches.compute(batches.prepare(&image(number)));
            parallel_map(0..100, 7, one, |row| row.map(drop))
        });
        assert!(matches!(result, Err(MethodError::DeviceStopped)));
    }
}
