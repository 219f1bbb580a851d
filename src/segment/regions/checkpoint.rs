//! A code book in a file, with all that it needs to divide images except the backbone's weights.

use serde::{Deserialize, Serialize};

use super::CodeBook;
use super::code_book::COLOURS;
use crate::model::container::{self, ContainerError, Kind, NamedMatrix};

const KIND: Kind = Kind { name: "code book", format: 1 };

/// A code book with the story of its making.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionCheckpoint {
    pub header: RegionHeader,
    pub book: CodeBook,
    /// The directions that are removed from the backbone's features, row-major `[directions, D]`; may be empty.
    pub position_directions: Vec<f32>,
}

/// What a code book's file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionHeader {
    /// The resolved configuration of the run, without paths, device and threads.
    pub config: serde_json::Value,
    /// What turned images into features: `vit`, `superpixel` or `pixel`.
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
        container::write(KIND, &self.header, &matrices.into_iter().chain(directions).collect::<Vec<_>>())
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
        Ok(RegionCheckpoint { header, book, position_directions })
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
            };
            let checkpoint = RegionCheckpoint { header, book, position_directions: vec![0.5; 8] };
            let bytes = checkpoint.to_bytes().unwrap();
            assert_eq!(RegionCheckpoint::from_bytes(&bytes).unwrap(), checkpoint);
            let error = crate::model::checkpoint::Checkpoint::from_bytes(&bytes).unwrap_err();
            assert!(RegionCheckpoint::is_meant_by(&error));
            let mut other = checkpoint.clone();
            other.header.width = usize::MAX;
            other.position_directions.clear();
            assert!(RegionCheckpoint::from_bytes(&container::write(KIND, &other.header, &[]).unwrap()).is_err());
        }
    }
}
