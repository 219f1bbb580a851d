//! Which rows of a file of features are of which image, and how a killed run finds its way back from that.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::nodes::Layout;
use crate::output::{GrowingMatrix, JsonLog, OutputError, OutputFolder};

/// What one line of the index says: `rows` rows from `first_row` are of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexLine {
    /// Relative to the collection, `/` between folders.
    pub path: String,
    pub first_row: u64,
    pub rows: u64,
    /// Rows and columns of the grid that the patches form, row after row; none of superpixels, and of vectors of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<[u32; 2]>,
    /// blake3 of the image's file.
    pub content_hash: String,
    /// CRC-32 of the rows' bytes.
    pub crc32: u32,
}

/// The path of the index of a file of features.
pub fn index_path(features: &Path) -> PathBuf {
    let mut name = features.as_os_str().to_owned();
    name.push(".index.jsonl");
    name.into()
}

/// How an image's nodes lie, in the bytes before its features.
pub struct Place {
    pub rows: u64,
    pub grid: Option<[u32; 2]>,
}

impl Place {
    const BYTES: usize = 12;

    pub fn of(layout: &Layout) -> Place {
        let grid = match layout {
            Layout::Grid { rows, columns } => Some([*rows as u32, *columns as u32]),
            Layout::Superpixels { .. } | Layout::Part { .. } => None,
        };
        Place { rows: layout.nodes() as u64, grid }
    }

    pub fn of_image() -> Place {
        Place { rows: 1, grid: None }
    }

    /// The place and the features after it.
    pub fn before(&self, features: &[f32]) -> Vec<u8> {
        let [rows, columns] = self.grid.unwrap_or_default();
        let mut bytes = Vec::with_capacity(Place::BYTES + 4 * features.len());
        [self.rows as u32, rows, columns].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        features.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        bytes
    }

    /// The other way round: the place, and the bytes of the features.
    pub fn split(bytes: &[u8]) -> Option<(Place, &[u8])> {
        let (place, features) = bytes.split_at_checked(Place::BYTES)?;
        let [rows, down, across] = place.as_chunks().0 else { return None };
        let [rows, down, across] = [rows, down, across].map(|number| u32::from_le_bytes(*number));
        let grid = Some([down, across]).filter(|sides| *sides != [0, 0]);
        Some((Place { rows: u64::from(rows), grid }, features))
    }
}

/// The index while it grows: a line for every image whose rows are on the disk, after one that says what they follow from.
pub struct Journal {
    log: JsonLog,
    path: PathBuf,
}

/// The journal that an earlier run left, line by line.
pub struct Earlier {
    /// None where there is nothing to go on with.
    lines: Option<BufReader<File>>,
    path: PathBuf,
    /// The line that is to be looked at, and how many bytes it has.
    next: Option<(IndexLine, u64)>,
    /// Bytes that were found to be true.
    kept: u64,
}

impl Earlier {
    /// Reads the journal at `path` if it belongs to features of this origin.
    pub fn read(path: &Path, origin: &str) -> Earlier {
        let mut earlier = Earlier { lines: None, path: path.to_path_buf(), next: None, kept: 0 };
        let mut head = String::new();
        if let Ok(file) = File::open(path) {
            let mut lines = BufReader::new(file);
            let is_ours = lines.read_line(&mut head).is_ok() && head == head_line(origin);
            if is_ours {
                earlier.lines = Some(lines);
                earlier.advance(head.len() as u64);
            }
        }
        earlier
    }

    /// The next image whose rows were finished.
    pub fn peek(&self) -> Option<&IndexLine> {
        self.next.as_ref().map(|(line, _)| line)
    }

    /// Takes the line as true.
    pub fn accept(&mut self) {
        let length = self.next.as_ref().map_or(0, |(_, length)| *length);
        self.advance(length);
    }

    fn advance(&mut self, length: u64) {
        self.kept += length;
        let mut text = String::new();
        let read = self.lines.as_mut().and_then(|lines| lines.read_line(&mut text).ok()).unwrap_or(0);
        // A line without its end was cut.
        let line = Some(&text).filter(|text| text.ends_with('\n')).and_then(|text| serde_json::from_str(text).ok());
        self.next = line.map(|line| (line, read as u64));
    }

    /// The journal with the lines that were found to be true, for more.
    pub fn go_on(self, origin: &str) -> Result<Journal, OutputError> {
        let Earlier { path, kept, .. } = self;
        let cut = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            file.set_len(kept)?;
            if kept == 0 {
                file.write_all(head_line(origin).as_bytes())?;
            }
            Ok(())
        };
        cut().map_err(|source| OutputError::Write { path: path.clone(), source })?;
        Ok(Journal { log: JsonLog::open(&path)?, path })
    }
}

fn head_line(origin: &str) -> String {
    format!("{}\n", serde_json::json!({ "origin": origin }))
}

impl Journal {
    /// A journal without lines, whatever is there.
    pub fn anew(path: &Path, origin: &str) -> Result<Journal, OutputError> {
        Earlier { lines: None, path: path.to_path_buf(), next: None, kept: 0 }.go_on(origin)
    }

    /// Adds an image whose rows have just been pushed.
    pub fn push(&mut self, line: &IndexLine) -> Result<(), OutputError> {
        self.log.append(line)
    }

    /// Writes the index, gives the matrix its name, and removes the journal.
    pub fn finish(self, folder: &OutputFolder, index: &Path, matrix: GrowingMatrix) -> Result<(), OutputError> {
        let Journal { log, path } = self;
        drop(log);
        folder.write(index, |writer| {
            let mut lines = BufReader::new(File::open(&path)?);
            lines.skip_until(b'\n')?;
            io::copy(&mut lines, writer).map(drop)
        })?;
        // The journal last: killed before, a run finds all rows and only has to name them.
        matrix.finish()?;
        folder.remove(&path)?;
        folder.sync()
    }
}

/// The names of the images that the rows of a file of features are of, one row each; none without such an index.
pub fn image_names(features: &Path, rows: usize) -> Option<Vec<String>> {
    let lines = BufReader::new(File::open(index_path(features)).ok()?);
    let mut names = Vec::new();
    for line in lines.lines() {
        let IndexLine { path, first_row, rows: 1, .. } = serde_json::from_str(&line.ok()?).ok()? else { return None };
        if first_row != names.len() as u64 {
            return None;
        }
        names.push(path);
    }
    (names.len() == rows).then_some(names)
}
