//! Tensors of weight files: safetensors, and both containers of `torch.save`.

use std::collections::HashMap;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::pickle::{Pickle, Value};

/// How a number is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    Half,
    Brain,
    Single,
    Double,
    /// Integers and the like, which no weight is.
    Other(String),
}

/// A tensor as it lies in a file.
#[derive(Debug)]
pub struct StoredTensor<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    encoding: Encoding,
    offset: usize,
    strides: Vec<usize>,
    /// All numbers of the storage the tensor is a view of; `None` if the file lacks them.
    storage: Option<&'a [u8]>,
}

impl StoredTensor<'_> {
    /// Number of values, if the machine can count them.
    pub fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side))
    }

    /// The values, row-major, in single precision.
    pub fn values(&self) -> Result<Vec<f32>, String> {
        let size = match &self.encoding {
            Encoding::Half | Encoding::Brain => 2,
            Encoding::Single => 4,
            Encoding::Double => 8,
            Encoding::Other(name) => return Err(format!("holds {name}, not floating-point numbers")),
        };
        let storage = self.storage.ok_or("has no data in the file")?;
        let stored = storage.len() / size;
        let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, |last, (&side, &stride)| {
            last.checked_add(side.saturating_sub(1).checked_mul(stride)?)
        });
        let (Some(count), Some(last)) = (self.count(), last) else {
            return Err("states an impossible shape".to_string());
        };
        // No view of a weight repeats elements, so more elements than stored means a damaged or hostile file.
        if count > stored || (count > 0 && last >= stored) {
            return Err(format!("needs {} numbers, but the file holds {stored}", count.max(last.saturating_add(1))));
        }
        let number = |index: usize| {
            let bytes = &storage[index * size..][..size];
            match self.encoding {
                Encoding::Half => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
                Encoding::Brain => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
                Encoding::Single => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
                _ => f64::from_le_bytes(std::array::from_fn(|index| bytes[index])) as f32,
            }
        };
        let mut values = Vec::with_capacity(count);
        let mut position = vec![0usize; self.shape.len()];
        let mut index = self.offset;
        while values.len() < count {
            values.push(number(index));
            // Step to the next position in row-major order.
            for axis in (0..position.len()).rev() {
                position[axis] += 1;
                // The step past the last position is taken back at once, so it may wrap.
                index = index.wrapping_add(self.strides[axis]);
                if position[axis] < self.shape[axis] {
                    break;
                }
                index = index.wrapping_sub(self.strides[axis].wrapping_mul(self.shape[axis]));
                position[axis] = 0;
            }
        }
        Ok(values)
    }
}

/// The tensors of a weight file, whichever of the formats it has, in the order of the file.
pub fn read(bytes: &[u8]) -> Result<Vec<StoredTensor<'_>>, String> {
    const ZIP: &[u8] = b"PK\x03\x04";
    if bytes.starts_with(ZIP) {
        read_zip(bytes)
    } else if bytes.starts_with(&[0x80]) && bytes.get(8) != Some(&b'{') {
        read_legacy(bytes)
    } else {
        read_safetensors(bytes)
    }
}

fn read_safetensors(bytes: &[u8]) -> Result<Vec<StoredTensor<'_>>, String> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("it is neither a safetensors nor a PyTorch file, or damaged ({error})"))?;
    let tensors = file.iter().map(|(name, view)| {
        let encoding = match view.dtype() {
            Dtype::F16 => Encoding::Half,
            Dtype::BF16 => Encoding::Brain,
            Dtype::F32 => Encoding::Single,
            Dtype::F64 => Encoding::Double,
            other => Encoding::Other(format!("{other:?}")),
        };
        let mut strides = vec![1usize; view.shape().len()];
        for axis in (1..strides.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(view.shape()[axis]);
        }
        let (name, shape) = (name.to_string(), view.shape().to_vec());
        StoredTensor { name, shape, encoding, offset: 0, strides, storage: Some(view.data()) }
    });
    Ok(tensors.collect())
}

/// Reads what `torch.save` has written since version 1.6: a ZIP archive with `data.pkl` and one entry per storage.
fn read_zip(bytes: &[u8]) -> Result<Vec<StoredTensor<'_>>, String> {
    let entries = zip_entries(bytes)?;
    let (name, pickle) = entries
        .iter()
        .find(|(name, _)| *name == "data.pkl" || name.ends_with("/data.pkl"))
        .ok_or("it is a ZIP archive without data.pkl, so not a PyTorch file")?;
    let folder = &name[..name.len() - "data.pkl".len()];
    let pickle = Pickle::read(pickle)?;
    let entries: HashMap<&str, &[u8]> = entries.iter().map(|(name, data)| (name.as_str(), *data)).collect();
    if entries.get(format!("{folder}byteorder").as_str()).is_some_and(|order| order.trim_ascii() == b"big") {
        return Err("it was saved on a big-endian machine; save it again on another".to_string());
    }
    select_tensors(&pickle, |key| entries.get(format!("{folder}data/{key}").as_str()).copied())
}

