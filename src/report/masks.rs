//! The report of a segmented collection, filled image by image.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, PreEscaped, html};

use super::charts::Histogram;
use super::html::{self, Page, Section, decimal, percent, picture_tile, whole};
use super::{MOST_SKIPPED_LISTED, shortened_skip, skipped_section};
use crate::results::Prediction;

/// Pictures on the contact sheet, which holds between half of them and all.
const MOST_ON_SHEET: usize = 240;

/// Pictures among those with the lowest confidence.
const MOST_DOUBTFUL: usize = 24;

/// The report of a segmenting run: pictures of a sample and of the doubtful images, and figures of all.
///
/// However many images there are, it keeps no more than 264 at a time, each as a `Source` of its pictures, which are made when
/// it is known which ones are shown. That follows from the order and the confidences of the images alone.
#[derive(Debug, Clone)]
pub struct MaskReport<Source> {
    collection: String,
    method: String,
    /// Images are divided into regions as a whole.
    of_regions: bool,
    images: u64,
    without_object: u64,
    /// Images with a confidence, and the sum of theirs.
    confident: u64,
    confidence_sum: f64,
    shares: Histogram,
    confidences: Histogram,
    /// Everything that is on the sheet or doubtful, by its place in the run.
    kept: BTreeMap<u64, Kept<Source>>,
    /// Places of the images on the sheet are the multiples of this.
    sheet_step: u64,
    /// The lowest confidences with their images' places, as bits that order like the numbers.
    doubtful: BTreeSet<(u64, u64)>,
    skipped: Vec<(String, String)>,
    skipped_count: u64,
}

/// An image that the report shows.
#[derive(Debug, Clone)]
struct Kept<Source> {
    path: String,
    confidence: Option<f64>,
    foreground_share: f64,
    source: Source,
    /// None before the page is made.
    jpegs: Vec<Vec<u8>>,
}

