//! A folder of computed results, bounded in size, keyed by the content and the settings that they follow from.
//!
//! Entries live under `ROOT/SETTINGS/XX/CONTENT`; both keys are hashes, so a renamed image is found again and a changed
//! setting never meets an old result. Every entry begins with a word of its own and both keys and ends in its checksum: a
//! damaged one, and one that came to another's place, counts as absent. The checksum is a CRC-32, as entries are read again in
//! every epoch and a cryptographic one would take a tenth of the time of training.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::parallel::lock;

/// Bounds of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Most space the cache takes on disk. What does not fit is computed anew in every epoch.
    pub limit_mebibytes: u64,
    /// Most memory that training keeps graphs in, with their affinities; never more than `memory` grants to images. What does not
    /// fit is read from disk in every epoch.
    pub memory_mebibytes: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig { limit_mebibytes: 16 * 1024, memory_mebibytes: 2 * 1024 }
    }
}

/// A cache folder opened for one set of settings.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    settings: blake3::Hash,
    limit_bytes: u64,
    space: Mutex<Space>,
}

/// What the cache folder holds.
#[derive(Debug)]
struct Space {
    used_bytes: u64,
    /// Folders of other settings with the sizes of their entries, the least recently made last.
    foreign: Vec<(PathBuf, u64)>,
}

const WORD: &[u8; 16] = b"deepcut cache 1\n";
const HEADER_BYTES: usize = WORD.len() + 2 * blake3::OUT_LEN;
const CHECKSUM_BYTES: usize = size_of::<u32>();
const TEMPORARY_START: &str = ".deepcut-cache-";
/// Hexadecimal digits in the name of a folder of settings, and of one of entries.
const SETTINGS_DIGITS: usize = 16;
const ENTRIES_DIGITS: usize = 2;

impl Cache {
    /// Opens the entries for `settings` below `root`, creating the folder, and removes what a killed run left half
    /// written. Nobody else may use the folder meanwhile. What lies there besides entries is left alone.
    pub fn open(root: &Path, settings: &blake3::Hash, config: &CacheConfig) -> io::Result<Cache> {
        let folder = root.join(&settings.to_hex()[..SETTINGS_DIGITS]);
        fs::create_dir_all(root)?;
        create_folder(&folder)?;
        let mut used_bytes = 0;
        let mut foreign: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for path in folders_of_digits(root, SETTINGS_DIGITS)? {
            let mut size = 0;
            for entries in folders_of_digits(&path, ENTRIES_DIGITS)? {
                size += clean_and_measure(&entries)?;
            }
            used_bytes += size;
            if path != folder {
                foreign.push((path.metadata()?.modified()?, path, size));
            }
        }
        foreign.sort_by(|a, b| b.cmp(a));
        let foreign = foreign.into_iter().map(|(_, path, size)| (path, size)).collect();
        let limit_bytes = config.limit_mebibytes.saturating_mul(1 << 20);
        let space = Mutex::new(Space { used_bytes, foreign });
        Ok(Cache { folder, settings: *settings, limit_bytes, space })
    }

