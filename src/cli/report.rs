//! Draws the library's events: lines, progress bars, the log.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use deepcut::event::{EpochReport, Event, Observer, Phase, Plan, SkippedFile};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::errors::with_flags;
use super::{TalkArguments, complain, interrupt, printable, say};

/// The progress bar of the run's phase; whoever ends the program clears it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Shows events to the user.
pub struct Reporter {
    arguments: TalkArguments,
}

impl Reporter {
    /// Starts logging.
    pub fn new(arguments: &TalkArguments) -> Reporter {
        let level = match arguments.verbose {
            0 => "off",
            1 => "deepcut=info",
            _ => "deepcut=debug,warn",
        };
        // Fails only if another subscriber is set already, which then is as good.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(level))
            .with_writer(std::io::stderr)
            .with_target(false)
            .try_init();
        Reporter { arguments: arguments.clone() }
    }

    /// Prints a line of the story of the run.
    pub fn line(&self, text: &str) {
        if !self.arguments.quiet && !self.arguments.json {
            // The run's result matters more than its story.
            self.beside_bar(|| drop(say(&printable(text))));
        }
    }

    /// Prints a line for users who want to know more.
    pub fn detail(&self, text: &str) {
        if self.arguments.verbose > 0 {
            self.line(text);
        }
    }

    /// Prints the result: `json` for machines or `text` for people.
    pub fn result(&self, text: &str, json: &impl serde::Serialize) -> anyhow::Result<()> {
        match (self.arguments.json, self.arguments.quiet) {
            (true, _) => say(&serde_json::to_string(json)?)?,
            (false, false) => say(text)?,
            (false, true) => {}
        }
        Ok(())
    }

    fn beside_bar(&self, print: impl FnOnce()) {
        match &*BAR.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn start_bar(&self, phase: Phase, total: Option<u64>) {
        let show = !self.arguments.quiet && !self.arguments.json && std::io::stderr().is_terminal();
        let target = if show { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            _ if phase == Phase::Transfer => {
                "{msg:12} {wide_bar} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left"
            }
            Some(_) => "{msg:12} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta} left",
            None => "{msg:12} {spinner} {human_pos}  {per_sec}  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(match phase {
            Phase::Features => "features",
            Phase::Propagation => "propagation",
            Phase::Training => "epochs",
            Phase::Background => "background",
            Phase::Teaching => "teaching",
            Phase::Inference => "images",
            Phase::Evaluation => "scores",
            Phase::Verification => "checksums",
            Phase::Transfer => "fetching",
            Phase::Listing => "listing",
            Phase::Merging => "merging",
        });
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }
}

impl Observer for Reporter {
    fn observe(&self, event: Event) {
        tracing::debug!(?event);
        match event {
            Event::Plan(plan) => self.line(&plan_line(&plan)),
            Event::Note(text) => self.line(&with_flags(&text)),
            Event::Warning(text) => self.beside_bar(|| complain(&format!("warning: {}", with_flags(&text)))),
            Event::Skipped { path, reason } => {
                // One line for an image, whatever its name is.
                let skipped = with_flags(&SkippedFile { path, reason }.to_string()).replace('\n', "\\n");
                self.beside_bar(|| complain(&format!("skipped: {skipped}")));
            }
            Event::Epoch(report) => {
                if is_landmark(&report) {
                    self.line(&epoch_line(&report));
                } else {
                    self.detail(&epoch_line(&report));
                }
            }
            Event::PhaseStarted { phase, total } => {
                tracing::info!(?phase, total, "started");
                self.start_bar(phase, total);
            }
            Event::PhaseProgress { done, .. } => {
                if let Some(bar) = &*BAR.lock().unwrap_or_else(PoisonError::into_inner) {
                    bar.set_position(done);
                }
            }
            Event::PhaseFinished { phase } => {
                tracing::info!(?phase, "finished");
                if let Some(bar) = BAR.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    bar.finish_and_clear();
                }
            }
        }
    }

    fn interrupted(&self) -> bool {
        interrupt::came()
    }
}

/// Takes the progress bar away before the program ends, unless another thread is at it.
pub fn clear_bar() {
    if let Some(bar) = BAR.try_lock().ok().and_then(|mut bar| bar.take()) {
        bar.finish_and_clear();
    }
}

/// The first line of a run, with the way to better features where there is one.
fn plan_line(plan: &Plan) -> String {
    let hint = match plan.could_be_deeper {
        true => " (for deep features `deepcut backbone pull`, or give a ViT's weights with --weights FILE)",
        false => "",
    };
    format!("{}: {}{hint}, {}", plan.doing, plan.backbone, plan.how)
}

/// About ten epochs of a run are worth a line.
fn is_landmark(report: &EpochReport) -> bool {
    report.epoch == 1 || report.epoch == report.epochs || report.epoch.is_multiple_of(report.epochs.div_ceil(10))
}

fn epoch_line(report: &EpochReport) -> String {
    format!(
        "epoch {:>4}/{}  loss {:+.4}  held out {:+.4}  largest cluster {:>3.0} %{}",
        report.epoch,
        report.epochs,
        report.train_loss,
        report.held_out_loss,
        100.0 * report.largest_cluster_share,
        if report.best { "  best" } else { "" }
    )
}
