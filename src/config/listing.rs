//! Every key of the configuration with its default, its values and its meaning, read off the types that are configured:
//! names and values from their schema, meanings from their documentation.

use std::fmt;

use schemars::generate::SchemaSettings;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::Settings;

/// The keys of one room, or the one key that is called as its room.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigRoom {
    pub name: String,
    /// What is configured here, one line.
    pub meaning: String,
    /// In the order of the configuration.
    pub keys: Vec<ConfigKey>,
}

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigKey {
    /// As files and overrides write it, dotted: `refine.bilateral.sigma_luma`.
    #[serde(skip)]
    pub key: String,
    /// Null where nothing is chosen by default.
    pub default: Value,
    #[serde(rename = "type")]
    pub kind: ConfigKind,
    /// What there is to choose from; empty unless it is a choice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ConfigValue>,
    /// What it is for, one line.
    pub meaning: String,
}

/// What values of a key look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigKind {
    Boolean,
    Integer,
    Number,
    /// Of the forms that its meaning names.
    Text,
    /// One of the listed values.
    Choice,
    /// Several values of one kind: so many, or any number.
    List(Box<ConfigKind>, Option<u64>),
}

/// One value that a key can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigValue {
    pub value: String,
    /// What it stands for, one line; empty where its name says it.
    pub meaning: String,
}

impl ConfigKey {
    /// The default as a value is written, or that nothing is chosen.
    pub fn default_text(&self) -> String {
        match &self.default {
            Value::Null => "not chosen".to_string(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        }
    }
}

impl fmt::Display for ConfigKind {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ConfigKind::Boolean => formatter.write_str("boolean"),
            ConfigKind::Integer => formatter.write_str("integer"),
            ConfigKind::Number => formatter.write_str("number"),
            ConfigKind::Text => formatter.write_str("text"),
            ConfigKind::Choice => formatter.write_str("choice"),
            ConfigKind::List(of, Some(length)) => write!(formatter, "list of {length} {of}s"),
            ConfigKind::List(of, None) => write!(formatter, "list of {of}s"),
        }
    }
}

impl Serialize for ConfigKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Every room of the configuration, in the order of [`Settings`].
pub fn config_rooms() -> Vec<ConfigRoom> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Settings>().to_value();
    // By way of text, in which numbers of single precision are as short as they are written.
    let defaults = serde_json::to_string(&Settings::default()).and_then(|text| serde_json::from_str(&text));
    let defaults = defaults.unwrap_or(Defaults::Value(Value::Null));
    let room = |(name, schema, default): (&str, &Value, Option<&Defaults>)| ConfigRoom {
        name: name.to_string(),
        meaning: meaning(schema),
        keys: keys(name, schema, default),
    };
    fields(&schema, Some(&defaults)).into_iter().map(room).collect()
}

/// The keys that begin with `key`, or just that.
fn keys(key: &str, schema: &Value, default: Option<&Defaults>) -> Vec<ConfigKey> {
    let fields = fields(schema, default);
    if !fields.is_empty() {
        return fields
            .into_iter()
            .flat_map(|(name, schema, default)| keys(&format!("{key}.{name}"), schema, default))
            .collect();
    }
    let default = match default {
        Some(Defaults::Value(value)) => value.clone(),
        _ => Value::Null,
    };
    // What may be left open is described as either null or something.
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    let chosen = alternatives.clone().find(|schema| schema["type"] != "null").unwrap_or(schema);
    let values = values(chosen);
    let kind = if values.is_empty() { kind(chosen) } else { ConfigKind::Choice };
    let meaning = [schema, chosen].map(meaning).into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    vec![ConfigKey { key: key.to_string(), default, kind, values, meaning }]
}

/// Names, schemas and defaults of a table's fields, in the order in which they are declared; none where it is no table.
fn fields<'a>(schema: &'a Value, defaults: Option<&'a Defaults>) -> Vec<(&'a str, &'a Value, Option<&'a Defaults>)> {
    let defaults = match defaults {
        Some(Defaults::Table(table)) => &table.0[..],
        _ => &[],
    };
    // The schema's own order is that of the alphabet.
    let position = |name: &str| defaults.iter().position(|(known, _)| known == name);
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut fields: Vec<_> = properties.map(|(name, schema)| (position(name), name.as_str(), schema)).collect();
    fields.sort_by_key(|(position, ..)| *position);
    fields.into_iter().map(|(at, name, schema)| (name, schema, at.map(|at| &defaults[at].1))).collect()
}

/// What there is to choose from: values with a documentation of their own, and values without.
fn values(schema: &Value) -> Vec<ConfigValue> {
    let documented = schema["oneOf"].as_array().into_iter().flatten();
    let value = |value: &Value, meaning: String| Some(ConfigValue { value: value.as_str()?.to_string(), meaning });
    let plain = |schema: &Value| schema["enum"].as_array().cloned().unwrap_or_default();
    let alone = plain(schema).into_iter().filter_map(|name| value(&name, String::new()));
    documented
        .flat_map(|schema| {
            let names = plain(schema).into_iter().chain(schema.get("const").cloned());
            names.filter_map(|name| value(&name, meaning(schema))).collect::<Vec<_>>()
        })
        .chain(alone)
        .collect()
}

fn kind(schema: &Value) -> ConfigKind {
    let is = |name: &str| schema["type"] == name || schema["type"].as_array().is_some_and(|any| any[0] == name);
    if is("array") {
        let length = schema["minItems"].as_u64().filter(|length| schema["maxItems"] == *length);
        ConfigKind::List(Box::new(kind(&schema["items"])), length)
    } else if is("boolean") {
        ConfigKind::Boolean
    } else if is("integer") {
        ConfigKind::Integer
    } else if is("string") {
        ConfigKind::Text
    } else {
        ConfigKind::Number
    }
}

