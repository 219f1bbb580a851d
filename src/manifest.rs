//! What runs have made in an output folder: the record that tells their files from everybody else's.
//!
//! The record is `OUT/.deepcut/manifest.json`. Whoever writes results claims their names in it before the first byte is
//! written, so what it does not list was made by somebody else. Searches for images pass over what it lists.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;

/// The folder, inside an output folder, with all that runs keep about it.
pub const FOLDER: &str = ".deepcut";

/// The name of the record in it.
pub const FILE: &str = "manifest.json";
const FORMAT: u32 = 1;
/// Contents that are known of one file.
const MOST_CONTENTS: usize = 16;
/// No record is as large: the names in it are those of kinds of files.
const MOST_BYTES: u64 = 4 << 20;

/// The names that runs have claimed in one output folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The commands that have written here, for people.
    commands: BTreeSet<String>,
    /// By their paths relative to the folder, `/` between parts.
    made: BTreeMap<String, Made>,
    /// What the last finished segmenting run wrote of every image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    images: Option<BTreeSet<String>>,
}

/// What a claimed name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// A folder and all that runs put into it.
    Folder,
    /// A file with any of these contents (blake3): that which is there, or that which was about to replace it.
    File(Vec<String>),
    /// A file that changes all through a run.
    Working,
}

/// Whether an error of [`Manifest::read`] says that the text is no record, or of another version; any other is of a disk that
/// cannot be read.
pub fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other)
}

impl Default for Manifest {
    fn default() -> Self {
        Manifest { format: FORMAT, commands: BTreeSet::new(), made: BTreeMap::new(), images: None }
    }
}

impl Manifest {
    /// Where the record of an output folder lies.
    pub fn path(out: &Path) -> PathBuf {
        out.join(FOLDER).join(FILE)
    }

    /// The record of an output folder; none where no run has written.
    ///
    /// # Errors
    /// If it cannot be read, or is none of this version's.
    pub fn read(out: &Path) -> io::Result<Option<Manifest>> {
        let path = Manifest::path(out);
        // It may lie in a folder that is only searched for images: what is no file there is not opened.
        let read = || files::read_rest(files::open_ordinary(&path)?, MOST_BYTES, 0);
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(error) if files::says_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        Manifest::from_reader(&bytes[..]).map(Some)
    }

    /// The record that is read.
    ///
    /// # Errors
    /// If it cannot be read, or is none of this version's.
    pub fn from_reader(reader: impl io::Read) -> io::Result<Manifest> {
        let bytes = files::read_rest(reader, MOST_BYTES, 0)?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(io::Error::from)?;
        if manifest.format != FORMAT {
            return Err(io::Error::other(format!("its format is {}, this program knows {FORMAT}", manifest.format)));
        }
        Ok(manifest)
    }

    /// The record as it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// What the name stands for, if runs have claimed it.
    pub fn get(&self, name: &str) -> Option<&Made> {
        self.made.get(name)
    }

    /// Everything claimed, in the order of the names.
    pub fn made(&self) -> impl Iterator<Item = (&str, &Made)> {
        self.made.iter().map(|(name, made)| (name.as_str(), made))
    }

    /// Adds a command to those that have written here.
    pub fn add_command(&mut self, command: &str) {
        self.commands.insert(command.to_string());
    }

    /// Claims a name; contents that are known of it already stay known.
    pub fn claim(&mut self, name: &str, made: Made) {
        self.made.entry(name.to_string()).or_insert(made);
    }

    /// Says that a claimed file is about to have the content with this blake3; that which is there stays known.
    pub fn expect(&mut self, name: &str, content: &blake3::Hash) {
        let content = content.to_hex().to_string();
        if let Some(Made::File(contents)) = self.made.get_mut(name) {
            contents.retain(|known| *known != content);
            contents.push(content);
            // Those before: one is on the disk until the rename, and others were to be there if renames failed.
            let surplus = contents.len().saturating_sub(MOST_CONTENTS);
            contents.drain(1..1 + surplus);
        }
    }

    /// Says that a claimed file has this content now.
    pub fn settle(&mut self, name: &str, content: &blake3::Hash) {
        if let Some(Made::File(contents)) = self.made.get_mut(name) {
            *contents = vec![content.to_hex().to_string()];
        }
    }

    /// Says that a claimed file is gone; `false` if none is known of that name.
    pub fn forget(&mut self, name: &str) -> bool {
        match self.made.get_mut(name) {
            Some(Made::File(contents)) => !std::mem::take(contents).is_empty(),
            _ => false,
        }
    }

    /// The kinds of files that the last finished segmenting run wrote of every image, if there was one.
    pub fn images(&self) -> Option<&BTreeSet<String>> {
        self.images.as_ref()
    }

    /// Says which kinds of files every image has, or that no run is finished.
    pub fn set_images(&mut self, kinds: Option<BTreeSet<String>>) {
        self.images = kinds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_the_content_it_has_and_the_one_it_is_about_to_get() {
        let (mut manifest, contents) = (Manifest::default(), [b"1", b"2", b"3"].map(|text| blake3::hash(text)));
        manifest.claim("coco.json", Made::File(Vec::new()));
        contents.iter().for_each(|content| manifest.expect("coco.json", content));
        let all = contents.iter().map(|content| content.to_hex().to_string()).collect();
        assert_eq!(manifest.get("coco.json"), Some(&Made::File(all)), "no rename is known to have succeeded");
        manifest.settle("coco.json", &contents[2]);
        assert_eq!(manifest.get("coco.json"), Some(&Made::File(vec![contents[2].to_hex().to_string()])));
        for number in 0..3 * MOST_CONTENTS {
            manifest.expect("coco.json", &blake3::hash(&number.to_le_bytes()));
        }
        let Some(Made::File(known)) = manifest.get("coco.json") else { panic!("a file") };
        assert_eq!(
            (known.len(), &known[0]),
            (MOST_CONTENTS, &contents[2].to_hex().to_string()),
            "that on the disk stays known"
        );

        let out = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(out.path()).unwrap(), None);
        std::fs::create_dir(out.path().join(FOLDER)).unwrap();
        std::fs::write(Manifest::path(out.path()), manifest.to_bytes()).unwrap();
        assert_eq!(Manifest::read(out.path()).unwrap(), Some(manifest));
        std::fs::write(Manifest::path(out.path()), b"{").unwrap();
        assert!(Manifest::read(out.path()).is_err());
    }
}
