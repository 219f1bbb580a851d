//! The signals of the system: an interrupt ends the program within two seconds, whatever it is doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::{complain, report};

/// How long an interrupted run has to stop at a point of its own. Results and states are written atomically, so it loses
/// nothing but the image or the epoch under way when it is ended at another.
const GRACE: Duration = Duration::from_millis(1500);

/// How long the last line may wait for a standard error that nobody reads.
const LAST_LINE: Duration = Duration::from_millis(250);

/// How often it is looked whether there was a signal.
const PAUSE: Duration = Duration::from_millis(50);

/// The signal that interrupted the run, 0 for none.
static SIGNAL: AtomicUsize = AtomicUsize::new(0);

/// Whether somebody has said already how the run ended.
static SAID: AtomicBool = AtomicBool::new(false);

/// From now on the first interrupt asks the run to stop at a point it can resume from; if it has not after a moment, the
/// program says `message` and ends. The second interrupt ends it at once.
pub fn listen(message: &'static str) {
    let at_once = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Registering can only fail for signals that may not be caught.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&at_once));
        let _ = signal_hook::flag::register(signal, Arc::clone(&at_once));
        let _ = signal_hook::flag::register_usize(signal, &SIGNAL, signal.unsigned_abs() as usize);
    }
    // A file that may not grow further is then an error of writing, instead of the end of the program.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let watcher = thread::Builder::new().name("interrupts".into()).spawn(move || watch(message));
    if watcher.is_err() {
        // Nobody is there to end a run that does not stop by itself.
        at_once.store(true, Ordering::SeqCst);
    }
}

/// Whether the run is to stop.
pub fn came() -> bool {
    SIGNAL.load(Ordering::Relaxed) != 0
}

/// 128 plus the signal's number, as shells report it.
pub fn exit_code() -> u8 {
    (128 + SIGNAL.load(Ordering::Relaxed)).try_into().unwrap_or(130)
}

/// Whether the caller is the first, and so the one who says how the run ended.
pub fn has_last_word() -> bool {
    !SAID.swap(true, Ordering::SeqCst)
}

fn watch(message: &'static str) {
    while !came() {
        thread::sleep(PAUSE);
    }
    thread::sleep(GRACE);
    let say = move || {
        if has_last_word() {
            report::clear_bar();
            complain(&format!("error: {message}"));
        } else {
            // The run is about to end by itself.
            thread::sleep(LAST_LINE);
        }
    };
    // By another thread: a terminal that is stopped or a pipe that is full would hold this one up.
    if let Ok(last_line) = thread::Builder::new().spawn(say) {
        let began = Instant::now();
        while !last_line.is_finished() && began.elapsed() < LAST_LINE {
            thread::sleep(Duration::from_millis(5));
        }
    }
    signal_hook::low_level::exit(exit_code().into());
}
