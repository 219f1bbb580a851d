//! Processes that are watched, signalled and measured.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Outcome, ensure, is_long};
use crate::drive::text;

/// A run that lasts longer hangs: the largest collection alone takes a quarter of an hour.
const HANGS: Duration = Duration::from_secs(3600);

/// A process under way, whose output is being read.
pub struct Process {
    child: Child,
    started: Instant,
    readers: [JoinHandle<String>; 2],
    peak_kib: u64,
}

/// How a process ended.
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: String,
    pub error: String,
    pub took: Duration,
    /// The most memory it had at a time, in KiB.
    pub peak_kib: u64,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let readers = [reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap())];
        Process { child, started: Instant::now(), readers, peak_kib: 0 }
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until `moment` after the start, or the end of the process; whether it is still alive.
    pub fn until(&mut self, moment: Duration) -> bool {
        while self.started.elapsed() < moment && self.is_alive() {
            let rest = moment.saturating_sub(self.started.elapsed());
            std::thread::sleep(rest.min(Duration::from_millis(5)));
        }
        self.is_alive()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Sends a signal by its name, such as TERM.
    pub fn send(&self, signal: &str) {
        let process = self.child.id().to_string();
        // It may have ended meanwhile.
        let _ = Command::new("kill").args([format!("-{signal}"), process]).stderr(Stdio::null()).status();
    }

    /// Waits for the end.
    pub fn wait(self) -> Ended {
        self.wait_at_most(HANGS)
    }

    /// Waits for the end, and kills the process after the given time; it then has ended by signal 9.
    pub fn wait_at_most(mut self, limit: Duration) -> Ended {
        let waiting = Instant::now();
        let status = loop {
            self.peak_kib = self.peak_kib.max(peak_kib(self.child.id()).unwrap_or(0));
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if waiting.elapsed() > limit {
                self.kill();
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = self.started.elapsed();
        let [out, error] = self.readers.map(|reader| reader.join().unwrap());
        Ended { code: status.code(), signal: status.signal(), out, error, took, peak_kib: self.peak_kib }
    }
}

impl Ended {
    /// One of the exit codes, and no panic whatever the code.
    pub fn ended_with(&self, codes: &[i32]) -> Outcome {
        ensure(!self.error.contains("panicked"), || format!("it panicked:\n{}", self.error))?;
        let expected = self.code.is_some_and(|code| codes.contains(&code));
        ensure(expected, || {
            format!("it ended with {:?}, signal {:?}, not {codes:?}:\n{}", self.code, self.signal, self.error)
        })
    }

    /// The text on standard error that says what went wrong.
    pub fn complaint(&self) -> &str {
        self.error.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default()
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    Process::start(command).wait()
}

/// The same command, started by another program that is given it as its last arguments.
pub fn within(wrapper: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// Whether a program is on this machine and starts.
pub fn has(name: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// How long an interrupted or refused run may take to end: 3 seconds where nothing runs beside it, more in `cargo test`,
/// where other tests do.
pub fn soon() -> Duration {
    Duration::from_secs(if is_long() { 3 } else { 8 })
}

/// The most memory that a live process has had at a time.
fn peak_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    // Until it becomes the program, a new process has the memory of this one.
    if !status.starts_with("Name:\tdeepcut\n") {
        return None;
    }
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}

fn reader(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What a dying process said until then.
        let _ = stream.read_to_end(&mut bytes);
        text(&bytes)
    })
}
