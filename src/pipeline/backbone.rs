//! Which extractor a run uses, and where installed weights are.

use std::path::{Path, PathBuf};

use super::{Machine, PipelineError};
use crate::config::Settings;
use crate::features::vit::{Precision, VitExtractor, VitShape, bfloat_available};
use crate::features::{BackboneChoice, Extractor, PixelExtractor, SuperpixelExtractor};
use crate::model::NetworkConfig;
use crate::output::write_atomically;
use crate::tensor::{Device, is_cpu, supports_bfloat};
use crate::weights::{StateDict, WeightsError, file_hash};

/// How to get deep features, for users of a backbone without weights.
const HINT: &str = " (for deep features give a ViT's weights with --weights FILE and its settings with --config FILE)";

/// A resolved backbone.
pub(super) struct Backbone {
    pub extractor: Box<dyn Extractor + Send + Sync>,
    /// `vit`, `superpixel` or `pixel`, as the configuration writes it.
    pub name: &'static str,
    /// blake3 of the weights file, where there is one.
    pub hash: Option<String>,
    /// For the first line of a run.
    pub description: String,
}

impl Backbone {
    /// The description, and for backbones without weights how to get better ones.
    pub fn description_with_hint(&self) -> String {
        let hint = if self.hash.is_some() { "" } else { HINT };
        format!("{}{hint}", self.description)
    }

    /// The network that `config` puts on these features, with so many clusters.
    pub fn network(&self, config: &Settings, clusters: usize) -> NetworkConfig {
        NetworkConfig {
            input: self.extractor.width(),
            hidden: config.model.hidden,
            clusters,
            dropout: config.model.dropout,
            root_weight: false,
        }
    }
}

/// Chooses the backbone of `config` and makes its choice, and the machine's precision, explicit there.
///
/// `expected_hash` is that of the weights a checkpoint was trained with.
pub(super) fn open(
    config: &mut Settings,
    weights: Option<&Path>,
    expected_hash: Option<&str>,
    machine: &Machine,
    device: &Device,
) -> Result<Backbone, PipelineError> {
    let installed = installed_weights().found;
    let weights = weights.map(Path::to_path_buf);
    if config.backbone == BackboneChoice::Auto {
        let deep = weights.is_some() || installed.is_some();
        config.backbone = if deep { BackboneChoice::Vit } else { BackboneChoice::Superpixel };
    }
    match config.backbone {
        BackboneChoice::Vit => {
            let path = weights.or(installed).ok_or_else(|| {
                PipelineError::Usage(
                    "the vit backbone needs weights; give them with --weights FILE or install them with `deepcut backbone --install FILE`".into(),
                )
            })?;
            if let Some(precision) = machine.precision {
                config.vit.precision = precision;
            }
            vit(config, &path, expected_hash, device)
        }
        choice => {
            let name = if choice == BackboneChoice::Pixel { "pixel" } else { "superpixel" };
            if machine.precision.is_some() {
                return Err(PipelineError::Usage(format!(
                    "the {name} backbone has no products to choose a precision for; leave out --precision"
                )));
            }
            if let Some(path) = weights {
                return Err(PipelineError::Usage(format!(
                    "the {name} backbone takes no weights; leave out --weights {}",
                    path.display()
                )));
            }
            Ok(if choice == BackboneChoice::Pixel {
                Backbone {
                    extractor: Box::new(PixelExtractor::new(config.pixel)),
                    name: "pixel",
                    hash: None,
                    description: "backbone pixel".to_string(),
                }
            } else {
                Backbone {
                    extractor: Box::new(SuperpixelExtractor::new(config.superpixel)),
                    name: "superpixel",
                    hash: None,
                    description: "backbone superpixel".to_string(),
                }
            })
        }
    }
}