    /// The entry for `content`, if there is an undamaged one.
    pub fn get(&self, content: &blake3::Hash) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(content)).ok()?;
        let length = bytes.len().checked_sub(CHECKSUM_BYTES)?;
        let matches = crc32fast::hash(&bytes[..length]).to_le_bytes() == bytes[length..];
        if !matches || bytes[..length].get(..HEADER_BYTES)? != header(&self.settings, content) {
            return None;
        }
        bytes.truncate(length);
        bytes.drain(..HEADER_BYTES);
        Some(bytes)
    }

    /// Whether there is an entry for `content`; only reading shows whether it is undamaged.
    pub fn contains(&self, content: &blake3::Hash) -> bool {
        self.path(content).is_file()
    }

    /// Stores an entry; `false` if it does not fit, even after the results of other settings were removed.
    pub fn put(&self, content: &blake3::Hash, bytes: &[u8]) -> io::Result<bool> {
        let (name, entry) = Cache::entry(&self.settings, content, bytes);
        if !self.reserve(entry.len() as u64)? {
            return Ok(false);
        }
        let path = self.folder.with_file_name(name);
        let parent = path.parent().unwrap_or(&self.folder);
        create_folder(parent)?;
        // Not synced to the disk: an entry lost or torn in a power cut is noticed by its checksum and made again.
        let mut file = tempfile::Builder::new().prefix(TEMPORARY_START).tempfile_in(parent)?;
        file.write_all(&entry)?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(true)
    }

    /// An entry as a file by itself: its name below the folder of a cache, and what it holds. Put there before a cache is opened, it is
    /// one of that cache.
    pub fn entry(settings: &blake3::Hash, content: &blake3::Hash, bytes: &[u8]) -> (PathBuf, Vec<u8>) {
        let mut entry = Vec::with_capacity(HEADER_BYTES + bytes.len() + CHECKSUM_BYTES);
        entry.extend(header(settings, content));
        entry.extend(bytes);
        entry.extend(crc32fast::hash(&entry).to_le_bytes());
        (name(settings, content), entry)
    }

    fn reserve(&self, size: u64) -> io::Result<bool> {
        let mut space = lock(&self.space);
        while space.used_bytes + size > self.limit_bytes {
            let Some((folder, _)) = space.foreign.pop() else { return Ok(false) };
            space.used_bytes -= remove_entries(&folder)?.min(space.used_bytes);
        }
        space.used_bytes += size;
        Ok(true)
    }

    fn path(&self, content: &blake3::Hash) -> PathBuf {
        self.folder.with_file_name(name(&self.settings, content))
    }
}

/// How every entry begins.
fn header(settings: &blake3::Hash, content: &blake3::Hash) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..WORD.len()].copy_from_slice(WORD);
    let (of_settings, own) = header[WORD.len()..].split_at_mut(blake3::OUT_LEN);
    of_settings.copy_from_slice(settings.as_bytes());
    own.copy_from_slice(content.as_bytes());
    header
}

/// The name of an entry below the folder of a cache.
fn name(settings: &blake3::Hash, content: &blake3::Hash) -> PathBuf {
    let (settings, content) = (settings.to_hex(), content.to_hex());
    [&settings[..SETTINGS_DIGITS], &content[..ENTRIES_DIGITS], content.as_str()].iter().collect()
}

/// Creates a folder, or finds it; a link in its place is an error.
fn create_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.symlink_metadata()?.is_dir() => Ok(()),
        result => result,
    }
}

/// Whether a file is an entry, by its name and its first bytes.
fn is_entry(path: &Path) -> bool {
    let mut word = [0; WORD.len()];
    has_digits(path, 2 * blake3::OUT_LEN)
        && path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
        && File::open(path).and_then(|mut file| file.read_exact(&mut word)).is_ok()
        && word == *WORD
}

fn has_digits(path: &Path, count: usize) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == count && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The folders in `folder` that are called by so many hexadecimal digits, as only those of a cache are; no links.
fn folders_of_digits(folder: &Path, count: usize) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && has_digits(&entry.path(), count) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Bytes in the entries of a folder, after removing unfinished ones.
fn clean_and_measure(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_START.as_bytes()) {
            fs::remove_file(entry.path())?;
        } else if has_digits(&entry.path(), 2 * blake3::OUT_LEN) {
            total += entry.metadata()?.len();
        }
    }
    Ok(total)
}

