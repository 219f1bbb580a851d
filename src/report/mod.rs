//! `report.html`: what a run found, on one page that opens from disk and asks no network for anything.
//!
//! [`ClusterReport`] shows the groups of a collection, [`MaskReport`] the masks of one. Pages are bounded whatever the
//! collection holds: pictures and lists are samples, and counts are of everything. The same input gives the same bytes.

mod charts;
mod clusters;
mod html;
mod map;
mod masks;

pub use clusters::ClusterReport;
pub use masks::MaskReport;

use html::{Section, Text, shortened, whole};

/// Most skipped files that a page lists; the others are counted.
const MOST_SKIPPED_LISTED: usize = 200;

/// The section with skipped files; nothing if there are none.
///
/// # Shapes
/// - `listed`: paths and reasons of the first of `total` files, as [`shortened_skip`] gives them
fn skipped_section(listed: &[(String, String)], total: u64) -> Option<Section> {
    let others = total.saturating_sub(listed.len() as u64);
    let content = maud::html! {
        p.note { (html::counted(total, "file")) " could not be used." }
        div.scroll tabindex="0" role="region" aria-label="Skipped files with reasons" {
            table {
                thead { tr { th scope="col" { "File" } th scope="col" { "Reason" } } }
                tbody {
                    @for (path, reason) in listed { tr { td.path { (Text(path)) } td { (Text(reason)) } } "\n" }
                }
            }
        }
        @if others > 0 { p.note { "… and " (whole(others)) " more." } }
    };
    (total > 0).then(|| Section::titled("skipped", "Skipped files", content))
}

/// What a page keeps of a skipped file.
fn shortened_skip(path: &str, reason: &str) -> (String, String) {
    (shortened(path, html::LONGEST_PATH).into_owned(), shortened(reason, html::LONGEST_REASON).into_owned())
}

#[cfg(test)]
mod tests;
