//! A Parquet file as its format's reader asks for it, wherever it lies.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

use crate::dataset::stored::{self, Source};
use crate::files;
use crate::parallel::lock;

/// An open file, of which several places are read in turns.
pub(super) struct Chunks {
    file: Arc<Mutex<Box<dyn Source>>>,
    length: u64,
}

/// A place in it.
pub(super) struct Place {
    file: Arc<Mutex<Box<dyn Source>>>,
    position: u64,
}

impl Chunks {
    pub fn open(path: &Path) -> io::Result<Chunks> {
        let (file, length) = stored::open(path)?;
        Ok(Chunks { file: Arc::new(Mutex::new(file)), length })
    }

    fn at(&self, position: u64) -> Place {
        Place { file: Arc::clone(&self.file), position }
    }
}

impl Read for Place {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = lock(&self.file);
        file.seek(SeekFrom::Start(self.position))?;
        let count = file.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<Place>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(self.at(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let expected = length as u64;
        let bytes = files::read_rest(self.at(start).take(expected), expected, expected)?;
        if bytes.len() < length {
            return Err(parquet::errors::ParquetError::EOF("the file ends within a page".into()));
        }
        Ok(bytes.into())
    }
}
