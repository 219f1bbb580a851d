//! Long calls: the interpreter goes on meanwhile, hears what happens, and can stop them.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use deepcut::event::{EpochReport, Event, Observer, Phase};
use deepcut::{Error, event};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::exception;

/// How long a signal may wait to be seen.
const PAUSE: Duration = Duration::from_millis(50);

/// The stack of a program's first thread, on which runs go there.
const STACK_BYTES: usize = 8 << 20;

enum Message {
    Happened(Event),
    Over,
}

/// Hands what happens to the thread that called.
pub struct Relay {
    messages: Sender<Message>,
    stopped: AtomicBool,
}

impl Observer for Relay {
    fn observe(&self, event: Event) {
        // Only fails where nobody listens any more.
        let _ = self.messages.send(Message::Happened(event));
    }

    fn interrupted(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Says that the work is over, also where it ends by a panic.
struct SaysOver(Sender<Message>);

impl Drop for SaysOver {
    fn drop(&mut self) {
        let _ = self.0.send(Message::Over);
    }
}

/// Does `work` on a thread of its own. Its events reach `listener` as dictionaries, on the calling thread; an exception there, or
/// a signal such as that of Ctrl-C, stops the work at its next point, and is what is raised.
pub fn watched<T: Send>(listener: &Bound<PyAny>, work: impl FnOnce(&Relay) -> Result<T, Error> + Send) -> PyResult<T> {
    let (py, listener) = (listener.py(), listener.clone().unbind());
    let (messages, received) = mpsc::channel();
    let over = SaysOver(messages.clone());
    let relay = Relay { messages, stopped: AtomicBool::new(false) };
    let outcome = py.detach(move || {
        thread::scope(|scope| {
            let relay = &relay;
            let builder = thread::Builder::new().name("deepcut".into()).stack_size(STACK_BYTES);
            let worker = builder.spawn_scoped(scope, move || {
                let _over = over;
                work(relay)
            });
            let worker =
                worker.map_err(|error| PyRuntimeError::new_err(format!("no thread can be started: {error}")))?;
            let mut raised: Option<PyErr> = None;
            loop {
                let message = received.recv_timeout(PAUSE);
                if matches!(message, Ok(Message::Over)) {
                    break;
                }
                let heard = Python::attach(|py| match message {
                    Ok(Message::Happened(event)) if raised.is_none() => {
                        dictionary(py, event).and_then(|event| listener.call1(py, (event,))).map(drop)
                    }
                    Ok(_) => Ok(()),
                    Err(_) => py.check_signals(),
                });
                if let Err(error) = heard {
                    relay.stopped.store(true, Ordering::Relaxed);
                    // What came first is what there is to say.
                    raised.get_or_insert(error);
                }
            }
            let result = worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            raised.map_or(Ok(result), Err)
        })
    });
    outcome?.map_err(|error| exception(py, &error))
}

/// The name of a phase for people and programs.
fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Features => "features",
        Phase::Propagation => "propagation",
        Phase::Training => "training",
        Phase::Background => "background",
        Phase::Teaching => "teaching",
        Phase::Inference => "inference",
        Phase::Evaluation => "evaluation",
        Phase::Verification => "verification",
        Phase::Transfer => "transfer",
        Phase::Listing => "listing",
        Phase::Merging => "merging",
    }
}

fn dictionary(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyDict>> {
    let fields = PyDict::new(py);
    let kind = match event {
        Event::Plan(plan) => {
            fields.set_item("message", plan.to_string())?;
            "plan"
        }
        Event::PhaseStarted { phase, total } => {
            fields.set_item("phase", name(phase))?;
            fields.set_item("total", total)?;
            "phase_started"
        }
        Event::PhaseProgress { phase, done } => {
            fields.set_item("phase", name(phase))?;
            fields.set_item("done", done)?;
            "phase_progress"
        }
        Event::PhaseFinished { phase } => {
            fields.set_item("phase", name(phase))?;
            "phase_finished"
        }
        Event::Epoch(report) => {
            let EpochReport { epoch, epochs, train_loss, held_out_loss, largest_cluster_share, learning_rate, best } =
                report;
            fields.set_item("epoch", epoch)?;
            fields.set_item("epochs", epochs)?;
            fields.set_item("train_loss", train_loss)?;
            fields.set_item("held_out_loss", held_out_loss)?;
            fields.set_item("largest_cluster_share", largest_cluster_share)?;
            fields.set_item("learning_rate", learning_rate)?;
            fields.set_item("best", best)?;
            "epoch"
        }
        Event::Skipped { path, reason } => {
            let skipped = event::SkippedFile { path, reason };
            fields.set_item("message", skipped.to_string())?;
            fields.set_item("path", skipped.path.as_os_str())?;
            fields.set_item("reason", skipped.reason)?;
            "skipped"
        }
        Event::Warning(message) => {
            fields.set_item("message", message)?;
            "warning"
        }
        Event::Note(message) => {
            fields.set_item("message", message)?;
            "note"
        }
    };
    fields.set_item("kind", kind)?;
    Ok(fields)
}
