//! Vectors that were computed elsewhere: `.npy` and `.safetensors` files with one matrix.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::files;
use crate::numerics::bytes::floats_from_bytes;

/// The tensor that is read from a safetensors file with several.
const TENSOR: &str = "features";
/// More bytes than the header of any file of vectors has.
const MAX_HEADER_BYTES: u64 = 1 << 20;
const NPY_MAGIC: &[u8; 6] = b"\x93NUMPY";

/// A matrix of N vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorFile {
    /// Row-major `[N, D]`.
    pub values: Vec<f32>,
    /// D.
    pub width: usize,
}

/// Why a file's vectors cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VectorFileError {
    #[error("cannot read the vectors {}: {source}; check the path", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot use the vectors {}: {reason}", path.display())]
    Format { path: PathBuf, reason: String },
}

/// How numbers lie in a file.
struct Matrix {
    rows: usize,
    columns: usize,
    bytes_per_number: usize,
    /// The first byte of a number is the most significant one.
    big_endian: bool,
    /// Column after column.
    fortran: bool,
}

/// Whether a file holds a matrix with all its rows, none of which is read.
pub fn is_whole_matrix(path: &Path) -> bool {
    let look = || -> Option<bool> {
        let mut file = BufReader::new(files::open_ordinary(path).ok()?);
        let length = file.get_ref().metadata().ok()?.len();
        let matrix = header(&mut file, length).ok()?.ok()?;
        let size = matrix.rows.checked_mul(matrix.columns)?.checked_mul(matrix.bytes_per_number)?;
        Some(size as u64 == length.checked_sub(file.stream_position().ok()?)?)
    };
    look().unwrap_or(false)
}

/// The header of a file of this length, after which the matrix begins; or why it cannot be used.
fn header(file: &mut BufReader<File>, length: u64) -> io::Result<Result<Matrix, String>> {
    let mut start = Vec::new();
    file.by_ref().take(NPY_MAGIC.len() as u64).read_to_end(&mut start)?;
    if start == NPY_MAGIC {
        return Ok(npy_header(file));
    }
    file.rewind()?;
    Ok(safetensors_header(file, length))
}

/// Reads a matrix `[N, D]` of 16-, 32- or 64-bit floating-point numbers.
///
/// `.npy` (any version and order of bytes, rows or columns first) and safetensors are told apart by their content; of a safetensors file with
/// several tensors the one called `features` is taken. Whether the numbers are finite is not checked here.
pub fn read_vectors(path: &Path) -> Result<VectorFile, VectorFileError> {
    let read = |source| VectorFileError::Read { path: path.to_path_buf(), source };
    let format = |reason| VectorFileError::Format { path: path.to_path_buf(), reason };
    let mut file = BufReader::with_capacity(1 << 20, files::open(path).map_err(read)?);
    let length = file.get_ref().metadata().map_err(read)?.len();
    let matrix = header(&mut file, length).map_err(read)?.map_err(format)?;
    if matrix.rows == 0 || matrix.columns == 0 {
        return Err(format(format!("its matrix is {} × {}, which holds no vector", matrix.rows, matrix.columns)));
    }
    let size = matrix.rows.checked_mul(matrix.columns).and_then(|count| count.checked_mul(matrix.bytes_per_number));
    let position = file.stream_position().map_err(read)?;
    // Checked before any memory is asked for.
    let Some(size) = size.filter(|size| *size as u64 <= length.saturating_sub(position)) else {
        return Err(format(format!("it is cut short: {} × {} numbers do not fit in it", matrix.rows, matrix.columns)));
    };
    let mut values = Vec::with_capacity(size / matrix.bytes_per_number);
    let mut row = vec![0u8; (size / matrix.rows).max(1)];
    for _ in 0..matrix.rows {
        file.read_exact(&mut row).map_err(read)?;
        if matrix.big_endian {
            row.chunks_exact_mut(matrix.bytes_per_number).for_each(<[u8]>::reverse);
        }
        match matrix.bytes_per_number {
            2 => values.extend(row.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32())),
            4 => values.extend(floats_from_bytes(&row)),
            _ => values.extend(row.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32)),
        }
    }
    if matrix.fortran {
        let (rows, columns) = (matrix.rows, matrix.columns);
        values = (0..rows * columns).map(|place| values[place % columns * rows + place / columns]).collect();
    }
    Ok(VectorFile { values, width: matrix.columns })
}