/// The first paragraph of a documentation as one line.
fn meaning(schema: &Value) -> String {
    let paragraph = schema["description"].as_str().and_then(|text| text.split("\n\n").next()).unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The default configuration with its keys in the order in which they were written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Defaults {
    Table(Table),
    Value(Value),
}

struct Table(Vec<(String, Defaults)>);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Table;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Table(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{resolve, with_overrides};

    fn all_keys() -> Vec<ConfigKey> {
        config_rooms().into_iter().flat_map(|room| room.keys).collect()
    }

    /// The dotted keys of a serialised configuration, in which also what is not chosen has its place.
    fn serialised(prefix: &str, value: &Value, keys: &mut BTreeSet<String>) {
        match value.as_object() {
            Some(table) => table.iter().for_each(|(name, below)| serialised(&format!("{prefix}.{name}"), below, keys)),
            None => drop(keys.insert(prefix.trim_start_matches('.').to_string())),
        }
    }

    #[test]
    fn no_key_is_missing_and_none_is_too_many() {
        let mut expected = BTreeSet::new();
        serialised("", &serde_json::to_value(Settings::default()).unwrap(), &mut expected);
        let listed: Vec<String> = all_keys().into_iter().map(|key| key.key).collect();
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), expected);
        assert_eq!(listed.len(), expected.len());
        // In the order of the types, not of the alphabet.
        assert_eq!(listed[..4], ["backbone", "data.max_images", "data.max_bad", "data.respect_ignore"]);
        assert_eq!(listed.last().unwrap(), "output.overlay_side_px");
    }

    #[test]
    fn every_key_can_be_set_to_its_default() {
        let default = |key: &ConfigKey| match key.default {
            Value::Null => format!("{}=default", key.key),
            _ => format!("{}={}", key.key, key.default_text()),
        };
        let keys = all_keys();
        assert_eq!(resolve(None, &keys.iter().map(default).collect::<Vec<_>>()).unwrap(), Settings::default());
        // One by one: none takes others of its room with it.
        for key in &keys {
            let unset = [format!("{}=default", key.key)];
            assert_eq!(resolve(None, &[default(key)]).unwrap(), Settings::default(), "{}", key.key);
            assert_eq!(with_overrides(&Settings::default(), &unset).unwrap(), Settings::default(), "{}", key.key);
        }
    }

    #[test]
    fn every_value_can_be_chosen_and_the_default_again() {
        for key in all_keys() {
            let chosen = match (&key.kind, &key.default) {
                (ConfigKind::Choice, _) => key.values.iter().map(|value| value.value.clone()).collect(),
                (ConfigKind::Boolean, _) => vec!["true".to_string(), "false".to_string()],
                (ConfigKind::List(..), Value::Null) => vec!["[2]".to_string()],
                (_, Value::Null) => vec!["2".to_string()],
                _ => Vec::new(),
            };
            for value in chosen {
                let changed = with_overrides(&Settings::default(), &[format!("{}={value}", key.key)]).unwrap();
                assert_eq!(changed == Settings::default(), key.default_text() == value, "{}={value}", key.key);
                let unset = with_overrides(&changed, &[format!(" {} = default", key.key)]).unwrap();
                assert_eq!(unset, Settings::default(), "{}={value}", key.key);
            }
        }
        let back = |key: &str| resolve(None, &[format!("{key}=default")]).unwrap_err().to_string();
        assert!(back("trian.epochs").contains("unknown field `trian`"), "{}", back("trian.epochs"));
        assert!(back("train").contains("train=default"), "{}", back("train"));
    }

    #[test]
    fn everything_is_explained_in_plain_text() {
        for room in config_rooms() {
            let values = room.keys.iter().flat_map(|key| &key.values).map(|value| &value.meaning);
            for text in room.keys.iter().map(|key| &key.meaning).chain(values).chain([&room.meaning]) {
                assert!(!text.is_empty() && !text.contains('\n') && !text.contains("[`"), "{}: {text}", room.name);
            }
        }
    }

    #[test]
    fn kinds_and_values_are_those_of_the_types() {
        let keys = all_keys();
        for (name, kind, default) in [
            ("train.self_training", "boolean", "not chosen"),
            ("train.epochs", "integer", "60"),
            ("cluster.clusters", "integer", "not chosen"),
            ("cluster.learning_rate", "number", "not chosen"),
            ("refine.bilateral.tolerance", "number", "0.00001"),
            ("refine.cut.band_px", "integer", "16"),
            ("objective.parts", "choice", "not chosen"),
            ("superpixel.descriptor", "choice", "background-distance"),
            ("model.hidden", "list of 2 integers", "[64,32]"),
            ("vit.layers", "list of integers", "not chosen"),
            ("vit.mean", "list of 3 numbers", "[0.485,0.456,0.406]"),
            ("pixels.bands", "list of integers", "not chosen"),
            ("pixels.range", "text", "auto"),
        ] {
            let key = keys.iter().find(|key| key.key == name).unwrap();
            assert_eq!((key.kind.to_string().as_str(), key.default_text().as_str()), (kind, default), "{name}");
        }
        let backbone = keys[0].values.iter().map(|value| value.value.as_str());
        assert_eq!(backbone.collect::<Vec<_>>(), crate::features::BackboneChoice::NAMES);
    }
}
