//! The report of a collection that was grouped.

use std::collections::{BTreeMap, BTreeSet};

use super::charts::{LineChart, Spacing};
use super::html::{self, Page, decimal, figure, percent, picture_tile, significant, whole};
use super::map::{self, Map};
use super::{MOST_SKIPPED_LISTED, SkippedFile, kept, skipped_section};
use crate::output::cluster_colour;

/// Pictures on the page: those of clusters, and with what is left those that the map alone shows.
const MOST_PICTURES: usize = 400;
const MOST_CLUSTER_PICTURES: usize = 300;

/// Clusters with pictures, the largest; the others are counted.
const MOST_CLUSTERS_SHOWN: usize = 60;

/// Pictures of one cluster: the surest and the most doubtful.
const MOST_SURE: usize = 8;
const MOST_DOUBTFUL: usize = 4;

const SCRIPT: &str = include_str!("map.js");

/// One image and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupedImage<'a> {
    /// The image's place within the collection, `/` between folders.
    pub path: &'a str,
    pub cluster: u32,
    /// In [0, 1]; what is not finite is unknown.
    pub confidence: f64,
    /// Its place on the map, on any scale; what is not finite is not on the map.
    pub place: [f32; 2],
}

/// How well the clusters agree with classes that people gave the images; fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AgreementScores {
    pub purity: f64,
    /// Normalised mutual information.
    pub nmi: f64,
    /// Adjusted Rand index.
    pub ari: f64,
    /// Number of classes.
    pub classes: usize,
    /// Images with a class.
    pub labelled: usize,
}

/// One row of a sweep over α.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlphaPoint {
    pub alpha: f64,
    pub clusters: usize,
    pub objective: f64,
    /// Adjusted Rand index against the row before.
    pub agreement: Option<f64>,
}

/// What a grouping run found, to be made into a page by [`ClusterReport::html`].
#[derive(Debug, Clone, Default)]
pub struct ClusterReport<'a> {
    /// What was grouped, for the reader.
    pub collection: &'a str,
    /// How, in a sentence for the reader.
    pub method: &'a str,
    /// Where the method has one.
    pub alpha: Option<f64>,
    /// Where the method has one.
    pub objective: Option<f64>,
    /// Where there is ground truth.
    pub scores: Option<AgreementScores>,
    /// In the collection's order.
    pub images: &'a [GroupedImage<'a>],
    /// The loss before every step; empty if nothing was trained.
    pub curve: &'a [f64],
    /// A sweep over α, ascending; empty if none was made.
    pub sweep: &'a [AlphaPoint],
    /// The widest range of α with the same clusters.
    pub stable: Option<(f64, f64)>,
    pub skipped: &'a [SkippedFile<'a>],
}

/// A cluster as the page shows it.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    cluster: u32,
    size: usize,
    /// Over the images with a confidence.
    mean_confidence: f64,
    /// Images, the surest first.
    sure: Vec<usize>,
    /// Images, the least sure first.
    doubtful: Vec<usize>,
}

/// What is on the page.
struct Selection {
    /// The largest clusters, largest first.
    shown: Vec<Shown>,
    /// All clusters, and the images of those that are not shown.
    clusters: usize,
    other_images: usize,
    map: Map,
}