fn vit(
    config: &Settings,
    path: &Path,
    expected_hash: Option<&str>,
    device: &Device,
) -> Result<Backbone, PipelineError> {
    if config.vit.precision == Precision::Bf16 {
        let (available, reason) = if is_cpu(device) {
            (bfloat_available(), "this processor has no AVX-512 BF16")
        } else {
            (supports_bfloat(device), "this GPU has no bfloat16")
        };
        if !available {
            return Err(PipelineError::Usage(format!("{reason}; bf16 cannot be used: add --precision f32")));
        }
    }
    let hash = file_hash(path).map_err(|error| {
        PipelineError::Usage(format!("cannot read the weights {}: {error}; check the path", path.display()))
    })?;
    if let Some(expected) = expected_hash.filter(|expected| *expected != hash) {
        return Err(PipelineError::Untrusted(format!(
            "{} is not the weights file this checkpoint was trained with (blake3 {}…, expected {}…); give that file with --weights",
            path.display(),
            &hash[..12],
            expected.get(..12).unwrap_or(expected)
        )));
    }
    let untrusted = |error: &dyn std::fmt::Display| PipelineError::Untrusted(error.to_string());
    let state = StateDict::open(path).map_err(|error| untrusted(&error))?;
    let extractor = VitExtractor::new(&state, config.vit.clone(), device.clone()).map_err(|error| untrusted(&error))?;
    let bfloat = if config.vit.precision == Precision::Bf16 { ", in bf16" } else { "" };
    let description = format!("backbone vit ({}, {} channels{bfloat})", path.display(), extractor.width());
    Ok(Backbone { extractor: Box::new(extractor), name: "vit", hash: Some(hash), description })
}

/// Where weights are installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledWeights {
    /// The folder that is searched; none on a system without a home folder.
    pub folder: Option<PathBuf>,
    /// The weights used when none are given.
    pub found: Option<PathBuf>,
}

/// The name of installed weights, without extension.
const INSTALLED_NAME: &str = "backbone";
const EXTENSIONS: [&str; 3] = ["safetensors", "pth", "pt"];

/// Looks for installed weights: `backbone.safetensors`, `.pth` or `.pt` in `$DEEPCUT_HOME`, or else in
/// `$XDG_DATA_HOME/deepcut`, or else in `~/.local/share/deepcut`.
pub fn installed_weights() -> InstalledWeights {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("DEEPCUT_HOME")
        .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("deepcut")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/deepcut")));
    let found = folder.as_ref().and_then(|folder| {
        EXTENSIONS
            .iter()
            .map(|extension| folder.join(INSTALLED_NAME).with_extension(extension))
            .find(|path| path.is_file())
    });
    InstalledWeights { folder, found }
}

/// Copies a weights file to where runs find it, after checking that it holds a vision transformer.
pub fn install_weights(path: &Path) -> Result<PathBuf, PipelineError> {
    if !path.is_file() {
        return Err(PipelineError::Usage(format!("{} is not a file; give a weights file", path.display())));
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !EXTENSIONS.contains(&extension) {
        return Err(PipelineError::Usage(format!(
            "weights must be a .safetensors, .pth or .pt file, unlike {}; rename it",
            path.display()
        )));
    }
    let untrusted = |error: WeightsError| PipelineError::Untrusted(error.to_string());
    let state = StateDict::open(path).map_err(untrusted)?;
    // Every width is a number of heads one channel wide: here only the tensors matter.
    VitShape::from_state_dict(&state, 1).map_err(untrusted)?;
    let installed = installed_weights();
    let folder = installed
        .folder
        .ok_or_else(|| PipelineError::Usage("there is no home folder; set DEEPCUT_HOME to a folder".into()))?;
    let target = folder.join(INSTALLED_NAME).with_extension(extension);
    write_atomically(&target, |writer| {
        std::io::copy(&mut std::fs::File::open(path)?, writer)?;
        Ok(())
    })?;
    if let Some(previous) = installed.found.filter(|previous| *previous != target) {
        std::fs::remove_file(&previous).map_err(|error| {
            PipelineError::InputOutput(format!("cannot remove the old weights {}: {error}", previous.display()))
        })?;
    }
    Ok(target)
}
