//! Reading golden numbers.

use std::path::Path;

use safetensors::SafeTensors;

/// One file of golden numbers.
pub struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    /// Opens `tests/golden/NAME.safetensors`.
    pub fn open(name: &str) -> Golden {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("safetensors");
        Golden { bytes: std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) }
    }

    /// The values of a single-precision tensor, row-major.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.numbers(name, safetensors::Dtype::F32, f32::from_le_bytes)
    }

    /// The values of a double-precision tensor, row-major.
    pub fn doubles(&self, name: &str) -> Vec<f64> {
        self.numbers(name, safetensors::Dtype::F64, f64::from_le_bytes)
    }

    /// The values of a tensor of bytes, row-major.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.numbers(name, safetensors::Dtype::U8, u8::from_le_bytes)
    }

    /// The values of a tensor of 32-bit or 64-bit integers, row-major.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        match tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}")).dtype() {
            safetensors::Dtype::I32 => {
                self.numbers(name, safetensors::Dtype::I32, |bytes| i32::from_le_bytes(bytes).into())
            }
            _ => self.numbers(name, safetensors::Dtype::I64, i64::from_le_bytes),
        }
    }

    fn numbers<const N: usize, T>(&self, name: &str, dtype: safetensors::Dtype, number: fn([u8; N]) -> T) -> Vec<T> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(view.dtype(), dtype, "{name}");
        view.data().chunks_exact(N).map(|bytes| number(bytes.try_into().unwrap())).collect()
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Vec<usize> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}")).shape().to_vec()
    }
}
