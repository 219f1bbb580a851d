//! What a shard's folder says of the shard: of which plan it is, how it was made, and whether it is finished.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ShardsError;
use crate::dataset::shards::PlannedShard;
use crate::event::Observer;
use crate::files;
use crate::manifest;
use crate::names;
use crate::output::OutputFolder;
use crate::pipeline::{PipelineError, SaveKinds};
use crate::remote::is_remote;

/// The name, beside the manifest of a shard's folder, of the record of its masks.
pub const MASKS: &str = "shard.json";
const FORMAT: u32 = 1;
const MOST_BYTES: u64 = 64 << 20;

/// The same of a file of features.
pub fn record_of(file: &str) -> String {
    format!("{file}.shard.json")
}

/// How a shard was made: all must have been made in one way to become one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    pub version: String,
    pub command: String,
    /// blake3 of the trained network.
    pub checkpoint: Option<String>,
    /// The name of the output, where it is a file.
    pub file: Option<String>,
    pub save: SaveKinds,
    /// How images are segmented, for people.
    pub description: String,
    pub settings: Value,
    /// blake3 of everything that results follow from besides their images.
    pub origin: String,
}

impl Made {
    /// The first difference, in words.
    pub fn difference(&self, other: &Made) -> Option<String> {
        let pair = |one: &str, other: &str| format!("{one} and {other}");
        if self.version != other.version {
            return Some(format!("by the versions {} of the program", pair(&self.version, &other.version)));
        }
        if self.command != other.command {
            return Some(format!("by {}", pair(&self.command, &other.command)));
        }
        if self.checkpoint != other.checkpoint {
            let short = |made: &Made| made.checkpoint.as_deref().unwrap_or("none").chars().take(12).collect::<String>();
            return Some(format!("with other checkpoints, of blake3 {}", pair(&short(self), &short(other))));
        }
        if let Some(setting) = differing(&self.settings, &other.settings, "") {
            return Some(format!("with other settings: {setting}"));
        }
        if self.save != other.save {
            return Some("with other kinds of files to save".into());
        }
        (self != other).then(|| "with another backbone, other weights or another precision".into())
    }
}

/// The first key at which two settings differ, with both values.
fn differing(one: &Value, other: &Value, key: &str) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
            let inner = |name: &String| if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            keys.into_iter().find_map(|name| {
                let [one, other] = [one, other].map(|object| object.get(name).unwrap_or(&Value::Null));
                differing(one, other, &inner(name))
            })
        }
        _ => (one != other).then(|| format!("`{key}` is {one} and {other}")),
    }
}

/// The record of one shard; `T` is what is kept of a finished one.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShardRecord<T> {
    format: u32,
    /// The plan's fingerprint, and where it was.
    pub plan: String,
    pub plan_path: String,
    shard: usize,
    pub made: Made,
    /// None until everything else is written.
    pub done: Option<T>,
}

impl<T: Serialize + DeserializeOwned> ShardRecord<T> {
    /// The record called `name` of a shard's folder; none where no run has begun.
    pub fn read(folder: &Path, name: &str) -> Result<Option<ShardRecord<T>>, ShardsError> {
        let path = folder.join(manifest::FOLDER).join(name);
        let broken = |reason: String| ShardsError::BrokenRecord { path: path.clone(), reason };
        let read = || -> io::Result<Vec<u8>> { files::read_rest(files::open_ordinary(&path)?, MOST_BYTES, 0) };
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(error) if files::says_absent(&error) => return Ok(None),
            Err(error) => return Err(broken(error.to_string())),
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        if value["format"] != FORMAT {
            return Err(broken(format!("its format is {}, this program knows {FORMAT}", value["format"])));
        }
        serde_json::from_value(value).map(Some).map_err(|error| broken(error.to_string()))
    }
}

/// A shard that a run works on.
pub struct ShardRun<'a> {
    shard: &'a PlannedShard,
    name: String,
    made: Made,
}

