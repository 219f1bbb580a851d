//! From what a network says of an image's nodes to a mask and the objects in it.

use std::collections::BTreeSet;

use super::Finish;
use crate::graph::Graph;
use crate::nodes::Layout;
use crate::raster::{Mask, Raster, Rectangle, RgbImage};
use crate::refine::{Cells, CutNodes, FoundObject, NumberedNodes, ObjectsConfig, Shares};
use crate::segment::{LEAST_NODES, Label, Legend, SecondStage, Segmenter, Segments, cut_objects};

/// What a method says of an image's nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Where the nodes lie, N of them.
    pub layout: Layout,
    /// The mask value of every node, `[N]`.
    pub values: Vec<u8>,
    /// The number of the object that every node is part of, from 1 on, and 0 for background, `[N]`; none where objects
    /// are components of the mask.
    pub objects: Option<Vec<u32>>,
    /// Where an image has more regions than masks of 8 bits have values, the number of every node's region, from 1 on, `[N]`;
    /// `values` are then such that no two regions share one where they touch.
    pub numbers: Option<Vec<u16>>,
    /// How probable every node is background, or each of the objects, `[N, 1 + objects]` (see [`Legend::shares`]).
    pub shares: Vec<f32>,
    /// The probability of every node to be foreground, `[N]`.
    pub foreground: Vec<f32>,
    /// Clusters of the first stage in use.
    pub clusters: usize,
    /// Correlation clustering only: share of affinities that are not positive.
    pub negative_share: Option<f32>,
    /// Where the network was optimised on this image: the loss before the last step of the first stage.
    pub final_loss: Option<f64>,
}

/// What was found in an image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Segmentation {
    /// `[height, width]` of the image: 0 is background; the other values are named by `legend`.
    pub mask: Mask,
    /// The regions by number where an image has more than the 255 that `mask` has values for, `[height, width]` of the image: 0
    /// is no data, and the other values are named by `legend`. `mask` then holds the kinds of the regions.
    pub numbered: Option<Raster<u16>>,
    /// What the values of the mask mean, in order.
    pub legend: Vec<Label>,
    /// Every instance, or where instances are not told apart every value in use; boxes in pixels of the image.
    pub objects: Vec<FoundObject>,
    /// Around the largest connected piece of foreground, or around all of it (`objects.bounds`), in pixels; none where there is no
    /// object.
    pub bounding_box: Option<Rectangle>,
    /// Pixels of foreground.
    pub foreground_area_px: u64,
    /// Mean probability of foreground over the foreground's pixels, in [0, 1]; none where there is no object.
    pub confidence: Option<f64>,
    /// The probability of foreground before refinement, in [0, 1], over the whole image: a raster of the graph's layout
    /// (a cell for every patch), which [`Raster::resized_nearest`] brings to the image's size. 0 where there is no data.
    pub saliency: Raster<f32>,
    /// Clusters of the first stage in use, background included.
    pub clusters: usize,
    /// Correlation clustering only: share of affinities that are not positive.
    pub negative_share: Option<f32>,
    /// Where the network was optimised on this image: the loss before the last step of the first stage.
    pub final_loss: Option<f64>,
}

impl Decision {
    /// Divides what the first stage found by the second.
    pub(super) fn divided<S: Segmenter>(
        layout: Layout,
        graph: &Graph,
        segments: &Segments,
        background: &[bool],
        second: &SecondStage<S>,
        config: &ObjectsConfig,
    ) -> Decision {
        let values = second.values(graph, segments, background);
        let kinds: Vec<u8> = values.iter().map(|&value| second.legend.object_of(value)).collect();
        let objects = config.cuts().then(|| cut_objects(graph, &layout, &kinds, config.cut_threshold)).flatten();
        let decision = Decision::new(layout, values, segments, second.legend, background, graph.negative_share);
        Decision { objects, ..decision }
    }

    /// Joins what the first stage found with the mask values that the second left of it.
    pub(super) fn new(
        layout: Layout,
        values: Vec<u8>,
        segments: &Segments,
        legend: Legend,
        background: &[bool],
        negative_share: Option<f32>,
    ) -> Decision {
        Decision {
            layout,
            values,
            objects: None,
            numbers: None,
            shares: legend.shares(&segments.probabilities, background),
            foreground: segments.foreground_probabilities(background),
            clusters: segments.clusters_in_use(),
            negative_share,
            final_loss: None,
        }
    }

