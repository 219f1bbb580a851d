//! The map of a collection: a point per image, drawn without a script and explored with one.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, PreEscaped, html};

use super::clusters::colour;
use super::html::{LONGEST_PATH, Section, base64, json_string, shortened, whole};
use crate::cluster::ClusteredImage;

/// Points of the map; of larger collections it shows an even sample.
const MOST_POINTS: usize = 100_000;

/// Points that are drawn where scripts do not run.
const MOST_STILL_POINTS: usize = 4000;

/// Bytes that the paths of all points may take together, as far as [`SHORTEST_PATH`] allows.
const PATHS_BYTES: usize = 4 << 20;

/// Paths are never shortened below this.
const SHORTEST_PATH: usize = 24;

/// Coordinates are kept in 16 bits, with this margin around the points.
const SIDE: f64 = 65535.0;
const MARGIN: f64 = 2600.0;

/// The side of the drawing without a script.
const STILL_SIDE: f64 = 1000.0;

/// What the map shows.
pub struct Map {
    /// Images with a point, ascending.
    points: Vec<usize>,
    /// Images whose picture only the map shows, ascending.
    pub pictured: Vec<usize>,
}

/// The page's name for the picture of an image.
pub fn picture_id(image: usize) -> String {
    format!("image-{image}")
}

impl Map {
    /// Chooses points and up to `most_pictures` pictures besides those that the page shows anyway.
    ///
    /// Pictures are spread like the points: every n-th along a curve through the map.
    pub fn select(images: &[ClusteredImage], shown: &BTreeSet<usize>, most_pictures: usize) -> Map {
        let placed: Vec<usize> =
            (0..images.len()).filter(|&index| images[index].place.iter().all(|part| part.is_finite())).collect();
        let mut points: BTreeSet<usize> = evenly(&placed, MOST_POINTS).collect();
        points.extend(placed.iter().filter(|index| shown.contains(index)));
        let points: Vec<usize> = points.into_iter().collect();
        let frame = Frame::around(images, &points);
        let mut candidates: Vec<usize> = points.iter().copied().filter(|index| !shown.contains(index)).collect();
        candidates.sort_by_key(|&index| (along_curve(frame.place(images[index].place)), index));
        let mut pictured: Vec<usize> = evenly(&candidates, most_pictures).collect();
        pictured.sort_unstable();
        Map { points, pictured }
    }

    /// The section with the map and the `legend`; none if no image has a place.
    ///
    /// `pictures` are by image; those in `shown` are on the page already, under their [`picture_id`].
    pub fn section(
        &self,
        images: &[ClusteredImage],
        legend: &Markup,
        pictures: &BTreeMap<usize, Vec<u8>>,
        shown: &BTreeSet<usize>,
    ) -> Option<Section> {
        if self.points.is_empty() {
            return None;
        }
        let points = self.points.len();
        let on_map = pictures.keys().filter(|index| self.points.binary_search(index).is_ok()).count();
        let content = html! {
            p.note {
                "Alike images lie near each other; colours are clusters."
                @if points < images.len() {
                    " The map shows " (whole(points as u64)) " of " (whole(images.len() as u64)) " images."
                }
                span id="map-help" hidden {
                    " Point at an image to see it"
                    @if (1..points).contains(&on_map) { " (ringed ones have a picture)" }
                    "; drag to move; " kbd { "+" } ", " kbd { "−" } " and " kbd { "0" }
                    " zoom, arrow keys go from image to image."
                }
            }
            noscript {
                p.note {
                    "JavaScript is off: "
                    @if points > MOST_STILL_POINTS { (whole(MOST_STILL_POINTS as u64)) " of the points are drawn, and " }
                    "nothing is shown under the pointer."
                }
            }
            div.map {
                div.plane id="map-plane" {
                    (PreEscaped(self.still(images)))
                    canvas id="map-canvas" tabindex="0" role="application"
                        aria-label="Map of the collection; arrow keys go from image to image" hidden {}
                    div.zoom id="map-zoom" hidden {
                        button type="button" data-zoom="in" aria-label="Zoom in" { "+" }
                        button type="button" data-zoom="out" aria-label="Zoom out" { "−" }
                        button type="button" data-zoom="all" aria-label="Show all" { "⤢" }
                    }
                    div.card id="map-card" role="status" hidden {}
                }
                (legend)
            }
            script type="application/json" id="map-data" { (PreEscaped(self.data(images, pictures, shown))) }
        };
        Some(Section::titled("map", "Map", content))
    }

