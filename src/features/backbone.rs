//! A backbone that is ready: its extractor, and what is known of it.

use super::registry::{BackboneSettings, BoxedExtractor, Entry, Make};
use super::vit::{Precision, are_bytes_fast};
use crate::tensor::Device;
use crate::weights::{WeightsError, WeightsFile};

/// What turns images into features.
pub struct Backbone {
    pub extractor: BoxedExtractor,
    /// As configurations write it.
    pub name: &'static str,
    /// blake3 of the weights file, where there is one.
    pub hash: Option<String>,
    /// For the first line of a run.
    pub description: String,
}

impl Backbone {
    /// A backbone that needs none.
    ///
    /// # Panics
    /// If it needs weights.
    pub fn without_weights(entry: Entry, settings: &BackboneSettings) -> Backbone {
        let Make::Plain(make) = entry.make else { panic!("the backbone {} needs weights", entry.name()) };
        let description = format!("backbone {}", entry.name());
        Backbone { extractor: make(settings), name: entry.name(), hash: None, description }
    }

    /// A backbone with its weights, on `device`.
    ///
    /// # Panics
    /// If it takes none.
    pub fn with_weights(
        entry: Entry,
        settings: &BackboneSettings,
        file: &WeightsFile,
        device: &Device,
    ) -> Result<Backbone, WeightsError> {
        let Make::Weights(make) = entry.make else { panic!("the backbone {} takes no weights", entry.name()) };
        let extractor = make(settings, &file.state_dict()?, device)?;
        let precision = match settings.vit.precision {
            Precision::Bf16 => ", in bf16",
            Precision::Int8 if are_bytes_fast() => ", in int8",
            Precision::Int8 => ", in int8, which is slow on this processor: it has no instructions for bytes",
            Precision::Auto | Precision::F32 => "",
        };
        let description =
            format!("backbone {} ({}, {} channels{precision})", entry.name(), file.path().display(), extractor.width());
        Ok(Backbone { extractor, name: entry.name(), hash: Some(file.hash().to_hex().to_string()), description })
    }
}
