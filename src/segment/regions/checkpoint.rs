//! A code book in a file, with all that it needs to divide images except the backbone's weights; with it the network that learned
//! its kinds, where there is one.

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use super::code_book::COLOURS;
use super::{CodeBook, PatchKinds};
use crate::model::container::{self, ContainerError, Kind, NamedMatrix};
use crate::numerics::random;
use crate::segment::grapl::{LEAST_PATCH, PatchNetwork};

const KIND: Kind = Kind { name: "code book", format: 1 };

/// A code book with the story of its making.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionCheckpoint {
    pub header: RegionHeader,
    pub book: CodeBook,
    /// The directions that are removed from the backbone's features, row-major `[directions, D]`; may be empty.
    pub position_directions: Vec<f32>,
    /// What tells the book's kinds, which are those of colours then, apart beside it.
    pub network: Option<PatchKinds>,
}

/// What a code book's file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionHeader {
    /// The resolved configuration of the run, without paths, device and threads.
    pub config: serde_json::Value,
    /// What turned images into features: `vit`, `superpixel` or `pixel`; `none` where a network sees patches themselves.
    pub backbone: String,
    /// blake3 of the backbone's weights file, where there is one.
    pub backbone_hash: Option<String>,
    pub seed: u64,
    /// blake3 over the collection's content, in order.
    pub collection_hash: String,
    /// Images that the code book was learned from.
    pub images: usize,
    /// Their patches that were compared.
    pub patches: usize,
    /// Kinds of regions.
    pub labels: usize,
    /// Directions of features in which patches are compared.
    pub components: usize,
    /// Channels of the features.
    pub width: usize,
    /// See [`CodeBook::spread`].
    pub spread: f64,
    /// The patches of images that a network sees, where one tells the kinds apart.
    pub network: Option<PatchSizes>,
}

/// The patches of an image that a network sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchSizes {
    /// Along each side of the image.
    pub patches: usize,
    /// Pixels along each side of a patch.
    pub patch_side: usize,
}

impl RegionCheckpoint {
    /// The file's bytes; the same code book always gives the same.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ContainerError> {
        let matrices = self.matrices().into_iter().map(|(name, shape, values)| NamedMatrix {
            name: name.to_string(),
            shape,
            values: values.clone(),
        });
        let directions = (!self.position_directions.is_empty()).then(|| NamedMatrix {
            name: POSITION_DIRECTIONS.to_string(),
            shape: [self.position_directions.len() / self.header.width, self.header.width],
            values: self.position_directions.clone(),
        });
        let network = self.network.iter().flat_map(PatchKinds::matrices);
        container::write(KIND, &self.header, &matrices.into_iter().chain(directions).chain(network).collect::<Vec<_>>())
    }

    /// Reads and checks the bytes of a code book's file.
    pub fn from_bytes(bytes: &[u8]) -> Result<RegionCheckpoint, ContainerError> {
        let (header, mut matrices): (RegionHeader, _) = container::read(KIND, bytes)?;
        let RegionHeader { labels, components, width, spread, .. } = header;
        let is_possible =
            labels > 0 && labels <= usize::from(u8::MAX) && width > 0 && spread.is_finite() && spread >= 0.0;
        let channels = components.checked_add(COLOURS).filter(|_| is_possible);
        let channels = channels.ok_or_else(|| ContainerError::Content("its code book has impossible sizes".into()))?;
        let mut book = CodeBook {
            mean: Vec::new(),
            directions: Vec::new(),
            scales: Vec::new(),
            colour_mean: Vec::new(),
            centres: Vec::new(),
            spread,
        };
        let shapes = shapes(labels, components, channels, width);
        let targets =
            [&mut book.mean, &mut book.directions, &mut book.scales, &mut book.colour_mean, &mut book.centres];
        for (target, (name, shape)) in targets.into_iter().zip(shapes) {
            // Features that never vary have no directions.
            if shape[0] > 0 {
                *target = container::remove(&mut matrices, name, shape)?;
            }
        }
        let directions = matrices.remove(POSITION_DIRECTIONS);
        if directions.as_ref().is_some_and(|matrix| matrix.shape[1] != width) {
            return Err(ContainerError::Tensor(POSITION_DIRECTIONS.to_string()));
        }
        let position_directions = directions.map_or(Vec::new(), |matrix| matrix.values);
        let network = header.network.map(|sizes| PatchKinds::of_matrices(sizes, labels, &mut matrices)).transpose()?;
        Ok(RegionCheckpoint { header, book, position_directions, network })
    }

    /// Whether an error says that a file holds a code book, and not the checkpoint that was expected.
    pub fn is_meant_by(error: &ContainerError) -> bool {
        matches!(error, ContainerError::OtherKind { found, .. } if found == KIND.name)
    }

    fn matrices(&self) -> Vec<(&'static str, [usize; 2], &Vec<f32>)> {
        let RegionHeader { labels, components, width, .. } = self.header;
        let CodeBook { mean, directions, scales, colour_mean, centres, .. } = &self.book;
        let shapes = shapes(labels, components, components + COLOURS, width);
        let values = [mean, directions, scales, colour_mean, centres];
        let all = shapes.into_iter().zip(values).map(|((name, shape), values)| (name, shape, values));
        all.filter(|(_, shape, _)| shape[0] > 0).collect()
    }
}