impl ClusterReport<'_> {
    /// The images, as ascending indices, whose pictures the page holds: at most 400.
    ///
    /// For callers that make thumbnails side by side before they ask for [`ClusterReport::html`].
    pub fn pictured(&self) -> Vec<usize> {
        let selection = self.select();
        let mut images: Vec<usize> = selection.of_clusters().chain(selection.map.pictured.iter().copied()).collect();
        images.sort_unstable();
        images
    }

    /// The page. `picture` gives the thumbnail of an image by its index, a JPEG as [`super::thumbnail`] makes it.
    ///
    /// It is asked once for each of [`ClusterReport::pictured`], in that order. Without a picture, or with one of more
    /// than 32 KiB, the image is listed without one.
    pub fn html(&self, mut picture: impl FnMut(usize) -> Option<Vec<u8>>) -> String {
        let selection = self.select();
        let pictured: BTreeSet<usize> = selection.of_clusters().collect();
        let pictures: BTreeMap<usize, Vec<u8>> = self
            .pictured()
            .into_iter()
            .filter_map(|image| html::bounded_picture(picture(image)).map(|jpeg| (image, jpeg)))
            .collect();
        let largest: Vec<(u32, usize)> = selection.shown.iter().map(|shown| (shown.cluster, shown.size)).collect();
        let map =
            selection.map.section(self.images, &legend(&largest, self.images.len(), &selection), &pictures, &pictured);
        let has_map = map.is_some();
        let skipped: Vec<_> = self.skipped.iter().take(MOST_SKIPPED_LISTED).map(kept).collect();
        let body = [
            map.unwrap_or_else(|| self.without_map(&selection, &largest)),
            self.clusters_section(&selection, &pictures),
            self.training_section(),
            self.sweep_section(),
            skipped_section(&skipped, self.skipped.len() as u64),
        ];
        Page {
            kind: "deepcut clusters",
            title: self.collection,
            lead: self.method,
            figures: &self.figures(&selection),
            sections: &[
                ("map", "Map"),
                ("clusters", "Clusters"),
                ("training", "Training"),
                ("sweep", "Range of alpha"),
                ("skipped", "Skipped files"),
            ],
            body: &body.concat(),
            script: has_map.then_some(SCRIPT),
        }
        .html()
    }

    fn select(&self) -> Selection {
        let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, image) in self.images.iter().enumerate() {
            members.entry(image.cluster).or_default().push(index);
        }
        let clusters = members.len();
        let mut order: Vec<(u32, Vec<usize>)> = members.into_iter().collect();
        order.sort_by_key(|(cluster, members)| (std::cmp::Reverse(members.len()), *cluster));
        let other_images = order.iter().skip(MOST_CLUSTERS_SHOWN).map(|(_, members)| members.len()).sum();
        order.truncate(MOST_CLUSTERS_SHOWN);
        let share = (MOST_CLUSTER_PICTURES / order.len().max(1)).max(2);
        let most_doubtful = (share / 3).clamp(1, MOST_DOUBTFUL);
        let most_sure = (share - most_doubtful).min(MOST_SURE);
        let shown: Vec<Shown> = order
            .into_iter()
            .map(|(cluster, members)| self.shown(cluster, members, most_sure, most_doubtful))
            .collect();
        let of_clusters: BTreeSet<usize> = shown.iter().flat_map(Shown::images).collect();
        let map = Map::select(self.images, &of_clusters, MOST_PICTURES - of_clusters.len());
        Selection { shown, clusters, other_images, map }
    }

    fn shown(&self, cluster: u32, mut members: Vec<usize>, most_sure: usize, most_doubtful: usize) -> Shown {
        let confidence = |index: usize| Some(self.images[index].confidence).filter(|value| value.is_finite());
        let size = members.len();
        // Unknown confidences come last, equal ones in the collection's order.
        let descending = |index: &usize| confidence(*index).map_or(f64::INFINITY, |value| -value);
        members.sort_by(|a, b| descending(a).total_cmp(&descending(b)));
        let known = members.partition_point(|index| confidence(*index).is_some());
        let sum: f64 = members[..known].iter().filter_map(|index| confidence(*index)).sum();
        let sure = members[..most_sure.min(size)].to_vec();
        let rest = &members[sure.len().min(known)..known];
        let doubtful = rest.iter().rev().take(most_doubtful).copied().collect();
        Shown { cluster, size, mean_confidence: sum / known as f64, sure, doubtful }
    }

    fn figures(&self, selection: &Selection) -> String {
        let mut figures = figure("images", &whole(self.images.len() as u64));
        figures += &figure("clusters found", &whole(selection.clusters as u64));
        if let Some(alpha) = self.alpha {
            figures += &figure("alpha", &alpha.to_string());
        }
        if let Some(objective) = self.objective {
            figures += &figure("objective", &significant(objective));
        }
        if let Some(scores) = &self.scores {
            figures += &figure("purity", &decimal(scores.purity, 3));
            figures += &figure("NMI", &decimal(scores.nmi, 3));
            figures += &figure("ARI", &decimal(scores.ari, 3));
            figures += &figure("classes", &whole(scores.classes as u64));
            if scores.labelled != self.images.len() {
                figures += &figure("with a class", &whole(scores.labelled as u64));
            }
        }
        if !self.skipped.is_empty() {
            figures += &figure("skipped", &whole(self.skipped.len() as u64));
        }
        figures
    }

    /// What stands in the map's place where nothing has a place.
    fn without_map(&self, selection: &Selection, largest: &[(u32, usize)]) -> String {
        if self.images.is_empty() {
            return "<section id=\"map\"><h2>Map</h2><p class=\"note\">No image was grouped.</p></section>\n".into();
        }
        let legend = legend(largest, self.images.len(), selection);
        format!(
            "<section id=\"map\"><h2>Sizes</h2>\n<p class=\"note\">These images have no places on a map.</p>\n\
             {legend}</section>\n"
        )
    }

    fn clusters_section(&self, selection: &Selection, pictures: &BTreeMap<usize, Vec<u8>>) -> String {
        if selection.shown.is_empty() {
            return String::new();
        }
        let tiles = |images: &[usize]| -> String {
            let tile = |&index: &usize| {
                let image = &self.images[index];
                let caption = format!("<span class=\"value\">{}</span>", decimal(image.confidence, 2));
                let jpeg = pictures.get(&index).map(Vec::as_slice);
                picture_tile(image.path, jpeg, Some(map::picture_id(index)), &caption)
            };
            images.iter().map(tile).collect()
        };
        let group = |name: &str, images: &[usize]| match images {
            [] => String::new(),
            _ => format!("<h4>{name}</h4>\n<ul class=\"tiles\">\n{}</ul>\n", tiles(images)),
        };
        let mut html = String::from(
            "<section id=\"clusters\" aria-labelledby=\"clusters-title\">\n<h2 id=\"clusters-title\">Clusters</h2>\n\
             <p class=\"note\">Largest first. Below each picture: confidence, 1 where no other cluster comes into \
             question, 0 where another fits as well.</p>\n",
        );
        for shown in &selection.shown {
            let is_whole = shown.sure.len() + shown.doubtful.len() == shown.size;
            let pictures = if is_whole {
                group("All images, the surest first", &shown.surest_first())
            } else {
                group("Surest", &shown.sure) + &group("Most doubtful", &shown.doubtful)
            };
            html += &format!(
                "<article id=\"cluster-{number}\" aria-labelledby=\"cluster-{number}-title\">\n\
                 <h3 id=\"cluster-{number}-title\"><span class=\"swatch\" style=\"background:{colour}\"></span>Cluster \
                 {number}</h3>\n<p class=\"note\">{size} · {share} of the collection · mean confidence \
                 {confidence}</p>\n\
                 {pictures}</article>\n",
                number = shown.cluster,
                colour = colour(shown.cluster),
                size = html::counted(shown.size as u64, "image"),
                share = percent(shown.size as f64 / self.images.len() as f64),
                confidence = decimal(shown.mean_confidence, 2),
            );
        }
        if selection.other_images > 0 {
            html += &format!(
                "<p class=\"note\">… and {} with {} in all.</p>\n",
                html::counted((selection.clusters - selection.shown.len()) as u64, "smaller cluster"),
                html::counted(selection.other_images as u64, "image")
            );
        }
        html + "</section>\n"
    }

    fn training_section(&self) -> String {
        let points: Vec<(f64, f64)> = (0..).zip(self.curve).map(|(step, loss)| (f64::from(step), *loss)).collect();
        let chart = LineChart {
            title: "Loss before every step of the optimiser",
            x_label: "step",
            y_label: "loss",
            points: &points,
            spacing: Spacing::Steps,
            counts: false,
            marked: None,
        };
        titled("training", "Training", &chart.svg())
    }

    fn sweep_section(&self) -> String {
        let sweep: Vec<&AlphaPoint> = self.sweep.iter().filter(|point| point.alpha > 0.0).collect();
        let chart = |title, y_label, counts, value: fn(&AlphaPoint) -> f64| {
            let points: Vec<(f64, f64)> = sweep.iter().map(|point| (point.alpha, value(point))).collect();
            let (x_label, spacing, marked) = ("alpha", Spacing::Ratios, self.stable);
            LineChart { title, x_label, y_label, points: &points, spacing, counts, marked }.svg()
        };
        let charts = chart("Clusters found", "clusters", true, |point| point.clusters as f64)
            + &chart("Objective", "objective", false, |point| point.objective);
        if charts.is_empty() {
            return String::new();
        }
        let row = |point: &&AlphaPoint| {
            let is_stable = self.stable.is_some_and(|(from, to)| (from..=to).contains(&point.alpha));
            format!(
                "<tr{}><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                if is_stable { " class=\"stable\"" } else { "" },
                point.alpha,
                whole(point.clusters as u64),
                significant(point.objective),
                point.agreement.map_or(html::UNKNOWN.to_string(), |agreement| decimal(agreement, 3)),
                if is_stable { "stable" } else { "" }
            )
        };
        let rows: String = sweep.iter().map(row).collect();
        let sentence = match self.stable {
            Some((from, to)) => format!("The clusters stay the same from alpha {from} to {to}, which is marked."),
            None => "No range of alpha gives a stable number of clusters.".to_string(),
        };
        titled(
            "sweep",
            "Range of alpha",
            &format!(
                "<p class=\"note\">{sentence} Agreement is the adjusted Rand index against the row above.</p>\n\
                 <div class=\"charts\">\n{charts}</div>\n<div class=\"scroll\" \
                 tabindex=\"0\" role=\"region\" aria-label=\"Clusters over alpha\">\n\
                 <table class=\"numbers\">\n<thead><tr>\
                 <th scope=\"col\">alpha</th><th scope=\"col\">clusters</th><th scope=\"col\">objective</th>\
                 <th scope=\"col\">agreement</th><th scope=\"col\">range</th></tr></thead>\n\
                 <tbody>\n{rows}</tbody></table></div>\n"
            ),
        )
    }
}