    /// The drawing for pages without a script: a path of dots for every colour.
    fn still(&self, images: &[ClusteredImage]) -> String {
        let frame = Frame::around(images, &self.points);
        let mut dots: BTreeMap<String, String> = BTreeMap::new();
        for index in evenly(&self.points, MOST_STILL_POINTS) {
            let [x, y] = frame.place(images[index].place).map(|part| f64::from(part) / SIDE * STILL_SIDE);
            *dots.entry(colour(images[index].cluster)).or_default() += &format!("M{x:.0} {y:.0}h0");
        }
        let paths: String =
            dots.iter().map(|(colour, dots)| format!("<path stroke=\"{colour}\" d=\"{dots}\"/>\n")).collect();
        format!(
            "<svg id=\"map-still\" viewBox=\"0 0 {STILL_SIDE} {STILL_SIDE}\" role=\"img\" aria-label=\"Map of the \
             collection, coloured by cluster\">\n{paths}</svg>\n"
        )
    }

    /// What the script reads. A point is eight bytes: x, y (16 bits each, least byte first), cluster (24 bits) and
    /// confidence in two hundredths (255 where it is unknown).
    fn data(&self, images: &[ClusteredImage], pictures: &BTreeMap<usize, Vec<u8>>, shown: &BTreeSet<usize>) -> String {
        let frame = Frame::around(images, &self.points);
        let mut bytes = Vec::with_capacity(8 * self.points.len());
        let longest = (PATHS_BYTES / self.points.len().max(1)).clamp(SHORTEST_PATH, LONGEST_PATH);
        let mut paths = Vec::with_capacity(self.points.len());
        let (mut on_page, mut own) = (Vec::new(), Vec::new());
        for (point, &index) in self.points.iter().enumerate() {
            let image = &images[index];
            let [x, y] = frame.place(image.place);
            bytes.extend(x.to_le_bytes());
            bytes.extend(y.to_le_bytes());
            bytes.extend(&image.cluster.min(0x00ff_ffff).to_le_bytes()[..3]);
            let known = image.confidence.is_finite();
            bytes.push(if known { (image.confidence.clamp(0.0, 1.0) * 200.0).round() as u8 } else { 255 });
            paths.push(bounded_json(&image.name, longest));
            match pictures.get(&index) {
                Some(_) if shown.contains(&index) => on_page.push(format!("[{point},\"{}\"]", picture_id(index))),
                Some(jpeg) => own.push(format!("[{point},\"{}\"]", base64(jpeg))),
                None => {}
            }
        }
        let most = self.points.iter().map(|&index| images[index].cluster).max().unwrap_or(0);
        let colours: Vec<String> = (0..=most.min(254)).map(|cluster| format!("\"{}\"", colour(cluster))).collect();
        format!(
            "{{\"points\":\"{}\",\n\"colours\":[{}],\n\"onPage\":[{}],\n\"pictures\":[{}],\n\"paths\":[{}]}}",
            base64(&bytes),
            colours.join(","),
            on_page.join(","),
            own.join(",\n"),
            paths.join(",")
        )
    }
}

/// `path` as a JSON string of about `longest` bytes, whatever has to be escaped in it.
fn bounded_json(path: &str, longest: usize) -> String {
    let mut most = longest;
    loop {
        let json = json_string(&shortened(path, most));
        if json.len() <= longest + 2 || most <= 4 {
            return json;
        }
        most /= 2;
    }
}

/// At most `most` entries, evenly spread.
fn evenly(entries: &[usize], most: usize) -> impl Iterator<Item = usize> + '_ {
    let count = entries.len().min(most);
    (0..count).map(move |position| entries[(position as u128 * entries.len() as u128 / count as u128) as usize])
}

/// The square around all points.
struct Frame {
    centre: [f64; 2],
    /// Half the square's side; 0 if all points are one.
    reach: f64,
}