/// What a run finds in its shard's folder.
#[allow(clippy::large_enum_variant, reason = "one per run")]
pub enum Began<'a, T> {
    /// All is there, made in the same way and as it was written.
    Finished(T),
    Open(ShardRun<'a>),
}

impl<'a> ShardRun<'a> {
    /// Looks at the folder of a shard, which is this run's now, and says there that it is begun. `is_whole` tells whether what a
    /// finished run left is still as it was written.
    ///
    /// # Errors
    /// [`ShardsError::OtherPlan`] if the folder holds a shard of another plan; [`PlanError::Changed`](crate::dataset::shards::PlanError::Changed) if
    /// images are not as planned.
    pub fn begin<T: Serialize + DeserializeOwned>(
        shard: &'a PlannedShard,
        out: &OutputFolder,
        name: &str,
        made: Made,
        is_whole: impl FnOnce(&T) -> Result<bool, PipelineError>,
        observer: &dyn Observer,
    ) -> Result<Began<'a, T>, PipelineError> {
        // A record that cannot be read is of no finished shard.
        if let Some(record) = ShardRecord::<T>::read(out.root(), name).ok().flatten() {
            if record.plan != shard.plan().fingerprint() || record.shard != shard.index() {
                let (folder, plan) = (out.root().to_path_buf(), shard.path().to_path_buf());
                return Err(ShardsError::OtherPlan { folder, plan }.into());
            }
            if let Some(done) = record.done.filter(|_| record.made == made)
                && is_whole(&done)?
            {
                return Ok(Began::Finished(done));
            }
        }
        shard.check(observer)?;
        let run = ShardRun { shard, name: name.to_string(), made };
        run.keep::<()>(out, None)?;
        Ok(Began::Open(run))
    }

    /// Refuses a run that did not come to all images.
    pub fn count(&self, found: u64) -> Result<(), ShardsError> {
        let (shard, images) = (self.shard.index(), self.shard.images());
        if found == images { Ok(()) } else { Err(ShardsError::Short { shard, found, images }) }
    }

    /// Says that everything else is written.
    pub fn finish<T: Serialize>(self, out: &OutputFolder, done: T) -> Result<(), PipelineError> {
        out.sync()?;
        self.keep(out, Some(done))
    }

    fn keep<T: Serialize>(&self, out: &OutputFolder, done: Option<T>) -> Result<(), PipelineError> {
        let path = self.shard.path();
        let absolute = if is_remote(path) { None } else { std::path::absolute(path).ok() };
        let path = absolute.unwrap_or_else(|| path.to_path_buf());
        let record = ShardRecord {
            format: FORMAT,
            plan: self.shard.plan().fingerprint().to_string(),
            plan_path: names::text(path.as_os_str()),
            shard: self.shard.index(),
            made: self.made.clone(),
            done,
        };
        Ok(out.keep_beside(&self.name, &serde_json::to_vec(&record).unwrap_or_default())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let made = Made {
            version: "1".into(),
            command: "infer".into(),
            checkpoint: Some("a".repeat(64)),
            file: None,
            save: SaveKinds::default(),
            description: String::new(),
            settings: serde_json::json!({"refine": {"method": "none", "x": 1}, "seed": 1}),
            origin: "o".into(),
        };
        assert_eq!(made.difference(&made), None);
        let other = |change: fn(&mut Made)| {
            let mut other = made.clone();
            change(&mut other);
            made.difference(&other).unwrap()
        };
        assert_eq!(other(|made| made.version = "2".into()), "by the versions 1 and 2 of the program");
        assert_eq!(other(|made| made.command = "segment".into()), "by infer and segment");
        assert!(other(|made| made.checkpoint = None).ends_with("aaaaaaaaaaaa and none"));
        let setting = other(|made| made.settings["refine"]["method"] = "cut".into());
        assert_eq!(setting, "with other settings: `refine.method` is \"none\" and \"cut\"");
        assert!(other(|made| made.settings["new"] = 1.into()).contains("`new` is null and 1"));
        assert!(other(|made| made.save.coco = true).contains("kinds of files"));
        assert!(other(|made| made.origin = "p".into()).contains("weights"));
    }
}
