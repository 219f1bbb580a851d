//! Sealed tensor files: safetensors whose metadata carries a checksum of the whole file.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::numerics::bytes::{bytes_from_floats, floats_from_bytes};

/// The only metadata key, so that the file's bytes never depend on a hash map's order.
const KEY: &str = "deepcut";
/// Stands in for the checksum while the checksum is computed.
const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A named matrix in single precision.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedMatrix {
    pub name: String,
    pub shape: [usize; 2],
    pub values: Vec<f32>,
}

/// Why bytes are no container file.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("it is not a safetensors file ({0})")]
    Format(String),
    #[error("it is a safetensors file, but not one that deepcut wrote")]
    Foreign,
    #[error("it holds a {found} of deepcut, not a {expected}")]
    OtherKind { found: String, expected: &'static str },
    #[error("its checksum does not match: the file is damaged or was edited")]
    Checksum,
    #[error("{0}")]
    Content(String),
    #[error("its {kind} is of format {found}, this program reads format {expected}")]
    Version { kind: String, found: u32, expected: u32 },
    #[error("tensor {0} is missing or has another shape")]
    Tensor(String),
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Envelope<H> {
    kind: String,
    format: u32,
    blake3: String,
    header: H,
}

/// What a kind of file is called, and the version that this program reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub format: u32,
}

/// Writes `matrices` and `header` as one safetensors file with a blake3 checksum over all of its bytes, taken while
/// the checksum's own 64 characters are zeros.
pub fn write<H: Serialize>(kind: Kind, header: &H, matrices: &[NamedMatrix]) -> Result<Vec<u8>, ContainerError> {
    let format = |error: &dyn std::fmt::Display| ContainerError::Format(error.to_string());
    let envelope = Envelope { kind: kind.name.to_string(), format: kind.format, blake3: BLANK.to_string(), header };
    let metadata = HashMap::from([(KEY.to_string(), serde_json::to_string(&envelope).map_err(|e| format(&e))?)]);
    let raw: Vec<Vec<u8>> = matrices.iter().map(|matrix| bytes_from_floats(&matrix.values)).collect();
    let mut views = Vec::new();
    for (matrix, bytes) in matrices.iter().zip(&raw) {
        let view = TensorView::new(Dtype::F32, matrix.shape.to_vec(), bytes).map_err(|e| format(&e))?;
        views.push((matrix.name.as_str(), view));
    }
    let mut bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| format(&e))?;
    let checksum = blake3::hash(&bytes).to_hex();
    let place = find(&bytes, BLANK.as_bytes()).ok_or(ContainerError::Foreign)?;
    bytes[place..place + BLANK.len()].copy_from_slice(checksum.as_bytes());
    Ok(bytes)
}

/// Reads what [`write`] wrote, after checking every byte of it.
pub fn read<H: DeserializeOwned>(
    kind: Kind,
    bytes: &[u8],
) -> Result<(H, BTreeMap<String, NamedMatrix>), ContainerError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| ContainerError::Format(error.to_string()))?;
    let text = metadata.metadata().as_ref().and_then(|map| map.get(KEY)).ok_or(ContainerError::Foreign)?;
    let envelope: Envelope<serde_json::Value> = serde_json::from_str(text).map_err(|_| ContainerError::Foreign)?;

    let mut blanked = bytes.to_vec();
    let place = find(bytes, envelope.blake3.as_bytes()).filter(|_| envelope.blake3.len() == BLANK.len());
    let place = place.ok_or(ContainerError::Checksum)?;
    blanked[place..place + BLANK.len()].copy_from_slice(BLANK.as_bytes());
    if blake3::hash(&blanked).to_hex().as_str() != envelope.blake3 {
        return Err(ContainerError::Checksum);
    }
    if envelope.kind != kind.name {
        return Err(ContainerError::OtherKind { found: envelope.kind, expected: kind.name });
    }
    if envelope.format != kind.format {
        return Err(ContainerError::Version { kind: envelope.kind, found: envelope.format, expected: kind.format });
    }
    let header = serde_json::from_value(envelope.header).map_err(|error| ContainerError::Format(error.to_string()))?;

    let tensors = SafeTensors::deserialize(bytes).map_err(|error| ContainerError::Format(error.to_string()))?;
    let mut matrices = BTreeMap::new();
    for (name, view) in tensors.tensors() {
        let shape: [usize; 2] = view
            .shape()
            .try_into()
            .ok()
            .filter(|_| view.dtype() == Dtype::F32)
            .ok_or(ContainerError::Tensor(name.clone()))?;
        let values = floats_from_bytes(view.data());
        matrices.insert(name.clone(), NamedMatrix { name, shape, values });
    }
    Ok((header, matrices))
}

/// Takes a matrix of the expected shape out of a file.
pub fn remove(
    matrices: &mut BTreeMap<String, NamedMatrix>,
    name: &str,
    shape: [usize; 2],
) -> Result<Vec<f32>, ContainerError> {
    let matrix = matrices.remove(name).filter(|matrix| matrix.shape == shape);
    matrix.map(|matrix| matrix.values).ok_or_else(|| ContainerError::Tensor(name.to_string()))
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    (!pattern.is_empty()).then(|| bytes.windows(pattern.len()).position(|window| window == pattern))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { name: "test", format: 3 };

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let matrix = NamedMatrix { name: "m".into(), shape: [2, 3], values: vec![1.0, -2.0, 0.5, 4.0, 5.0, 6.0] };
        let bytes = write(KIND, &vec![1u32, 2], std::slice::from_ref(&matrix)).unwrap();
        let (header, matrices) = read::<Vec<u32>>(KIND, &bytes).unwrap();
        assert_eq!((header, &matrices["m"]), (vec![1, 2], &matrix));
        assert!(matches!(
            read::<Vec<u32>>(Kind { format: 4, ..KIND }, &bytes),
            Err(ContainerError::Version { found: 3, expected: 4, .. })
        ));
        for length in 0..bytes.len() {
            assert!(read::<Vec<u32>>(KIND, &bytes[..length]).is_err(), "cut at {length}");
        }
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[position] ^= 1 << bit;
                assert!(read::<Vec<u32>>(KIND, &damaged).is_err(), "byte {position} bit {bit}");
            }
        }
    }
}
