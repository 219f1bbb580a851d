//! What a search for images has passed over, in numbers.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::{DatasetError, ignored};
use crate::event::{counted, plural};
use crate::names;

/// Different extensions that are counted one by one, and those that are named.
const MOST_EXTENSIONS: usize = 64;
const MOST_NAMED: usize = 4;
/// What is longer is a part of a name rather than an extension.
const LONGEST_EXTENSION: usize = 12;

/// What a search has passed over so far. It takes no more memory for more files.
#[derive(Debug, Default)]
pub struct PassedOver {
    /// Output folders of runs, in which results were passed over, and the first of them.
    pub(super) folders: u64,
    pub(super) first_folder: Option<PathBuf>,
    /// Files that are no images, by their extensions in small letters, none being the empty one.
    extensions: BTreeMap<String, u64>,
    other_extensions: u64,
    /// Those among them that would be collections by themselves.
    collections: u64,
    /// Files without an image's name that cannot be looked into.
    unreadable: u64,
    hidden: u64,
    /// Files and folders that ignore files leave out, by the names of these.
    left_out: BTreeMap<&'static str, u64>,
    /// Ignore files that do not count.
    not_obeyed: u64,
    /// What is wrong besides single images, to be told when the search is over.
    pub(super) troubles: VecDeque<DatasetError>,
}

impl PassedOver {
    pub(super) fn add_no_image(&mut self, path: &Path) {
        let extension = path.extension().map(|extension| names::text(extension).to_lowercase()).unwrap_or_default();
        let has_room = self.extensions.len() < MOST_EXTENSIONS && extension.len() <= LONGEST_EXTENSION;
        if has_room || self.extensions.contains_key(&extension) {
            *self.extensions.entry(extension).or_default() += 1;
        } else {
            self.other_extensions += 1;
        }
    }

    /// Counts a file in a folder that holds images and is none.
    pub(super) fn add_collection(&mut self, path: &Path) {
        self.add_no_image(path);
        self.collections += 1;
    }

    pub(super) fn add_unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// Counts a hidden file or folder, unless it is one that says what is left out.
    pub(super) fn add_hidden(&mut self, name: &str, respects_others: bool) {
        match name {
            ignored::OWN | crate::manifest::FOLDER => {}
            other if ignored::OTHERS.contains(&other) => self.not_obeyed += u64::from(!respects_others),
            _ => self.hidden += 1,
        }
    }

    pub(super) fn add_left_out(&mut self, by: &'static str) {
        *self.left_out.entry(by).or_default() += 1;
    }

    /// Where results of earlier runs were passed over; none if nowhere.
    pub fn own_results(&self) -> Option<String> {
        let first = self.first_folder.as_ref()?;
        let more = match self.folders {
            0 | 1 => String::new(),
            folders => format!(" and in {} more", counted(folders - 1, "folder")),
        };
        Some(format!("passed over what earlier runs have written in {}{more}: results are no images", first.display()))
    }

    /// What was found and is no image, as a sentence without its end; none if nothing was.
    pub fn others(&self) -> Option<String> {
        let no_images = self.extensions.values().sum::<u64>() + self.other_extensions;
        let mut parts = Vec::new();
        if no_images > 0 {
            let verb = if no_images == 1 { "is no image" } else { "are no images" };
            parts.push(format!("{} {verb} ({})", counted(no_images, "file"), self.kinds()));
        }
        if self.collections > 0 {
            let rest =
                if self.collections == 1 { "holds images if its path is" } else { "hold images if their paths are" };
            parts.push(format!("{} of them {rest} given", self.collections));
        }
        let further = [(self.unreadable, "that cannot be read".to_string()), (self.hidden, "hidden".to_string())];
        let left_out = self.left_out.iter().map(|(by, count)| (*count, format!("left out by {by}")));
        let further = further.into_iter().chain(left_out).filter(|(count, _)| *count > 0);
        parts.extend(further.map(|(count, what)| format!("{count} {what}")));
        if no_images == 0
            && let Some(first) = parts.first_mut()
        {
            first.insert_str(0, "passed over: ");
        }
        if self.not_obeyed > 0 {
            let (files, verb) = (plural(self.not_obeyed, "file"), if self.not_obeyed == 1 { "does" } else { "do" });
            parts.push(format!(
                "{} .gitignore or .ignore {files} {verb} not count unless `data.respect_ignore` is set",
                self.not_obeyed
            ));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// 4 .txt, 2 .json, 1 without extension.
    fn kinds(&self) -> String {
        let mut kinds: Vec<(&str, u64)> = self.extensions.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        // Those of one number stay in the order of their names.
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest = kinds.iter().skip(MOST_NAMED).map(|(_, count)| count).sum::<u64>() + self.other_extensions;
        let named = kinds.into_iter().take(MOST_NAMED).map(|(name, count)| match name {
            "" => format!("{count} without extension"),
            name => format!("{count} .{name}"),
        });
        named.chain((rest > 0).then(|| format!("{rest} of other kinds"))).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_counted_by_extension_in_bounded_memory() {
        let mut passed = PassedOver::default();
        assert_eq!(passed.others(), None);
        ["a.txt", "b.TXT", "c.json", "d", "e.a-part-of-a-name"]
            .into_iter()
            .for_each(|name| passed.add_no_image(Path::new(name)));
        let kinds = "5 files are no images (2 .txt, 1 without extension, 1 .json, 1 of other kinds)";
        assert_eq!(passed.others().as_deref(), Some(kinds));
        (0..1000).for_each(|number| passed.add_no_image(Path::new(&format!("x.{number}"))));
        assert_eq!(passed.extensions.len(), MOST_EXTENSIONS);
        assert!(passed.others().unwrap().starts_with("1005 files"));

        let mut passed = PassedOver::default();
        passed.add_collection(Path::new("shards/000.tar"));
        let expected = "1 file is no image (1 .tar), 1 of them holds images if its path is given";
        assert_eq!(passed.others().as_deref(), Some(expected));

        let mut passed = PassedOver::default();
        [".deepcut", ".deepcutignore", ".gitignore", ".DS_Store"]
            .into_iter()
            .for_each(|name| passed.add_hidden(name, false));
        passed.add_left_out(ignored::OWN);
        let expected = "passed over: 1 hidden, 1 left out by .deepcutignore, 1 .gitignore or .ignore file does not \
                        count unless `data.respect_ignore` is set";
        assert_eq!(passed.others().as_deref(), Some(expected));
    }
}
