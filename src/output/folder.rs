//! The folder that a run writes into: whose files are in it, who writes there now, and what is on the disk for good.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::OutputError;
use super::claim::{Claim, check};
use crate::event::{Event, Observer};
use crate::files::{TemporaryFile, says_absent, sync_folder};
use crate::manifest::{self, Made, Manifest};
use crate::parallel::lock;
use crate::remote::is_remote;

const LOCK: &str = "lock";
const TEMPORARY: &str = "tmp";
/// How long renamed files may wait for their folder to be synced: one sync serves all of a second.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// An output folder that belongs to this run alone, until it is dropped or the process ends.
///
/// What is written here replaces and removes only what runs have made: see [`OutputFolder::open`].
#[derive(Debug)]
pub struct OutputFolder {
    root: PathBuf,
    manifest: Mutex<Manifest>,
    /// Whether the manifest is on the disk, but for contents that files no longer have.
    kept: AtomicBool,
    /// Whether it knows contents of files that were renamed away, which may go once the names are durable.
    outdated: AtomicBool,
    unsynced: Mutex<Unsynced>,
    _lock: File,
}

/// Folders with names that a power cut could still undo.
#[derive(Debug)]
struct Unsynced {
    folders: BTreeSet<PathBuf>,
    last_sync: Instant,
}

impl OutputFolder {
    /// Takes `root` for the run of `command`, which will write under the names of `claims`.
    ///
    /// While another run writes there, this waits, at most as long as `wait` says, and tells the observer. Then temporary files that
    /// killed runs have left are removed. The names are entered in the folder's [`Manifest`] before anything is written.
    ///
    /// # Errors
    /// [`OutputError::Foreign`] and [`OutputError::Changed`] if something lies under a claimed name that is not from a run or
    /// not as a run left it, before anything is written; [`OutputError::InUse`] if another run writes there for too long.
    pub fn open(
        root: &Path,
        command: &str,
        claims: &[Claim],
        wait: Option<Duration>,
        observer: &dyn Observer,
    ) -> Result<OutputFolder, OutputError> {
        if is_remote(root) {
            return Err(OutputError::NotHere { path: root.to_path_buf() });
        }
        check(root, read_manifest(root)?.as_ref(), claims)?;
        let own = root.join(manifest::FOLDER);
        let temporary = own.join(TEMPORARY);
        // What lies behind links is elsewhere, and nobody's to remove.
        for (path, is_ours) in [
            (&own, fs::Metadata::is_dir as fn(&fs::Metadata) -> bool),
            (&temporary, fs::Metadata::is_dir),
            (&own.join(LOCK), fs::Metadata::is_file),
            (&own.join(manifest::FILE), fs::Metadata::is_file),
        ] {
            if path.symlink_metadata().is_ok_and(|metadata| !is_ours(&metadata)) {
                return Err(OutputError::Foreign { path: path.clone() });
            }
        }
        fs::create_dir_all(&temporary).map_err(|source| OutputError::CreateFolder { path: root.into(), source })?;
        let lock = lock_file(root, &own.join(LOCK), wait, observer)?;
        // Whoever left something here is dead: the lock is ours.
        clear(&temporary).map_err(|source| OutputError::write(&temporary, source))?;
        // The run that was waited for may have changed everything.
        let known = read_manifest(root)?;
        check(root, known.as_ref(), claims)?;
        let mut manifest = known.clone().unwrap_or_default();
        manifest.add_command(command);
        claims.iter().for_each(|claim| manifest.claim(&claim.name, claim.made.clone()));
        Ok(OutputFolder {
            root: root.to_path_buf(),
            kept: AtomicBool::new(known.as_ref() == Some(&manifest)),
            outdated: AtomicBool::new(false),
            manifest: Mutex::new(manifest),
            unsynced: Mutex::new(Unsynced { folders: BTreeSet::new(), last_sync: Instant::now() }),
            _lock: lock,
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where files lie that are on their way to their names, on the disk of the results.
    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join(manifest::FOLDER).join(TEMPORARY)
    }

    /// Whether runs have claimed this path, or a folder above it.
    pub fn owns(&self, path: &Path) -> bool {
        let manifest = lock(&self.manifest);
        self.names_of(path).any(|name| manifest.get(&name).is_some())
    }

    /// Lets `write` fill the file `path`, below a claimed name, which then appears at once and complete, replacing an older one.
    pub fn write(&self, path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
        let mut pending = self.begin(path)?;
        write(pending.writer()).map_err(|source| OutputError::write(path, source))?;
        pending.commit()
    }

    /// Begins the file `path`, below a claimed name.
    pub(super) fn begin(&self, path: &Path) -> Result<PendingFile<'_>, OutputError> {
        debug_assert!(self.owns(path), "{} is not claimed", path.display());
        self.create_parent(path)?;
        let temporary = TemporaryFile::create(&self.temporary()).map_err(|source| OutputError::write(path, source))?;
        Ok(PendingFile { temporary, target: path.to_path_buf(), folder: self })
    }

    /// The claimed working file `working` on its way to becoming `path`, with what earlier runs have put into it.
    pub(super) fn resume(&self, working: &Path, path: &Path) -> Result<PendingFile<'_>, OutputError> {
        debug_assert!(self.owns(working) && self.owns(path), "{} is not claimed", path.display());
        self.create_parent(path)?;
        let temporary = TemporaryFile::resume(working).map_err(|source| OutputError::write(working, source))?;
        Ok(PendingFile { temporary, target: path.to_path_buf(), folder: self })
    }

