//! Where the tables of a collection are being read: rows are asked for by several threads, not quite in order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType};

use super::chunks::Chunks;
use super::{Cell, Table, pages, worded};
use crate::parallel::lock;

/// Places in tables at which is read at a time: two where a group ends and the next begins, and as many where images are looked
/// at beforehand.
const MOST_WINDOWS: usize = 4;
/// Rows that are kept behind the last one that was read, for threads that are late.
const LEAST_ROWS: usize = 16;
const MOST_ROWS: usize = 256;
/// Bytes of them, where they are more than the least.
const MOST_BYTES: usize = 64 << 20;

/// All places at which the tables of a collection are read, those used last at the end.
#[derive(Default)]
pub struct Windows(Mutex<Vec<Window>>);

/// Some rows of a group that follow each other, and the reader of those after them.
struct Window {
    table: Weak<Table>,
    group: usize,
    reader: ColumnReaderImpl<ByteArrayType>,
    /// The row that comes next.
    next: usize,
    /// The rows before it; they share the memory of their pages.
    kept: VecDeque<Option<ByteArray>>,
    bytes: usize,
}

/// An image's bytes, which share the memory of their page.
pub(super) struct Value(ByteArray);

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self.0.data()
    }
}

impl fmt::Debug for Windows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} windows", lock(&self.0).len())
    }
}

impl Windows {
    /// The bytes in a cell; none where it has none.
    pub(super) fn read(&self, cell: &Cell) -> Result<Option<Value>, String> {
        let mut windows = lock(&self.0);
        // That in which the row is, or from which it is nearest.
        let near = windows.iter().enumerate().filter(|(_, window)| window.reaches(cell));
        let near = near.max_by_key(|(_, window)| window.next).map(|(at, _)| at);
        let mut window = match near {
            Some(at) => windows.remove(at),
            None => {
                // Before another page is in memory.
                let excess = (windows.len() + 1).saturating_sub(MOST_WINDOWS);
                windows.drain(..excess);
                Window::open(cell)?
            }
        };
        // After an error nothing is known of where its reader is.
        let value = window.read(cell.row)?;
        windows.push(window);
        Ok(value.map(Value))
    }
}

impl Window {
    /// At the beginning of a cell's group.
    fn open(cell: &Cell) -> Result<Window, String> {
        let Cell { table, group, .. } = cell;
        let file = Chunks::open(&table.path).map_err(|error| format!("cannot read it: {error}"))?;
        let metadata = table.metadata.row_group(*group);
        let pages = pages::of_group(file, metadata, table.column).map_err(worded)?;
        let reader = ColumnReaderImpl::new(metadata.column(table.column).column_descr_ptr(), pages);
        Ok(Window { table: Arc::downgrade(table), group: *group, reader, next: 0, kept: VecDeque::new(), bytes: 0 })
    }

    /// Whether a cell can be had without beginning anew.
    fn reaches(&self, cell: &Cell) -> bool {
        Weak::as_ptr(&self.table) == Arc::as_ptr(&cell.table)
            && self.group == cell.group
            && cell.row + self.kept.len() >= self.next
    }

    /// The value of a row that can be reached.
    fn read(&mut self, row: usize) -> Result<Option<ByteArray>, String> {
        if row >= self.next + MOST_ROWS {
            self.kept.clear();
            self.bytes = 0;
            self.next += self.reader.skip_records(row - self.next).map_err(worded)?;
        }
        while row >= self.next {
            let value = self.read_next().map_err(worded)?;
            self.bytes += value.as_ref().map_or(0, ByteArray::len);
            self.kept.push_back(value);
            self.next += 1;
            while self.kept.len() > MOST_ROWS || (self.kept.len() > LEAST_ROWS && self.bytes > MOST_BYTES) {
                let oldest = self.kept.pop_front().flatten();
                self.bytes -= oldest.map_or(0, |oldest| oldest.len());
            }
        }
        Ok(self.kept[row + self.kept.len() - self.next].clone())
    }

    fn read_next(&mut self) -> parquet::errors::Result<Option<ByteArray>> {
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (rows, ..) = self.reader.read_records(1, Some(&mut levels), None, &mut values)?;
        if rows == 0 {
            return Err(parquet::errors::ParquetError::EOF("the column has fewer rows than its table".into()));
        }
        Ok(values.pop())
    }
}
