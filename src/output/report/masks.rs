//! The report of a segmented collection, filled image by image.

use std::collections::{BTreeMap, BTreeSet};

use super::charts::Histogram;
use super::html::{self, Page, decimal, figure, percent, picture_tile, whole};
use super::{MOST_SKIPPED_LISTED, SkippedFile, kept, skipped_section};

/// Pictures on the contact sheet, which holds between half of them and all.
const MOST_ON_SHEET: usize = 240;

/// Pictures among those with the lowest confidence.
const MOST_DOUBTFUL: usize = 24;

/// What the report says of one segmented image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentedImage<'a> {
    /// The image's place within the collection, `/` between folders.
    pub path: &'a str,
    /// In [0, 1]; none where there is no object. What is not finite counts as none.
    pub confidence: Option<f64>,
    /// Share of the image's pixels that are foreground, in [0, 1]; 0 where there is no object.
    pub foreground_share: f64,
}

/// The report of a segmenting run: pictures of a sample and of the doubtful images, and figures of all.
///
/// However many images there are, it keeps no more than 264 pictures at a time. Which ones follows from the order and
/// the confidences of the images alone.
#[derive(Debug, Clone)]
pub struct MaskReport {
    collection: String,
    method: String,
    images: u64,
    without_object: u64,
    /// Images with a confidence, and the sum of theirs.
    confident: u64,
    confidence_sum: f64,
    shares: Histogram,
    confidences: Histogram,
    /// Everything that is on the sheet or doubtful, by its place in the run.
    kept: BTreeMap<u64, Kept>,
    /// Places of the images on the sheet are the multiples of this.
    sheet_step: u64,
    /// The lowest confidences with their images' places, as bits that order like the numbers.
    doubtful: BTreeSet<(u64, u64)>,
    skipped: Vec<(String, String)>,
    skipped_count: u64,
}

/// An image that the report shows.
#[derive(Debug, Clone)]
struct Kept {
    path: String,
    confidence: Option<f64>,
    foreground_share: f64,
    jpeg: Option<Vec<u8>>,
}

impl MaskReport {
    /// An empty report about `collection`, segmented by `method`: both are text for the reader.
    pub fn new(collection: &str, method: &str) -> Self {
        Self {
            collection: collection.to_string(),
            method: method.to_string(),
            images: 0,
            without_object: 0,
            confident: 0,
            confidence_sum: 0.0,
            shares: Histogram::default(),
            confidences: Histogram::default(),
            kept: BTreeMap::new(),
            sheet_step: 1,
            doubtful: BTreeSet::new(),
            skipped: Vec::new(),
            skipped_count: 0,
        }
    }

    /// Counts an image, in the collection's order, and asks for its `picture` only if the report shows it for now.
    ///
    /// The picture is a JPEG as [`super::thumbnail`] makes it, of the image with its mask drawn over it. Without one,
    /// or with one of more than 32 KiB, the image is listed without a picture.
    pub fn push(&mut self, image: &SegmentedImage, picture: impl FnOnce() -> Option<Vec<u8>>) {
        let place = self.images;
        self.images += 1;
        self.without_object += u64::from(image.foreground_share == 0.0);
        self.shares.add(image.foreground_share);
        let confidence = image.confidence.filter(|confidence| confidence.is_finite());
        let mut is_doubtful = false;
        if let Some(confidence) = confidence {
            self.confident += 1;
            self.confidence_sum += confidence;
            self.confidences.add(confidence);
            let entry = (ordered_bits(confidence), place);
            is_doubtful = self.doubtful.len() < MOST_DOUBTFUL || self.doubtful.last().is_some_and(|last| entry < *last);
            if is_doubtful {
                self.doubtful.insert(entry);
            }
        }
        if !is_doubtful && !self.on_sheet(place) {
            return;
        }
        let jpeg = html::bounded_picture(picture());
        let path = html::shortened(image.path, html::LONGEST_PATH).into_owned();
        self.kept.insert(place, Kept { path, confidence, foreground_share: image.foreground_share, jpeg });
        if self.doubtful.len() > MOST_DOUBTFUL
            && let Some((_, surest)) = self.doubtful.pop_last()
            && !self.on_sheet(surest)
        {
            self.kept.remove(&surest);
        }
        // Images that are shown need not be looked through more than once per doubling.
        if self.images.div_ceil(self.sheet_step) > MOST_ON_SHEET as u64 {
            self.sheet_step *= 2;
            let step = self.sheet_step;
            let doubtful: BTreeSet<u64> = self.doubtful.iter().map(|(_, place)| *place).collect();
            self.kept.retain(|place, _| place.is_multiple_of(step) || doubtful.contains(place));
        }
    }

    /// Counts a file that could not be segmented.
    pub fn push_skipped(&mut self, skipped: &SkippedFile) {
        self.skipped_count += 1;
        if self.skipped.len() < MOST_SKIPPED_LISTED {
            self.skipped.push(kept(skipped));
        }
    }

    /// The page. It tells no time, so that equal runs give equal pages.
    pub fn finish(self) -> String {
        let mean_confidence = if self.confident > 0 { self.confidence_sum / self.confident as f64 } else { f64::NAN };
        let mut figures = figure("images", &whole(self.images));
        figures += &figure("mean confidence", &decimal(mean_confidence, 3));
        figures += &figure("without object", &whole(self.without_object));
        figures += &figure("skipped", &whole(self.skipped_count));
        let body =
            [self.sheet(), self.doubtful(), self.histograms(), skipped_section(&self.skipped, self.skipped_count)];
        Page {
            kind: "deepcut masks",
            title: &self.collection,
            lead: &self.method,
            figures: &figures,
            sections: &[
                ("sheet", "Contact sheet"),
                ("doubtful", "Lowest confidence"),
                ("distributions", "Distributions"),
                ("skipped", "Skipped files"),
            ],
            body: &body.concat(),
            script: None,
        }
        .html()
    }

