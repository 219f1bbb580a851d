//! Tensors of weight files: safetensors, and both containers of `torch.save`.

use std::collections::HashMap;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::pickle::{LONGEST_NAME, Pickle, TensorView, Value};
use super::{foreign, zip};

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
    /// A tensor of which only the name matters.
    #[cfg(test)]
    pub fn without_values(name: String) -> Self {
        Self { name, shape: vec![0], encoding: Encoding::Single, offset: 0, strides: vec![1], storage: None }
    }

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

/// The tensors of a weight file, whichever of the formats it has, in the same order every time. Those of a checkpoint have the
/// names of the dictionaries that hold them before their own, joined by dots.
pub fn read(bytes: &[u8]) -> Result<Vec<StoredTensor<'_>>, String> {
    const ZIP: &[u8] = b"PK\x03\x04";
    if bytes.starts_with(ZIP) {
        read_zip(bytes)
    } else if is_safetensors(bytes) {
        read_safetensors(bytes)
    } else if let Some(reason) = foreign::reason(bytes) {
        Err(reason)
    } else if bytes.starts_with(&[0x80]) {
        read_legacy(bytes)
    } else {
        read_safetensors(bytes)
    }
}

/// Whether a file begins with the length of a header, and the header; text would be a length beyond all files.
fn is_safetensors(bytes: &[u8]) -> bool {
    const LONGEST: u64 = 1 << 40;
    bytes
        .split_first_chunk::<8>()
        .is_some_and(|(length, rest)| rest.first() == Some(&b'{') && u64::from_le_bytes(*length) < LONGEST)
}

fn read_safetensors(bytes: &[u8]) -> Result<Vec<StoredTensor<'_>>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| {
        format!("it is neither a safetensors nor a PyTorch file, or damaged ({error}); fetch it again")
    })?;
    let mut tensors: Vec<StoredTensor> = file
        .iter()
        .map(|(name, view)| {
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
        })
        .collect();
    // The crate gives them in another order each time; what is said of a file must not change.
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tensors)
}

/// Reads what `torch.save` has written since version 1.6: a ZIP archive with `data.pkl` and one entry per storage.
fn read_zip(bytes: &[u8]) -> Result<Vec<StoredTensor<'_>>, String> {
    let entries = zip::entries(bytes)?;
    if let Some(reason) = foreign::reason_of_archive(entries.iter().map(|entry| entry.name.as_str())) {
        return Err(reason.to_string());
    }
    let pickled = entries.iter().find(|entry| entry.name == "data.pkl" || entry.name.ends_with("/data.pkl")).ok_or(
        "it is a ZIP archive without data.pkl, so not a PyTorch file; unpack it and name the file of weights in it",
    )?;
    if entries.iter().any(|entry| entry.compressed) {
        return Err("its ZIP archive is compressed, which PyTorch never does; save it again".to_string());
    }
    let folder = &pickled.name[..pickled.name.len() - "data.pkl".len()];
    let pickle = Pickle::read(pickled.data).map_err(damaged)?;
    let entries: HashMap<&str, &[u8]> = entries.iter().map(|entry| (entry.name.as_str(), entry.data)).collect();
    if entries.get(format!("{folder}byteorder").as_str()).is_some_and(|order| order.trim_ascii() == b"big") {
        return Err("it was saved on a big-endian machine; save it again on another".to_string());
    }
    tensors_of(&pickle, |key| entries.get(format!("{folder}data/{key}").as_str()).copied())
}

/// Reads what `torch.save` wrote before: five pickles, then the storages one after the other.
fn read_legacy(bytes: &[u8]) -> Result<Vec<StoredTensor<'_>>, String> {
    /// 0x1950a86a20f9469cfc6c, pickled.
    const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    let mut rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it is a plain pickle, not written by torch.save; save it with torch.save or as safetensors")?;
    let mut next = || -> Result<Pickle, String> {
        let pickle = Pickle::read(rest).map_err(damaged)?;
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
    const UNLISTED: &str = "it lacks the list of its storages; fetch it again";
    let Value::Sequence(order) = keys.root() else { return Err(UNLISTED.into()) };
    let mut storages = HashMap::new();
    for &key in order {
        let Value::Text(key) = keys.value(key) else { return Err(UNLISTED.into()) };
        let size = *sizes.get(key.as_str()).ok_or("it holds a storage of unknown type")?;
        let (count, after) = rest.split_first_chunk::<8>().ok_or("it ends too early; fetch it again")?;
        let length = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(size));
        let length = length.filter(|&length| length <= after.len()).ok_or("it ends too early; fetch it again")?;
        let (data, after) = after.split_at(length);
        storages.insert(key.as_str(), data);
        rest = after;
    }
    tensors_of(&state, |key| storages.get(key).copied())
}

