//! A matrix that grows on the disk row by row, in the files that other tools read: `.npy` and `.safetensors`.
//!
//! Both begin with a header that says how many rows follow. Room for the largest number is left in it, and the number itself
//! is written when it is known, so that no more than one image's rows are ever in memory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use half::f16;
use serde::{Deserialize, Serialize};

use super::OutputError;
use super::folder::{OutputFolder, PendingFile};
use crate::files;

/// Headers are as long as a multiple of this, so that the numbers after them are aligned.
const ALIGNMENT: usize = 64;

/// The tensor in a safetensors file.
const TENSOR: &str = "features";

/// The files that a matrix can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatrixFormat {
    Npy,
    Safetensors,
}

impl MatrixFormat {
    /// What the extension of a file says.
    pub fn of(path: &Path) -> Option<MatrixFormat> {
        match path.extension()?.to_str()? {
            "npy" => Some(MatrixFormat::Npy),
            "safetensors" => Some(MatrixFormat::Safetensors),
            _ => None,
        }
    }
}

/// What the numbers of a matrix are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberType {
    /// Single precision.
    #[default]
    F32,
    /// Half precision: 11 bits, up to 65 504.
    F16,
}

impl NumberType {
    pub fn name(self) -> &'static str {
        match self {
            NumberType::F32 => "f32",
            NumberType::F16 => "f16",
        }
    }

    fn bytes(self) -> usize {
        match self {
            NumberType::F32 => 4,
            NumberType::F16 => 2,
        }
    }
}

/// What is known of a matrix before its first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixKind {
    pub format: MatrixFormat,
    pub numbers: NumberType,
    pub columns: usize,
}

impl MatrixKind {
    /// Bytes of one row.
    fn row(&self) -> u64 {
        (self.columns * self.numbers.bytes()) as u64
    }

    /// The header of a matrix of so many rows, as long as that of any other.
    fn header(&self, rows: u64) -> Vec<u8> {
        let text = self.header_text(rows);
        let before = match self.format {
            // Magic, version and the length in two bytes; a line break after the text.
            MatrixFormat::Npy => 10,
            MatrixFormat::Safetensors => 8,
        };
        let length = (before + self.header_text(u64::MAX).len() + 1).next_multiple_of(ALIGNMENT);
        let mut header = match self.format {
            MatrixFormat::Npy => [b"\x93NUMPY\x01\x00", &((length - before) as u16).to_le_bytes()[..]].concat(),
            MatrixFormat::Safetensors => ((length - before) as u64).to_le_bytes().to_vec(),
        };
        header.extend(text.as_bytes());
        header.resize(length, b' ');
        if self.format == MatrixFormat::Npy {
            header[length - 1] = b'\n';
        }
        header
    }

    /// The rows of a finished matrix of this kind, to be read from the first one on.
    pub fn rows_of(&self, path: &Path) -> io::Result<BufReader<File>> {
        let file = files::open_ordinary(path)?;
        let length = file.metadata()?.len();
        let mut header = vec![0; self.header(0).len()];
        let mut reader = BufReader::new(file);
        reader.read_exact(&mut header)?;
        let rows = (length - header.len() as u64) / self.row().max(1);
        match header == self.header(rows) && length == header.len() as u64 + rows * self.row() {
            true => Ok(reader),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no such matrix")),
        }
    }

    fn header_text(&self, rows: u64) -> String {
        let columns = self.columns;
        match (self.format, self.numbers) {
            (MatrixFormat::Npy, numbers) => {
                format!("{{'descr': '<f{}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}", numbers.bytes())
            }
            (MatrixFormat::Safetensors, numbers) => {
                let (name, end) = (numbers.name().to_uppercase(), u128::from(rows) * u128::from(self.row()));
                format!(r#"{{"{TENSOR}":{{"dtype":"{name}","shape":[{rows},{columns}],"data_offsets":[0,{end}]}}}}"#)
            }
        }
    }
}

/// A matrix under way: in a working file, from which a later run can go on, until [`GrowingMatrix::finish`].
#[derive(Debug)]
pub struct GrowingMatrix<'a> {
    pending: PendingFile<'a>,
    kind: MatrixKind,
    rows: u64,
    /// Numbers that half precision cannot hold and that became infinite.
    overflowed: u64,
}

