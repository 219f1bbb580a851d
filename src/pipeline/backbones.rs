//! Backbones on this machine: fetched, installed, described, checked, removed.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{PipelineError, Run};
use crate::config::Settings;
use crate::error::ErrorKind;
use crate::event::{Observer, path_as_text};
use crate::features::vit::VitShape;
use crate::files;
use crate::method::{MethodError, installed_weights, locate_weights, published_settings, published_weights};
use crate::output::write_atomically;
use crate::segment::regions::KindsBy;
use crate::weights::{
    self, EXTENSIONS, Hashes, INSTALLED_NAME, Published, Record, Stored, WeightsError, WeightsFile, installed,
};

/// A published backbone as a list shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ListedBackbone {
    pub name: String,
    pub family: String,
    pub licence: String,
    /// Where access is asked for; none if nobody has to.
    pub access: Option<String>,
    /// Where it is published.
    pub address: String,
    /// In bytes; none before it is here, where the list does not say.
    pub size: Option<u64>,
    /// Where it is on this machine, if it is.
    pub path: Option<String>,
}

/// All published backbones that are known, the preferred ones first.
pub fn list_backbones() -> Vec<ListedBackbone> {
    let listed = |published: &Published| {
        let path = weights::stored(published).map(|stored| stored.path);
        let size = path.as_ref().and_then(|path| Some(std::fs::metadata(path).ok()?.len()));
        ListedBackbone {
            name: published.name.clone(),
            family: published.family.clone(),
            licence: published.licence.clone(),
            access: published.access.clone(),
            address: weights::by_hand(published).address,
            size: size.or(published.size),
            path: path.map(|path| crate::names::text(path.as_os_str())),
        }
    };
    weights::published().iter().map(listed).collect()
}

/// What fetching a backbone gave.
#[derive(Debug, Clone, Serialize)]
pub struct PulledBackbone {
    pub name: String,
    pub licence: String,
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    /// Bytes that were transferred; 0 if it was here.
    pub transferred: u64,
    /// In bytes.
    pub size: u64,
    pub sha256: String,
    pub blake3: String,
    /// Whether runs use it that are given no weights.
    pub is_used: bool,
}

/// Fetches a published backbone, unless it is on this machine; see [`weights::pull`].
pub fn pull_backbone(name: &str, observer: &dyn Observer) -> Result<PulledBackbone, PipelineError> {
    let published = published(name)?;
    let pulled = weights::pull(published, observer).map_err(|error| match error.kind() {
        ErrorKind::Interrupted => PipelineError::Interrupted(Run::Fetching),
        _ => error.into(),
    })?;
    let Record { size, sha256, blake3, .. } = pulled.record;
    let is_used = installed_weights().as_ref() == Some(&pulled.path);
    let (name, licence) = (published.name.clone(), published.licence.clone());
    Ok(PulledBackbone {
        name,
        licence,
        path: pulled.path,
        transferred: pulled.transferred,
        size,
        sha256,
        blake3,
        is_used,
    })
}

fn published(name: &str) -> Result<&'static Published, PipelineError> {
    let unknown = || MethodError::UnknownBackbone { name: name.to_string() };
    Ok(weights::named(name).ok_or_else(unknown)?)
}

/// Patches along a side of an image that is divided into regions.
const REGION_PATCHES: usize = 32;

/// The settings (`key=value`) that a run with `settings` has for its weights where the user says nothing: those of the
/// published backbone that they are of, if they are of one. `weights` is a path, a name, or none for the installed ones.
pub fn known_settings(settings: &Settings, weights: Option<&Path>) -> Vec<String> {
    let of_regions = settings.regions.labels > 0;
    // Between the middles of nodes boundaries lie where the image's edges do, which serves every measure of regions.
    let mut known: Vec<String> = of_regions.then(|| "refine.method=bilateral".to_string()).into_iter().collect();
    let is_deep = settings.regions.by == KindsBy::CodeBook || !of_regions;
    let has_weights = || is_deep && (weights.is_some() || installed_weights().is_some());
    if !settings.backbone.entry().map_or_else(has_weights, |backbone| backbone.needs_weights()) {
        // Those of superpixels have one channel, which tells no two of them apart by its direction.
        known.extend(of_regions.then(|| "regions.affinity=colour".to_string()));
        return known;
    }
    let published = published_weights(weights);
    known.extend(published.into_iter().flat_map(published_settings));
    if of_regions {
        // Regions are smaller than objects: as many patches as GraPL has, on the usual patch of 16 pixels.
        let patch = published.map_or(16, |published| published.patch);
        known.push(format!("vit.input_side={}", REGION_PATCHES * patch));
    }
    known
}

/// What is known of weights.
#[derive(Debug, Clone, Serialize)]
pub struct WeightsDescription {
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    /// The published backbone that they are of, if they are known to be of one.
    pub name: Option<String>,
    pub licence: Option<String>,
    /// The family of transformers that its tensors show.
    pub architecture: &'static str,
    /// Whose names its tensors have.
    pub naming: &'static str,
    /// In bytes; none of files in parts.
    pub size: Option<u64>,
    pub sha256: Option<String>,
    /// As checkpoints name it.
    pub blake3: String,
    /// Channels of a token.
    pub width: usize,
    pub depth: usize,
    /// None where neither the tensors nor the list of backbones tell.
    pub heads: Option<usize>,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Rows and columns of the stored positions; 0 where positions are rotations.
    pub position_side: usize,
    /// Tokens that lie nowhere in the image, beside that of the class.
    pub registers: usize,
    pub mlp_width: usize,
    /// The settings that runs have with them where the user says nothing.
    pub settings: Vec<String>,
}

