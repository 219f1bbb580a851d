//! The command line: what was typed → one call of the library → what is said and the exit code.

mod backbone;
mod cluster;
mod compare;
mod completions;
mod config;
mod errors;
mod eval;
mod features;
mod infer;
mod inspect;
mod interrupt;
mod merge;
mod pixels;
mod plan;
mod predict;
mod report;
mod segment;
mod settings;
mod train;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use deepcut::error::ErrorKind;
use deepcut::event::counted;
use deepcut::parallel;
use deepcut::pipeline::{DeviceChoice, Input, Machine, PipelineError, Precision, Run, ShardChoice, Sources};

use report::Reporter;

/// Text is not wider than this, however wide the terminal.
const MAX_WIDTH: usize = 110;

/// Segment whole collections of images without labels.
///
/// Train one small network on a folder of images, then segment any number of new images with it:
///
///   deepcut train --data photographs
///   deepcut infer --ckpt checkpoints/photographs/best.safetensors --data more --out masks
///
/// Exit codes: 0 all well, 2 wrong usage, 3 finished but some images were skipped,
/// 4 untrusted or broken model or input, or too many bad images (--max-bad), 5 reading or writing failed,
/// 130/143 interrupted. After 5, 130 and 143 the same command continues (train with --resume).
#[derive(Debug, Parser)]
#[command(name = "deepcut", version, verbatim_doc_comment, max_term_width = MAX_WIDTH)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::TrainArguments),
    Infer(infer::InferArguments),
    Segment(segment::SegmentArguments),
    Cluster(cluster::ClusterArguments),
    Features(features::FeaturesArguments),
    Plan(plan::PlanArguments),
    Merge(merge::MergeArguments),
    Eval(eval::EvalArguments),
    Verify(verify::VerifyArguments),
    Inspect(inspect::InspectArguments),
    Backbone(backbone::BackboneArguments),
    Config(config::ConfigArguments),
    Completions(completions::CompletionsArguments),
}

/// How a run talks to the user; the same for every subcommand that runs long.
#[derive(Debug, Clone, Args)]
struct TalkArguments {
    /// Print the result as one JSON object on standard output, and nothing else there
    #[arg(long)]
    json: bool,
    /// Print warnings and errors only
    #[arg(short, long)]
    quiet: bool,
    /// Print more of what happens; twice for details
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
}

/// Where the images of a run are; the same for every subcommand that cannot do without.
#[derive(Debug, Clone, Args)]
struct DataArguments {
    /// A folder (searched with its sub-folders), a list of images (text with one path per line, CSV with a column of paths,
    /// JSON), a tar or Parquet file of images, or one image; may be repeated, and braces stand for several
    /// ('shards/{000..099}.tar'). In a build with the feature remote also s3://, gs://, az:// and https:// addresses of these
    #[arg(long, value_name = "PATH", required = true)]
    data: Vec<PathBuf>,
    #[command(flatten)]
    search: SearchArguments,
}

/// The same, of subcommands whose work may be shared by machines.
#[derive(Debug, Clone, Args)]
struct InputArguments {
    /// A folder (searched with its sub-folders), a list of images (text with one path per line, CSV with a column of paths,
    /// JSON), a tar or Parquet file of images, or one image; may be repeated, and braces stand for several
    /// ('shards/{000..099}.tar'). In a build with the feature remote also s3://, gs://, az:// and https:// addresses of these
    #[arg(long, value_name = "PATH", required_unless_present = "plan")]
    data: Vec<PathBuf>,
    /// Instead of --data: the plan of `deepcut plan`, of which this run does one shard, into OUT/shards/
    #[arg(long, value_name = "FILE", requires = "shard", conflicts_with = "data")]
    plan: Option<PathBuf>,
    /// The number of the shard, from 0 on; one that is finished already is left as it is
    #[arg(long, value_name = "I", requires = "plan")]
    shard: Option<usize>,
    /// Take files as they are now that are missing or have another size than in the plan, which else ends the run
    #[arg(long, requires = "plan")]
    accept_changes: bool,
    #[command(flatten)]
    search: SearchArguments,
}

impl InputArguments {
    fn input(&self) -> Input {
        match (&self.plan, self.shard) {
            (Some(plan), Some(shard)) => {
                Input::Shard(ShardChoice { plan: plan.clone(), shard, accept_changes: self.accept_changes })
            }
            _ => Sources::from(self.data.clone()).into(),
        }
    }

    /// The settings that the flags stand for.
    fn overrides(&self) -> impl Iterator<Item = String> {
        self.search.overrides()
    }
}

/// What of the given images is taken.
#[derive(Debug, Clone, Args)]
struct SearchArguments {
    /// Leave out what .gitignore and .ignore files in folders exclude; .deepcutignore files always count
    #[arg(long, requires = "data")]
    respect_ignore: bool,
    /// Of files with several frames (animated GIF, WebP, PNG) or pages (TIFF), the first or all, each as an image of its own
    /// [default: first]
    #[arg(long, value_parser = ["first", "all"], value_name = "WHICH", visible_alias = "page", requires = "data")]
    frames: Option<String>,
}

impl DataArguments {
    fn sources(&self) -> Sources {
        self.data.clone().into()
    }

    /// The settings that the flags stand for.
    fn overrides(&self) -> impl Iterator<Item = String> {
        self.search.overrides()
    }
}

impl SearchArguments {
    fn overrides(&self) -> impl Iterator<Item = String> {
        let respect_ignore = self.respect_ignore.then(|| "data.respect_ignore=true".to_string());
        respect_ignore.into_iter().chain(self.frames.iter().map(|which| format!("data.frames={which}")))
    }
}

