//! `deepcut backbone`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use deepcut::pipeline::{self, Checked, DEFAULT_BACKBONE, ListedBackbone, WeightsDescription};

use super::compare::{self, CompareArguments};
use super::verify::FaultsFound;
use super::{Done, Reporter, TalkArguments, counted, say};

/// Fetch, show, check, compare or remove the weights of backbones; alone, show the weights that runs use when none are given
///
/// Only `pull` opens a connection, to the place that `list` shows.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BackboneArguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// The same as `install FILE`
    #[arg(long, value_name = "FILE")]
    install: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the published backbones that are known by name, the preferred ones first, and which of them are on this machine
    List(ListArguments),
    /// Fetch a published backbone into the cache of the Hugging Face Hub (HF_HOME), or into deepcut's own folder
    Pull(PullArguments),
    /// Show what is known of weights: dimensions, hashes, licence, settings
    Info(InfoArguments),
    /// Check that the backbones on this machine are as they were when they were first used
    Verify(VerifyArguments),
    /// Remove a published backbone from this machine
    Remove(RemoveArguments),
    /// Copy a weights file to where `--backbone auto` finds it first
    Install(InstallArguments),
    Compare(Box<CompareArguments>),
}

#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Args)]
struct PullArguments {
    /// A name of `deepcut backbone list`
    #[arg(default_value = DEFAULT_BACKBONE)]
    name: String,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Args)]
struct InfoArguments {
    /// A weights file, or a name of `deepcut backbone list`
    #[arg(value_name = "FILE|NAME")]
    weights: PathBuf,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Args)]