/// Reads exactly `count` bytes of a header.
fn header_bytes(file: &mut impl Read, count: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match file.take(count).read_to_end(&mut bytes) {
        Ok(read) if read as u64 == count => Ok(bytes),
        _ => Err("its header is cut short".into()),
    }
}

/// A little-endian number of `count` ≤ 8 bytes in a header.
fn header_number(file: &mut impl Read, count: u64) -> Result<u64, String> {
    Ok(header_bytes(file, count)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// The header of a `.npy` file after its magic: version, length, and a Python dictionary as text.
///
/// Source: NumPy Enhancement Proposal 1, "A Simple File Format for NumPy Arrays".
fn npy_header(file: &mut impl Read) -> Result<Matrix, String> {
    let version = header_bytes(file, 2)?;
    let length = match version[0] {
        1 => header_number(file, 2)?,
        2 | 3 => header_number(file, 4)?,
        other => return Err(format!("its .npy version {other} is unknown")),
    };
    if length > MAX_HEADER_BYTES {
        return Err("its header is too long".into());
    }
    let text = String::from_utf8_lossy(&header_bytes(file, length)?).into_owned();
    let value = |key: &str| {
        let quoted = [format!("'{key}'"), format!("\"{key}\"")];
        let after = quoted.iter().find_map(|key| text.split_once(key.as_str())).map(|(_, after)| after);
        let after = after.and_then(|after| after.trim_start().strip_prefix(':')).map(str::trim_start);
        after.ok_or_else(|| format!("its header has no {key}"))
    };
    let descriptor = value("descr")?;
    let (big_endian, bytes_per_number) = match descriptor.get(1..4) {
        Some("<f2") => (false, 2),
        Some("<f4") => (false, 4),
        Some("<f8") => (false, 8),
        Some(">f2") => (true, 2),
        Some(">f4") => (true, 4),
        Some(">f8") => (true, 8),
        _ => {
            let kind = descriptor.split([',', '}']).next().unwrap_or_default().trim();
            return Err(format!("its numbers are {kind}; save them as float32, float64 or float16"));
        }
    };
    let fortran = value("fortran_order")?.starts_with("True");
    let shape = value("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(inside, _)| inside);
    let sides: Option<Vec<usize>> = shape.map(|shape| {
        let sides = shape.split(',').map(str::trim).filter(|side| !side.is_empty());
        sides.map(|side| side.parse().unwrap_or(usize::MAX)).collect()
    });
    let Some(&[rows, columns]) = sides.as_deref() else {
        return Err(format!("its shape is ({}); vectors are a matrix [N, D]", shape.unwrap_or("?")));
    };
    Ok(Matrix { rows, columns, bytes_per_number, big_endian, fortran })
}

/// Finds the matrix in a safetensors file and goes to where it starts.
fn safetensors_header(file: &mut (impl Read + Seek), length: u64) -> Result<Matrix, String> {
    const NEITHER: &str = "it is neither a .npy nor a safetensors file";
    let size = header_number(file, 8).map_err(|_| NEITHER)?;
    if size > length.min(MAX_HEADER_BYTES) {
        return Err(NEITHER.into());
    }
    file.rewind().map_err(|error| error.to_string())?;
    let header = header_bytes(file, size + 8).map_err(|_| NEITHER)?;
    let metadata: Metadata = serde_json::from_slice(&header[8..]).map_err(|_| NEITHER)?;
    let tensors = metadata.tensors();
    let (name, info) = match tensors.iter().collect::<Vec<_>>().as_slice() {
        [(name, info)] => (name.as_str(), *info),
        _ => {
            let info =
                tensors.get(TENSOR).ok_or(format!("it has {} tensors, none of them called {TENSOR}", tensors.len()))?;
            (TENSOR, info)
        }
    };
    let bytes_per_number = match info.dtype {
        Dtype::F16 => 2,
        Dtype::F32 => 4,
        Dtype::F64 => 8,
        other => return Err(format!("its tensor {name} holds {other:?}; save it as F32, F64 or F16")),
    };
    let &[rows, columns] = info.shape.as_slice() else {
        return Err(format!("its tensor {name} has the shape {:?}; vectors are a matrix [N, D]", info.shape));
    };
    let stated = rows.checked_mul(columns).and_then(|count| count.checked_mul(bytes_per_number));
    if info.data_offsets.1.checked_sub(info.data_offsets.0) != stated {
        return Err(format!("its tensor {name} has another size than its shape {:?} says", info.shape));
    }
    file.seek(io::SeekFrom::Start(size + 8 + info.data_offsets.0 as u64)).map_err(|error| error.to_string())?;
    Ok(Matrix { rows, columns, bytes_per_number, big_endian: false, fortran: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::bytes::bytes_from_floats;
    use safetensors::tensor::TensorView;

    fn read(bytes: &[u8]) -> Result<VectorFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors");
        std::fs::write(&path, bytes).unwrap();
        read_vectors(&path).map_err(|error| error.to_string())
    }

    fn npy(descriptor: &str, fortran: &str, shape: &str, numbers: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': {descriptor}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = NPY_MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(numbers);
        bytes
    }

    const SIX: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    #[test]
    fn matrices_are_read_whatever_their_order_and_precision() {
        let expected = VectorFile { values: SIX.to_vec(), width: 3 };
        let doubles: Vec<u8> = SIX.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect();
        let columns = bytes_from_floats(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(read(&npy("'<f4'", "False", "(2, 3)", &bytes_from_floats(&SIX))), Ok(expected.clone()));
        assert_eq!(read(&npy("'<f8'", "False", "(2, 3)", &doubles)), Ok(expected.clone()));
        let halves: Vec<u8> = SIX.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        assert_eq!(read(&npy("'<f2'", "False", "(2, 3)", &halves)), Ok(expected.clone()));
        assert_eq!(read(&npy("'<f4'", "True", "(2, 3)", &columns)), Ok(expected.clone()));
        let big: Vec<u8> = SIX.iter().flat_map(|value| value.to_be_bytes()).collect();
        let big_halves: Vec<u8> = SIX.iter().flat_map(|value| f16::from_f32(*value).to_be_bytes()).collect();
        let big_doubles: Vec<u8> = SIX.iter().flat_map(|value| f64::from(*value).to_be_bytes()).collect();
        for (descriptor, numbers) in [("'>f4'", big), ("'>f2'", big_halves), ("'>f8'", big_doubles)] {
            assert_eq!(read(&npy(descriptor, "False", "(2, 3)", &numbers)), Ok(expected.clone()), "{descriptor}");
        }
        let data = bytes_from_floats(&SIX);
        let view = || TensorView::new(Dtype::F32, vec![2, 3], &data).unwrap();
        let other = TensorView::new(Dtype::F32, vec![6], &data).unwrap();
        assert_eq!(read(&safetensors::serialize([("any", view())], None).unwrap()), Ok(expected.clone()));
        let several = [("features", view()), ("a", other)];
        assert_eq!(read(&safetensors::serialize(several, None).unwrap()), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let data = bytes_from_floats(&SIX);
        let view = |dtype, shape: &[usize]| TensorView::new(dtype, shape.to_vec(), &data).unwrap();
        let tensor = |dtype, shape: &[usize]| safetensors::serialize([("a", view(dtype, shape))], None).unwrap();
        let two = [("a", view(Dtype::F32, &[2, 3])), ("b", view(Dtype::F32, &[2, 3]))];
        for (bytes, expected) in [
            (npy("'<i8'", "False", "(2, 3)", &data), "'<i8'"),
            (npy("'=f4'", "False", "(2, 3)", &data), "float32"),
            (npy("[('a', '<f4')]", "False", "(2, 3)", &data), "float32"),
            (npy("'<f4'", "False", "(6,)", &data), "(6,)"),
            (npy("'<f4'", "False", "(1, 2, 3)", &data), "matrix"),
            (npy("'<f4'", "False", "(0, 3)", &[]), "no vector"),
            (npy("'<f4'", "False", "(3, 3)", &data), "cut short"),
            (npy("'<f4'", "False", "(99999999999999999999, 3)", &data), "cut short"),
            (npy("'<f4'", "False", "(2, 3)", &data)[..20].to_vec(), "cut short"),
            (tensor(Dtype::U8, &[4, 6]), "U8"),
            (tensor(Dtype::F32, &[6]), "[6]"),
            (safetensors::serialize(two, None).unwrap(), "2 tensors"),
            (b"hello, world, this is text".to_vec(), "neither"),
            (Vec::new(), "neither"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(expected) && !error.contains('\n'), "{expected}: {error}");
        }
    }
}
