//! The cache of the Hugging Face Hub on this machine, as all its programs lay it out:
//! `models--ORGANISATION--NAME/{blobs,refs,snapshots}`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::installed::{path_variable, variable};
#[cfg(feature = "hub")]
use crate::files;

/// The cache's folder.
pub struct HubCache {
    folder: PathBuf,
}

/// `$HF_HOME`, or else `huggingface` in the folder for caches.
fn hub_home() -> Option<PathBuf> {
    path_variable("HF_HOME")
        .or_else(|| path_variable("XDG_CACHE_HOME").map(|caches| caches.join("huggingface")))
        .or_else(|| path_variable("HOME").map(|home| home.join(".cache/huggingface")))
}

/// The token that the user has for the Hub.
#[cfg(feature = "hub")]
pub(super) fn token() -> Option<String> {
    const MOST_BYTES: u64 = 1 << 12;
    let is_on = |name: &str| variable(name).is_some_and(|value| is_true(&value));
    if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
        return None;
    }
    let from_file = || {
        let path = path_variable("HF_TOKEN_PATH").or_else(|| Some(hub_home()?.join("token")))?;
        crate::files::read_text(&path, MOST_BYTES).ok()
    };
    let token = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")).or_else(from_file)?;
    let token = token.trim();
    // Anything else would not go into the line of a request.
    (!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())).then(|| token.to_string())
}

/// The variable that forbids connections, if one does.
#[cfg(feature = "hub")]
pub(super) fn offline() -> Option<&'static str> {
    ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
        .into_iter()
        .find(|name| variable(name).is_some_and(|value| is_true(&value)))
}

#[cfg(feature = "hub")]
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
}

/// Where the Hub is.
pub(super) fn endpoint() -> String {
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
    endpoint.trim_end_matches('/').to_string()
}

impl HubCache {
    /// `$HF_HUB_CACHE`, or else `hub` in the Hub's folder; none on a system without a home folder.
    pub fn find() -> Option<HubCache> {
        let named = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].into_iter().find_map(path_variable);
        Some(HubCache { folder: named.or_else(|| Some(hub_home()?.join("hub")))? })
    }

    /// The folders of a repository, `organisation/name`.
    pub fn repository(&self, repository: &str) -> RepositoryCache {
        let name = format!("models--{}", repository.replace('/', "--"));
        RepositoryCache {
            folder: self.folder.join(&name),
            #[cfg(feature = "hub")]
            locks: self.folder.join(".locks").join(name),
        }
    }
}

/// The part of the cache that belongs to one repository.
pub struct RepositoryCache {
    folder: PathBuf,
    #[cfg(feature = "hub")]
    locks: PathBuf,
}

impl RepositoryCache {
    /// The file of a revision, a branch or a commit; of a branch that is not known here, that of any commit.
    pub fn snapshot(&self, revision: &str, file: &str) -> Option<PathBuf> {
        let snapshots = self.folder.join("snapshots");
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok();
        let commit = commit.as_deref().map(str::trim).filter(|commit| is_plain_name(commit));
        let preferred = [commit, Some(revision)].into_iter().flatten().map(|commit| snapshots.join(commit).join(file));
        if let Some(found) = preferred.into_iter().find(|path| path.is_file()) {
            return Some(found);
        }
        let mut others: Vec<PathBuf> = fs::read_dir(snapshots).ok()?.flatten().map(|entry| entry.path()).collect();
        others.sort();
        others.into_iter().map(|commit| commit.join(file)).find(|path| path.is_file())
    }

    /// Where the bytes lie that a server calls `tag`.
    #[cfg(feature = "hub")]
    pub fn blob(&self, tag: &str) -> PathBuf {
        self.folder.join("blobs").join(tag)
    }

    /// The file that is locked while they are fetched.
    #[cfg(feature = "hub")]
    pub fn lock(&self, tag: &str) -> PathBuf {
        self.locks.join(format!("{tag}.lock"))
    }