struct VerifyArguments {
    /// Names of `deepcut backbone list` [default: all that are on this machine]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Args)]
struct RemoveArguments {
    /// A name of `deepcut backbone list`
    name: String,
    /// Also from the cache that other programs use too
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    talk: TalkArguments,
}

#[derive(Debug, Args)]
struct InstallArguments {
    /// A weights file, .safetensors, .pth or .pt
    file: PathBuf,
}

pub fn run(arguments: &BackboneArguments) -> anyhow::Result<Done> {
    match (&arguments.action, &arguments.install) {
        (Some(Action::List(arguments)), _) => list(arguments)?,
        (Some(Action::Pull(arguments)), _) => pull(arguments)?,
        (Some(Action::Info(arguments)), _) => info(arguments)?,
        (Some(Action::Verify(arguments)), _) => verify(arguments)?,
        (Some(Action::Remove(arguments)), _) => remove(arguments)?,
        (Some(Action::Compare(arguments)), _) => return compare::run(arguments),
        (Some(Action::Install(InstallArguments { file })), _) | (None, Some(file)) => install(file)?,
        (None, None) => show_installed()?,
    }
    Ok(Done { skipped: false })
}

fn install(file: &Path) -> anyhow::Result<()> {
    let target = pipeline::install_weights(file)?;
    Ok(say(&format!("installed {}", target.display()))?)
}

fn show_installed() -> anyhow::Result<()> {
    let installed = pipeline::installed();
    let pulled = pipeline::list_backbones().into_iter().find_map(|listed| Some((listed.name, listed.path?)));
    let found = match (&installed.found, pulled, &installed.folder) {
        (Some(path), ..) => format!("installed: {}", path.display()),
        (None, Some((name, path)), _) => format!("{name}: {path}"),
        (None, None, Some(folder)) => format!(
            "no weights are installed in {}; runs without --weights use superpixels.\n\
             Fetch a ViT's weights with `deepcut backbone pull`, or install a file (safetensors or .pth) with \
             `deepcut backbone install FILE`.",
            folder.display()
        ),
        (None, None, None) => {
            "there is no home folder to look for weights in; set DEEPCUT_HOME to a folder".to_string()
        }
    };
    Ok(say(&found)?)
}

fn list(arguments: &ListArguments) -> anyhow::Result<()> {
    let listed = pipeline::list_backbones();
    let mut text = format!("{:<18} {:<8} {:<15} {:>9}  from or at\n", "name", "here", "licence", "size");
    for ListedBackbone { name, licence, access, address, size, path, .. } in &listed {
        let here = if path.is_some() { "yes" } else { "no" };
        let size = size.map_or("?".into(), size_text);
        let asked = access.as_ref().map_or(String::new(), |access| format!(" (access: {access})"));
        let place = path.as_ref().unwrap_or(address);
        text += &format!("{name:<18} {here:<8} {licence:<15} {size:>9}  {place}{asked}\n");
    }
    Reporter::new(&arguments.talk).result(text.trim_end(), &listed)
}

fn pull(arguments: &PullArguments) -> anyhow::Result<()> {
    let reporter = Reporter::new(&arguments.talk);
    let pulled = pipeline::pull_backbone(&arguments.name, &reporter)?;
    let how = match pulled.transferred {
        0 => "was here already".to_string(),
        bytes => format!("fetched {}", size_text(bytes)),
    };
    let used = match pulled.is_used {
        true => "runs without --weights use it now".to_string(),
        false => format!("--weights {} uses it", pulled.name),
    };
    let (name, path, licence) = (&pulled.name, pulled.path.display(), &pulled.licence);
    let text = format!("{name}: {how}; {path} (SHA-256 {}, licence {licence}); {used}", pulled.sha256);
    reporter.result(&text, &pulled)
}

fn info(arguments: &InfoArguments) -> anyhow::Result<()> {
    let description = pipeline::describe_weights(&arguments.weights)?;
    Reporter::new(&arguments.talk).result(&table(&description), &description)
}

fn table(description: &WeightsDescription) -> String {
    let unknown = || "unknown".to_string();
    let of_list = |value: &Option<String>| value.clone().unwrap_or_else(unknown);
    let side = description.position_side;
    let mut rows = vec![
        ("file", description.path.display().to_string()),
        ("size", description.size.map_or_else(unknown, size_text)),
        ("SHA-256", of_list(&description.sha256)),
        ("blake3", description.blake3.clone()),
        ("name", of_list(&description.name)),
        ("licence", of_list(&description.licence)),
        ("family", description.architecture.to_string()),
        ("naming", description.naming.to_string()),
        ("width", description.width.to_string()),
        ("depth", description.depth.to_string()),
        ("heads", description.heads.map_or_else(unknown, |heads| heads.to_string())),
        ("patch", format!("{0}×{0} pixels", description.patch)),
        ("positions", if side > 0 { format!("{side}×{side}") } else { "rotary".into() }),
        ("registers", description.registers.to_string()),
        ("MLP width", description.mlp_width.to_string()),
    ];
    rows.extend(description.settings.iter().map(|setting| ("setting", setting.clone())));
    let rows: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<10} {value}")).collect();
    rows.join("\n")
}

fn verify(arguments: &VerifyArguments) -> anyhow::Result<()> {
    let reporter = Reporter::new(&arguments.talk);
    let found = pipeline::verify_backbones(&arguments.names)?;
    let changed = found.iter().filter(|backbone| backbone.checked == Checked::Changed).count();
    for backbone in &found {
        let word = match backbone.checked {
            Checked::Unchanged => "unchanged",
            Checked::Recorded => "recorded now",
            Checked::Changed => "changed since it was first used",
        };
        reporter.line(&format!("{}: {word}, {}", backbone.name, backbone.path.display()));
    }
    let counted = counted(found.len() as u64, "backbone");
    reporter.result(&format!("{counted} checked, {changed} changed"), &found)?;
    match changed {
        0 => Ok(()),
        _ => Err(FaultsFound(format!(
            "{changed} of {counted} not as when first used; `deepcut backbone remove NAME --yes` and \
             `deepcut backbone pull NAME` get one anew"
        ))
        .into()),
    }
}

fn remove(arguments: &RemoveArguments) -> anyhow::Result<()> {
    let gone = pipeline::remove_backbone(&arguments.name, arguments.yes)?;
    let gone: Vec<String> = gone.iter().map(|path| path.display().to_string()).collect();
    let text = format!("removed {}", gone.join(", "));
    Reporter::new(&arguments.talk).result(&text, &serde_json::json!({"name": arguments.name, "removed": gone}))
}

fn size_text(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