/// Reads what `torch.save` wrote before: five pickles, then the storages one after the other.
fn read_legacy(bytes: &[u8]) -> Result<Vec<StoredTensor<'_>>, String> {
    /// 0x1950a86a20f9469cfc6c, pickled.
    const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    let mut rest =
        bytes.strip_prefix(MAGIC).ok_or("it is a plain pickle; save it with torch.save or as safetensors")?;
    let mut next = || -> Result<Pickle, String> {
        let pickle = Pickle::read(rest)?;
        rest = &rest[pickle.length..];
        Ok(pickle)
    };
    let (_protocol, _system, state, keys) = (next()?, next()?, next()?, next()?);
    let sizes: HashMap<&str, usize> = state
        .values()
        .iter()
        .filter_map(|value| match value {
            Value::Storage(storage) => Some((storage.key.as_str(), element_size(&storage.class)?)),
            _ => None,
        })
        .collect();
    const UNLISTED: &str = "it lacks the list of its storages";
    let Value::Sequence(order) = keys.root() else { return Err(UNLISTED.into()) };
    let mut storages = HashMap::new();
    for &key in order {
        let Value::Text(key) = keys.value(key) else { return Err(UNLISTED.into()) };
        let size = *sizes.get(key.as_str()).ok_or("it holds a storage of unknown type")?;
        let (count, after) = rest.split_first_chunk::<8>().ok_or("it ends too early")?;
        let length = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(size));
        let length = length.filter(|&length| length <= after.len()).ok_or("it ends too early")?;
        let (data, after) = after.split_at(length);
        storages.insert(key.as_str(), data);
        rest = after;
    }
    select_tensors(&state, |key| storages.get(key).copied())
}

/// Bytes of one element of a PyTorch storage class.
fn element_size(class: &str) -> Option<usize> {
    Some(match class {
        "DoubleStorage" | "LongStorage" => 8,
        "FloatStorage" | "IntStorage" => 4,
        "HalfStorage" | "BFloat16Storage" | "ShortStorage" => 2,
        "CharStorage" | "ByteStorage" | "BoolStorage" => 1,
        _ => return None,
    })
}

/// The tensors of the state dict in a checkpoint: the root itself, or the dictionary under one key of it.
fn select_tensors<'a>(
    pickle: &Pickle,
    storage: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<Vec<StoredTensor<'a>>, String> {
    /// Usual names of the model in a checkpoint, the preferred first: DINO evaluates its teacher.
    const USUAL: [&str; 6] = ["teacher", "student", "state_dict", "model", "model_state_dict", "model_state"];
    let holds_tensors = |value: &Value| pickle.entries(value).any(|(_, value)| matches!(value, Value::Tensor(_)));
    let root = pickle.root();
    if !matches!(root, Value::Dictionary(_)) {
        return Err("it does not hold a dictionary of tensors; save model.state_dict() instead of the model".into());
    }
    let mut chosen = root;
    if !holds_tensors(root) {
        let nested: Vec<(&str, &Value)> = pickle.entries(root).filter(|(_, value)| holds_tensors(value)).collect();
        let usual = USUAL.iter().find_map(|&name| nested.iter().find(|(key, _)| *key == name));
        chosen = match (usual, nested.as_slice()) {
            (Some((_, value)), _) | (None, [(_, value)]) => value,
            (None, []) => return Err("it holds no tensors".into()),
            (None, several) => {
                let names: Vec<&str> = several.iter().take(5).map(|(name, _)| *name).collect();
                return Err(format!("it holds several models ({}); save one state dict alone", names.join(", ")));
            }
        };
    }
    let tensors = pickle.entries(chosen).filter_map(|(name, value)| {
        let Value::Tensor(view) = value else { return None };
        let encoding = match view.storage.class.as_str() {
            "HalfStorage" => Encoding::Half,
            "BFloat16Storage" => Encoding::Brain,
            "FloatStorage" => Encoding::Single,
            "DoubleStorage" => Encoding::Double,
            other => Encoding::Other(other.to_string()),
        };
        Some(StoredTensor {
            name: name.to_string(),
            shape: view.shape.clone(),
            encoding,
            offset: view.offset,
            strides: view.strides.clone(),
            storage: storage(&view.storage.key),
        })
    });
    Ok(tensors.collect())
}

