//! A trained network with all that it needs to segment images.

use std::path::{Path, PathBuf};

use super::{Machine, Method, MethodError, Segmentation, SharedMethod, Timings, open_backbone};
use crate::config::{Purpose, Settings, with_overrides};
use crate::features::Backbone;
use crate::files;
use crate::model::checkpoint::{Checkpoint, CheckpointHeader};
use crate::model::container::ContainerError;
use crate::parallel::workers;
use crate::raster::RgbImage;
use crate::tensor::Device;

/// A network that was trained once on a collection, ready for any number of images.
///
/// Two models in two threads do not disturb each other, and one model may be used by several threads.
///
/// # Example
///
/// ```
/// use deepcut::{Model, RgbImage};
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/demonstration.safetensors");
/// let model = Model::open(path)?;
/// let found = model.segment(&RgbImage::filled(64, 48, [90, 120, 30]))?;
/// assert_eq!((found.mask.width, found.mask.height), (64, 48));
/// println!("{} objects, confidence {:?}", found.objects.len(), found.confidence);
/// # Ok::<(), deepcut::Error>(())
/// ```
pub struct Model {
    checkpoint: Checkpoint,
    hash: blake3::Hash,
    method: SharedMethod,
    threads: usize,
}

/// How a checkpoint is opened, where the defaults do not do.
#[derive(Debug, Clone, Default)]
pub struct ModelOptions {
    /// The weights of the checkpoint's backbone; none takes the installed ones.
    pub weights: Option<PathBuf>,
    /// Settings (`key=value`) that differ from the checkpoint's; only those that come after the network.
    pub overrides: Vec<String>,
    pub machine: Machine,
}

/// No checkpoint is larger: networks and code books are small.
const MOST_BYTES: u64 = 1 << 30;

/// The settings that nothing trained depends on.
const ADJUSTABLE: [&str; 7] =
    ["refine.", "objects.", "output.", "pixels.", "data.max_bad", "data.respect_ignore", "data.frames"];

impl Model {
    /// Opens a checkpoint that [`crate::train`] or the program wrote, with installed weights where its backbone needs any.
    ///
    /// # Errors
    /// If the file cannot be read, is no undamaged checkpoint, or its backbone's weights are not at hand.
    pub fn open(path: impl AsRef<Path>) -> Result<Model, MethodError> {
        Model::open_with(path, &ModelOptions::default())
    }

    /// The same with weights, settings or a device of one's own.
    pub fn open_with(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Model, MethodError> {
        let path = path.as_ref();
        let (checkpoint, hash) = read_checkpoint(path)?;
        Model::of_checkpoint(checkpoint, hash, &path.display().to_string(), options)
    }

    /// A model from the bytes of a checkpoint.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Model, MethodError> {
        Model::from_bytes_with(bytes, &ModelOptions::default())
    }

    /// A model from the bytes of a checkpoint and the weights of its backbone in a file.
    ///
    /// # Errors
    /// As [`Model::open`], and if these are not the weights that the network was trained with.
    pub fn with_weights(bytes: &[u8], weights: impl Into<PathBuf>) -> Result<Model, MethodError> {
        Model::from_bytes_with(bytes, &ModelOptions { weights: Some(weights.into()), ..ModelOptions::default() })
    }

    /// A model from the bytes of a checkpoint, with weights, settings or a device of one's own.
    pub fn from_bytes_with(bytes: &[u8], options: &ModelOptions) -> Result<Model, MethodError> {
        let name = "the checkpoint".to_string();
        let checkpoint =
            Checkpoint::from_bytes(bytes).map_err(|source| MethodError::Checkpoint { name: name.clone(), source })?;
        Model::of_checkpoint(checkpoint, blake3::hash(bytes), &name, options)
    }

