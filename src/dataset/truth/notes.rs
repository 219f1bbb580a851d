//! What in a ground truth could not be used, or was used in another way than it stands there.

use std::collections::BTreeMap;
use std::path::Path;

use crate::event::and_more;

/// Names that are written out for one reason; more are only counted.
const SHOWN: usize = 5;

/// Sentences about parts of a file or folder, each with the parts that it is true of; the memory follows the number of
/// sentences.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// How many parts, and the first of them.
    about: BTreeMap<String, (usize, Vec<String>)>,
}

impl Notes {
    /// Notes that the sentence `what` is true of the part `whom`.
    pub fn add(&mut self, what: impl Into<String>, whom: impl FnOnce() -> String) {
        let (count, named) = self.about.entry(what.into()).or_default();
        *count += 1;
        if named.len() < SHOWN {
            named.push(whom());
        }
    }

    /// The first sentence, with a part that it is true of.
    pub fn example(&self) -> Option<String> {
        let (what, (_, named)) = self.about.iter().next()?;
        Some(format!("{what}: {}", named.first()?))
    }

    /// One sentence for each reason.
    pub fn remarks(self, path: &Path) -> Vec<String> {
        let remark = |(what, (count, named)): (String, (usize, Vec<String>))| {
            let more = and_more(count - named.len());
            format!("{}: {what}: {}{more}", path.display(), named.join(", "))
        };
        self.about.into_iter().map(remark).collect()
    }
}