/// Removes the entries for one set of settings, and the folders that are empty then; gives the bytes that are free now.
fn remove_entries(folder: &Path) -> io::Result<u64> {
    let mut freed = 0;
    for entries in folders_of_digits(folder, ENTRIES_DIGITS)? {
        for entry in fs::read_dir(&entries)? {
            let path = entry?.path();
            if is_entry(&path) {
                freed += path.metadata()?.len();
                fs::remove_file(path)?;
            }
        }
        // Fails where somebody else's files lie, which is as it should be.
        let _ = fs::remove_dir(entries);
    }
    let _ = fs::remove_dir(folder);
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(root: &Path, settings: &str, limit_mebibytes: u64) -> Cache {
        Cache::open(
            root,
            &blake3::hash(settings.as_bytes()),
            &CacheConfig { limit_mebibytes, ..CacheConfig::default() },
        )
        .unwrap()
    }

    #[test]
    fn entries_are_found_by_content_and_settings_and_damage_counts_as_absent() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (blake3::hash(b"1"), blake3::hash(b"2"));
        let cache = open(root.path(), "a", 1);
        assert!(cache.put(&first, b"value").unwrap());
        assert_eq!(cache.get(&first).as_deref(), Some(&b"value"[..]));
        assert_eq!(cache.get(&second), None);
        assert_eq!(open(root.path(), "b", 1).get(&first), None);
        let path = cache.path(&first);
        let mut bytes = fs::read(&path).unwrap();
        bytes[2] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(cache.get(&first), None);
        fs::write(&path, b"short").unwrap();
        assert_eq!(cache.get(&first), None);
    }

    #[test]
    fn an_entry_at_anothers_place_is_none() {
        let root = tempfile::tempdir().unwrap();
        let (cache, other) = (open(root.path(), "a", 1), open(root.path(), "b", 1));
        let (first, second) = (blake3::hash(b"1"), blake3::hash(b"2"));
        assert!(cache.put(&first, b"first").unwrap() && cache.put(&second, b"second").unwrap());
        assert!(other.put(&first, b"of other settings").unwrap());
        fs::copy(other.path(&first), cache.path(&first)).unwrap();
        assert_eq!(cache.get(&first), None);
        fs::copy(cache.path(&second), cache.path(&first)).unwrap();
        assert_eq!(cache.get(&first), None);
    }

    #[test]
    fn what_is_no_entry_is_never_removed() {
        let root = tempfile::tempdir().unwrap();
        let entry = vec![7u8; 700 << 10];
        assert!(open(root.path(), "old", 1).put(&blake3::hash(b"1"), &entry).unwrap());
        let name = blake3::hash(b"mine").to_hex();
        let inside = format!("{}/{}/{name}", &blake3::hash(b"old").to_hex()[..SETTINGS_DIGITS], &name[..2]);
        let foreign = ["mine/notes.txt", ".keep", "0123456789abcdef/00/notes.txt", "0123456789abcdef/.keep", &inside];
        for name in foreign {
            fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
            fs::write(root.path().join(name), vec![b'x'; 2 << 20]).unwrap();
        }
        assert!(open(root.path(), "new", 3).put(&blake3::hash(b"2"), &entry).unwrap());
        assert_eq!(open(root.path(), "old", 3).get(&blake3::hash(b"1")), None, "it had to give way");
        assert!(foreign.iter().all(|name| root.path().join(name).is_file()));
    }

    #[test]
    fn space_is_bounded_and_other_settings_give_way() {
        let root = tempfile::tempdir().unwrap();
        let entry = vec![7u8; 400 << 10];
        let keys = [blake3::hash(b"1"), blake3::hash(b"2"), blake3::hash(b"3")];
        let old = open(root.path(), "old", 1);
        assert!(old.put(&keys[0], &entry).unwrap());
        assert!(old.put(&keys[1], &entry).unwrap());
        assert!(!old.put(&keys[2], &entry).unwrap(), "a third entry exceeds one mebibyte");
        let new = open(root.path(), "new", 1);
        assert!(new.put(&keys[0], &entry).unwrap());
        assert_eq!(new.get(&keys[0]).as_deref(), Some(&entry[..]));
        assert_eq!(old.get(&keys[0]), None, "the old settings' results were removed");
    }
}