impl Frame {
    fn around(images: &[ClusteredImage], points: &[usize]) -> Frame {
        let mut low = [f64::INFINITY; 2];
        let mut high = [f64::NEG_INFINITY; 2];
        for &index in points {
            for axis in 0..2 {
                let part = f64::from(images[index].place[axis]);
                low[axis] = low[axis].min(part);
                high[axis] = high[axis].max(part);
            }
        }
        let centre = [0, 1].map(|axis| (low[axis] + high[axis]) / 2.0);
        Frame { centre, reach: (high[0] - low[0]).max(high[1] - low[1]).max(0.0) / 2.0 }
    }

    /// A place within the frame in 16 bits for each direction, y downwards.
    fn place(&self, place: [f32; 2]) -> [u16; 2] {
        let scale = if self.reach > 0.0 { (SIDE / 2.0 - MARGIN) / self.reach } else { 0.0 };
        let [x, y] = [0, 1].map(|axis| (f64::from(place[axis]) - self.centre[axis]) * scale);
        // Rounding to the integer type cuts off what would lie outside.
        [(SIDE / 2.0 + x).round() as u16, (SIDE / 2.0 - y).round() as u16]
    }
}

/// How far along a curve through the map a place lies: neighbours on the curve are neighbours on the map (Z-order, the
/// bits of both coordinates in turn).
fn along_curve([x, y]: [u16; 2]) -> u32 {
    (0..16)
        .fold(0, |code, bit| code | (u32::from(x) >> bit & 1) << (2 * bit) | (u32::from(y) >> bit & 1) << (2 * bit + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(place: [f32; 2]) -> ClusteredImage {
        ClusteredImage { name: "a".into(), cluster: 0, confidence: 0.5, place }
    }

    #[test]
    fn places_fill_the_frame_and_one_point_is_its_centre() {
        let images = [image([-3.0, 1.0]), image([5.0, 2.0]), image([1.0, 1.5])];
        let frame = Frame::around(&images, &[0, 1, 2]);
        let places = [0, 1, 2].map(|index: usize| frame.place(images[index].place));
        assert_eq!((places[0][0], places[1][0], places[2]), (2600, 62935, [32768, 32768]));
        assert!(places[0][1] > places[1][1], "y points upwards on the map");
        assert_eq!(Frame::around(&images[..1], &[0]).place(images[0].place), [32768, 32768]);
    }

    #[test]
    fn pictures_are_spread_over_the_map_and_places_that_are_none_are_left_out() {
        let mut images: Vec<_> = (0..64 * 64).map(|index| image([(index % 64) as f32, (index / 64) as f32])).collect();
        images[7].place = [f32::NAN, 0.0];
        let map = Map::select(&images, &BTreeSet::from([5, 7]), 64);
        assert_eq!((map.points.len(), map.pictured.len()), (4095, 64));
        // Most of 8 × 8 fields have a picture; every n-th image in the collection's order would be in 8 of them.
        let fields: BTreeSet<usize> = map.pictured.iter().map(|index| index % 64 / 8 + index / 64 / 8 * 8).collect();
        assert!(fields.len() > 40, "{}", fields.len());
        assert!(Map::select(&[image([f32::INFINITY, 0.0])], &BTreeSet::new(), 9).points.is_empty());
    }

    #[test]
    fn points_are_read_back() {
        let images =
            [ClusteredImage { name: "</script>".into(), cluster: 70_000, confidence: 0.25, ..image([0.0; 2]) }];
        let map = Map::select(&images, &BTreeSet::new(), 9);
        let json = map.data(&images, &BTreeMap::from([(0, vec![1, 2])]), &BTreeSet::new());
        let data: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(data["points"], base64(&[0, 0x80, 0, 0x80, 0x70, 0x11, 1, 50]));
        assert_eq!((&data["paths"][0], &data["pictures"]), (&"</script>".into(), &serde_json::json!([[0, "AQI="]])));
        assert_eq!(data["colours"].as_array().unwrap().len(), 255);
    }

    #[test]
    fn a_path_is_bounded_after_escaping() {
        for path in ["<".repeat(500), "名".repeat(500), "a".repeat(500)] {
            assert!(bounded_json(&path, 24).len() <= 26);
        }
        assert_eq!(bounded_json("a/b.jpg", 24), "\"a/b.jpg\"");
    }
}
