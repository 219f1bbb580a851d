//! Output that is to lie elsewhere: a folder on a disk while a run works, whose files are sent as they are finished.
//!
//! What runs have made there before is fetched first, so that a run goes on where another one was, on whatever machine. The
//! record of whose the files are is sent before them, what says that a run has finished after them; so at any time there lies
//! elsewhere what a killed run leaves on a disk. Nobody is kept from sending to one place at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use super::OutputError;
use crate::event::{Event, Observer, counted};
use crate::files;
use crate::manifest::{self, Made, Manifest};
use crate::parallel::{ThreadsError, lock, parallel_map};
use crate::remote::{self, Address, RemoteError, Service};

/// How often finished files are sent while a run works.
const INTERVAL: Duration = Duration::from_secs(10);
/// Most of sending is waiting.
const THREADS: usize = 16;
/// Stands in the mirror for what somebody else has in a folder there.
const SOMETHING: &str = "something";
const NEVER_SENT: [&str; 2] = [".deepcut/lock", ".deepcut/tmp/"];

/// What of the output is at hand while a run works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched<'a> {
    /// What runs have made in the folder itself.
    Own,
    /// The same, and all that lies below a folder in it.
    With(&'a str),
    /// The files of these names.
    Files(&'a [&'a str]),
}

/// Lets `work` write into the folder `out`, or where that lies elsewhere into a folder on a disk, of which `part` is sent there: a
/// folder in it, or all of it where that is empty.
///
/// # Errors
/// Those of `work`; [`OutputError::Elsewhere`] where what lies there cannot be fetched, or not all be sent.
pub fn with_output<T, E: From<OutputError>>(
    out: &Path,
    part: &str,
    fetched: Fetched,
    observer: &dyn Observer,
    work: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let Some(address) = Address::of(out) else { return work(out) };
    let mirror = Mirror::open(out, &address, part, fetched, observer)?;
    let result = thread::scope(|scope| {
        let (working, stopped) = channel::<()>();
        let mirror = &mirror;
        scope.spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // What cannot be sent now is tried again at the end, and told there.
                let _ = mirror.send(What::OfImages);
            }
        });
        let result = work(mirror.folder.path());
        drop(working);
        result
    });
    // Of a run that has failed all is kept that it would have left on a disk.
    let sent = mirror.send(What::All);
    let result = result?;
    let sent = sent?;
    observer.observe(Event::Note(format!("sent {} to {}", counted(sent, "file"), out.display())));
    Ok(result)
}

/// What a file was when it was last the same here and there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    bytes: u64,
    changed: Option<SystemTime>,
}