    fn on_sheet(&self, place: u64) -> bool {
        place.is_multiple_of(self.sheet_step)
    }

    fn sheet(&self) -> String {
        if self.images == 0 {
            return "<section id=\"sheet\"><h2>Contact sheet</h2>\n<p class=\"note\">No image was \
                    segmented.</p></section>\n"
                .into();
        }
        let shown: Vec<&Kept> =
            self.kept.iter().filter(|(place, _)| self.on_sheet(**place)).map(|(_, kept)| kept).collect();
        let note = if shown.len() as u64 == self.images {
            "All images, in the collection’s order.".to_string()
        } else {
            format!(
                "{} of {} images, one in {}, in the collection’s order.",
                whole(shown.len() as u64),
                whole(self.images),
                whole(self.sheet_step)
            )
        };
        let tiles: String = shown.into_iter().map(Kept::tile).collect();
        format!(
            "<section id=\"sheet\" aria-labelledby=\"sheet-title\">\n<h2 id=\"sheet-title\">Contact sheet</h2>\n\
             <p class=\"note\">{note} Below each picture: share of foreground, confidence.</p>\n\
             <ul class=\"tiles\">\n{tiles}</ul>\n</section>\n"
        )
    }

    fn doubtful(&self) -> String {
        let tiles: String =
            self.doubtful.iter().filter_map(|(_, place)| self.kept.get(place)).map(Kept::tile).collect();
        if tiles.is_empty() {
            return String::new();
        }
        format!(
            "<section id=\"doubtful\" aria-labelledby=\"doubtful-title\">\n\
             <h2 id=\"doubtful-title\">Lowest confidence</h2>\n<p class=\"note\">The least sure first: look here for \
             masks to correct.</p>\n<ul class=\"tiles\">\n{tiles}</ul>\n</section>\n"
        )
    }

    fn histograms(&self) -> String {
        let charts = self.shares.svg("Foreground share", "share of the image, %")
            + &self.confidences.svg("Confidence", "mean probability of foreground, %");
        if charts.is_empty() {
            return charts;
        }
        format!(
            "<section id=\"distributions\" aria-labelledby=\"distributions-title\">\n\
             <h2 id=\"distributions-title\">Distributions</h2>\n<div class=\"charts\">\n{charts}</div>\n</section>\n"
        )
    }
}

impl Kept {
    fn tile(&self) -> String {
        let confidence = match self.confidence {
            Some(confidence) => decimal(confidence, 2),
            None if self.foreground_share == 0.0 => "no object".to_string(),
            None => html::UNKNOWN.to_string(),
        };
        let caption = format!("<span class=\"value\">{} · {confidence}</span>", percent(self.foreground_share));
        picture_tile(&self.path, self.jpeg.as_deref(), None, &caption)
    }
}

/// Bits that order like the finite numbers they are made of.
fn ordered_bits(value: f64) -> u64 {
    // Adding zero makes −0 and 0 the same.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(report: &MaskReport) -> (Vec<u64>, Vec<u64>) {
        let sheet = report.kept.keys().copied().filter(|place| report.on_sheet(*place)).collect();
        (sheet, report.doubtful.iter().map(|(_, place)| *place).collect())
    }

    #[test]
    fn the_sheet_is_even_and_the_lowest_confidences_are_exact() {
        let mut report = MaskReport::new("", "");
        let mut asked = 0;
        let confidence = |place: u64| (place * 7919 % 10_007) as f64 / 10_007.0;
        for place in 0..10_007 {
            let image = SegmentedImage { path: "a", confidence: Some(confidence(place)), foreground_share: 0.5 };
            report.push(&image, || {
                asked += 1;
                Some(vec![1])
            });
            assert!(report.kept.len() <= MOST_ON_SHEET + MOST_DOUBTFUL);
        }
        let (sheet, doubtful) = shown(&report);
        assert_eq!(sheet, (0..10_007).step_by(64).collect::<Vec<u64>>());
        let mut lowest: Vec<u64> = (0..10_007).collect();
        lowest.sort_by(|a, b| confidence(*a).total_cmp(&confidence(*b)));
        assert_eq!(doubtful, lowest[..MOST_DOUBTFUL]);
        assert!(doubtful.iter().all(|place| report.kept.contains_key(place)));
        assert!(asked < 1200, "{asked} pictures were asked for");
    }

    #[test]
    fn of_equal_confidences_the_first_are_shown_and_unknown_ones_are_not_doubtful() {
        let mut report = MaskReport::new("", "");
        for place in 0..100 {
            let confidence = [Some(f64::NAN), None, Some(0.5), Some(f64::INFINITY)][place % 4];
            report.push(&SegmentedImage { path: "a", confidence, foreground_share: 0.1 }, || None);
        }
        let expected: Vec<u64> = (0..100).filter(|place| place % 4 == 2).take(MOST_DOUBTFUL).collect();
        assert_eq!(shown(&report).1, expected);
        assert_eq!((report.confident, report.confidence_sum), (25, 12.5));
    }

    #[test]
    fn bits_order_like_numbers() {
        let ascending = [f64::MIN, -1.0, -1e-300, 0.0, 1e-300, 0.5, f64::MAX];
        assert!(ascending.windows(2).all(|pair| ordered_bits(pair[0]) < ordered_bits(pair[1])));
        assert_eq!(ordered_bits(-0.0), ordered_bits(0.0));
    }
}
