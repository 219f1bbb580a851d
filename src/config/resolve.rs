//! Defaults, configuration file, `--set` and flags → one [`Settings`].

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Settings, config_rooms};
use crate::error::ErrorKind;
use crate::files;
use crate::numerics::range::InvalidSetting;

/// No configuration is larger.
const MOST_BYTES: u64 = 16 << 20;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("cannot read the configuration file {path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is not valid: {reason}", path = path.display())]
    File { path: PathBuf, reason: String },
    #[error("{0} sets nothing; write it as key=value, for example train.epochs=20")]
    Override(String),
    #[error("{0}")]
    Value(String),
    #[error("{room}.{} must be {}, not {}", invalid.setting, invalid.range, invalid.value)]
    Setting { room: &'static str, invalid: InvalidSetting },
    #[error("model.clusters, parts.foreground and parts.background are more than the 255 values of a mask")]
    TooManyLabels,
}

impl ConfigError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }
}

/// Resolves a configuration: `file` over the defaults, then `overrides` (`room.key=value`) in order, later ones win.
///
/// Values are TOML; what is not TOML counts as text, so `objective.kind=cc` needs no quotes. The value `default` sets a key
/// back to its default.
pub fn resolve(file: Option<&Path>, overrides: &[String]) -> Result<Settings, ConfigError> {
    resolve_over(|_| Vec::new(), file, overrides)
}

/// The same over defaults of a run's own (`room.key=value`), which follow from what was asked for and to which the value
/// `default` sets a key back.
pub fn resolve_over(
    defaults: impl FnOnce(&Settings) -> Vec<String>,
    file: Option<&Path>,
    overrides: &[String],
) -> Result<Settings, ConfigError> {
    let mut table = Table::new();
    if let Some(path) = file {
        let text = files::read_text(path, MOST_BYTES)
            .map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
        let invalid = |reason: String| ConfigError::File { path: path.to_path_buf(), reason };
        table = text.parse::<Table>().map_err(|error| invalid(one_line(&error)))?;
        // The file alone first, so that its mistakes are not blamed on the command line.
        Value::Table(table.clone()).try_into::<Settings>().map_err(|error| invalid(one_line(&error)))?;
    }
    let config = resolve_table(&Table::new(), table.clone(), overrides)?;
    let mut below = Table::new();
    defaults(&config).iter().try_for_each(|default| set(&mut below, default))?;
    if below.is_empty() { Ok(config) } else { resolve_table(&below, table, overrides) }
}

/// A complete configuration with some settings (`room.key=value`) changed.
pub fn with_overrides(config: &Settings, overrides: &[String]) -> Result<Settings, ConfigError> {
    let table = Table::try_from(config).map_err(|error| ConfigError::Value(one_line(&error)))?;
    resolve_table(&Table::new(), table, overrides)
}

fn resolve_table(below: &Table, mut table: Table, overrides: &[String]) -> Result<Settings, ConfigError> {
    for override_ in overrides {
        set(&mut table, override_)?;
        over_defaults(below, &table)
            .map_err(|error| ConfigError::Value(format!("{override_}: {}", one_line(&error))))?;
    }
    let config = over_defaults(below, &table).map_err(|error| ConfigError::Value(one_line(&error)))?;
    config.validate()?;
    Ok(config)
}

/// The settings of a table over those below it, and those of the default configuration where both say nothing. A type alone
/// would not know them: what one type is used for in two rooms has a default in each.
fn over_defaults(below: &Table, table: &Table) -> Result<Settings, Box<dyn std::error::Error>> {
    let mut complete = Table::try_from(Settings::default())?;
    lay_over(&mut complete, below);
    lay_over(&mut complete, table);
    Ok(Value::Table(complete).try_into()?)
}