/// Names and contents of the entries of a ZIP archive without compression, which is what PyTorch writes.
///
/// Source: PKWARE's APPNOTE, sections 4.3.7 (local header), 4.3.12 (directory) and 4.3.16 (its end).
fn zip_entries(bytes: &[u8]) -> Result<Vec<(String, &[u8])>, String> {
    const TOO_EARLY: &str = "it is a damaged or truncated ZIP archive";
    let short = |at: usize| -> Result<usize, String> {
        let field = at.checked_add(2).and_then(|end| bytes.get(at..end)).ok_or(TOO_EARLY)?;
        Ok(usize::from(u16::from_le_bytes([field[0], field[1]])))
    };
    let long = |at: usize| -> Result<usize, String> { Ok(short(at)? | short(at + 2)? << 16) };
    // The end record is 22 bytes and a comment of at most 65 535.
    let lowest = bytes.len().saturating_sub(22 + 65_535);
    let end = (lowest..bytes.len().saturating_sub(21))
        .rev()
        .find(|&at| bytes[at..].starts_with(b"PK\x05\x06"))
        .ok_or(TOO_EARLY)?;
    let (count, mut at) = (short(end + 10)?, long(end + 16)?);
    if count == 0xffff || at == 0xffff_ffff {
        return Err("it is larger than 4 GiB; save the model's state dict alone".to_string());
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        if bytes.get(at..).is_none_or(|rest| !rest.starts_with(b"PK\x01\x02")) {
            return Err(TOO_EARLY.to_string());
        }
        let (method, size, header) = (short(at + 10)?, long(at + 24)?, long(at + 42)?);
        let (name_length, extra, comment) = (short(at + 28)?, short(at + 30)?, short(at + 32)?);
        let name = bytes.get(at + 46..at + 46 + name_length).ok_or(TOO_EARLY)?;
        if method != 0 {
            return Err("its ZIP archive is compressed, which PyTorch never does; save it again".to_string());
        }
        // The local header repeats the name and has extra bytes of its own, for alignment.
        let start = header + 30 + short(header + 26)? + short(header + 28)?;
        let data = bytes.get(start..start.checked_add(size).ok_or(TOO_EARLY)?).ok_or(TOO_EARLY)?;
        entries.push((String::from_utf8_lossy(name).into_owned(), data));
        at += 46 + name_length + extra + comment;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_of_known_bits() {
        let read = |encoding, bits: [u16; 7]| {
            let storage: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            let (name, shape, strides) = (String::new(), vec![bits.len()], vec![1]);
            StoredTensor { name, shape, encoding, offset: 0, strides, storage: Some(&storage) }.values().unwrap()
        };
        let half = read(Encoding::Half, [0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0xfc00, 0x7e00]);
        assert_eq!(half[..6], [1.0, -2.0, 5.960_464_5e-8, 65504.0, 0.0, f32::NEG_INFINITY]);
        let brain = read(Encoding::Brain, [0x3f80, 0xc000, 0x0001, 0x7f7f, 0x8000, 0xff80, 0x7fc0]);
        assert_eq!(brain[..6], [1.0, -2.0, 9.183_55e-41, 3.389_531_4e38, 0.0, f32::NEG_INFINITY]);
        assert!(half[4].is_sign_negative() && half[6].is_nan() && brain[6].is_nan());
    }

    #[test]
    fn views_follow_their_strides_and_never_leave_the_storage() {
        let storage: Vec<u8> = (0..6u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
        let view = |shape: &[usize], strides: &[usize], offset| StoredTensor {
            name: String::new(),
            shape: shape.to_vec(),
            encoding: Encoding::Single,
            offset,
            strides: strides.to_vec(),
            storage: Some(&storage),
        };
        assert_eq!(view(&[3, 2], &[1, 3], 0).values().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(view(&[2], &[2], 1).values().unwrap(), [1.0, 3.0]);
        assert_eq!(view(&[], &[], 5).values().unwrap(), [5.0]);
        for (shape, strides, offset) in [
            (&[7][..], &[1][..], 0),
            (&[2, 3], &[3, 1], 1),
            (&[usize::MAX, 2], &[1, 1], 0),
            (&[2], &[usize::MAX], 0),
            (&[1000], &[0], 0),
            (&[1], &[1], usize::MAX),
        ] {
            assert!(view(shape, strides, offset).values().is_err(), "{shape:?}");
        }
    }
}
