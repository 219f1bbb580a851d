//! The images in a column of a Parquet file, such as those of data sets on the Hugging Face Hub: every row is one.
//!
//! The column is read page by page. A page is in memory as a whole while images in it are read, so that rows should be asked
//! for in their order, more or less.

mod chunks;
mod column;
mod pages;
mod planned;
mod window;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::stored::Stored;
use super::{DatasetError, Found};

use chunks::Chunks;
pub(super) use planned::Tables;
pub(super) use window::Windows;

/// Digits of a row's number, unless there are more.
const LEAST_DIGITS: usize = 6;

/// A Parquet file with a column of images.
pub struct Table {
    path: PathBuf,
    metadata: ParquetMetaData,
    /// The place of the column among the leaves of the schema.
    column: usize,
    /// What all tables of a collection are read through.
    windows: Arc<Windows>,
}

/// The image of one row.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cell {
    table: Arc<Table>,
    /// The row's group.
    group: usize,
    /// Its number in the group.
    row: usize,
}

impl Table {
    fn open(path: &Path, windows: Arc<Windows>) -> Result<Table, DatasetError> {
        let broken = |reason| DatasetError::Table { path: path.to_path_buf(), reason };
        let file = Chunks::open(path).map_err(|source| DatasetError::reading(path, source))?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file);
        let metadata = metadata.map_err(worded).map_err(broken)?;
        let column = column::of_images(&metadata).map_err(broken)?;
        Ok(Table { path: path.to_path_buf(), metadata, column, windows })
    }
}

/// The images of a Parquet file, row by row; they are called by their rows' numbers, counted from 0.
pub(super) fn found(
    path: &Path,
    windows: Arc<Windows>,
) -> Box<dyn Iterator<Item = Result<Found, DatasetError>> + Send> {
    let table = match Table::open(path, windows) {
        Ok(table) => Arc::new(table),
        Err(error) => return Box::new(std::iter::once(Err(error))),
    };
    let groups: Vec<usize> = table.metadata.row_groups().iter().map(|group| rows(group.num_rows())).collect();
    let last = groups.iter().sum::<usize>().saturating_sub(1);
    let digits = last.to_string().len().max(LEAST_DIGITS);
    let cells = groups.into_iter().enumerate().flat_map(|(group, rows)| (0..rows).map(move |row| (group, row)));
    Box::new(cells.enumerate().map(move |(number, (group, row))| {
        let relative = PathBuf::from(format!("{number:0digits$}"));
        let stored = Stored::Cell(Cell { table: Arc::clone(&table), group, row });
        Ok(Found { path: table.path.join(&relative), stored, frame: None, relative })
    }))
}

/// A number of rows; the format has signed ones.
fn rows(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}

impl Cell {
    /// The bytes of the image's file; the error is the reason for which they cannot be had.
    pub fn read(&self) -> Result<impl AsRef<[u8]> + use<>, String> {
        let bytes = self.table.windows.read(self)?;
        bytes.ok_or_else(|| "its row has no image (the value is null); leave the row out".to_string())
    }

    /// The number of its row in the table, counted from 0.
    pub fn number(&self) -> usize {
        let before = self.table.metadata.row_groups().iter().take(self.group);
        before.map(|group| rows(group.num_rows())).sum::<usize>() + self.row
    }

    /// Bytes of the images of its group on average, in pages and before these are compressed.
    pub fn mean_bytes(&self) -> u64 {
        let group = self.table.metadata.row_group(self.group);
        let all = u64::try_from(group.column(self.table.column).uncompressed_size()).unwrap_or(0);
        all / (rows(group.num_rows()) as u64).max(1)
    }
}

/// An error of the format's reader in its words, without the kind that they begin with.
fn worded(error: ParquetError) -> String {
    let text = error.to_string();
    ["Parquet error: ", "EOF: ", "External: "]
        .iter()
        .fold(&*text, |text, kind| text.trim_start_matches(kind))
        .to_string()
}

impl PartialEq for Table {
    fn eq(&self, other: &Table) -> bool {
        self.path == other.path
    }
}

impl Eq for Table {}

impl Hash for Table {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "row {} of group {} of {}", self.row, self.group, self.table.path.display())
    }
}

#[cfg(test)]
mod tests;
