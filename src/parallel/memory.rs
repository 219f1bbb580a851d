//! One budget of memory for everything that a process reads and decodes at a time.
//!
//! Whoever needs memory asks before it is taken and waits until there is room, in the order of asking. Nobody waits for ever:
//! who holds memory never waits for more, and neither does a thread of a pool of several, which may have begun one task
//! while it waits for the parts of another.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};

use super::lock;

/// Where nothing is known of the machine.
const USUAL_BYTES: u64 = 2 << 30;
/// Of the machine's memory the rest is for networks, graphs, results, and other programs.
const SHARE_OF_MACHINE: u64 = 4;

/// Something that is larger than the whole budget.
#[derive(Debug, thiserror::Error)]
#[error(
    "reading and decoding it takes {} MiB, more than the {} MiB of `memory`; shrink it, leave it out or raise `memory`",
    needed.div_ceil(1 << 20),
    total >> 20
)]
pub struct NeverFits {
    /// Bytes.
    pub needed: u64,
    pub total: u64,
}

/// Bytes that may be held at a time.
#[derive(Debug)]
pub struct MemoryBudget {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    total: u64,
    held: u64,
    /// Who asks takes a number; who has the number that is served may take memory.
    next: u64,
    served: u64,
}

/// Part of a budget, free again when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: u64,
    /// How many the thread holds that asked for it.
    of_thread: Arc<AtomicUsize>,
}

/// A value with the memory it takes.
#[derive(Debug)]
pub struct Held<T> {
    value: T,
    _reservation: Option<Reservation>,
}

thread_local! {
    static OF_THREAD: Arc<AtomicUsize> = Arc::default();
}

impl MemoryBudget {
    pub fn new(total: u64) -> Arc<MemoryBudget> {
        let state = Mutex::new(State { total, held: 0, next: 0, served: 0 });
        Arc::new(MemoryBudget { state, changed: Condvar::new() })
    }

    /// The budget of this process: a quarter of the machine's memory unless [`MemoryBudget::limit`] has said otherwise.
    pub fn of_process() -> &'static Arc<MemoryBudget> {
        static BUDGET: LazyLock<Arc<MemoryBudget>> =
            LazyLock::new(|| MemoryBudget::new(machine_bytes().map_or(USUAL_BYTES, |bytes| bytes / SHARE_OF_MACHINE)));
        &BUDGET
    }

    /// Sets how many bytes may be held at a time; what is held stays so.
    pub fn limit(&self, total: u64) {
        lock(&self.state).total = total;
        self.changed.notify_all();
    }

    /// How many bytes may be held at a time.
    pub fn total(&self) -> u64 {
        lock(&self.state).total
    }

    /// Waits until there is room and takes what is `wished`, or all there is if that is less. What is `needed` must fit into
    /// the whole budget.
    pub fn acquire(self: &Arc<Self>, needed: u64, wished: u64) -> Result<Reservation, NeverFits> {
        let of_thread = OF_THREAD.with(Arc::clone);
        let in_pool = rayon::current_thread_index().is_some() && rayon::current_num_threads() > 1;
        let may_wait = of_thread.load(Ordering::Relaxed) == 0 && !in_pool;
        let mut state = lock(&self.state);
        if needed > state.total {
            return Err(NeverFits { needed, total: state.total });
        }
        let bytes = wished.max(needed).min(state.total);
        if may_wait {
            let number = state.next;
            state.next += 1;
            // Less room than there was may have been made meanwhile: what never fits goes when it is alone.
            while number != state.served || (state.held > 0 && state.held.saturating_add(bytes) > state.total) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.served += 1;
            self.changed.notify_all();
        }
        state.held = state.held.saturating_add(bytes);
        of_thread.fetch_add(1, Ordering::Relaxed);
        Ok(Reservation { budget: Arc::clone(self), bytes, of_thread })
    }
}

impl Reservation {
    /// Holds another number of bytes from now on, without waiting.
    pub fn resize(&mut self, bytes: u64) {
        let mut state = lock(&self.budget.state);
        state.held = state.held.saturating_sub(self.bytes).saturating_add(bytes);
        self.bytes = bytes;
        self.budget.changed.notify_all();
    }

    /// Holds so many bytes more, without waiting.
    pub fn grow(&mut self, bytes: u64) {
        self.resize(self.bytes.saturating_add(bytes));
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.resize(0);
        self.of_thread.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Held<T> {
    pub fn new(value: T, reservation: Option<Reservation>) -> Held<T> {
        Held { value, _reservation: reservation }
    }

    /// What is made of the value, which counts as much.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Held<U> {
        Held { value: make(self.value), _reservation: self._reservation }
    }

    /// The value alone, which no longer counts.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The memory of the machine, or of the group of processes that this one is in, if that has less.
fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(group_limits().fold(kibibytes.saturating_mul(1024), u64::min))
}

/// What Linux's control groups, of either version, leave to this process.
fn group_limits() -> impl Iterator<Item = u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_string();
    let parts: Vec<&str> = own.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
    let version_2 = (0..=parts.len()).map(|depth| format!("/sys/fs/cgroup/{}/memory.max", parts[..depth].join("/")));
    let files: Vec<String> = version_2.chain(["/sys/fs/cgroup/memory/memory.limit_in_bytes".to_string()]).collect();
    files.into_iter().filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::parallel::{ThreadsError, parallel_map};

    #[test]
    fn no_more_is_held_than_there_is_and_everybody_has_a_turn() {
        let budget = MemoryBudget::new(100);
        let sizes = (0..200u64).map(|item| if item % 10 == 0 { 100 } else { 7 * (item % 5) });
        let most = Mutex::new(0);
        let hold = |bytes: u64| {
            let mut reservation = budget.acquire(bytes, bytes).unwrap();
            let held = lock(&budget.state).held;
            let mut most = lock(&most);
            *most = held.max(*most);
            drop(most);
            std::thread::sleep(Duration::from_micros(50));
            reservation.resize(bytes / 2);
        };
        parallel_map(sizes, 6, hold, |()| Ok::<(), ThreadsError>(())).unwrap();
        assert_eq!((*lock(&most), lock(&budget.state).held), (100, 0));
        let refused = budget.acquire(101, 101).unwrap_err().to_string();
        assert!(refused.contains("`memory`"), "{refused}");
    }

    #[test]
    fn who_holds_memory_never_waits_for_more() {
        let budget = MemoryBudget::new(10);
        let first = budget.acquire(8, 8).unwrap();
        let second = budget.acquire(8, 0).unwrap();
        assert_eq!(lock(&budget.state).held, 16);
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.acquire(1, 1).map(drop));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            drop((first, second));
            waiting.join().unwrap()
        });
        assert!(waiting.is_ok() && lock(&budget.state).held == 0);
        assert_eq!(budget.acquire(5, 50).unwrap().bytes(), 10, "a wish is granted as far as possible");
    }
}