fn lay_over(below: &mut Table, above: &Table) {
    for (name, value) in above {
        match (below.get_mut(name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            _ => drop(below.insert(name.clone(), value.clone())),
        }
    }
}

/// Sets the value at a dotted key, creating the tables on the way, or takes it away where its default is wanted.
fn set(table: &mut Table, override_: &str) -> Result<(), ConfigError> {
    let malformed = || ConfigError::Override(override_.to_string());
    let (key, text) = override_.split_once('=').ok_or_else(malformed)?;
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut parsed| parsed.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(text.to_string()));
    let key = key.trim();
    if text.trim() == "default" && config_rooms().iter().flat_map(|room| &room.keys).any(|known| known.key == key) {
        unset(table, key);
        return Ok(());
    }
    let mut names: Vec<&str> = key.split('.').collect();
    let last = names.pop().filter(|name| !name.is_empty()).ok_or_else(malformed)?;
    let mut place = table;
    for name in names {
        let entry = place.entry(name).or_insert_with(|| Value::Table(Table::new()));
        place = entry.as_table_mut().ok_or_else(malformed)?;
    }
    place.insert(last.to_string(), value);
    Ok(())
}

/// Takes the value at a dotted key away, if there is one.
fn unset(table: &mut Table, key: &str) {
    match key.split_once('.') {
        None => drop(table.remove(key)),
        Some((room, rest)) => {
            if let Some(below) = table.get_mut(room).and_then(Value::as_table_mut) {
                unset(below, rest);
            }
        }
    }
}

fn one_line(error: &impl ToString) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::BackboneChoice;
    use crate::objective::ObjectiveKind;

    fn set(overrides: &[&str]) -> Result<Settings, ConfigError> {
        resolve(None, &overrides.iter().map(|text| text.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn later_assignments_win_and_text_needs_no_quotes() {
        let config = set(&["train.epochs=3", "objective.kind=cc", "train.epochs=4", "backbone=pixel"]).unwrap();
        assert_eq!((config.train.epochs, config.objective.kind), (4, Some(ObjectiveKind::Cc)));
        assert_eq!((config.backbone, config.clusters_for(ObjectiveKind::Cc)), (BackboneChoice::Pixel, 10));
    }

    #[test]
    fn what_the_user_says_stands_above_a_runs_own_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "[vit]\nstride = 4\n").unwrap();
        let defaults = ["vit.stride=8", "vit.layers=[2, 5]", "vit.input_side=518"].map(String::from);
        let over = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            resolve_over(|_| defaults.to_vec(), Some(&file), &overrides).unwrap().vit
        };
        let vit = over(&[]);
        assert_eq!((vit.stride, vit.layers, vit.input_side), (Some(4), Some(vec![2, 5]), 518));
        // Also where what is said is the general default.
        let vit = over(&["vit.input_side=280", "vit.layers=[-1]"]);
        assert_eq!((vit.layers, vit.input_side), (Some(vec![-1]), 280));
        let vit = over(&["vit.input_side=280", "vit.input_side=default", "vit.stride=default"]);
        assert_eq!((vit.stride, vit.input_side), (Some(8), 518));
    }

    #[test]
    fn mistakes_name_the_key() {
        for (override_, expected) in [
            ("train.epoch=3", "epoch"),
            ("trian.epochs=3", "trian"),
            ("train.epochs=many", "many"),
            ("train.epochs", "key=value"),
            ("model.clusters=1", "model.clusters must be from 2"),
            ("graph.alpha=nan", "graph.alpha"),
            ("superpixel.regions=1", "regions"),
            ("backbone.name=vit", "backbone"),
        ] {
            let message = set(&[override_]).unwrap_err().to_string();
            assert!(message.contains(expected), "{override_}: {message}");
            assert!(!message.contains('\n'), "{override_}: {message}");
        }
    }

    #[test]
    fn every_preset_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        let mut presets = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("backbones.toml") {
                continue; // A list, no preset.
            }
            resolve(Some(&path), &[]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            presets += 1;
        }
        assert!(presets > 0);
    }
}
