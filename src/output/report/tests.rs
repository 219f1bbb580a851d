//! Whole pages: bounded, safe, self-contained and always the same.

use super::*;

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
    let paths: Vec<String> = (0..count).map(path).collect();
    let images: Vec<GroupedImage> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| GroupedImage {
            path,
            cluster: index as u32 % clusters,
            confidence: (index * 31 % 97) as f64 / 97.0,
            place: [(index * 7919 % 1009) as f32, (index * 104_729 % 997) as f32],
        })
        .collect();
    let skipped = HOSTILE.map(|path| SkippedFile { path, reason: path });
    let sweep = [1.0, 2.0, 3.0].map(|alpha| AlphaPoint { alpha, clusters: 4, objective: -alpha, agreement: Some(1.0) });
    let report = ClusterReport {
        collection: HOSTILE[0],
        method: HOSTILE[1],
        alpha: Some(3.0),
        objective: Some(-1234.5),
        images: &images,
        curve: &[0.0, -1.0, f64::NAN, -2.0],
        sweep: &sweep,
        stable: Some((2.0, 3.0)),
        scores: Some(AgreementScores { purity: 0.9, nmi: 0.8, ari: 0.7, classes: 5, labelled: 3 }),
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

fn masks_page(count: usize, picture_bytes: usize, path: impl Fn(usize) -> String) -> String {
    let mut report = MaskReport::new(HOSTILE[2], HOSTILE[3]);
    for index in 0..count {
        let share = (index % 10) as f64 / 10.0;
        let confidence = (share > 0.0).then_some((index * 31 % 97) as f64 / 97.0);
        let image = SegmentedImage { path: &path(index), confidence, foreground_share: share };
        report.push(&image, || Some(vec![index as u8; picture_bytes]));
        if index % 50 == 0 {
            report.push_skipped(&SkippedFile { path: HOSTILE[index / 50 % 5], reason: "cannot be decoded" });
        }
    }
    report.finish()
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
    assert!(MaskReport::new("", "").finish().contains("No image was segmented."));

    let image = GroupedImage { path: "", cluster: u32::MAX, confidence: f64::NAN, place: [f32::NAN, 0.0] };
    for place in [[f32::NAN, 0.0], [0.0; 2], [f32::MAX, f32::MIN]] {
        let images = [GroupedImage { place, ..image }];
        let report = ClusterReport {
            images: &images,
            objective: Some(f64::NAN),
            sweep: &[AlphaPoint { alpha: 0.0, clusters: 0, objective: f64::NAN, agreement: Some(f64::NAN) }],
            ..ClusterReport::default()
        };
        let html = report.html(|_| None);
        assert!(html.contains("Cluster 4294967295") && html.contains("no picture"));
        assert!(!html.replace("naNumber", "").contains("NaN") && !html.contains("inf%"));
        assert_eq!(html.contains("id=\"map-data\""), place[0].is_finite());
    }

    let mut report = MaskReport::new("", "");
    for (confidence, foreground_share) in
        [(Some(f64::NAN), f64::NAN), (None, 0.0), (Some(-1.0), 2.0), (Some(9.0), -0.0)]
    {
        report.push(&SegmentedImage { path: "", confidence, foreground_share }, || None);
    }
    let html = report.finish();
    assert!(!html.contains("NaN") && html.contains("no object"));
}
