//! Where the bytes of an image lie, and how they are read: the one way from a record to its file.

use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "parquet")]
use super::table::Cell;
use crate::files::{self, Section};

/// Where the bytes of an image's file lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stored {
    /// They are a file by themselves.
    File,
    /// They are a member of a tar, which is read in place.
    Member {
        tar: Arc<Path>,
        /// Bytes of the tar before them.
        offset: u64,
        length: u64,
    },
    /// They are a value in a Parquet file.
    #[cfg(feature = "parquet")]
    Cell(Cell),
    /// They were somewhere, by a plan, and are not to be had there any more: why.
    Lost(Arc<str>),
}

/// A file that is open for reading, wherever it is.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

impl Stored {
    /// Opens the file, whose path is `path` if it is one by itself; gives its length in bytes, too. The error is the reason for
    /// which it cannot be read.
    pub fn open(&self, path: &Path) -> Result<(Box<dyn Source>, u64), String> {
        match self {
            Stored::File => {
                let file = files::open_ordinary(path).map_err(unreadable)?;
                let length = file.metadata().map_err(unreadable)?.len();
                Ok((Box::new(file), length))
            }
            Stored::Member { tar, offset, length } => {
                let member = Section::open(tar, *offset, *length).map_err(unreadable)?;
                Ok((Box::new(member), *length))
            }
            #[cfg(feature = "parquet")]
            Stored::Cell(cell) => {
                let bytes = cell.read()?;
                let length = bytes.as_ref().len() as u64;
                Ok((Box::new(io::Cursor::new(bytes)), length))
            }
            Stored::Lost(reason) => Err(reason.to_string()),
        }
    }
}

fn unreadable(error: io::Error) -> String {
    format!("cannot read it: {error}")
}
