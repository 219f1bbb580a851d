//! Whole pages: bounded, safe, self-contained and always the same.

use super::*;
use crate::cluster::{AlphaSweep, ClassScores, ClusteredImage, Doubt, Reliance, StableRange, SweepPoint};
use crate::event::SkippedFile;
use crate::results::{Measures, Prediction, Status};

/// Names that would do harm where they are not escaped.
const HOSTILE: [&str; 5] = [
    "<img src=x onerror=alert(1)>.jpg",
    "\"quotes' & ampersands\".jpg",
    "a/</script><script>alert(1)</script>.png",
    "--><!-- \u{2028}\u{2029}\n.png",
    "caf\u{fffd}.png",
];

/// A page with `count` images in `clusters` clusters, every picture of `picture_bytes`.
fn clusters_page(count: usize, clusters: u32, picture_bytes: usize, path: impl Fn(usize) -> String) -> String {
    let images: Vec<ClusteredImage> = (0..count)
        .map(|index| ClusteredImage {
            name: path(index),
            cluster: index as u32 % clusters,
            confidence: (index * 31 % 97) as f64 / 97.0,
            place: [(index * 7919 % 1009) as f32, (index * 104_729 % 997) as f32],
        })
        .collect();
    let skipped = HOSTILE.map(|path| SkippedFile { path: path.into(), reason: path.into() });
    let point = |alpha: f64| SweepPoint { alpha, clusters: 4, objective: -alpha, agreement: Some(1.0) };
    let stable = Some(StableRange { from: 2.0, to: 3.0, clusters: 4 });
    let scores = ClassScores {
        purity: 0.9,
        nmi: 0.8,
        ari: 0.7,
        cluster_error: 0,
        classes: 5,
        labelled: 3,
        unlabelled: 0,
        unknown_labels: 0,
    };
    let doubts = vec![Doubt::Limited { most: 10 }];
    let reliance = Reliance { at_most: Some(10), limited: true, restart_agreement: Some(0.93), doubts };
    let report = ClusterReport {
        reliance: Some(&reliance),
        collection: HOSTILE[0],
        method: HOSTILE[1],
        alpha: Some(3.0),
        objective: Some(-1234.5),
        images: &images,
        curve: &[0.0, -1.0, f64::NAN, -2.0],
        sweep: Some(&AlphaSweep { points: [1.0, 2.0, 3.0].map(point).into(), stable }),
        scores: Some(&scores),
        skipped: &skipped,
    };
    let mut asked = Vec::new();
    let html = report.html(|index| {
        asked.push(index);
        Some(vec![index as u8; picture_bytes])
    });
    assert_eq!(asked, report.pictured());
    html
}

/// An image of 100 pixels.
pub(super) fn segmented(path: &str, confidence: Option<f64>, foreground_area_px: u64) -> Prediction {
    let result = Measures {
        width: 10,
        height: 10,
        orientation: None,
        bounding_box: None,
        foreground_area_px,
        confidence,
        clusters: 2,
        negative_share: None,
        final_loss: None,
        objects: None,
    };
    Prediction {
        path: path.into(),
        output: None,
        status: Status::Done,
        reason: None,
        warning: None,
        content_hash: None,
        result: Some(result),
    }
}

fn masks_page(count: usize, picture_bytes: usize, path: impl Fn(usize) -> String) -> String {
    let mut report = MaskReport::new(HOSTILE[2], HOSTILE[3]);
    for index in 0..count {
        let area_px = index as u64 % 10 * 10;
        let confidence = (area_px > 0).then_some((index * 31 % 97) as f64 / 97.0);
        report.push(&segmented(&path(index), confidence, area_px), || index);
        if index % 50 == 0 {
            let (path, reason) = (HOSTILE[index / 50 % 5].into(), Some("cannot be decoded".into()));
            let skipped = Prediction {
                path,
                output: None,
                status: Status::Skipped,
                reason,
                warning: None,
                content_hash: None,
                result: None,
            };
            report.push(&skipped, || index);
        }
    }
    report.finish(|place| vec![vec![place as u8; picture_bytes]])
}

fn hostile(index: usize) -> String {
    format!("{index}{}", HOSTILE[index % HOSTILE.len()])
}