impl<'a> GrowingMatrix<'a> {
    /// Opens the working file, which keeps what is in it, on its way to `target`; both are claimed in `folder`.
    pub fn open(
        folder: &'a OutputFolder,
        working: &Path,
        target: &Path,
        kind: MatrixKind,
    ) -> Result<GrowingMatrix<'a>, OutputError> {
        Ok(GrowingMatrix { pending: folder.resume(working, target)?, kind, rows: 0, overflowed: 0 })
    }

    /// Takes the next rows from what an earlier run left, if they have this checksum; says whether they have.
    pub fn recall(&mut self, rows: u64, checksum: u32) -> io::Result<bool> {
        let (start, length) = (self.end(), rows.saturating_mul(self.kind.row()));
        let file = self.pending.writer().get_mut();
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        let alike = bytes.len() as u64 == length && crc32fast::hash(&bytes) == checksum;
        if alike {
            self.rows += rows;
            if self.kind.numbers == NumberType::F16 {
                let halves = bytes.as_chunks::<2>().0.iter().map(|&half| f16::from_le_bytes(half));
                self.overflowed += halves.filter(|half| half.is_infinite()).count() as u64;
            }
        }
        Ok(alike)
    }

    /// Drops what an earlier run left beyond the rows that were recalled; before any are pushed.
    pub fn begin(&mut self) -> Result<(), OutputError> {
        let (end, header) = (self.end(), self.kind.header(0));
        let file = self.pending.writer().get_mut();
        let mut begin = || {
            file.rewind()?;
            file.write_all(&header)?;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end)).map(drop)
        };
        begin().map_err(|source| OutputError::write(self.pending.target(), source))
    }

    /// Adds rows; gives the checksum of their bytes.
    ///
    /// # Shapes
    /// `[rows, columns]`
    pub fn push(&mut self, values: &[f32]) -> Result<u32, OutputError> {
        let bytes: Vec<u8> = match self.kind.numbers {
            NumberType::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            NumberType::F16 => {
                let halves = values.iter().map(|&value| (value, f16::from_f32(value)));
                let infinite = |(value, half): &(f32, f16)| value.is_finite() && !half.is_finite();
                self.overflowed += halves.clone().filter(infinite).count() as u64;
                halves.flat_map(|(_, half)| half.to_le_bytes()).collect()
            }
        };
        let writer = self.pending.writer();
        let written = writer.write_all(&bytes).and_then(|()| writer.flush());
        written.map_err(|source| OutputError::write(self.pending.target(), source))?;
        self.rows += (values.len() / self.kind.columns.max(1)) as u64;
        Ok(crc32fast::hash(&bytes))
    }

    /// Adds the next rows of another matrix of the same kind; gives the checksum of their bytes, or none if there are not as
    /// many.
    pub fn copy(&mut self, from: &mut impl Read, rows: u64) -> Result<Option<u32>, OutputError> {
        let length = rows.saturating_mul(self.kind.row());
        let mut bytes = Vec::new();
        let read = from.take(length).read_to_end(&mut bytes);
        let written = read.and_then(|_| self.pending.writer().write_all(&bytes));
        written.map_err(|source| OutputError::write(self.pending.target(), source))?;
        self.rows += rows;
        Ok((bytes.len() as u64 == length).then(|| crc32fast::hash(&bytes)))
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Numbers that half precision cannot hold and that became infinite.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Writes the number of rows, syncs the file to the disk and gives it its name, replacing an older one.
    pub fn finish(mut self) -> Result<(), OutputError> {
        let header = self.kind.header(self.rows);
        let writer = self.pending.writer();
        let written = writer.rewind().and_then(|()| writer.write_all(&header));
        written.map_err(|source| OutputError::write(self.pending.target(), source))?;
        self.pending.commit()
    }

    /// Where the next row goes.
    fn end(&self) -> u64 {
        self.kind.header(0).len() as u64 + self.rows * self.kind.row()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::output::Claim;

    fn kind(format: MatrixFormat, numbers: NumberType) -> MatrixKind {
        MatrixKind { format, numbers, columns: 3 }
    }

    #[test]
    fn headers_have_one_length_whatever_the_number_of_rows() {
        for format in [MatrixFormat::Npy, MatrixFormat::Safetensors] {
            for numbers in [NumberType::F32, NumberType::F16] {
                let lengths = [0, 7, u64::MAX].map(|rows| kind(format, numbers).header(rows).len());
                assert!(lengths.iter().all(|length| *length == lengths[0]), "{format:?} {lengths:?}");
                assert!(lengths[0].is_multiple_of(ALIGNMENT), "{format:?} {lengths:?}");
            }
        }
    }

    #[test]
    fn a_matrix_goes_on_after_the_rows_that_are_whole_and_gives_the_bytes_of_one_go() {
        let root = tempfile::tempdir().unwrap();
        for (name, format) in [("m.npy", MatrixFormat::Npy), ("m.safetensors", MatrixFormat::Safetensors)] {
            for numbers in [NumberType::F32, NumberType::F16] {
                let [working, target] =
                    [format!("{name}.partial"), name.to_string()].map(|name| root.path().join(name));
                let claims = [Claim::file(name), Claim::working(&format!("{name}.partial"))];
                let folder = OutputFolder::open(root.path(), "test", &claims, None, &Silent).unwrap();
                let open = || GrowingMatrix::open(&folder, &working, &target, kind(format, numbers)).unwrap();
                let rows = [[1.0, -2.0, 0.5], [3.0, 1e9, 5.0], [6.0, 7.0, 8.0]];
                let mut whole = open();
                whole.begin().unwrap();
                let checksums = rows.map(|row| whole.push(&row).unwrap());
                assert_eq!(whole.overflowed(), u64::from(numbers == NumberType::F16));
                whole.finish().unwrap();
                let expected = std::fs::read(&target).unwrap();
                assert!(!working.exists());

                let mut cut = open();
                cut.begin().unwrap();
                rows[..2].iter().for_each(|row| assert_ne!(cut.push(row).unwrap(), 0));
                drop(cut);
                // The second row lost a byte on the way to the disk.
                let length = working.metadata().unwrap().len();
                std::fs::OpenOptions::new().write(true).open(&working).unwrap().set_len(length - 1).unwrap();
                let mut resumed = open();
                assert!(resumed.recall(1, checksums[0]).unwrap());
                assert!(!resumed.recall(1, checksums[1]).unwrap());
                resumed.begin().unwrap();
                rows[1..].iter().for_each(|row| assert_ne!(resumed.push(row).unwrap(), 0));
                assert_eq!(resumed.rows(), 3);
                assert_eq!(resumed.overflowed(), u64::from(numbers == NumberType::F16));
                resumed.finish().unwrap();
                assert_eq!(std::fs::read(&target).unwrap(), expected, "{name} {numbers:?}");
            }
        }
    }
}