    fn of_checkpoint(
        checkpoint: Checkpoint,
        hash: blake3::Hash,
        name: &str,
        options: &ModelOptions,
    ) -> Result<Model, MethodError> {
        let settings = adjusted_settings(&checkpoint.header.config, name, &options.overrides, &[])?;
        let resolved = settings.resolve(Purpose::Reuse, false, options.machine.precision)?;
        let device = options.machine.open(resolved.backbone())?;
        let expected = checkpoint.header.backbone_hash.as_deref();
        let backbone = open_backbone(&resolved, options.weights.as_deref(), expected, &device)?;
        let method = SharedMethod::new(&checkpoint, name, resolved, backbone, device)?;
        Ok(Model { checkpoint, hash, method, threads: options.machine.threads })
    }

    /// The model of a checkpoint on a backbone that is ready.
    pub(crate) fn with_backbone(
        checkpoint: Checkpoint,
        hash: blake3::Hash,
        backbone: Backbone,
        device: Device,
    ) -> Result<Model, MethodError> {
        let name = "the checkpoint";
        let settings = adjusted_settings(&checkpoint.header.config, name, &[], &[])?;
        let resolved = settings.resolve(Purpose::Reuse, false, None)?;
        let method = SharedMethod::new(&checkpoint, name, resolved, backbone, device)?;
        Ok(Model { checkpoint, hash, method, threads: 0 })
    }

    /// Segments an image.
    ///
    /// # Shapes
    /// image `[height, width]` → mask `[height, width]`
    ///
    /// # Errors
    /// Only if a GPU stops computing.
    pub fn segment(&self, image: &RgbImage) -> Result<Segmentation, MethodError> {
        self.method.segment_timed(image, None, true, &mut Timings::start())
    }

    /// Segments several images at once, on all threads or in batches on a GPU; the same as one after the other.
    ///
    /// # Errors
    /// Only if a GPU stops computing.
    pub fn segment_batch(&self, images: &[RgbImage]) -> Result<Vec<Segmentation>, MethodError> {
        let workers = workers(self.threads)?;
        self.method.run(|method, waiting| method.segment_all(images, workers + waiting))
    }

    /// The checkpoint's bytes, for [`Model::from_bytes`]; the same model always gives the same.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MethodError> {
        self.checkpoint.to_bytes().map_err(MethodError::Unkept)
    }

    /// What the checkpoint says about itself: settings, training curves, background.
    pub fn header(&self) -> &CheckpointHeader {
        &self.checkpoint.header
    }

    /// blake3 of the checkpoint's bytes.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// How the model segments images, for whoever reads pictures one by one: see [`segment_each`](super::segment_each).
    pub fn method(&self) -> &SharedMethod {
        &self.method
    }
}

/// Reads and checks a checkpoint; gives it with the blake3 of its file.
pub fn read_checkpoint(path: &Path) -> Result<(Checkpoint, blake3::Hash), MethodError> {
    read_file(path, Checkpoint::from_bytes)
}

/// Reads a file of something trained, which `parse` understands; gives it with the blake3 of the file.
pub(super) fn read_file<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, ContainerError>,
) -> Result<(T, blake3::Hash), MethodError> {
    let bytes = files::read(path, MOST_BYTES)
        .map_err(|source| MethodError::CheckpointUnreadable { path: path.to_path_buf(), source })?;
    let content =
        parse(&bytes).map_err(|source| MethodError::Checkpoint { name: path.display().to_string(), source })?;
    Ok((content, blake3::hash(&bytes)))
}

/// The settings with which something was trained, with those changed that it does not depend on: what begins as one of
/// [`ADJUSTABLE`] or of `further`. It is called `name` in messages.
pub(super) fn adjusted_settings(
    stored: &serde_json::Value,
    name: &str,
    overrides: &[String],
    further: &[&str],
) -> Result<Settings, MethodError> {
    let settings: Settings = serde_json::from_value(stored.clone())
        .map_err(|source| MethodError::OtherVersion { name: name.to_string(), source })?;
    let fixed = |key: &&String| !ADJUSTABLE.iter().chain(further).any(|room| key.starts_with(room));
    if let Some(key) = overrides.iter().find(fixed) {
        return Err(MethodError::FixedByTraining { key: key.clone() });
    }
    Ok(with_overrides(&settings, overrides)?)
}
