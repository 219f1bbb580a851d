//! The precision of a run where it is left open: chosen once for an output folder, and kept there.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::train::journal::ROSTER;
use super::{Machine, PipelineError, Precision};
use crate::config::{Purpose, Settings};
use crate::dataset::{Collection, Record};
use crate::event::{Event, Observer};
use crate::features::vit::supported_precisions;
use crate::files;
use crate::manifest;
use crate::method::{LEAST_IMAGES, OpenPrecision, PrecisionChoice};
use crate::output::{OutputError, OutputFolder};
use crate::pixels::ImageItem;
use crate::results::ResultsFolder;

/// The file, beside the manifest of an output folder, with the choice that was made there.
const FILE: &str = "precision.json";
const MOST_BYTES: u64 = 4096;

/// A choice as an output folder keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// What it was made for; see [`OpenPrecision::key`].
    key: String,
    precision: Precision,
}

/// What a run computes with, once its precision is fixed.
#[derive(Debug)]
pub(super) struct Fixed {
    pub machine: Machine,
    /// For the first line of a run; empty where there was nothing to choose.
    reason: String,
    kept: Option<Kept>,
}

impl Fixed {
    /// Fixes the precision of a run that writes to `out`: as it was fixed there before, or by time and by the first images.
    pub fn of(
        settings: &Settings,
        purpose: Purpose,
        weights: Option<&Path>,
        machine: Machine,
        out: &Path,
        collection: &Collection,
    ) -> Result<Fixed, PipelineError> {
        let Some(open) = OpenPrecision::of(settings, purpose, weights, &machine)? else {
            return Ok(Fixed { machine, reason: String::new(), kept: None });
        };
        let key = open.key();
        let choice = match read(out).filter(|kept| kept.key == key) {
            Some(Kept { precision, .. }) if supported_precisions().any(|supported| supported == precision) => {
                PrecisionChoice { precision, reason: format!("{} as before", precision.name()) }
            }
            Some(_) => PrecisionChoice { precision: Precision::F32, reason: "in f32 as before".into() },
            // Machines that compute shards need not agree on a choice.
            None if collection.shard().is_some() => {
                PrecisionChoice { precision: Precision::F32, reason: "in f32, as all shards are".into() }
            }
            None if has_results(out) => PrecisionChoice {
                precision: Precision::F32,
                reason: "in f32, as results are here but no choice".into(),
            },
            None if collection.records().take(LEAST_IMAGES).count() < LEAST_IMAGES => {
                PrecisionChoice { precision: Precision::F32, reason: "in f32".into() }
            }
            None => {
                let decoded = |record: Record| {
                    record.content(&settings.pixels).and_then(|content| content.decode(&settings.pixels)).ok()
                };
                open.choose(collection.records().flatten().filter_map(decoded))?
            }
        };
        let PrecisionChoice { precision, reason } = choice;
        let machine = Machine { precision: Some(precision), ..machine };
        Ok(Fixed { machine, reason, kept: Some(Kept { key, precision }) })
    }

    /// What turns images into features, with why in this precision.
    pub fn described(&self, backbone: &str) -> String {
        match self.reason.as_str() {
            "" => backbone.to_string(),
            reason => format!("{backbone}, {reason}"),
        }
    }

    /// Keeps the choice in the folder that the run writes to.
    pub fn keep(&self, folder: &OutputFolder) -> Result<(), OutputError> {
        let Some(kept) = self.kept.as_ref().filter(|kept| read(folder.root()).as_ref() != Some(kept)) else {
            return Ok(());
        };
        folder.keep_beside(FILE, &serde_json::to_vec(kept).unwrap_or_default())
    }
}

/// Says that a run computes its features in another precision than those that a checkpoint was made of, whose settings are
/// given as it keeps them, and what follows.
pub(super) fn tell_of_other(
    stored: &serde_json::Value,
    settings: &Settings,
    consequence: &str,
    observer: &dyn Observer,
) {
    let stored = stored.pointer("/vit/precision").and_then(|stored| Precision::deserialize(stored).ok());
    let used = settings.vit.precision;
    if let Some(stored) = stored.filter(|stored| *stored != used && *stored != Precision::Auto) {
        let (stored, used) = (stored.name(), used.name());
        observer.observe(Event::Note(format!(
            "the checkpoint was made of features in {stored}, and this run computes them in {used}: {consequence}"
        )));
    }
}

/// Whether a folder has results of runs that left nothing open, such as those of versions that knew no choice: what is
/// continued there stays in single precision.
fn has_results(out: &Path) -> bool {
    read(out).is_none() && (out.join(ROSTER).exists() || ResultsFolder::new(out.to_path_buf()).table().exists())
}

/// The choice that an output folder keeps; what cannot be read is chosen anew.
fn read(out: &Path) -> Option<Kept> {
    let read = || -> io::Result<Vec<u8>> {
        files::read_rest(files::open_ordinary(&out.join(manifest::FOLDER).join(FILE))?, MOST_BYTES, 0)
    };
    serde_json::from_slice(&read().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;
    use crate::dataset;
    use crate::event::Silent;
    use crate::output::Claim;
    use crate::pipeline::test_pictures;

    #[test]
    fn a_folder_keeps_its_precision() {
        let folder = tempfile::tempdir().unwrap();
        let (data, out) = (folder.path().join("data"), folder.path().join("out"));
        std::fs::create_dir(&data).unwrap();
        test_pictures::write(&data);
        let collection = dataset::open(&data).unwrap();
        let weights = test_pictures::weights();
        let fixed = |further: &[&str]| {
            let overrides = test_pictures::SETTINGS.iter().chain(further).map(ToString::to_string).collect::<Vec<_>>();
            let settings = resolve(None, &overrides).unwrap();
            Fixed::of(&settings, Purpose::Segment, Some(&weights), Machine::default(), &out, &collection).unwrap()
        };
        let first = fixed(&[]);
        let Some(other) = supported_precisions().last() else {
            assert!(first.kept.is_none() && first.machine.precision.is_none());
            return;
        };
        // Few images are not worth a choice.
        assert_eq!(first.machine.precision, Some(Precision::F32));
        let output = OutputFolder::open(&out, "test", &[Claim::folder("masks")], None, &Silent).unwrap();
        let kept = Kept { precision: other, ..first.kept.unwrap() };
        Fixed { machine: first.machine, reason: String::new(), kept: Some(kept) }.keep(&output).unwrap();
        assert_eq!(fixed(&[]).machine.precision, Some(other));
        // What is fixed is not chosen, and a choice is for the features it was made for.
        assert_eq!(fixed(&["vit.precision=f32"]).machine.precision, None);
        assert_eq!(fixed(&["vit.facet=key"]).machine.precision, Some(Precision::F32));
        std::fs::write(out.join(manifest::FOLDER).join(FILE), "{").unwrap();
        assert_eq!(fixed(&[]).machine.precision, Some(Precision::F32));
        // What was begun without a choice goes on without one.
        std::fs::remove_file(out.join(manifest::FOLDER).join(FILE)).unwrap();
        assert_eq!(fixed(&[]).reason, "in f32");
        std::fs::write(out.join(ROSTER), "{}").unwrap();
        assert_eq!(fixed(&[]).reason, "in f32, as results are here but no choice");
    }
}