impl<Source> MaskReport<Source> {
    /// An empty report about `collection`, segmented by `method`: both are text for the reader.
    pub fn new(collection: &str, method: &str) -> Self {
        MaskReport {
            collection: collection.into(),
            method: method.into(),
            of_regions: false,
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

    /// The same about images that are divided into regions as a whole.
    pub fn of_regions(self) -> Self {
        Self { of_regions: true, ..self }
    }

    /// Counts an image, in the collection's order, and asks for the `source` of its pictures only if the report shows it for
    /// now. An image that was skipped is listed with its reason.
    pub fn push(&mut self, image: &Prediction, source: impl FnOnce() -> Source) {
        let Some(measures) = &image.result else {
            self.skipped_count += 1;
            if self.skipped.len() < MOST_SKIPPED_LISTED {
                self.skipped.push(shortened_skip(&image.path, image.reason.as_deref().unwrap_or_default()));
            }
            return;
        };
        let area_px = (measures.width * measures.height).max(1);
        let foreground_share = measures.foreground_area_px as f64 / area_px as f64;
        let place = self.images;
        self.images += 1;
        self.without_object += u64::from(foreground_share == 0.0);
        self.shares.add(foreground_share);
        let confidence = measures.confidence.filter(|confidence| confidence.is_finite());
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
        let path = html::shortened(&image.path, html::LONGEST_PATH).into_owned();
        self.kept.insert(place, Kept { path, confidence, foreground_share, source: source(), jpegs: Vec::new() });
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

    /// The images that are shown, by their places in the run.
    pub fn pictured(&self) -> impl Iterator<Item = (u64, &Source)> {
        self.kept.iter().map(|(place, kept)| (*place, &kept.source))
    }

    /// The page. It tells no time, so that equal runs give equal pages.
    ///
    /// `pictures` gives, once for each of the [`pictured`](Self::pictured) places, JPEGs as [`crate::output::thumbnail`] makes
    /// them: the image with its mask drawn over it, and of regions their mean colours. Without one, or with those of more than
    /// 32 KiB, the image is listed without.
    pub fn finish(mut self, mut pictures: impl FnMut(u64) -> Vec<Vec<u8>>) -> String {
        for (place, kept) in &mut self.kept {
            kept.jpegs = pictures(*place).into_iter().filter_map(|jpeg| html::bounded_picture(Some(jpeg))).collect();
        }
        let mean_confidence = if self.confident > 0 { self.confidence_sum / self.confident as f64 } else { f64::NAN };
        Page {
            kind: "deepcut masks",
            title: &self.collection,
            lead: &self.method,
            figures: vec![
                ("images", whole(self.images)),
                ("mean confidence", decimal(mean_confidence, 3)),
                ("without object", whole(self.without_object)),
                ("skipped", whole(self.skipped_count)),
            ],
            sections: vec![
                Some(self.sheet()),
                self.doubtful(),
                self.histograms(),
                skipped_section(&self.skipped, self.skipped_count),
            ],
            script: None,
        }
        .html()
    }

    fn on_sheet(&self, place: u64) -> bool {
        place.is_multiple_of(self.sheet_step)
    }

    fn sheet(&self) -> Section {
        if self.images == 0 {
            return Section::note("sheet", "Contact sheet", "Contact sheet", "No image was segmented.", html! {});
        }
        let shown: Vec<&Kept<Source>> =
            self.kept.iter().filter(|(place, _)| self.on_sheet(**place)).map(|(_, kept)| kept).collect();
        let content = html! {
            p.note {
                @if shown.len() as u64 == self.images {
                    "All images"
                } @else {
                    (whole(shown.len() as u64)) " of " (whole(self.images)) " images, one in " (whole(self.sheet_step))
                }
                ", in the collection’s order. Below each picture: share of foreground, confidence."
            }
            @if self.of_regions {
                p.note { "Left the image with its regions outlined, right each region in its mean colour." }
            }
            (tiles(&shown))
        };
        Section::titled("sheet", "Contact sheet", content)
    }

    fn doubtful(&self) -> Option<Section> {
        let shown: Vec<&Kept<Source>> = self.doubtful.iter().filter_map(|(_, place)| self.kept.get(place)).collect();
        let content = html! {
            p.note { "The least sure first: look here for masks to correct." }
            (tiles(&shown))
        };
        (!shown.is_empty()).then(|| Section::titled("doubtful", "Lowest confidence", content))
    }

    fn histograms(&self) -> Option<Section> {
        let charts = self.shares.svg("Foreground share", "share of the image, %")
            + &self.confidences.svg("Confidence", "mean probability of foreground, %");
        let content = html! { div.charts { (PreEscaped(&charts)) } };
        (!charts.is_empty()).then(|| Section::titled("distributions", "Distributions", content))
    }
}

fn tiles<Source>(shown: &[&Kept<Source>]) -> Markup {
    html! { ul.tiles { @for kept in shown { (kept.tile()) "\n" } } }
}

impl<Source> Kept<Source> {
    fn tile(&self) -> Markup {
        let confidence = match self.confidence {
            Some(confidence) => decimal(confidence, 2),
            None if self.foreground_share == 0.0 => "no object".to_string(),
            None => html::UNKNOWN.to_string(),
        };
        let value = format!("{} · {confidence}", percent(self.foreground_share));
        picture_tile(&self.path, &self.jpegs, None, &value)
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
    use super::super::tests::segmented;
    use super::*;

    fn shown<Source>(report: &MaskReport<Source>) -> (Vec<u64>, Vec<u64>) {
        let sheet = report.kept.keys().copied().filter(|place| report.on_sheet(*place)).collect();
        (sheet, report.doubtful.iter().map(|(_, place)| *place).collect())
    }

    #[test]
    fn the_sheet_is_even_and_the_lowest_confidences_are_exact() {
        let mut report = MaskReport::new("", "");
        let mut asked = 0;
        let confidence = |place: u64| (place * 7919 % 10_007) as f64 / 10_007.0;
        for place in 0..10_007 {
            report.push(&segmented("a", Some(confidence(place)), 50), || asked += 1);
            assert!(report.kept.len() <= MOST_ON_SHEET + MOST_DOUBTFUL);
        }
        let (sheet, doubtful) = shown(&report);
        assert_eq!(sheet, (0..10_007).step_by(64).collect::<Vec<u64>>());
        let mut lowest: Vec<u64> = (0..10_007).collect();
        lowest.sort_by(|a, b| confidence(*a).total_cmp(&confidence(*b)));
        assert_eq!(doubtful, lowest[..MOST_DOUBTFUL]);
        assert!(doubtful.iter().all(|place| report.kept.contains_key(place)));
        assert!(asked < 1200, "{asked} images were kept for a while");
        let mut expected: Vec<u64> = sheet.iter().chain(&doubtful).copied().collect();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(report.pictured().map(|(place, _)| place).collect::<Vec<_>>(), expected);
        let mut drawn = Vec::new();
        report.finish(|place| {
            drawn.push(place);
            vec![vec![1]]
        });
        assert_eq!(drawn, expected);
    }

    #[test]
    fn of_equal_confidences_the_first_are_shown_and_unknown_ones_are_not_doubtful() {
        let mut report = MaskReport::new("", "");
        for place in 0..100 {
            let confidence = [Some(f64::NAN), None, Some(0.5), Some(f64::INFINITY)][place % 4];
            report.push(&segmented("a", confidence, 10), || ());
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