fn damaged(reason: String) -> String {
    format!("{reason}; it is damaged, so fetch it again")
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

/// Every tensor in a checkpoint's dictionaries.
fn tensors_of<'a>(
    pickle: &Pickle,
    storage: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<Vec<StoredTensor<'a>>, String> {
    if !matches!(pickle.root(), Value::Dictionary(_)) {
        return Err("it does not hold a dictionary of tensors, but perhaps a whole model; \
                    save model.state_dict() instead of the model"
            .into());
    }
    let mut views = Vec::new();
    // A dictionary that many others refer to would be visited as often as there are ways to it.
    let mut most = pickle.values().len();
    collect_views(pickle, pickle.root(), "", 0, &mut most, &mut views)
        .ok_or("its dictionaries hold each other, as those of no checkpoint do")?;
    if views.is_empty() {
        return Err("it holds no tensors in its dictionaries; save model.state_dict()".into());
    }
    let tensors = views.into_iter().map(|(name, view)| {
        let encoding = match view.storage.class.as_str() {
            "HalfStorage" => Encoding::Half,
            "BFloat16Storage" => Encoding::Brain,
            "FloatStorage" => Encoding::Single,
            "DoubleStorage" => Encoding::Double,
            other => Encoding::Other(other.to_string()),
        };
        StoredTensor {
            name,
            shape: view.shape.clone(),
            encoding,
            offset: view.offset,
            strides: view.strides.clone(),
            storage: storage(&view.storage.key),
        }
    });
    Ok(tensors.collect())
}

/// The tensors below a dictionary with their names; `None` where there are more than `most` ways to something.
fn collect_views<'p>(
    pickle: &'p Pickle,
    dictionary: &'p Value,
    within: &str,
    depth: usize,
    most: &mut usize,
    views: &mut Vec<(String, &'p TensorView)>,
) -> Option<()> {
    /// `model`, `teacher`, `backbone` and the like; more are no checkpoint's.
    const DEEPEST: usize = 8;
    for (key, value) in pickle.entries(dictionary) {
        *most = most.checked_sub(1)?;
        if within.len() + key.len() > LONGEST_NAME {
            continue;
        }
        match value {
            Value::Tensor(view) => views.push((format!("{within}{key}"), view)),
            Value::Dictionary(_) if depth < DEEPEST => {
                collect_views(pickle, value, &format!("{within}{key}."), depth + 1, most, views)?;
            }
            _ => {}
        }
    }
    Some(())
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

    #[test]
    fn tensors_have_the_names_of_their_dictionaries_before_their_own() {
        // {"model": {"w": tensor, "step": 3}, "w": the same tensor}
        let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
            X\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89}tRq\x07";
        let bytes = [&b"}(X\x05\0\0\0model}(X\x01\0\0\0w"[..], tensor, b"X\x04\0\0\0stepK\x03uX\x01\0\0\0wh\x07u."];
        let pickle = Pickle::read(&bytes.concat()).unwrap();
        let storage = [1.0f32, 2.0].map(f32::to_le_bytes).concat();
        let tensors = tensors_of(&pickle, |key| (key == "0").then_some(&storage[..])).unwrap();
        let found: Vec<_> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.values().unwrap())).collect();
        assert_eq!(found, [("model.w", vec![1.0, 2.0]), ("w", vec![1.0, 2.0])]);
    }

    #[test]
    fn dictionaries_that_hold_each_other_many_times_end_soon() {
        let mut bytes = b"}q\0".to_vec();
        for _ in 0..7 {
            bytes.push(b'}');
            (b'a'..=b'z').for_each(|key| bytes.extend([b'X', 1, 0, 0, 0, key, b'h', 0, b's']));
            bytes.extend(b"q\0");
        }
        let pickle = Pickle::read(&[&bytes[..], b"."].concat()).unwrap();
        assert!(tensors_of(&pickle, |_| None).unwrap_err().contains("hold each other"));
        let itself = Pickle::read(b"}q\0X\x01\0\0\0ah\0s.").unwrap();
        assert!(tensors_of(&itself, |_| None).is_err());
    }
}
