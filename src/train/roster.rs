//! The images with which a run began: it goes on with them after an interruption, whatever has become of the collection.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::LoadError;
use crate::event::{Observer, SkippedFile};
use crate::parallel::lock;

/// Why an image is left out that could be used when the run began.
pub const CHANGED: &str = "the file has changed since the run began";
const VANISHED: &str = "the file has gone since the run began";

/// The images of a run, in its order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Whether they are a sample of a larger collection.
    pub sampled: bool,
    images: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The image's place within the collection, `/` between folders.
    path: String,
    /// blake3 of its content in hexadecimal; none if it could not be used when the run began.
    content: Option<String>,
}

impl Roster {
    /// A run with these images, of which those that are `present`, with their contents, can be used.
    pub fn new(sampled: bool, listed: &[String], present: &[(String, blake3::Hash)]) -> Roster {
        let contents: HashMap<&str, &blake3::Hash> =
            present.iter().map(|(path, content)| (path.as_str(), content)).collect();
        let content = |path: &String| contents.get(path.as_str()).map(|content| content.to_hex().to_string());
        let images = listed.iter().map(|path| Entry { path: path.clone(), content: content(path) });
        Roster { sampled, images: images.collect() }
    }

    /// Where its images lie, those among them that could not be used.
    pub fn paths(&self) -> HashSet<&str> {
        self.images.iter().map(|entry| entry.path.as_str()).collect()
    }

    /// The contents of the images that the run uses.
    pub fn contents(&self) -> impl Iterator<Item = blake3::Hash> {
        self.used().map(|(_, content)| content)
    }

    fn used(&self) -> impl Iterator<Item = (&str, blake3::Hash)> {
        self.images.iter().filter_map(|Entry { path, content }| {
            Some((path.as_str(), blake3::Hash::from_hex(content.as_deref()?).ok()?))
        })
    }

    /// The content of every image that the run uses, with its number among those that are `present` with the same content.
    /// Tells `gone` of the path of each that is not, and why; what is `listed` and not present was told of.
    pub fn rejoin(
        &self,
        present: &[(String, blake3::Hash)],
        listed: &[String],
        mut gone: impl FnMut(&str, &str),
    ) -> Vec<(blake3::Hash, Option<usize>)> {
        let numbers: HashMap<&str, usize> =
            present.iter().enumerate().map(|(number, (path, _))| (path.as_str(), number)).collect();
        let listed: HashSet<&str> = listed.iter().map(String::as_str).collect();
        let place = |(path, content)| match numbers.get(path) {
            Some(&number) if present[number].1 == content => (content, Some(number)),
            found => {
                if found.is_some() || !listed.contains(path) {
                    gone(path, if found.is_some() { CHANGED } else { VANISHED });
                }
                (content, None)
            }
        };
        self.used().map(place).collect()
    }

    /// Whether all of these images were among those of the run, with the same content.
    pub fn holds_all(&self, images: &[(String, blake3::Hash)]) -> bool {
        let found = self.rejoin(images, &[], |_, _| {});
        found.iter().filter(|(_, number)| number.is_some()).count() == images.len()
    }
}

/// The images that vanish or change while a run goes on.
pub struct Gone<'a> {
    found: Mutex<BTreeMap<usize, SkippedFile>>,
    most: usize,
    observer: &'a dyn Observer,
}

impl Gone<'_> {
    /// None yet, and at most `most`.
    pub fn new(most: usize, observer: &dyn Observer) -> Gone<'_> {
        Gone { found: Mutex::default(), most, observer }
    }

    pub fn contains(&self, index: usize) -> bool {
        self.lock().contains_key(&index)
    }

    /// Notes an image by its index, and tells of it once; an error if there are too many by now.
    pub fn add(&self, index: usize, skipped: SkippedFile) -> Result<(), LoadError> {
        let mut found = self.lock();
        found.entry(index).or_insert_with(|| {
            skipped.announce(self.observer);
            skipped
        });
        if found.len() > self.most { Err("too many images are gone".into()) } else { Ok(()) }
    }

    /// All of them, by their indices.
    pub fn into_skipped(self) -> impl Iterator<Item = SkippedFile> {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, SkippedFile>> {
        lock(&self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_its_images_again_by_place_and_content() {
        let hash = |text: &str| blake3::hash(text.as_bytes());
        let now = |images: &[(&str, &str)]| -> Vec<(String, blake3::Hash)> {
            images.iter().map(|(path, content)| (path.to_string(), hash(content))).collect()
        };
        let whole = [("a.png", "a"), ("b/c.png", "c"), ("d.png", "d")];
        let began = ["a.png", "b/c.png", "bad.png", "d.png"].map(String::from);
        let roster = Roster::new(false, &began, &now(&whole));
        let stored = serde_json::to_string(&roster).unwrap();
        assert_eq!(serde_json::from_str::<Roster>(&stored).unwrap(), roster);
        assert_eq!(roster.contents().collect::<Vec<_>>(), ["a", "c", "d"].map(hash));

        let rejoined = |images: &[(&str, &str)]| {
            let mut gone = Vec::new();
            let listed = ["b/c.png".to_string()];
            let tell = |path: &str, reason: &str| gone.push((path.to_string(), reason.to_string()));
            let found = roster.rejoin(&now(images), if images.len() < 4 { &listed } else { &[] }, tell);
            (found.into_iter().map(|(_, number)| number).collect::<Vec<_>>(), gone)
        };
        assert_eq!(rejoined(&whole), (vec![Some(0), Some(1), Some(2)], vec![]));
        assert!(roster.holds_all(&now(&whole)) && roster.holds_all(&now(&whole[1..])));
        // One is gone, one has changed, one was mended, one is new.
        let other = [("a.png", "other"), ("bad.png", "good"), ("d.png", "d"), ("new.png", "new")];
        let gone = [("a.png", CHANGED), ("b/c.png", VANISHED)].map(|(path, reason)| (path.into(), reason.into()));
        assert_eq!(rejoined(&other), (vec![None, None, Some(2)], gone.to_vec()));
        // What is listed and cannot be used is told of by whoever tried.
        assert_eq!(rejoined(&[("a.png", "a"), ("d.png", "d")]), (vec![Some(0), None, Some(1)], vec![]));
        assert!(!roster.holds_all(&now(&other)) && !roster.holds_all(&now(&other[2..])));
        assert!(roster.paths().contains("bad.png"));
    }
}
