//! Work on a stream of items with several threads, results in order, memory bounded.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::{io, thread};

use crate::error::ErrorKind;

mod memory;

pub use memory::{Held, MemoryBudget, NeverFits, Reservation};

/// More threads than any processor has cores only cost memory.
const MOST_THREADS: usize = 1024;

/// Threads that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadsError {
    #[error("there can be at most {most} threads, not {threads}")]
    TooMany { threads: usize, most: usize },
    #[error("the system refuses to start {workers} threads: {source}; set fewer `threads`, or raise its limit")]
    Start { workers: usize, source: io::Error },
}

impl ThreadsError {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ThreadsError::TooMany { .. } => ErrorKind::Usage,
            ThreadsError::Start { .. } => ErrorKind::InputOutput,
        }
    }

    fn of_pool(workers: usize) -> impl Fn(rayon::ThreadPoolBuildError) -> ThreadsError {
        move |error| ThreadsError::Start { workers, source: io::Error::other(error) }
    }
}

/// How many threads a run has; `threads` = 0 means one per processor.
pub fn workers(threads: usize) -> Result<usize, ThreadsError> {
    match threads {
        0 => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        1..=MOST_THREADS => Ok(threads),
        _ => Err(ThreadsError::TooMany { threads, most: MOST_THREADS }),
    }
}

/// A pool of [`workers`] threads that share one task.
pub fn thread_pool(threads: usize) -> Result<rayon::ThreadPool, ThreadsError> {
    let workers = workers(threads)?;
    rayon::ThreadPoolBuilder::new().num_threads(workers).build().map_err(ThreadsError::of_pool(workers))
}

/// Starts the pool that work falls to which no pool is made for, with [`workers`] threads: left alone, it starts where it is
/// first needed, and panics if it cannot. To be called once, by a program, before it computes anything.
pub fn start_shared_pool(threads: usize) -> Result<(), ThreadsError> {
    let workers = workers(threads)?;
    rayon::ThreadPoolBuilder::new().num_threads(workers).build_global().map_err(ThreadsError::of_pool(workers))
}

/// Applies `work` to every item on `workers` threads and hands the results to `consume` in the items' order, on the
/// calling thread. At most 4 items per worker are under way, however slow one of them is.
///
/// Every worker is a thread pool of its own with one thread, itself: items run beside each other and none within. In a
/// common pool, a worker that waits for its own sub-tasks would begin another item meanwhile, and if both need one lock
/// (recording tensors share one), wait for itself for ever.
///
/// An error of `consume` ends the run after the items under way.
///
/// # Errors
/// Those of `consume`, and if the system refuses the threads.
pub fn parallel_map<I, R, E: From<ThreadsError>>(
    items: I,
    workers: usize,
    work: impl Fn(I::Item) -> R + Sync,
    mut consume: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E>
where
    I: Iterator + Send,
    I::Item: Send,
    R: Send,
{
    let window = 4 * workers as u64;
    let queue = Mutex::new(Queue { items, taken: 0, consumed: 0, closed: false });
    let room = Condvar::new();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..workers {
            let sender = sender.clone();
            let (queue, room, work) = (&queue, &room, &work);
            let worker = move || {
                let own_pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
                debug_assert!(own_pool.is_ok(), "a new thread belongs to no pool yet");
                // A panicking item must not leave the others waiting for room.
                let _closer = Closer { queue, room };
                while let Some((number, item)) = next(queue, room, window) {
                    if sender.send((number, work(item))).is_err() {
                        break;
                    }
                }
            };
            if let Err(source) = thread::Builder::new().spawn_scoped(scope, worker) {
                lock(queue).closed = true;
                room.notify_all();
                return Err(ThreadsError::Start { workers, source }.into());
            }
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut expected = 0;
        for (number, result) in receiver {
            early.insert(number, result);
            while let Some(result) = early.remove(&expected) {
                expected += 1;
                lock(&queue).consumed = expected;
                room.notify_all();
                if let Err(error) = consume(result) {
                    lock(&queue).closed = true;
                    room.notify_all();
                    return Err(error);
                }
            }
        }
        Ok(())
    })
}

