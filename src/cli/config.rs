//! `deepcut config`

use clap::{Args, Command};
use deepcut::config::{ConfigRoom, config_rooms};
use serde_json::{Map, Value};

use super::errors::WrongUsage;
use super::{Done, MAX_WIDTH, say};

/// Show every setting with its default, its values and its meaning
///
/// Settings are keys of a configuration file (--config FILE) and of --set KEY=VALUE; --set KEY=default sets one back.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// The room to show: what stands before the first point of a key [default: all]
    #[arg(value_name = "ROOM")]
    room: Option<String>,
    /// Print one JSON object, with an object for every key
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &ConfigArguments) -> anyhow::Result<Done> {
    let mut rooms = config_rooms();
    if let Some(name) = &arguments.room {
        let names: Vec<_> = rooms.iter().map(|room| room.name.clone()).collect();
        rooms.retain(|room| room.name == *name);
        if rooms.is_empty() {
            let message = format!("the configuration has no room {name}; its rooms are {}", names.join(", "));
            return Err(WrongUsage(message).into());
        }
    }
    if arguments.json {
        let keys = rooms.into_iter().flat_map(|room| room.keys);
        let entries = keys.map(|key| Ok((key.key.clone(), serde_json::to_value(key)?)));
        say(&Value::Object(entries.collect::<serde_json::Result<Map<_, _>>>()?).to_string())?;
    } else {
        say(&wrapped(rooms.iter().map(paragraph).collect::<Vec<_>>().join("\n")))?;
    }
    Ok(Done { skipped: false })
}

/// One room: what it is for, and every key with its default, its type, its meaning and its values.
fn paragraph(room: &ConfigRoom) -> String {
    let rows: Vec<_> = room.keys.iter().map(|key| (key, key.default_text(), key.kind.to_string())).collect();
    let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or_default();
    let key_width = longest(&mut rows.iter().map(|(key, ..)| key.key.len()));
    let default_width = longest(&mut rows.iter().map(|(_, default, _)| default.len()));
    let is_one_key = room.keys.iter().any(|key| key.key == room.name);
    let mut text = if is_one_key { String::new() } else { format!("[{}] {}\n", room.name, room.meaning) };
    for (key, default, kind) in rows {
        text += &format!("  {:<key_width$}  {default:<default_width$}  {kind}\n      {}\n", key.key, key.meaning);
        for value in &key.values {
            text += &format!("      - {}: {}\n", value.value, value.meaning);
        }
    }
    text
}

/// Lines broken as those of --help: at the width of the terminal, or 100 columns where there is none, each as far in as it
/// began.
fn wrapped(text: String) -> String {
    let mut command = Command::new("config").max_term_width(MAX_WIDTH).help_template("{after-help}").after_help(text);
    command.render_help().to_string().trim_matches('\n').to_string()
}
