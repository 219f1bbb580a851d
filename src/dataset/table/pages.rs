//! The pages of a column, decompressed: Zstandard in Rust, everything else by the reader of the format.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use ruzstd::decoding::StreamingDecoder;

use super::chunks::Chunks;
use crate::files;

/// The format has no larger pages.
const MOST_PAGE_BYTES: u64 = 1 << 31;

/// The pages of a column in a group of rows.
pub(super) fn of_group(file: Chunks, group: &RowGroupMetaData, column: usize) -> Result<Box<dyn PageReader>> {
    let chunk = group.column(column);
    let rows = super::rows(group.num_rows());
    let reader = |chunk: &ColumnChunkMetaData| SerializedPageReader::new(Arc::new(file), chunk, rows, None);
    if !matches!(chunk.compression(), Compression::ZSTD(_)) {
        return Ok(Box::new(reader(chunk)?));
    }
    // As if they were not compressed, so that they come as they are.
    let plain = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
    Ok(Box::new(Zstandard(reader(&plain)?)))
}

/// Pages that are compressed by Zstandard.
struct Zstandard<R>(R);

impl<R: PageReader> PageReader for Zstandard<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.0.get_next_page()?.map(decompressed).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.0.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.0.take_deferred_dictionary()?.map(decompressed).transpose()
    }
}

impl<R: PageReader> Iterator for Zstandard<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

fn decompressed(mut page: Page) -> Result<Page> {
    match &mut page {
        Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = inflated(buf)?.into(),
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed, .. } => {
            // Levels stand before the values and are never compressed.
            let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
            let compressed = buf.get(levels..).ok_or_else(|| ParquetError::EOF("a page is too short".into()))?;
            if *is_compressed {
                let values = inflated(compressed)?;
                *buf = [&buf[..levels], &values].concat().into();
            }
            *is_compressed = false;
        }
    }
    Ok(page)
}

fn inflated(bytes: &[u8]) -> Result<Vec<u8>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let decoder = StreamingDecoder::new(bytes).map_err(|error| ParquetError::General(error.to_string()))?;
    Ok(files::read_rest(decoder, MOST_PAGE_BYTES, 0)?)
}