    /// Gives the file `from`, which is durable, the further name `path` below a claimed one, where nothing is; copies it where
    /// the file system gives a file no two names, which is `false`.
    pub fn link(&self, from: &Path, path: &Path) -> Result<bool, OutputError> {
        debug_assert!(self.owns(path), "{} is not claimed", path.display());
        self.create_parent(path)?;
        match fs::hard_link(from, path) {
            Ok(()) => self.renamed(path).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(OutputError::Foreign { path: path.to_path_buf() })
            }
            Err(_) => {
                let read = |source| OutputError::Read { path: from.to_path_buf(), source };
                let mut file = File::open(from).map_err(read)?;
                self.write(path, |writer| io::copy(&mut file, writer).map(drop)).map(|()| false)
            }
        }
    }

    /// Removes a file below a claimed name; it may not be there.
    pub fn remove(&self, path: &Path) -> Result<(), OutputError> {
        let failed = |source| OutputError::Remove { path: path.to_path_buf(), source };
        match fs::remove_file(path) {
            Ok(()) => {
                self.renamed_in(path.parent().unwrap_or(&self.root)).map_err(failed)?;
                let name = self.names_of(path).next().unwrap_or_default();
                let mut manifest = lock(&self.manifest);
                if manifest.forget(&name) { self.keep(&manifest) } else { Ok(()) }
            }
            Err(source) if !says_absent(&source) => Err(failed(source)),
            Err(_) => Ok(()),
        }
    }

    /// Removes a claimed file that is as a run left it; another one stays, which is `false`.
    pub fn remove_outdated(&self, name: &str) -> Result<bool, OutputError> {
        let claims = [Claim::file(name)];
        // A copy: nothing is held while the disk is read.
        let manifest = lock(&self.manifest).clone();
        match check(&self.root, Some(&manifest), &claims) {
            Ok(()) => self.remove(&self.root.join(name)).map(|()| true),
            Err(OutputError::Foreign { .. } | OutputError::Changed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a folder below a claimed name, with those above it; links are not followed.
    pub fn create_folder(&self, folder: &Path) -> Result<(), OutputError> {
        if !self.kept.load(Ordering::Acquire) {
            self.keep(&lock(&self.manifest))?;
        }
        let mut path = self.root.clone();
        let inside = folder.strip_prefix(&self.root).unwrap_or(Path::new(""));
        for part in inside.components().filter(|part| matches!(part, Component::Normal(_))) {
            path.push(part);
            let failed = |source| OutputError::CreateFolder { path: path.clone(), source };
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(OutputError::Foreign { path }),
                Err(error) if says_absent(&error) => {
                    match fs::create_dir(&path) {
                        // Another thread was faster.
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        result => result.map_err(failed)?,
                    }
                    self.renamed_in(path.parent().unwrap_or(&self.root)).map_err(failed)?;
                }
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(())
    }

    fn create_parent(&self, path: &Path) -> Result<(), OutputError> {
        path.parent().map_or(Ok(()), |parent| self.create_folder(parent))
    }

    /// Makes everything that was written and removed durable.
    pub fn sync(&self) -> Result<(), OutputError> {
        self.sync_folders()?;
        let manifest = lock(&self.manifest);
        if self.outdated.load(Ordering::Acquire) { self.keep(&manifest) } else { Ok(()) }
    }

    fn sync_folders(&self) -> Result<(), OutputError> {
        let folders = std::mem::take(&mut lock(&self.unsynced).folders);
        folders.iter().try_for_each(|folder| sync_folder(folder).map_err(|source| OutputError::write(folder, source)))
    }

    /// Says what a finished run wrote of every image, or that what is here is of no finished run.
    pub fn set_images(&self, kinds: Option<BTreeSet<String>>) -> Result<(), OutputError> {
        let mut manifest = lock(&self.manifest);
        if manifest.images() == kinds.as_ref() {
            return Ok(());
        }
        manifest.set_images(kinds);
        self.keep(&manifest)
    }

    /// Notes that names in `folder` have changed; once a second all such folders are synced.
    fn renamed_in(&self, folder: &Path) -> io::Result<()> {
        let due = {
            let mut unsynced = lock(&self.unsynced);
            unsynced.folders.insert(folder.to_path_buf());
            if unsynced.last_sync.elapsed() < SYNC_INTERVAL {
                return Ok(());
            }
            unsynced.last_sync = Instant::now();
            std::mem::take(&mut unsynced.folders)
        };
        due.iter().try_for_each(|folder| sync_folder(folder))
    }

    /// Notes that something got its name at `path`.
    pub(super) fn renamed(&self, path: &Path) -> Result<(), OutputError> {
        self.renamed_in(path.parent().unwrap_or(&self.root)).map_err(|source| OutputError::write(path, source))
    }

    /// Writes the record, for good.
    fn keep(&self, manifest: &Manifest) -> Result<(), OutputError> {
        if self.outdated.swap(false, Ordering::AcqRel) {
            // Until then a power cut can bring back files with the contents that this record no longer knows.
            self.sync_folders()?;
        }
        self.keep_beside(manifest::FILE, &manifest.to_bytes())?;
        self.kept.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes a file of what runs keep about the folder, for good.
    pub fn keep_beside(&self, name: &str, bytes: &[u8]) -> Result<(), OutputError> {
        let own = self.root.join(manifest::FOLDER);
        let path = own.join(name);
        let write = || -> io::Result<()> {
            let mut file = TemporaryFile::create(&self.temporary())?;
            file.writer.write_all(bytes)?;
            file.rename(&path)?;
            sync_folder(&own)
        };
        write().map_err(|source| OutputError::write(&path, source))
    }

    /// The path relative to the folder, and those of the folders above it, as the manifest has them.
    fn names_of<'a>(&self, path: &'a Path) -> impl Iterator<Item = String> + use<'a> {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        inside.ancestors().filter_map(Path::to_str).filter(|name| !name.is_empty()).map(|name| name.replace('\\', "/"))
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        // Where it matters it was done before; here it serves runs that end early.
        let _ = self.sync();
    }
}

/// A file on its way to becoming `target`; dropped before [`PendingFile::commit`] it is removed again, unless it is a working
/// file.
#[derive(Debug)]
pub(super) struct PendingFile<'a> {
    temporary: TemporaryFile,
    target: PathBuf,
    folder: &'a OutputFolder,
}

impl PendingFile<'_> {
    pub(super) fn writer(&mut self) -> &mut io::BufWriter<File> {
        &mut self.temporary.writer
    }

    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the bytes durable, lets the manifest know them where it knows single files, then gives the file its final name.
    pub(super) fn commit(mut self) -> Result<(), OutputError> {
        let folder = self.folder;
        let failed = |source| OutputError::write(&self.target, source);
        self.temporary.sync().map_err(failed)?;
        let name = folder.names_of(&self.target).next().unwrap_or_default();
        let mut manifest = lock(&folder.manifest);
        let mut content = None;
        if let Some(Made::File(_)) = manifest.get(&name) {
            let hash = self.temporary.hash().map_err(failed)?;
            let known = manifest.clone();
            manifest.expect(&name, &hash);
            if *manifest != known {
                folder.keep(&manifest)?;
            }
            content = Some(hash);
        }
        drop(manifest);
        self.temporary.rename(&self.target).map_err(failed)?;
        if let Some(content) = content {
            lock(&folder.manifest).settle(&name, &content);
            folder.outdated.store(true, Ordering::Release);
        }
        folder.renamed(&self.target)
    }
}

