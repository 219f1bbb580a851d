//! Which weights a run uses, what is known of them beforehand, and the backbone made of them.

use std::path::{Path, PathBuf};

use super::MethodError;
use crate::config::Resolved;
use crate::features::Backbone;
use crate::features::vit::{Precision, bfloat_available};
use crate::tensor::{Device, is_cpu, supports_bfloat};
use crate::weights::{self, Published, WeightsFile};

/// The weights that runs use when none are given: those that were installed (see [`weights::installed`]), or else the
/// published ones on this machine that are preferred to others.
pub fn installed_weights() -> Option<PathBuf> {
    weights::installed().found.or_else(weights::best_stored)
}

/// Whether weights are given by path: a file that exists wins over a published backbone of its name, a folder does not.
fn is_path(given: &Path) -> bool {
    given.is_file() || (given.exists() && given.to_str().and_then(weights::named).is_none())
}

/// The file that weights given by path or by the name of a published backbone are in.
pub fn locate_weights(given: &Path) -> Result<PathBuf, MethodError> {
    if is_path(given) {
        return Ok(given.to_path_buf());
    }
    let name = given.to_str().unwrap_or_default();
    match weights::named(name) {
        Some(published) => weights::stored(published).map(|stored| stored.path).ok_or_else(|| {
            MethodError::WeightsNotFetched { name: name.to_string(), by_hand: weights::by_hand(published) }
        }),
        None if !name.is_empty() && !name.contains(['.', '/', '\\']) => {
            Err(MethodError::UnknownBackbone { name: name.to_string() })
        }
        // Reading it says what is wrong with it.
        None => Ok(given.to_path_buf()),
    }
}

/// The published backbone that a run's weights are of: the given ones, by path or name, or those that it uses without.
pub fn published_weights(given: Option<&Path>) -> Option<&'static Published> {
    match given {
        Some(given) if is_path(given) => weights::recognise(given),
        Some(given) => weights::named(given.to_str()?),
        None => weights::recognise(&installed_weights()?),
    }
}

/// How a published backbone is used where the user chooses nothing, as settings (`vit.key=value`): preprocessing and what it
/// does well with.
pub fn published_settings(published: &Published) -> Vec<String> {
    let mut settings = vec![
        format!("vit.mean={:?}", published.mean),
        format!("vit.standard_deviation={:?}", published.standard_deviation),
        format!("vit.input_side={}", published.input_side),
        format!("vit.stride={}", published.stride),
        format!("vit.layers={:?}", published.layers),
        format!("vit.facet={}", published.facet),
    ];
    settings.extend(published.head_width.map(|width| format!("vit.head_width={width}")));
    settings
}

/// Makes the backbone of resolved settings, with the given or the installed weights where it needs any.
///
/// `weights` is a path or the name of a published backbone. `expected_hash` is that of the weights a checkpoint was trained
/// with; where none are given, published ones on this machine are found by it.
pub fn open_backbone(
    resolved: &Resolved,
    weights: Option<&Path>,
    expected_hash: Option<&str>,
    device: &Device,
) -> Result<Backbone, MethodError> {
    let settings = resolved.settings();
    let entry = resolved.backbone();
    if !entry.needs_weights() {
        return match weights {
            Some(path) => Err(MethodError::NeedlessWeights { backbone: entry.name(), path: path.to_path_buf() }),
            None => Ok(Backbone::without_weights(entry, &settings.into())),
        };
    }
    let path = match weights {
        Some(given) => Some(locate_weights(given)?),
        None => expected_hash.and_then(weights::stored_with_hash).or_else(installed_weights),
    };
    let path = path.ok_or(MethodError::WeightsNeeded { backbone: entry.name() })?;
    let lacking = match settings.vit.precision {
        Precision::Bf16 if is_cpu(device) => (!bfloat_available()).then_some("this processor has no AVX-512 BF16"),
        Precision::Bf16 => (!supports_bfloat(device)).then_some("this GPU has no bfloat16"),
        Precision::Int8 => (!is_cpu(device)).then_some("there are no products of bytes for GPUs"),
        Precision::Auto | Precision::F32 => None,
    };
    if let Some(lacking) = lacking {
        return Err(MethodError::UnsupportedPrecision { precision: settings.vit.precision.name(), lacking });
    }
    let file = WeightsFile::read(&path)?;
    let hash = file.hash().to_hex().to_string();
    if let Some(expected) = expected_hash.filter(|expected| *expected != hash) {
        return Err(MethodError::OtherWeights { path, hash, expected: expected.to_string() });
    }
    check_against_record(&path, &hash)?;
    Ok(Backbone::with_weights(entry, &settings.into(), &file, device)?)
}

/// Published weights are what they were when they were first used.
fn check_against_record(path: &Path, blake3: &str) -> Result<(), MethodError> {
    let Some(published) = weights::stored_as(path) else { return Ok(()) };
    let known = match weights::record(published) {
        Some(known) => known,
        None => match weights::record_first_use(published, path) {
            Ok(known) => known,
            Err(_) => return Ok(()),
        },
    };
    match known.blake3 == blake3 {
        true => Ok(()),
        false => Err(MethodError::WeightsChanged { name: published.name.clone(), path: path.to_path_buf() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve_over;

    #[test]
    fn the_settings_of_every_published_backbone_are_valid() {
        for published in weights::published() {
            let vit = resolve_over(|_| published_settings(published), None, &[]).unwrap().vit;
            assert_eq!((vit.mean, vit.standard_deviation), (published.mean, published.standard_deviation));
            assert_eq!((vit.input_side, vit.stride), (published.input_side, Some(published.stride)));
            assert!(vit.input_side >= published.patch, "{}", published.name);
        }
    }

    #[test]
    fn what_is_neither_a_file_nor_a_name_is_refused_as_what_it_seems_to_be() {
        let error = |given: &str| locate_weights(Path::new(given)).map_err(|error| error.to_string());
        assert!(error("dino-vits9").unwrap_err().contains("dino-vits8"));
        assert_eq!(error("absent/dino.pth"), Ok(PathBuf::from("absent/dino.pth")));
    }
}
