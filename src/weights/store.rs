//! Published weights on this machine: where they lie, and what was recorded of them when they were first used.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hub::HubCache;
use super::installed::{EXTENSIONS, home_folder, installed};
use super::registry::{Published, Source, published};
use crate::files;

/// The folder below [`home_folder`] for weights by name and for records.
const FOLDER: &str = "backbones";

/// No record is larger.
const MOST_RECORD_BYTES: u64 = 1 << 16;

/// Published weights on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub path: PathBuf,
    /// Whether it lies in the cache that other programs use too.
    pub is_shared: bool,
}

/// What a file was when it was first used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of the published backbone.
    pub name: String,
    /// In bytes.
    pub size: u64,
    pub sha256: String,
    pub blake3: String,
    /// Whether deepcut has fetched it, or else found it.
    pub fetched: bool,
}

/// What the bytes of a file amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// In bytes.
    pub size: u64,
    pub sha256: String,
    pub blake3: String,
}

impl Hashes {
    /// Reads a file once, whatever its size.
    pub fn of(path: &Path) -> io::Result<Hashes> {
        let mut file = files::open_ordinary(path)?;
        let (mut sha256, mut blake3, mut size) = (Sha256::new(), blake3::Hasher::new(), 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sha256.update(&buffer[..count]);
            blake3.update(&buffer[..count]);
            size += count as u64;
        }
        let sha256 = sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Hashes { size, sha256, blake3: blake3.finalize().to_hex().to_string() })
    }
}

/// Where a file of published weights belongs that is put there by hand.
pub fn own_place(published: &Published) -> Option<PathBuf> {
    Some(own_folder()?.join(published.file_name()))
}

pub(super) fn own_folder() -> Option<PathBuf> {
    Some(home_folder()?.join(FOLDER))
}

/// Looks for published weights in deepcut's own folder and in the cache of the Hugging Face Hub, whoever has put them there.
pub fn stored(published: &Published) -> Option<Stored> {
    let by_extension = |extension: &str| Some(own_folder()?.join(format!("{}.{extension}", published.name)));
    let own = std::iter::once(own_place(published)).chain(EXTENSIONS.map(by_extension)).flatten();
    if let Some(path) = own.into_iter().find(|path| path.is_file()) {
        return Some(Stored { path, is_shared: false });
    }
    let Source::Hub { repository, revision, file } = published.source() else { return None };
    let path = HubCache::find()?.repository(repository).snapshot(revision, file)?;
    Some(Stored { path, is_shared: true })
}

/// The published weights on this machine that are preferred to the others.
pub fn best_stored() -> Option<PathBuf> {
    published().iter().find_map(stored).map(|stored| stored.path)
}

/// The published weights on this machine with the given blake3 hash.
pub fn stored_with_hash(blake3: &str) -> Option<PathBuf> {
    let has_hash = |published: &&Published| {
        let known = record(published).or_else(|| record_first_use(published, &stored(published)?.path).ok());
        known.is_some_and(|record| record.blake3 == blake3)
    };
    published().iter().filter(|published| stored(published).is_some()).find(has_hash).and_then(stored).map(|it| it.path)
}

/// The published weights that lie at a path.
pub fn stored_as(path: &Path) -> Option<&'static Published> {
    let real = path.canonicalize().ok()?;
    let lies_there = |published: &&Published| {
        stored(published).and_then(|stored| stored.path.canonicalize().ok()).is_some_and(|stored| stored == real)
    };
    published().iter().find(lies_there)
}

/// Which published weights a file holds, as far as its place, its name or its bytes tell.
pub fn recognise(path: &Path) -> Option<&'static Published> {
    let by_name = || published().iter().find(|published| published.is_called_as(path));
    if let Some(found) = stored_as(path).or_else(by_name) {
        return Some(found);
    }
    let size = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len();
    let mut records: Vec<Record> = published().iter().filter_map(record).collect();
    records.extend(read_record(&installed_record_path()?).filter(|_| installed().found.as_deref() == Some(path)));
    records.retain(|record| record.size == size);
    if records.is_empty() {
        return None;
    }
    let found = Hashes::of(path).ok()?;
    let record = records.iter().find(|record| record.blake3 == found.blake3)?;
    published().iter().find(|published| published.name == record.name)
}

/// What was recorded of published weights; none before they are first used.
pub fn record(published: &Published) -> Option<Record> {
    read_record(&record_path(published)?)
}

/// Records what the file at `path` is, which holds published weights and is used for the first time.
pub fn record_first_use(published: &Published, path: &Path) -> io::Result<Record> {
    let Hashes { size, sha256, blake3 } = Hashes::of(path)?;
    let record = Record { name: published.name.clone(), size, sha256, blake3, fetched: false };
    // Where nothing can be recorded the file is as good, and hashed again the next time.
    let _ = write_record(published, &record);
    Ok(record)
}

pub(super) fn write_record(published: &Published, record: &Record) -> io::Result<()> {
    write_record_at(&record_path(published).ok_or(io::ErrorKind::NotFound)?, record)
}

/// Records which published weights were installed for all runs, or that it is not known.
pub fn record_installed(published: Option<&Published>, path: &Path) -> io::Result<()> {
    let at = installed_record_path().ok_or(io::ErrorKind::NotFound)?;
    let Some(published) = published else { return files::absent(fs::remove_file(at)) };
    let Hashes { size, sha256, blake3 } = Hashes::of(path)?;
    write_record_at(&at, &Record { name: published.name.clone(), size, sha256, blake3, fetched: false })
}

/// Forgets what was recorded of published weights.
pub fn forget(published: &Published) -> io::Result<()> {
    files::absent(record_path(published).map_or(Ok(()), fs::remove_file))
}

/// Removes published weights, of the shared cache from all commits that have them there, with what nothing else there needs.
/// Gives the paths that are gone.
pub fn remove(published: &Published, found: &Stored) -> io::Result<Vec<PathBuf>> {
    let mut gone = Vec::new();
    let mut next = Some(found.clone());
    while let Some(found) = next {
        match (published.source(), HubCache::find()) {
            (Source::Hub { repository, .. }, Some(cache)) if found.is_shared => {
                gone.extend(cache.repository(repository).remove(&found.path)?);
            }
            _ => {
                fs::remove_file(&found.path)?;
                gone.push(found.path);
            }
        }
        next = stored(published).filter(|next| next.is_shared == found.is_shared);
    }
    // What lies elsewhere is still held against it.
    if stored(published).is_none() {
        forget(published)?;
    }
    Ok(gone)
}

fn record_path(published: &Published) -> Option<PathBuf> {
    Some(own_folder()?.join(format!("{}.json", published.name)))
}

fn installed_record_path() -> Option<PathBuf> {
    Some(home_folder()?.join("backbone.json"))
}

fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_slice(&files::read(path, MOST_RECORD_BYTES).ok()?).ok()
}

fn write_record_at(path: &Path, record: &Record) -> io::Result<()> {
    let record = serde_json::to_vec(record)?;
    files::write_whole(path, |writer| writer.write_all(&record))
}