impl State {
    fn of(path: &Path) -> io::Result<State> {
        let metadata = fs::metadata(path)?;
        Ok(State { bytes: metadata.len(), changed: metadata.modified().ok() })
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Files in folders, which are complete once they are there.
    OfImages,
    All,
}

struct Mirror {
    out: PathBuf,
    address: Address,
    folder: tempfile::TempDir,
    /// That in it which is the same as what lies there.
    root: PathBuf,
    /// By names with `/`.
    known: Mutex<BTreeMap<String, State>>,
    /// What stands for somebody else's.
    foreign: Mutex<BTreeSet<String>>,
}

impl Mirror {
    fn open(
        out: &Path,
        address: &Address,
        part: &str,
        fetched: Fetched,
        observer: &dyn Observer,
    ) -> Result<Mirror, OutputError> {
        let failed = |source| OutputError::Elsewhere { path: out.to_path_buf(), source };
        if matches!(address.service, Service::Web { .. }) {
            return Err(failed(RemoteError::NoWriting));
        }
        let folder = tempfile::Builder::new().prefix("deepcut-").tempdir();
        let folder = folder
            .map_err(|source| OutputError::CreateFolder { path: std::env::temp_dir().join("deepcut-…"), source })?;
        let (root, address) = (folder.path().join(part), address.join(part));
        let out = if part.is_empty() { out.to_path_buf() } else { out.join(part) };
        let mirror = Mirror { out, address, folder, root, known: Mutex::default(), foreign: Mutex::default() };
        let names = match fetched {
            Fetched::Files(names) => {
                let there = remote::list(&mirror.address).map_err(failed)?.objects;
                there.into_iter().map(|(name, _)| name).filter(|name| names.contains(&&**name)).collect()
            }
            Fetched::Own => mirror.own(None).map_err(failed)?,
            Fetched::With(folder) => mirror.own(Some(folder)).map_err(failed)?,
        };
        let count = names.len() as u64;
        mirror.fetch(names)?;
        if count > 0 {
            observer.observe(Event::Note(format!("fetched {} from {}", counted(count, "file"), mirror.out.display())));
        }
        Ok(mirror)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn there(&self, name: &str) -> Address {
        self.address.join(name)
    }

    /// The names of what runs have made, and of all in `further`. What others have is not fetched; something stands for it, so that
    /// a run sees that a name is taken.
    fn own(&self, further: Option<&str>) -> Result<Vec<String>, RemoteError> {
        let listing = remote::list(&self.address)?;
        let mut names = Vec::new();
        let manifest = if listing.folders.iter().any(|name| name == manifest::FOLDER) {
            self.below(manifest::FOLDER, &mut names)?;
            self.manifest(&names)?
        } else {
            Manifest::default()
        };
        let is_own = |name: &str| manifest.made().any(|(made, _)| Path::new(made).starts_with(name));
        for (name, _) in listing.objects {
            if is_own(&name) { names.push(name) } else { self.stand_in(&name)? }
        }
        let folders = listing.folders.iter().filter(|name| *name != manifest::FOLDER && !self.at(name).exists());
        for name in folders {
            if is_own(name) || further == Some(name.as_str()) {
                self.below(name, &mut names)?;
            } else {
                self.stand_in(&format!("{name}/{SOMETHING}"))?;
            }
        }
        Ok(names)
    }

    /// The record of what is whose. A broken one is for the run to find.
    fn manifest(&self, names: &[String]) -> Result<Manifest, RemoteError> {
        let name = format!("{}/{}", manifest::FOLDER, manifest::FILE);
        if !names.contains(&name) {
            return Ok(Manifest::default());
        }
        remote::fetch(&self.there(&name), &self.created(&name)?)?;
        Ok(Manifest::read(&self.root).ok().flatten().unwrap_or_default())
    }

    fn below(&self, folder: &str, names: &mut Vec<String>) -> Result<(), RemoteError> {
        let listing = remote::list(&self.there(folder))?;
        names.extend(listing.objects.into_iter().map(|(name, _)| format!("{folder}/{name}")));
        listing.folders.iter().try_for_each(|name| self.below(&format!("{folder}/{name}"), names))
    }

    /// Puts an empty file in the place of one that is not ours.
    fn stand_in(&self, name: &str) -> Result<(), RemoteError> {
        let path = self.created(name)?;
        File::create(&path).map_err(RemoteError::of_disk)?;
        lock(&self.foreign).insert(name.to_string());
        Ok(())
    }

    /// The path of a file, whose folder is there.
    fn created(&self, name: &str) -> Result<PathBuf, RemoteError> {
        let path = self.at(name);
        fs::create_dir_all(files::parent(&path)).map_err(RemoteError::of_disk)?;
        Ok(path)
    }

    fn fetch(&self, names: Vec<String>) -> Result<(), OutputError> {
        let fetch = |name: String| {
            let fetched = self.created(&name).and_then(|path| {
                remote::fetch(&self.there(&name), &path)?;
                State::of(&path).map_err(RemoteError::of_disk)
            });
            (name, fetched)
        };
        self.in_parallel(names, THREADS, fetch).map(drop)
    }

    /// Works on files that are the same here and there afterwards; gives their number.
    fn in_parallel(
        &self,
        names: Vec<String>,
        threads: usize,
        work: impl Fn(String) -> (String, Result<State, RemoteError>) + Sync,
    ) -> Result<u64, OutputError> {
        let mut count = 0;
        let done = parallel_map(names.into_iter(), threads, work, |(name, state)| {
            let state = state.map_err(|source| Failure::Of(self.out.join(&name), source))?;
            lock(&self.known).insert(name, state);
            count += 1;
            Ok(())
        });
        match done {
            Ok(()) => Ok(count),
            Err(Failure::Of(path, source)) => Err(OutputError::Elsewhere { path, source }),
            Err(Failure::Threads(error)) => {
                let source = RemoteError::of_disk(io::Error::other(error));
                Err(OutputError::Elsewhere { path: self.out.clone(), source })
            }
        }
    }

    /// Sends what has changed; gives the number of files.
    fn send(&self, what: What) -> Result<u64, OutputError> {
        let failed = |source| OutputError::Elsewhere { path: self.out.clone(), source };
        let own = &self.root;
        let mut files = BTreeMap::new();
        if own.exists() {
            files_below(own, "", &mut files).map_err(|error| failed(RemoteError::of_disk(error)))?;
        }
        let foreign = lock(&self.foreign).clone();
        files.retain(|name, _| !foreign.contains(name));
        let manifest = Manifest::read(own).ok().flatten();
        // First what is no longer true. Only the record tells that a run has removed a file: that it is missing here may have other
        // reasons, such as programs that tidy temporary folders. Of what lies in folders it tells nothing, so that stays there.
        let is_removed = |name: &str| match manifest.as_ref().and_then(|made| made.get(name)) {
            Some(Made::Working) => true,
            Some(Made::File(contents)) => contents.is_empty(),
            Some(Made::Folder) | None => false,
        };
        let is_gone = |name: &str| {
            is_removed(name) && self.at(name).symlink_metadata().is_err_and(|error| files::says_absent(&error))
        };
        let missing = |name: &&String| !files.contains_key(*name) && is_gone(name);
        let gone: Vec<String> = lock(&self.known).keys().filter(missing).cloned().collect();
        for name in gone {
            remote::remove(&self.there(&name)).map_err(failed)?;
            lock(&self.known).remove(&name);
        }
        let record = format!("{}/{}", manifest::FOLDER, manifest::FILE);
        let in_folder = |name: &str| {
            let top = name.split('/').next().unwrap_or_default();
            top != manifest::FOLDER && name != top
        };
        let is_working = |name: &str| manifest.as_ref().is_some_and(|made| made.get(name) == Some(&Made::Working));
        let changed: Vec<String> = {
            let known = lock(&self.known);
            files.into_iter().filter(|(name, state)| known.get(name) != Some(state)).map(|(name, _)| name).collect()
        };
        let send = |name: String| {
            let path = self.at(&name);
            // Before it is read: what changes meanwhile is sent once more.
            let state = State::of(&path).map_err(RemoteError::of_disk);
            let sent = state.and_then(|state| remote::put(&self.there(&name), &path).map(|()| state));
            (name, sent)
        };
        let (records, others): (Vec<String>, Vec<String>) = changed.into_iter().partition(|name| *name == record);
        let (of_images, rest): (Vec<String>, Vec<String>) = others.into_iter().partition(|name| in_folder(name));
        let mut count = self.in_parallel(records, 1, send)?;
        count += self.in_parallel(of_images, THREADS, send)?;
        if what == What::OfImages {
            return Ok(count);
        }
        // Tables and what is worked on, then what says that all is finished; one by one, a plan after its list.
        let (ends, tables): (Vec<String>, Vec<String>) =
            rest.into_iter().partition(|name| name.starts_with(manifest::FOLDER) && !is_working(name));
        count += self.in_parallel(tables, 1, send)?;
        count += self.in_parallel(ends, 1, send)?;
        Ok(count)
    }
}

enum Failure {
    Of(PathBuf, RemoteError),
    Threads(ThreadsError),
}

impl From<ThreadsError> for Failure {
    fn from(error: ThreadsError) -> Failure {
        Failure::Threads(error)
    }
}

/// All files below a folder that are meant to stay, by their names.
fn files_below(folder: &Path, prefix: &str, files: &mut BTreeMap<String, State>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else { continue };
        let is_temporary = NEVER_SENT.iter().any(|never| name.starts_with(never)) || name.ends_with(".tmp");
        match entry.file_type()? {
            kind if kind.is_dir() => files_below(&entry.path(), &format!("{name}/"), files)?,
            kind if kind.is_file() && !is_temporary => {
                // It may have been renamed meanwhile.
                if let Ok(state) = State::of(&entry.path()) {
                    files.insert(name, state);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