/// Lets a number of workers compute at a time, so that others can read and write files meanwhile without more threads
/// computing than there are processors.
pub struct Semaphore {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place among those who compute, free again when dropped.
pub struct Permit<'a>(&'a Semaphore);

impl Semaphore {
    pub fn new(places: usize) -> Semaphore {
        Semaphore { free: Mutex::new(places), freed: Condvar::new() }
    }

    /// Waits for a place.
    pub fn acquire(&self) -> Permit<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}

struct Queue<I> {
    items: I,
    taken: u64,
    consumed: u64,
    closed: bool,
}

/// Closes the queue when a worker ends, for the case that it ends by a panic.
struct Closer<'a, I> {
    queue: &'a Mutex<Queue<I>>,
    room: &'a Condvar,
}

impl<I> Drop for Closer<'_, I> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(self.queue).closed = true;
            self.room.notify_all();
        }
    }
}

/// Takes the next item once there is room for it.
fn next<I: Iterator>(queue: &Mutex<Queue<I>>, room: &Condvar, window: u64) -> Option<(u64, I::Item)> {
    let mut state = lock(queue);
    while !state.closed && state.taken >= state.consumed + window {
        state = room.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    if state.closed {
        return None;
    }
    let item = state.items.next()?;
    let number = state.taken;
    state.taken += 1;
    Some((number, item))
}

/// Locks a mutex also where a thread that held it has panicked: whoever asks wants what there is.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A result that was not to come.
    #[derive(Debug, PartialEq)]
    struct Unexpected(String);

    impl From<ThreadsError> for Unexpected {
        fn from(error: ThreadsError) -> Unexpected {
            Unexpected(error.to_string())
        }
    }

    fn unexpected(result: impl std::fmt::Debug) -> Result<(), Unexpected> {
        Err(Unexpected(format!("{result:?}")))
    }

    #[test]
    fn results_come_in_order_and_the_stream_is_not_read_far_ahead() {
        let consumed = AtomicU64::new(0);
        let items = (0..200u64).inspect(|item| assert!(*item <= consumed.load(Ordering::SeqCst) + 12));
        let mut results = Vec::new();
        parallel_map(
            items,
            3,
            |item| {
                std::thread::sleep(std::time::Duration::from_micros(if item % 7 == 0 { 900 } else { 30 }));
                item
            },
            |item| {
                consumed.fetch_add(1, Ordering::SeqCst);
                results.push(item);
                Ok::<(), Unexpected>(())
            },
        )
        .unwrap();
        assert_eq!(results, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_enter_a_gate_than_it_has_places() {
        let (semaphore, inside) = (Semaphore::new(2), AtomicU64::new(0));
        parallel_map(
            0..40,
            5,
            |_| {
                let _turn = semaphore.acquire();
                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::sleep(std::time::Duration::from_micros(200));
                inside.fetch_sub(1, Ordering::SeqCst);
                now
            },
            |now| if now <= 2 { Ok(()) } else { unexpected(now) },
        )
        .unwrap();
    }

    #[test]
    fn the_tasks_of_an_item_stay_on_its_worker() {
        let id = || std::thread::current().id();
        parallel_map(
            0..20,
            3,
            |_| (id(), rayon::join(id, id)),
            |(own, tasks)| if tasks == (own, own) { Ok(()) } else { unexpected((own, tasks)) },
        )
        .unwrap();
    }

    #[test]
    fn an_error_ends_the_run() {
        let result = parallel_map(0.., 2, |item: u64| item, |item| if item == 20 { unexpected(item) } else { Ok(()) });
        assert_eq!(result, unexpected(20));
    }
}
