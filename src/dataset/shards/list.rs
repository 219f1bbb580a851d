//! The list beside a plan: one line of JSON for every image, as short as its name allows.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
#[cfg(feature = "parquet")]
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::placed;
#[cfg(feature = "parquet")]
use crate::dataset::table::Tables;
use crate::dataset::{DatasetError, Record, Sources, Stored};
use crate::names;
use crate::remote::is_remote;

/// What stands in one place of a planned collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An image, and the bytes that its file had; none if that could not be told.
    Image { record: Record, bytes: Option<u64> },
    /// What kept the search from an image, or from a folder of them.
    Fault { path: PathBuf, reason: String },
}

/// A line as it is written. Of an image in a folder that is a source, the place alone says where it is read from and where
/// its results go.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Line {
    /// The place in the collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// Where it is read from, if that does not follow from the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The place of its results, if that is not the place without its extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// The tar that it lies in, and how many bytes lie there before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    tar: Option<(String, u64)>,
    /// The row of the table, which is the folder of the path, that it lies in.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Why there is no image at `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// Where the sources of a plan are.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    /// The beginning of the places in a source, and the source.
    sources: Vec<(PathBuf, PathBuf)>,
    /// The folder of other relative paths, if they are not as good as they stand.
    base: Option<PathBuf>,
    #[cfg(feature = "parquet")]
    tables: Arc<Tables>,
}

impl Roots {
    pub fn of(sources: &Sources, base: Option<PathBuf>) -> Roots {
        let prefixes = sources.prefixes().into_iter().map(|prefix| prefix.map(PathBuf::from).unwrap_or_default());
        Roots {
            sources: prefixes.zip(sources.paths().iter().cloned()).collect(),
            base,
            #[cfg(feature = "parquet")]
            tables: Arc::default(),
        }
    }

    /// Where an image at this place lies if its source is a folder.
    fn usual_path(&self, place: &Path) -> Option<PathBuf> {
        let path = |(prefix, source): &(PathBuf, PathBuf)| Some(source.join(place.strip_prefix(prefix).ok()?));
        self.sources.iter().find_map(path)
    }

    /// What a line says; none if it is no line of a list.
    pub fn entry(&self, line: &[u8]) -> Option<Entry> {
        let line: Line = serde_json::from_slice(line).ok()?;
        let placed = |text: &str| placed(self.base.as_deref(), names::path(text));
        let given = line.path.as_deref().map(placed);
        if let Some(reason) = line.fault {
            return Some(Entry::Fault { path: given?, reason });
        }
        let relative = names::path(&line.image?);
        let output = line.output.map_or_else(|| relative.with_extension(""), |text| names::path(&text));
        let path = given.or_else(|| self.usual_path(&relative))?;
        let stored = match (line.tar, line.row) {
            (Some((tar, offset)), _) => Stored::Member { tar: placed(&tar).into(), offset, length: line.bytes? },
            (None, Some(row)) => self.cell(path.parent()?, row),
            (None, None) if is_remote(&path) => Stored::Object { length: line.bytes },
            (None, None) => Stored::File,
        };
        Some(Entry::Image { record: Record { path, stored, frame: line.frame, relative, output }, bytes: line.bytes })
    }

    #[cfg(feature = "parquet")]
    fn cell(&self, table: &Path, row: u64) -> Stored {
        self.tables.cell(table, row).map_or_else(Stored::Lost, Stored::Cell)
    }

    #[cfg(not(feature = "parquet"))]
    fn cell(&self, _: &Path, _: u64) -> Stored {
        Stored::Lost("this build reads no Parquet files; build it with the feature parquet".into())
    }

    fn line(&self, record: &Record, bytes: Option<u64>) -> Line {
        let Record { path, stored, frame, relative, output } = record;
        let tar = match stored {
            Stored::Member { tar, offset, .. } => Some((names::text(tar.as_os_str()), *offset)),
            _ => None,
        };
        let row = match stored {
            #[cfg(feature = "parquet")]
            Stored::Cell(cell) => Some(cell.number() as u64),
            _ => None,
        };
        let is_usual = self.usual_path(relative).as_ref() == Some(path);
        Line {
            image: Some(names::portable(relative)),
            path: (!is_usual).then(|| names::text(path.as_os_str())),
            output: (*output != relative.with_extension("")).then(|| names::portable(output)),
            tar,
            row,
            frame: *frame,
            bytes,
            fault: None,
        }
    }
}

/// Bytes of the file that a line is about.
pub(super) fn bytes_in(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Line>(line).ok()?.bytes
}

/// Whether this is a line of the list beside a plan.
pub fn is_line(line: &[u8]) -> bool {
    serde_json::from_slice::<Line>(line).is_ok_and(|line| line.image.is_some() || line.fault.is_some())
}

/// Writes the list of a collection, and counts.
#[derive(Debug)]
pub struct ListWriter<W> {
    writer: W,
    roots: Roots,
    images: u64,
    bytes: u64,
}

impl<W: Write> ListWriter<W> {
    pub fn new(writer: W, sources: &Sources) -> ListWriter<W> {
        ListWriter { writer, roots: Roots::of(sources, None), images: 0, bytes: 0 }
    }

    /// Adds what the search gave: an image with the bytes of its file, or what kept it from one.
    pub fn push(&mut self, found: Result<(&Record, Option<u64>), &DatasetError>) -> io::Result<()> {
        let line = match found {
            Ok((record, bytes)) => {
                self.bytes += bytes.unwrap_or(0);
                self.roots.line(record, bytes)
            }
            Err(error) => {
                let path = Some(names::text(error.path().as_os_str()));
                Line { path, fault: Some(error.to_string()), ..Line::default() }
            }
        };
        self.images += 1;
        serde_json::to_writer(&mut self.writer, &line)?;
        self.writer.write_all(b"\n")
    }

    /// Lines so far, and the bytes of all files.
    pub fn totals(&self) -> (u64, u64) {
        (self.images, self.bytes)
    }
}