/// What a run does while another one writes to the same folder.
#[derive(Debug, Clone, Args)]
struct WaitArguments {
    /// Wait so long for another run that writes to the same folder; 0 refuses at once [default: until it has finished]
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

impl WaitArguments {
    fn duration(&self) -> Option<Duration> {
        self.wait.map(Duration::from_secs)
    }
}

/// Where a run computes.
#[derive(Debug, Clone, Args)]
struct MachineArguments {
    /// Where to compute: auto takes a CUDA GPU when there is one
    #[arg(long, value_enum, default_value_t = DeviceArgument::Auto)]
    device: DeviceArgument,
    /// Threads on the processor; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Memory for images that are read and decoded at a time, such as 4GiB or 512MiB; a number alone means MiB [default: a
    /// quarter of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    memory: Option<u64>,
    /// What a vision transformer's products are computed in [default: auto, or what the configuration or the checkpoint at
    /// hand says]
    #[arg(long, value_enum)]
    precision: Option<PrecisionArgument>,
}

impl MachineArguments {
    /// What of the machine the run uses, the threads started.
    fn open(&self) -> Result<Machine, PipelineError> {
        start_threads(self.threads)?;
        Ok(Machine {
            device: self.device.into(),
            threads: self.threads,
            memory: self.memory,
            precision: self.precision.map(|precision| match precision {
                PrecisionArgument::Auto => Precision::Auto,
                PrecisionArgument::F32 => Precision::F32,
                PrecisionArgument::Bf16 => Precision::Bf16,
                PrecisionArgument::Int8 => Precision::Int8,
            }),
        })
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeviceArgument {
    Auto,
    Cpu,
    Cuda,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionArgument {
    /// train and segment, for 64 images or more: int8 or bf16 if a few timed products show them to be faster on this processor
    /// and the first images are cut alike, the fastest of these; kept for OUT. Otherwise f32
    Auto,
    /// Single precision
    F32,
    /// Operands in bfloat16, sums in single precision: half of the time on some processors with AVX-512 BF16; also on GPUs
    Bf16,
    /// Operands in bytes, sums in integers: the fastest on processors with instructions for that (AVX-512 VNNI, AVX-VNNI, aarch64's
    /// sdot), slow on others; not on GPUs
    Int8,
}

impl From<DeviceArgument> for DeviceChoice {
    fn from(argument: DeviceArgument) -> Self {
        match argument {
            DeviceArgument::Auto => DeviceChoice::Auto,
            DeviceArgument::Cpu => DeviceChoice::Cpu,
            DeviceArgument::Cuda => DeviceChoice::Cuda,
        }
    }
}

impl Command {
    /// What is said of the command when it is interrupted.
    fn when_interrupted(&self) -> &'static str {
        errors::interrupted(match self {
            Command::Train(_) => Some(Run::Training),
            Command::Infer(_) | Command::Segment(_) => Some(Run::Segmenting),
            Command::Cluster(_) => Some(Run::Grouping),
            Command::Backbone(_) => Some(Run::Fetching),
            Command::Features(_) => Some(Run::Describing),
            Command::Merge(_) => Some(Run::Merging),
            _ => None,
        })
    }
}

/// What a command that ended well has to say.
struct Done {
    /// Whether some images were skipped.
    skipped: bool,
}

/// Runs the program.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    interrupt::listen(cli.command.when_interrupted());
    let result = match &cli.command {
        Command::Train(arguments) => train::run(arguments),
        Command::Infer(arguments) => infer::run(arguments),
        Command::Segment(arguments) => segment::run(arguments),
        Command::Cluster(arguments) => cluster::run(arguments),
        Command::Features(arguments) => features::run(arguments),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Merge(arguments) => merge::run(arguments),
        Command::Eval(arguments) => eval::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Backbone(arguments) => backbone::run(arguments),
        Command::Config(arguments) => config::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
    };
    match result {
        Ok(Done { skipped: false }) => ExitCode::SUCCESS,
        Ok(Done { skipped: true }) => ExitCode::from(3),
        Err(error) => {
            let text = error.downcast_ref::<PipelineError>().map_or_else(|| format!("{error:#}"), errors::message);
            if interrupt::has_last_word() {
                complain(&format!("error: {text}"));
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<errors::WrongUsage>() {
        return 2;
    }
    if error.is::<verify::FaultsFound>() {
        return 4;
    }
    match error.downcast_ref::<PipelineError>().map(PipelineError::kind) {
        Some(ErrorKind::Usage) => 2,
        Some(ErrorKind::Untrusted) => 4,
        Some(ErrorKind::Interrupted) => interrupt::exit_code(),
        _ => 5,
    }
}

/// Bytes in a size such as `4GiB`, `512MiB` or `512`.
fn memory_size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "mib" | "m" => 20,
        "kib" | "k" => 10,
        "gib" | "g" => 30,
        "tib" | "t" => 40,
        _ => return Err("write it as 4GiB, 512MiB or 512".into()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "write it as 4GiB, 512MiB or 512".into())
}

/// Starts the threads that work falls to which no other threads are made for.
fn start_threads(threads: usize) -> Result<(), PipelineError> {
    Ok(parallel::start_shared_pool(threads)?)
}

/// Prints a line to standard output. A reader that has heard enough and closed its end is no failure.
fn say(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| std::io::Error::other(format!("cannot write to standard output: {error}"))),
    }
}

/// Prints a line to standard error; if that is closed, there is nobody left to tell.
fn complain(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

/// The text without what a terminal takes for commands: it may hold names that others gave to files.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}