/// Describes weights, given as a file or by name.
pub fn describe_weights(given: &Path) -> Result<WeightsDescription, PipelineError> {
    let path = locate_weights(given)?;
    let published = published_weights(Some(given));
    let file = WeightsFile::read(&path)?;
    let state = file.state_dict()?;
    let head_width = published.and_then(|published| published.head_width);
    // Every width is a number of heads one channel wide, where nothing tells how wide they are.
    let shape = VitShape::from_state_dict(&state, head_width);
    let heads = shape.as_ref().ok().map(|shape| shape.heads);
    let shape = shape.or_else(|_| VitShape::from_state_dict(&state, Some(1)))?;
    // Of files in parts, or a folder, blake3 alone says which they are.
    let is_whole = path.is_file() && !file.is_in_parts();
    let hashes = is_whole.then(|| Hashes::of(&path)).transpose();
    let hashes = hashes.map_err(|source| PipelineError::WeightsFile { path: path.clone(), source })?;
    Ok(WeightsDescription {
        name: published.map(|published| published.name.clone()),
        licence: published.map(|published| published.licence.clone()),
        architecture: shape.family,
        naming: state.naming(),
        size: hashes.as_ref().map(|hashes| hashes.size),
        sha256: hashes.map(|hashes| hashes.sha256),
        blake3: file.hash().to_hex().to_string(),
        width: shape.width,
        depth: shape.depth,
        heads,
        patch: shape.patch,
        position_side: shape.position_side,
        registers: shape.registers,
        mlp_width: shape.mlp_width,
        settings: published.map(published_settings).unwrap_or_default(),
        path,
    })
}

/// What holding a backbone against its record showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checked {
    /// As it was when it was first used.
    Unchanged,
    /// This was its first use.
    Recorded,
    /// Not as it was.
    Changed,
}

/// A backbone on this machine that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedBackbone {
    pub name: String,
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    pub checked: Checked,
    pub sha256: String,
}

/// Holds the backbones on this machine, or those of the given names, against what was recorded of them.
pub fn verify_backbones(names: &[String]) -> Result<Vec<VerifiedBackbone>, PipelineError> {
    let named: Vec<&Published> = names.iter().map(|name| published(name)).collect::<Result<_, _>>()?;
    let all = weights::published().iter().filter(|published| weights::stored(published).is_some());
    let chosen = if names.is_empty() { all.collect() } else { named };
    chosen.into_iter().map(verify_backbone).collect()
}

fn verify_backbone(published: &Published) -> Result<VerifiedBackbone, PipelineError> {
    let Stored { path, .. } = stored(published)?;
    let unreadable = |source| PipelineError::WeightsFile { path: path.clone(), source };
    let (checked, sha256) = match weights::record(published) {
        Some(record) => {
            let found = Hashes::of(&path).map_err(unreadable)?;
            let is_same = (record.size, &record.sha256, &record.blake3) == (found.size, &found.sha256, &found.blake3);
            (if is_same { Checked::Unchanged } else { Checked::Changed }, found.sha256)
        }
        None => (Checked::Recorded, weights::record_first_use(published, &path).map_err(unreadable)?.sha256),
    };
    Ok(VerifiedBackbone { name: published.name.clone(), path, checked, sha256 })
}

fn stored(published: &Published) -> Result<Stored, PipelineError> {
    weights::stored(published).ok_or_else(|| PipelineError::NotStored { name: published.name.clone() })
}

/// Removes a published backbone from this machine; gives the paths that are gone.
///
/// What lies in the cache that other programs use too is only removed if `is_confirmed`.
pub fn remove_backbone(name: &str, is_confirmed: bool) -> Result<Vec<PathBuf>, PipelineError> {
    let published = published(name)?;
    let found = stored(published)?;
    if found.is_shared && !is_confirmed {
        return Err(PipelineError::SharedWeights { path: found.path });
    }
    weights::remove(published, &found).map_err(|source| PipelineError::WeightsFile { path: found.path, source })
}

/// Copies a weights file to where runs find it, after checking that it holds a vision transformer.
pub fn install_weights(path: &Path) -> Result<PathBuf, PipelineError> {
    if !path.is_file() {
        return Err(PipelineError::NoWeightsFile { path: path.to_path_buf() });
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !EXTENSIONS.contains(&extension) {
        return Err(PipelineError::WeightsExtension { path: path.to_path_buf() });
    }
    let file = WeightsFile::read(path)?;
    if file.is_in_parts() {
        let reason = "it lists parts in other files; give it with --weights where it is".to_string();
        return Err(WeightsError::Format { path: path.to_path_buf(), reason }.into());
    }
    let state = file.state_dict()?;
    // Every width is a number of heads one channel wide: here only the tensors matter.
    VitShape::from_state_dict(&state, Some(1))?;
    let installed = installed();
    let folder = installed.folder.ok_or(PipelineError::NoHome)?;
    let target = folder.join(INSTALLED_NAME).with_extension(extension);
    write_atomically(&target, |writer| {
        std::io::copy(&mut files::open_ordinary(path)?, writer)?;
        Ok(())
    })?;
    if let Some(previous) = installed.found.filter(|previous| *previous != target) {
        std::fs::remove_file(&previous)
            .map_err(|source| PipelineError::OldWeights { path: previous.clone(), source })?;
    }
    // Under its new name nothing but its hash tells which weights it holds.
    weights::record_installed(weights::recognise(path), &target)
        .map_err(|source| PipelineError::WeightsFile { path: target.clone(), source })?;
    Ok(target)
}