    /// Gives the bytes of `tag` the name that they have in a commit, which `revision` leads to from now on.
    #[cfg(feature = "hub")]
    pub fn link(&self, tag: &str, commit: &str, revision: &str, file: &str) -> io::Result<PathBuf> {
        let path = self.folder.join("snapshots").join(commit).join(file);
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(folder)?;
        // Relative, so that the cache may be moved.
        let up = "../".repeat(2 + file.matches('/').count());
        let pending = folder.join(format!(".deepcut-{}.tmp", std::process::id()));
        let _ = fs::remove_file(&pending);
        link_or_copy(Path::new(&format!("{up}blobs/{tag}")), &self.blob(tag), &pending)?;
        fs::rename(&pending, &path)?;
        if revision != commit {
            let reference = self.folder.join("refs").join(revision);
            files::write_whole(&reference, |writer| writer.write_all(commit.as_bytes()))?;
        }
        Ok(path)
    }

    /// Removes a file of a snapshot, its bytes if no other snapshot has them, and folders that are left empty.
    pub fn remove(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut gone = vec![path.to_path_buf()];
        let blob = path.canonicalize().ok().filter(|blob| blob.parent() == self.blobs().as_deref());
        fs::remove_file(path)?;
        if let Some(blob) = blob.filter(|blob| !self.is_used(blob)) {
            fs::remove_file(&blob)?;
            gone.push(blob);
        }
        // Those that are not empty stay.
        let snapshots = self.folder.join("snapshots");
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(&snapshots)) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        if !snapshots.exists() {
            let _ = fs::remove_dir_all(self.folder.join("refs"));
            let _ = fs::remove_dir(self.folder.join("blobs"));
            let _ = fs::remove_dir(&self.folder);
        }
        Ok(gone)
    }

    fn blobs(&self) -> Option<PathBuf> {
        self.folder.join("blobs").canonicalize().ok()
    }

    fn is_used(&self, blob: &Path) -> bool {
        let mut folders = vec![self.folder.join("snapshots")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if path.canonicalize().is_ok_and(|target| target == blob) {
                    return true;
                }
            }
        }
        false
    }
}

/// Whether a name from elsewhere may become that of a file.
pub(super) fn is_plain_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_plain)
}

#[cfg(all(unix, feature = "hub"))]
fn link_or_copy(relative: &Path, _blob: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(relative, at)
}

/// Links need privileges there.
#[cfg(all(not(unix), feature = "hub"))]
fn link_or_copy(_relative: &Path, blob: &Path, at: &Path) -> io::Result<()> {
    fs::hard_link(blob, at).or_else(|_| fs::copy(blob, at).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(unix, feature = "hub"))]
    #[test]
    fn a_file_is_linked_as_other_programs_do_and_removed_without_what_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        let repository = HubCache { folder: folder.path().into() }.repository("org/name");
        fs::create_dir_all(repository.blob("tag").parent().unwrap()).unwrap();
        fs::write(repository.blob("tag"), b"bytes").unwrap();
        assert_eq!(repository.snapshot("main", "sub/model.bin"), None);
        let first = repository.link("tag", "c0ffee", "main", "sub/model.bin").unwrap();
        assert_eq!(fs::read_link(&first).unwrap(), Path::new("../../../blobs/tag"));
        assert_eq!(fs::read(&first).unwrap(), b"bytes");
        assert_eq!(fs::read_to_string(repository.folder.join("refs/main")).unwrap(), "c0ffee");
        assert_eq!(repository.snapshot("main", "sub/model.bin"), Some(first.clone()));
        assert_eq!(repository.snapshot("c0ffee", "sub/model.bin"), Some(first.clone()));

        let second = repository.link("tag", "beef", "main", "sub/model.bin").unwrap();
        assert_eq!(repository.remove(&second).unwrap(), [second]);
        // The branch leads nowhere any more, but the file is there.
        assert_eq!(repository.snapshot("main", "sub/model.bin"), Some(first.clone()));
        assert_eq!(repository.remove(&first).unwrap().len(), 2);
        assert!(!repository.folder.exists());
    }

    #[test]
    fn names_from_elsewhere_stay_in_their_folder() {
        for name in ["", ".", "..", "../a", "a/b", "a\\b", "a b", ".hidden", "a\n"] {
            assert!(!is_plain_name(name), "{name:?}");
        }
        assert!(is_plain_name("1e26d402048865ad71f26f814c0d9f691254db37") && is_plain_name("main"));
    }
}
