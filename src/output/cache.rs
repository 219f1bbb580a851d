//! A folder of computed results, bounded in size, keyed by the content and the settings that they follow from.
//!
//! Entries live under `ROOT/SETTINGS/XX/CONTENT`; both keys are hashes, so a renamed image is found again and a changed
//! setting never meets an old result. Every entry ends in its own checksum: a damaged one counts as absent. The checksum is
//! a CRC-32, as entries are read again in every epoch and a cryptographic one would take a tenth of the time of training.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Most space the cache takes on disk. What does not fit is computed anew in every epoch.
    pub limit_mebibytes: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig { limit_mebibytes: 16 * 1024 }
    }
}

/// A cache folder opened for one set of settings.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    limit_bytes: u64,
    space: Mutex<Space>,
}

/// What the cache folder holds.
#[derive(Debug)]
struct Space {
    used_bytes: u64,
    /// Folders of other settings with their sizes, the least recently made last.
    foreign: Vec<(PathBuf, u64)>,
}

const CHECKSUM_BYTES: usize = size_of::<u32>();

impl Cache {
    /// Opens the entries for `settings` below `root`, creating the folder, and removes what a killed run left half
    /// written.
    pub fn open(root: &Path, settings: &blake3::Hash, config: &CacheConfig) -> io::Result<Cache> {
        let folder = root.join(&settings.to_hex()[..16]);
        fs::create_dir_all(&folder)?;
        let mut used_bytes = 0;
        let mut foreign: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let size = clean_and_measure(&entry.path())?;
            used_bytes += size;
            if entry.path() != folder {
                foreign.push((entry.metadata()?.modified()?, entry.path(), size));
            }
        }
        foreign.sort_by(|a, b| b.cmp(a));
        let foreign = foreign.into_iter().map(|(_, path, size)| (path, size)).collect();
        let limit_bytes = config.limit_mebibytes.saturating_mul(1 << 20);
        Ok(Cache { folder, limit_bytes, space: Mutex::new(Space { used_bytes, foreign }) })
    }

    /// The entry for `content`, if there is an undamaged one.
    pub fn get(&self, content: &blake3::Hash) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(content)).ok()?;
        let length = bytes.len().checked_sub(CHECKSUM_BYTES)?;
        let matches = crc32fast::hash(&bytes[..length]).to_le_bytes() == bytes[length..];
        bytes.truncate(length);
        matches.then_some(bytes)
    }

    /// Whether there is an entry for `content`; only reading shows whether it is undamaged.
    pub fn contains(&self, content: &blake3::Hash) -> bool {
        self.path(content).is_file()
    }

    /// Stores an entry; `false` if it does not fit, even after the results of other settings were removed.
    pub fn put(&self, content: &blake3::Hash, bytes: &[u8]) -> io::Result<bool> {
        let size = (bytes.len() + CHECKSUM_BYTES) as u64;
        if !self.reserve(size)? {
            return Ok(false);
        }
        let path = self.path(content);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent)?;
        // Not synced to the disk: an entry lost or torn in a power cut is noticed by its checksum and made again.
        let mut file = tempfile::Builder::new().prefix(".").tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.write_all(&crc32fast::hash(bytes).to_le_bytes())?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(true)
    }

    fn reserve(&self, size: u64) -> io::Result<bool> {
        let mut space = self.space.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while space.used_bytes + size > self.limit_bytes {
            let Some((folder, freed)) = space.foreign.pop() else { return Ok(false) };
            fs::remove_dir_all(folder)?;
            space.used_bytes -= freed;
        }
        space.used_bytes += size;
        Ok(true)
    }

    fn path(&self, content: &blake3::Hash) -> PathBuf {
        let name = content.to_hex();
        self.folder.join(&name[..2]).join(name.as_str())
    }
}

/// Bytes in the files below a folder, after removing unfinished (dotted) ones.
fn clean_and_measure(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            total += clean_and_measure(&entry.path())?;
        } else if entry.file_name().as_encoded_bytes().starts_with(b".") {
            fs::remove_file(entry.path())?;
        } else {
            total += entry.metadata()?.len();
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(root: &Path, settings: &str, limit_mebibytes: u64) -> Cache {
        Cache::open(root, &blake3::hash(settings.as_bytes()), &CacheConfig { limit_mebibytes }).unwrap()
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