/// What the tensors of a network are called: its parameters, then its running statistics.
const OF_NETWORK: [&str; 12] = [
    "network.first",
    "network.first_scale",
    "network.first_shift",
    "network.second",
    "network.second_scale",
    "network.second_shift",
    "network.head",
    "network.head_bias",
    "network.first_mean",
    "network.first_variance",
    "network.second_mean",
    "network.second_variance",
];
const HEAD: &str = "network.head";
/// Those that no number below 0 makes sense in.
const VARIANCE: &str = "_variance";

/// Most patches along a side, and most pixels along a side of one, that settings allow.
const MOST_PATCHES: usize = 64;
const MOST_PATCH_SIDE: usize = 1024;

impl PatchKinds {
    fn matrices(&self) -> Vec<NamedMatrix> {
        let PatchNetwork { parameters, running, .. } = &self.network;
        let statistics = running.iter().flat_map(|of| [&of.mean, &of.variance]);
        let named = OF_NETWORK.into_iter().zip(parameters.iter().chain(statistics));
        let matrix = |(name, values): (&str, &Vec<f32>)| {
            let rows = if name == HEAD { self.network.labels() } else { 1 };
            NamedMatrix { name: name.to_string(), shape: [rows, values.len() / rows], values: values.clone() }
        };
        named.map(matrix).collect()
    }

    fn of_matrices(
        sizes: PatchSizes,
        labels: usize,
        matrices: &mut BTreeMap<String, NamedMatrix>,
    ) -> Result<PatchKinds, ContainerError> {
        let is_possible =
            (2..=MOST_PATCHES).contains(&sizes.patches) && (LEAST_PATCH..=MOST_PATCH_SIDE).contains(&sizes.patch_side);
        if !is_possible {
            return Err(ContainerError::Content("its network sees patches of impossible sizes".into()));
        }
        // A file without a network of that size must not make one that fills the memory.
        let seen = (sizes.patch_side + 1 - LEAST_PATCH).pow(2);
        let is_large = matrices.get(HEAD).is_some_and(|head| head.shape[0] == labels && head.shape[1] >= seen);
        if !is_large {
            return Err(ContainerError::Tensor(HEAD.to_string()));
        }
        let mut network = PatchNetwork::new(sizes.patch_side, labels, &mut random::stream(0, "patch network", 0));
        let statistics = network.running.iter_mut().flat_map(|of| [&mut of.mean, &mut of.variance]);
        for (name, target) in OF_NETWORK.into_iter().zip(network.parameters.iter_mut().chain(statistics)) {
            let rows = if name == HEAD { labels } else { 1 };
            *target = container::remove(matrices, name, [rows, target.len() / rows])?;
            let least = if name.ends_with(VARIANCE) { 0.0 } else { f32::MIN };
            if !target.iter().all(|&value| value.is_finite() && value >= least) {
                return Err(ContainerError::Content(format!("tensor {name} has impossible values")));
            }
        }
        Ok(PatchKinds { sizes, network })
    }
}

