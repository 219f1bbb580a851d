//! `report.html`: what a run found, on one page that opens from disk and asks no network for anything.
//!
//! [`ClusterReport`] shows the groups of a collection, [`MaskReport`] the masks of one. Pages are bounded whatever the
//! collection holds: pictures and lists are samples, and counts are of everything. The same input gives the same bytes.

mod charts;
mod clusters;
mod html;
mod map;
mod masks;
mod thumbnails;

pub use clusters::{AgreementScores, AlphaPoint, ClusterReport, GroupedImage};
pub use masks::{MaskReport, SegmentedImage};
pub use thumbnails::{THUMBNAIL_SIDE_PX, thumbnail};

use html::{Text, shortened, whole};

/// A file that a run passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedFile<'a> {
    pub path: &'a str,
    pub reason: &'a str,
}

/// Most skipped files that a page lists; the others are counted.
const MOST_SKIPPED_LISTED: usize = 200;

/// The section with skipped files; nothing if there are none.
///
/// # Shapes
/// - `listed`: paths and reasons of the first of `total` files
fn skipped_section(listed: &[(String, String)], total: u64) -> String {
    if total == 0 {
        return String::new();
    }
    let rows: String = listed
        .iter()
        .take(MOST_SKIPPED_LISTED)
        .map(|(path, reason)| {
            let (path, reason) = (shortened(path, html::LONGEST_PATH), shortened(reason, html::LONGEST_REASON));
            format!("<tr><td class=\"path\">{}</td><td>{}</td></tr>\n", Text(&path), Text(&reason))
        })
        .collect();
    let others = total.saturating_sub(listed.len().min(MOST_SKIPPED_LISTED) as u64);
    let more =
        if others > 0 { format!("<p class=\"note\">… and {} more.</p>\n", whole(others)) } else { String::new() };
    format!(
        "<section id=\"skipped\" aria-labelledby=\"skipped-title\">\n<h2 id=\"skipped-title\">Skipped files</h2>\n\
         <p class=\"note\">{} could not be used.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Skipped files with reasons\"><table>\n<thead><tr><th scope=\"col\">File</th>\
         <th scope=\"col\">Reason</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n{more}</section>\n",
        html::counted(total, "file")
    )
}

/// What the list of skipped files keeps of one.
fn kept(skipped: &SkippedFile) -> (String, String) {
    let path = shortened(skipped.path, html::LONGEST_PATH).into_owned();
    (path, shortened(skipped.reason, html::LONGEST_REASON).into_owned())
}

#[cfg(test)]
mod tests;
