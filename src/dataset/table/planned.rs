//! Rows of tables that a plan names, without a search.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Cell, Table, Windows, rows};
use crate::parallel::lock;

/// A table that was opened last, or why it could not be.
type Opened = (PathBuf, Result<Arc<Table>, Arc<str>>);

/// The tables of a plan. The lines of a shard are those of one table after the other, so that the last one is kept open.
#[derive(Default)]
pub struct Tables {
    windows: Arc<Windows>,
    last: Mutex<Option<Opened>>,
}

impl Tables {
    /// The image in a row, counted from 0, of the table at `path`; the error is why there is none.
    pub fn cell(&self, path: &Path, number: u64) -> Result<Cell, Arc<str>> {
        let table = self.table(path)?;
        let gone = || format!("its table has no row {number} any more").into();
        let mut row = usize::try_from(number).map_err(|_| gone())?;
        for (group, metadata) in table.metadata.row_groups().iter().enumerate() {
            let count = rows(metadata.num_rows());
            if row < count {
                return Ok(Cell { table: Arc::clone(&table), group, row });
            }
            row -= count;
        }
        Err(gone())
    }

    fn table(&self, path: &Path) -> Result<Arc<Table>, Arc<str>> {
        let mut last = lock(&self.last);
        match &*last {
            Some((opened, table)) if opened == path => table.clone(),
            _ => {
                let table = Table::open(path, Arc::clone(&self.windows));
                let table = table.map(Arc::new).map_err(|error| error.to_string().into());
                last.insert((path.to_path_buf(), table)).1.clone()
            }
        }
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "tables read through {:?}", self.windows)
    }
}