impl PartialEq for PatchKinds {
    fn eq(&self, other: &PatchKinds) -> bool {
        self.sizes == other.sizes && self.matrices() == other.matrices()
    }
}

const POSITION_DIRECTIONS: &str = "position_directions";

fn shapes(labels: usize, components: usize, channels: usize, width: usize) -> [(&'static str, [usize; 2]); 5] {
    [
        ("mean", [1, width]),
        ("directions", [components, width]),
        ("scales", [1, channels]),
        ("colour_mean", [1, COLOURS]),
        ("centres", [labels, channels]),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::PatchSample;
    use super::*;

    #[test]
    fn a_code_book_is_read_as_it_was_written_and_nothing_else_is() {
        let varied: Vec<f32> = (0..40).map(|value| (value * value % 13) as f32).collect();
        for features in [varied, vec![1.0; 40]] {
            let sample = PatchSample { features, colours: (0..30).map(|value| value as f32).collect() };
            let book = CodeBook::fit(&sample, 5, 2, 0);
            let header = RegionHeader {
                config: serde_json::Value::Null,
                backbone: "superpixel".into(),
                backbone_hash: None,
                seed: 0,
                collection_hash: String::new(),
                images: 1,
                patches: 10,
                labels: book.labels(),
                components: book.directions.len() / 4,
                width: 4,
                spread: book.spread,
                network: None,
            };
            let checkpoint = RegionCheckpoint { header, book, position_directions: vec![0.5; 8], network: None };
            let bytes = checkpoint.to_bytes().unwrap();
            assert_eq!(RegionCheckpoint::from_bytes(&bytes).unwrap(), checkpoint);
            let error = crate::model::checkpoint::Checkpoint::from_bytes(&bytes).unwrap_err();
            assert!(RegionCheckpoint::is_meant_by(&error));
            let mut other = checkpoint.clone();
            other.header.width = usize::MAX;
            other.position_directions.clear();
            assert!(RegionCheckpoint::from_bytes(&container::write(KIND, &other.header, &[]).unwrap()).is_err());

            let sizes = PatchSizes { patches: 32, patch_side: 7 };
            let labels = checkpoint.book.labels();
            let network = PatchNetwork::new(sizes.patch_side, labels, &mut random::stream(5, "test", 0));
            let header = RegionHeader { network: Some(sizes), ..checkpoint.header.clone() };
            let with = RegionCheckpoint { header, network: Some(PatchKinds { sizes, network }), ..checkpoint };
            assert_eq!(RegionCheckpoint::from_bytes(&with.to_bytes().unwrap()).unwrap(), with);
            // Another file in every respect but its checksum.
            let refused = |change: &dyn Fn(&mut RegionCheckpoint)| {
                let mut changed = with.clone();
                change(&mut changed);
                RegionCheckpoint::from_bytes(&changed.to_bytes().unwrap()).unwrap_err().to_string()
            };
            let patch_side = |patch_side| PatchSizes { patch_side, ..sizes };
            assert!(refused(&|it| it.header.network = Some(patch_side(8))).contains("network.head"));
            assert!(refused(&|it| it.header.network = Some(patch_side(1024))).contains("network.head"));
            assert!(refused(&|it| it.header.network = Some(patch_side(usize::MAX))).contains("impossible sizes"));
            assert!(refused(&|it| it.network = None).contains("network.head"));
            let network = |it: &mut RegionCheckpoint| it.network.take().unwrap().network;
            let changed = |change: &dyn Fn(&mut PatchNetwork)| {
                refused(&|it| {
                    let mut network = network(it);
                    change(&mut network);
                    it.network = Some(PatchKinds { sizes, network });
                })
            };
            assert!(changed(&|it| it.running[1].variance[0] = -1.0).contains("network.second_variance"));
            assert!(changed(&|it| it.parameters[0][3] = f32::NAN).contains("network.first "));
            assert!(changed(&|it| it.parameters[7].truncate(1)).contains("network.head_bias"));
        }
    }
}
