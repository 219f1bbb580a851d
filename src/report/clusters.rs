//! The report of a collection that was grouped.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, PreEscaped, html};

use super::charts::{LineChart, Spacing};
use super::html::{self, Page, Section, decimal, percent, picture_tile, significant, whole};
use super::map::{self, Map};
use super::{MOST_SKIPPED_LISTED, shortened_skip, skipped_section};
use crate::cluster::{AlphaSweep, ClassScores, ClusteredImage, Reliance, SweepPoint};
use crate::event::SkippedFile;
use crate::names;
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
    /// Where the clusters were found, and not joined.
    pub reliance: Option<&'a Reliance>,
    /// Where there is ground truth.
    pub scores: Option<&'a ClassScores>,
    /// In the collection's order. Confidences that are not finite are unknown; places that are not finite, and those
    /// alone, are not on the map.
    pub images: &'a [ClusteredImage],
    /// The loss before every step; empty if nothing was trained.
    pub curve: &'a [f64],
    /// Where one was made.
    pub sweep: Option<&'a AlphaSweep>,
    pub skipped: &'a [SkippedFile],
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
        let map = selection.map.section(self.images, &self.legend(&selection), &pictures, &pictured);
        let script = map.is_some().then_some(SCRIPT);
        let skipped = self.skipped.iter().take(MOST_SKIPPED_LISTED);
        let skipped: Vec<_> =
            skipped.map(|skip| shortened_skip(&names::text(skip.path.as_os_str()), &skip.reason)).collect();
        Page {
            kind: "deepcut clusters",
            title: self.collection,
            lead: self.method,
            figures: self.figures(&selection),
            sections: vec![
                self.trust_section(),
                Some(map.unwrap_or_else(|| self.without_map(&selection))),
                self.clusters_section(&selection, &pictures),
                self.training_section(),
                self.sweep_section(),
                skipped_section(&skipped, self.skipped.len() as u64),
            ],
            script,
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

    fn figures(&self, selection: &Selection) -> Vec<(&'static str, String)> {
        let mut figures =
            vec![("images", whole(self.images.len() as u64)), ("clusters found", whole(selection.clusters as u64))];
        let reliance = self.reliance;
        figures.extend(reliance.and_then(|found| found.at_most).map(|most| ("clusters allowed", whole(most as u64))));
        let agreement = reliance.and_then(|found| found.restart_agreement);
        figures.extend(agreement.map(|agreement| ("agreement of restarts", decimal(agreement, 2))));
        figures.extend(self.alpha.map(|alpha| ("alpha", alpha.to_string())));
        figures.extend(self.objective.map(|objective| ("objective", significant(objective))));
        if let Some(scores) = self.scores {
            figures.push(("purity", decimal(scores.purity, 3)));
            figures.push(("NMI", decimal(scores.nmi, 3)));
            figures.push(("ARI", decimal(scores.ari, 3)));
            figures.push(("classes", whole(scores.classes as u64)));
            if scores.labelled != self.images.len() {
                figures.push(("with a class", whole(scores.labelled as u64)));
            }
        }
        if !self.skipped.is_empty() {
            figures.push(("skipped", whole(self.skipped.len() as u64)));
        }
        figures
    }

    /// Whether to trust the clusters, with every reason not to.
    fn trust_section(&self) -> Option<Section> {
        let reliance = self.reliance?;
        let content = html! {
            p { (html::sentence(&reliance.verdict())) }
            @for doubt in &reliance.doubts { p.warning { (html::sentence(&doubt.to_string())) } }
            @if reliance.restart_agreement.is_some() {
                p.note { "Agreement is the mean adjusted Rand index of the other restarts with the one that was kept." }
            }
        };
        Some(Section::titled("trust", "Trust", content))
    }

    /// What stands in the map's place where nothing has a place.
    fn without_map(&self, selection: &Selection) -> Section {
        if self.images.is_empty() {
            return Section::note("map", "Map", "Map", "No image was grouped.", html! {});
        }
        Section::note("map", "Map", "Sizes", "These images have no places on a map.", self.legend(selection))
    }

    /// The clusters with their sizes as bars, each a link to its section.
    fn legend(&self, selection: &Selection) -> Markup {
        let most = selection.shown.first().map_or(1, |largest| largest.size);
        let images = self.images.len().max(1) as f64;
        let more = selection.clusters - selection.shown.len();
        html! {
            ul.legend {
                @for &Shown { cluster, size, .. } in &selection.shown {
                    li {
                        a href={ "#cluster-" (cluster) } data-cluster=(cluster) {
                            (swatch(cluster))
                            span.which { "Cluster " (cluster) }
                            span.size { (whole(size as u64)) " " span.share { (percent(size as f64 / images)) } }
                            span.bar {
                                span style={
                                    "width:" (format!("{:.1}", 100.0 * size as f64 / most as f64)) "%;background:" (colour(cluster))
                                } {}
                            }
                        }
                    }
                    "\n"
                }
                @if more > 0 { li.note { "… and " (html::counted(more as u64, "smaller cluster")) } }
            }
        }
    }

    fn clusters_section(&self, selection: &Selection, pictures: &BTreeMap<usize, Vec<u8>>) -> Option<Section> {
        let group = |heading: &str, images: &[usize]| {
            html! {
                @if !images.is_empty() {
                    h4 { (heading) }
                    ul.tiles {
                        @for &index in images {
                            @let image = &self.images[index];
                            @let jpeg = pictures.get(&index).map(Vec::as_slice);
                            (picture_tile(&image.name, jpeg.as_slice(), Some(map::picture_id(index)), &decimal(image.confidence, 2)))
                            "\n"
                        }
                    }
                }
            }
        };
        let content = html! {
            p.note {
                "Largest first. Below each picture: confidence, 1 where no other cluster comes into question, 0 where another \
                 fits as well."
            }
            @for shown in &selection.shown {
                @let title = format!("cluster-{}-title", shown.cluster);
                article id={ "cluster-" (shown.cluster) } aria-labelledby=(title) {
                    h3 id=(title) { (swatch(shown.cluster)) "Cluster " (shown.cluster) }
                    p.note {
                        (html::counted(shown.size as u64, "image"))
                        " · " (percent(shown.size as f64 / self.images.len() as f64))
                        " of the collection · mean confidence " (decimal(shown.mean_confidence, 2))
                    }
                    @if shown.sure.len() + shown.doubtful.len() == shown.size {
                        (group("All images, the surest first", &shown.surest_first()))
                    } @else {
                        (group("Surest", &shown.sure))
                        (group("Most doubtful", &shown.doubtful))
                    }
                }
            }
            @if selection.other_images > 0 {
                p.note {
                    "… and " (html::counted((selection.clusters - selection.shown.len()) as u64, "smaller cluster"))
                    " with " (html::counted(selection.other_images as u64, "image")) " in all."
                }
            }
        };
        (!selection.shown.is_empty()).then(|| Section::titled("clusters", "Clusters", content))
    }

    fn training_section(&self) -> Option<Section> {
        let points: Vec<(f64, f64)> = (0..).zip(self.curve).map(|(step, loss)| (f64::from(step), *loss)).collect();
        let chart = LineChart {
            title: "Loss before every step of the optimiser",
            x_label: "step",
            y_label: "loss",
            points: &points,
            spacing: Spacing::Steps,
            counts: false,
            marked: None,
        }
        .svg();
        (!chart.is_empty()).then(|| Section::titled("training", "Training", PreEscaped(chart)))
    }

    fn sweep_section(&self) -> Option<Section> {
        let sweep = self.sweep?;
        let stable = sweep.stable.as_ref().map(|range| (range.from, range.to));
        let points: Vec<&SweepPoint> = sweep.points.iter().filter(|point| point.alpha > 0.0).collect();
        let chart = |title, y_label, counts, value: fn(&SweepPoint) -> f64| {
            let points: Vec<(f64, f64)> = points.iter().map(|point| (point.alpha, value(point))).collect();
            let (x_label, spacing, marked) = ("alpha", Spacing::Ratios, stable);
            LineChart { title, x_label, y_label, points: &points, spacing, counts, marked }.svg()
        };
        let charts = chart("Clusters found", "clusters", true, |point| point.clusters as f64)
            + &chart("Objective", "objective", false, |point| point.objective);
        let content = html! {
            p.note {
                @match stable {
                    Some((from, to)) => {
                        "The clusters stay the same from alpha " (from) " to " (to) ", which is marked."
                    }
                    None => "No range of alpha gives a stable number of clusters."
                }
                " Agreement is the adjusted Rand index against the row above."
            }
            div.charts { (PreEscaped(&charts)) }
            div.scroll tabindex="0" role="region" aria-label="Clusters over alpha" {
                table.numbers {
                    thead {
                        tr {
                            @for heading in ["alpha", "clusters", "objective", "agreement", "range"] {
                                th scope="col" { (heading) }
                            }
                        }
                    }
                    tbody {
                        @for point in &points {
                            @let is_stable = stable.is_some_and(|(from, to)| (from..=to).contains(&point.alpha));
                            tr class=[is_stable.then_some("stable")] {
                                th scope="row" { (point.alpha) }
                                td { (whole(point.clusters as u64)) }
                                td { (significant(point.objective)) }
                                td { (point.agreement.map_or(html::UNKNOWN.into(), |agreement| decimal(agreement, 3))) }
                                td { @if is_stable { "stable" } }
                            }
                        }
                    }
                }
            }
        };
        (!charts.is_empty()).then(|| Section::titled("sweep", "Range of alpha", content))
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

fn swatch(cluster: u32) -> Markup {
    html! { span.swatch style={ "background:" (colour(cluster)) } {} }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(confidences: &[(u32, f64)]) -> Vec<ClusteredImage> {
        let image = |&(cluster, confidence): &(u32, f64)| ClusteredImage {
            name: "a".into(),
            cluster,
            confidence,
            place: [0.0; 2],
        };
        confidences.iter().map(image).collect()
    }

    #[test]
    fn the_surest_and_the_most_doubtful_images_represent_a_cluster() {
        let confidences: Vec<(u32, f64)> = (0..40).map(|index| (3, f64::from(index * 7 % 40) / 40.0)).collect();
        let mut all = images(&confidences);
        all.push(ClusteredImage { confidence: f64::NAN, ..all[0].clone() });
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