/// Removes all that is in a folder.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

fn read_manifest(root: &Path) -> Result<Option<Manifest>, OutputError> {
    Manifest::read(root).map_err(|source| OutputError::Manifest { path: Manifest::path(root), source })
}

/// Locks the file `path` for this process, which lets it go when it ends, however it ends.
fn lock_file(root: &Path, path: &Path, wait: Option<Duration>, observer: &dyn Observer) -> Result<File, OutputError> {
    let failed = |source| OutputError::write(path, source);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    let (began, mut told) = (Instant::now(), false);
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                observer.observe(Event::Warning(format!(
                    "the file system of {} knows no locks: let no other run write there at the same time",
                    root.display()
                )));
                return Ok(file);
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut process = String::new();
        let _ = file.rewind().and_then(|()| Read::by_ref(&mut file).take(20).read_to_string(&mut process));
        // Between its lock and its number, and where locked files cannot be read, nothing is known of it.
        let process = match process.trim() {
            "" => "another process".to_string(),
            number => format!("process {number}"),
        };
        if wait.is_some_and(|wait| began.elapsed() >= wait) {
            return Err(OutputError::InUse { path: root.to_path_buf(), process });
        }
        if observer.interrupted() {
            return Err(OutputError::Interrupted);
        }
        if !told {
            told = true;
            observer.observe(Event::Warning(format!(
                "{process} is writing to {}; waiting until it has finished",
                root.display()
            )));
        }
        std::thread::sleep(LOCK_INTERVAL);
    }
    // For the message of whoever has to wait.
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}