impl Selection {
    fn of_clusters(&self) -> impl Iterator<Item = usize> + '_ {
        self.shown.iter().flat_map(Shown::images)
    }
}

impl Shown {
    fn images(&self) -> impl Iterator<Item = usize> + '_ {
        self.sure.iter().chain(&self.doubtful).copied()
    }

    fn surest_first(&self) -> Vec<usize> {
        self.sure.iter().chain(self.doubtful.iter().rev()).copied().collect()
    }
}

/// The colour of a cluster in CSS; that of masks, where 0 is the background and the first cluster is 1.
pub(super) fn colour(cluster: u32) -> String {
    // At most 255, so it fits a byte.
    let [red, green, blue] = cluster_colour((cluster % 255 + 1) as u8);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// The clusters with their sizes as bars, each a link to its section.
fn legend(largest: &[(u32, usize)], images: usize, selection: &Selection) -> String {
    let most = largest.iter().map(|(_, size)| *size).max().unwrap_or(1).max(1);
    let entry = |&(cluster, size): &(u32, usize)| {
        format!(
            "<li><a href=\"#cluster-{cluster}\" data-cluster=\"{cluster}\"><span class=\"swatch\" \
             style=\"background:{colour}\"></span><span class=\"which\">Cluster {cluster}</span>\
             <span class=\"size\">{size} \
             <span class=\"share\">{share}</span></span><span class=\"bar\"><span \
             style=\"width:{width:.1}%;background:{colour}\"></span></span></a></li>\n",
            colour = colour(cluster),
            size = whole(size as u64),
            share = percent(size as f64 / images.max(1) as f64),
            width = 100.0 * size as f64 / most as f64,
        )
    };
    let entries: String = largest.iter().map(entry).collect();
    let more = match selection.clusters.saturating_sub(largest.len()) {
        0 => String::new(),
        more => format!("<li class=\"note\">… and {}</li>\n", html::counted(more as u64, "smaller cluster")),
    };
    format!("<ul class=\"legend\">\n{entries}{more}</ul>\n")
}

/// A section; nothing if it has no `content`.
fn titled(id: &str, title: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n\
         {content}</section>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(confidences: &[(u32, f64)]) -> Vec<GroupedImage<'static>> {
        confidences
            .iter()
            .map(|&(cluster, confidence)| GroupedImage { path: "a", cluster, confidence, place: [0.0; 2] })
            .collect()
    }

    #[test]
    fn the_surest_and_the_most_doubtful_images_represent_a_cluster() {
        let confidences: Vec<(u32, f64)> = (0..40).map(|index| (3, f64::from(index * 7 % 40) / 40.0)).collect();
        let mut all = images(&confidences);
        all.push(GroupedImage { confidence: f64::NAN, ..all[0] });
        let report = ClusterReport { images: &all, ..ClusterReport::default() };
        let selection = report.select();
        let of = |images: &[usize]| images.iter().map(|&image| all[image].confidence * 40.0).collect::<Vec<f64>>();
        let shown = &selection.shown[0];
        assert_eq!(of(&shown.sure), [39.0, 38.0, 37.0, 36.0, 35.0, 34.0, 33.0, 32.0]);
        assert_eq!(of(&shown.doubtful), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!((shown.size, shown.cluster), (41, 3));
        assert!((shown.mean_confidence - 19.5 / 40.0).abs() < 1e-12);
    }

    #[test]
    fn small_clusters_show_every_image_once_and_unknown_confidences_come_last() {
        let all = images(&[(0, f64::NAN), (0, 0.2), (0, 0.9), (1, f64::NAN), (1, f64::NEG_INFINITY), (2, 0.5)]);
        let selection = ClusterReport { images: &all, ..ClusterReport::default() }.select();
        let shown: Vec<Vec<usize>> = selection.shown.iter().map(Shown::surest_first).collect();
        assert_eq!(shown, [vec![2, 1, 0], vec![3, 4], vec![5]]);
        assert!(selection.shown[1].mean_confidence.is_nan());
    }

    #[test]
    fn pictures_are_bounded_and_distinct_for_any_number_of_clusters() {
        for clusters in [1, 2, 40, 60, 5000] {
            let confidences: Vec<(u32, f64)> = (0..5000).map(|index| (index % clusters, 0.5)).collect();
            let all = images(&confidences);
            let pictured = ClusterReport { images: &all, ..ClusterReport::default() }.pictured();
            assert!(pictured.windows(2).all(|pair| pair[0] < pair[1]));
            assert!((200..=MOST_PICTURES).contains(&pictured.len()), "{clusters} clusters: {}", pictured.len());
        }
    }
}