#[test]
fn pages_stay_bounded_whatever_the_collection() {
    let plain = |index: usize| format!("photographs/2024/IMG_{index:06}.jpg");
    let dreadful = |index: usize| format!("{index}{}", "<名\u{1}".repeat(2000));
    assert!(clusters_page(44_000, 12, 6000, plain).len() < 7 << 20);
    assert!(clusters_page(100_000, 12, 6000, plain).len() < 9 << 20);
    assert!(clusters_page(120_000, 100_000, 6000, dreadful).len() < 12 << 20);
    assert!(masks_page(100_000, 6000, plain).len() < 3 << 20);
    assert!(masks_page(20_000, 1 << 20, dreadful).len() < 2 << 20);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(clusters_page(3000, 7, 100, hostile), clusters_page(3000, 7, 100, hostile));
    assert_eq!(masks_page(3000, 100, hostile), masks_page(3000, 100, hostile));
}

#[test]
fn pages_ask_for_nothing_outside() {
    for html in [clusters_page(500, 7, 100, hostile), masks_page(500, 100, hostile)] {
        let lower = html.to_lowercase();
        for forbidden in ["http:", "https:", "url(", "@import", "<link", "<iframe", "fetch(", "innerhtml", "eval("] {
            assert!(!lower.contains(forbidden), "{forbidden}");
        }
        for attribute in ["src=\"", "href=\""] {
            for (start, _) in lower.match_indices(attribute) {
                let value = &lower[start + attribute.len()..];
                assert!(value.starts_with("data:image/jpeg;base64,") || value.starts_with('#'), "{}", &value[..40]);
            }
        }
        assert!(html.contains("default-src 'none'; img-src data:;"));
        // Links within the page lead somewhere, and no name is given twice.
        let ids: Vec<&str> = html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        let unique: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len());
        for link in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(unique.contains(link), "#{link}");
        }
    }
}

/// The tags of a page in order, without attributes: text within scripts and styles is passed over as browsers do.
fn tags(html: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "/!-".contains(*c)).collect();
        // No attribute's value holds a bracket.
        rest = &rest[rest.find('>').unwrap()..];
        if name == "script" || name == "style" {
            rest = &rest[rest.find(&format!("</{name}")).unwrap()..];
        }
        tags.push(name);
    }
    tags
}

#[test]
fn names_change_no_tag_of_a_page() {
    let harmless = |_: usize| "plain.jpg".to_string();
    assert_eq!(tags(&clusters_page(500, 7, 100, hostile)), tags(&clusters_page(500, 7, 100, harmless)));
    let (with_hostile, with_harmless) = (masks_page(500, 100, hostile), masks_page(500, 100, harmless));
    assert_eq!(tags(&with_hostile), tags(&with_harmless));
    assert!(with_hostile.contains("&lt;img src=x onerror=alert(1)&gt;.jpg"));
    let scripts = tags(&clusters_page(5, 2, 10, hostile)).iter().filter(|tag| *tag == "script").count();
    assert_eq!(scripts, 2, "the data of the map and its script");
    assert_eq!(tags(&with_hostile).iter().filter(|tag| *tag == "script").count(), 0);
}

#[test]
fn nothing_and_what_is_not_a_number_make_pages_too() {
    let empty = ClusterReport::default().html(|_| None);
    assert!(empty.contains("No image was grouped.") && !empty.contains("id=\"map-data\""));
    assert!(!empty.contains("id=\"skipped\"") && !empty.contains("id=\"training\""));
    assert!(MaskReport::<()>::new("", "").finish(|_| Vec::new()).contains("No image was segmented."));

    let point = SweepPoint { alpha: 0.0, clusters: 0, objective: f64::NAN, agreement: Some(f64::NAN) };
    let sweep = AlphaSweep { points: vec![point], stable: None };
    for place in [[f32::NAN, 0.0], [0.0; 2], [f32::MAX, f32::MIN]] {
        let images = [ClusteredImage { name: String::new(), cluster: u32::MAX, confidence: f64::NAN, place }];
        let report = ClusterReport {
            images: &images,
            objective: Some(f64::NAN),
            sweep: Some(&sweep),
            ..ClusterReport::default()
        };
        let html = report.html(|_| None);
        assert!(html.contains("Cluster 4294967295") && html.contains("no picture"));
        assert!(!html.replace("naNumber", "").contains("NaN") && !html.contains("inf%"));
        assert_eq!(html.contains("id=\"map-data\""), place[0].is_finite());
    }

    let mut report = MaskReport::new("", "");
    for (confidence, area_px) in [(Some(f64::NAN), 50), (None, 0), (Some(-1.0), 200), (Some(9.0), 0)] {
        report.push(&segmented("", confidence, area_px), || ());
    }
    let html = report.finish(|_| Vec::new());
    assert!(!html.contains("NaN") && html.contains("no object"));
}