    /// Regions that cover an image together, none of them background: the number of every node's region, from 0 on, of at most
    /// `most` in an image.
    ///
    /// # Shapes
    /// numbers `[N]`
    pub(super) fn of_regions(layout: Layout, numbers: &[u32], most: usize) -> Decision {
        let classes = most + 1;
        let mut shares = vec![0.0; numbers.len() * classes];
        for (row, &number) in shares.chunks_exact_mut(classes).zip(numbers) {
            row[number as usize + 1] = 1.0;
        }
        Decision {
            layout,
            values: numbers.iter().map(|&number| number as u8 + 1).collect(),
            objects: None,
            numbers: None,
            shares,
            foreground: vec![1.0; numbers.len()],
            clusters: numbers.iter().collect::<BTreeSet<_>>().len(),
            negative_share: None,
            final_loss: None,
        }
    }

    /// The same for every node of the whole layout: nodes where the image has no data are what the nearest one inside is,
    /// so that masks end where the data does, and not half a node before.
    fn over_whole_layout(self) -> Decision {
        let Some(nearest) = self.layout.nearest_inside() else { return self };
        let Decision { layout, values, objects, numbers, shares, foreground, clusters, negative_share, final_loss } =
            self;
        let classes = shares.len() / values.len();
        let share_row = |&node: &usize| shares[node * classes..(node + 1) * classes].iter().copied();
        Decision {
            values: nearest.iter().map(|&node| values[node]).collect(),
            objects: objects.map(|objects| nearest.iter().map(|&node| objects[node]).collect()),
            numbers: numbers.map(|numbers| nearest.iter().map(|&node| numbers[node]).collect()),
            shares: nearest.iter().flat_map(share_row).collect(),
            foreground: nearest.iter().map(|&node| foreground[node]).collect(),
            layout: match layout {
                Layout::Part { whole, .. } => *whole,
                whole => whole,
            },
            clusters,
            negative_share,
            final_loss,
        }
    }

    /// Brings the nodes' values to the image's size, fits them to it, and finds the objects; none where `outside` is 1.
    pub(super) fn into_segmentation(
        self,
        image: &RgbImage,
        outside: Option<&Mask>,
        legend: Legend,
        finish: Finish,
        list: bool,
    ) -> Segmentation {
        let whole = self.over_whole_layout();
        let Decision { layout, values, shares, foreground, clusters, negative_share, final_loss, .. } = whole;
        let Finish { refine, objects } = finish;
        let of_nodes = whole.objects.map(|objects| layout.paint(&objects, 0));
        let of_regions = whole.numbers.map(|numbers| layout.paint(&numbers, 0));
        let object_of = |value| legend.object_of(value);
        let is_foreground = |value| object_of(value) > 0;
        let cells = layout.paint(&values, 0);
        let mask = match &layout {
            Layout::Grid { .. } => {
                let cells = Cells { values: &cells, shares: &shares };
                refine.upscale.apply(&cells, object_of, image.width, image.height)
            }
            Layout::Superpixels { .. } | Layout::Part { .. } => cells.resized_nearest(image.width, image.height),
        };
        let numbers: Vec<u32> = (0..values.len() as u32).collect();
        let nodes = layout.paint(&numbers, 0);
        let classes = shares.len() / values.len().max(1);
        let shares = Shares { nodes: &nodes, values: &shares, classes };
        let mut mask = refine.apply(image, mask, shares, outside, object_of);
        let mut saliency = layout.paint(&foreground, 0.0);
        let cut = of_nodes.as_ref().map(|objects| CutNodes { values: &cells, objects, least: LEAST_NODES });
        let mut found = objects.find(&mask, cut, object_of);
        let confidence = objects.decide(&mut mask, &mut found, &saliency);
        let numbered = of_regions.map(|numbers| NumberedNodes { values: &cells, numbers: &numbers }.of_pixels(&mask));
        let listed = match &numbered {
            _ if !list && !objects.instances => Vec::new(),
            None => objects.list(&mask, found, &saliency, object_of),
            // Every region is an instance.
            Some(numbered) => {
                let by_value = ObjectsConfig { instances: false, ..*objects };
                by_value.list(numbered, found, &saliency, |number| number)
            }
        };
        let most = numbered.as_ref().and_then(|numbered| numbered.values.iter().copied().max());
        if let Some(outside) = outside {
            let shares = layout.class_shares(outside, 2);
            let is_outside: Vec<bool> = shares.as_chunks::<2>().0.iter().map(|[_, outside]| *outside >= 0.5).collect();
            let is_outside = layout.paint(&is_outside, true);
            for (probability, is_outside) in saliency.values.iter_mut().zip(is_outside.values) {
                *probability = if is_outside { 0.0 } else { *probability };
            }
        }
        Segmentation {
            objects: listed,
            bounding_box: objects.bounds(&mask, is_foreground),
            foreground_area_px: mask.values.iter().filter(|&&value| is_foreground(value)).count() as u64,
            mask,
            numbered,
            legend: most.map_or_else(|| legend.named(), |most| legend.named_up_to(most)),
            confidence,
            saliency,
            clusters,
            negative_share,
            final_loss,
        }
    }
}
