//! All results of a collection as one table in Parquet, for pandas, Polars, DuckDB and the like.
//!
//! Format: <https://parquet.apache.org/docs/file-format/>; lists have the three levels of its specification.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;

use super::folder::PendingFile;
use super::{OutputError, OutputFolder};

/// What is in a row. A box is x, y, width, height in pixels; `counts` is a mask in COCO's compressed runs, whose size is that of
/// the image.
const SCHEMA: &str = "message predictions {
    required binary path (STRING);
    optional int32 shard;
    optional binary output (STRING);
    required binary status (STRING);
    optional binary reason (STRING);
    optional binary warning (STRING);
    optional binary content_hash (STRING);
    optional int32 width;
    optional int32 height;
    optional int32 orientation;
    optional int64 foreground_area_px;
    optional double confidence;
    optional int32 clusters;
    optional group box {
        required int32 x;
        required int32 y;
        required int32 width;
        required int32 height;
    }
    optional group objects (LIST) {
        repeated group list {
            required group element {
                required int32 label;
                required binary name (STRING);
                required group box {
                    required int32 x;
                    required int32 y;
                    required int32 width;
                    required int32 height;
                }
                required int64 area_px;
                required double confidence;
                required binary counts (STRING);
            }
        }
    }
}";

static PARSED_SCHEMA: LazyLock<Option<TypePtr>> = LazyLock::new(|| parse_message_type(SCHEMA).ok().map(Arc::new));

/// Rows that are written as one group, unless their texts are long.
const MOST_ROWS: usize = 1 << 14;
/// Bytes of texts that are held until a group is written.
const MOST_TEXT_BYTES: usize = 32 << 20;

/// One image.
#[derive(Debug, Clone, Default)]
pub struct TableRow<'a> {
    /// The image's place within the collection, `/` between folders.
    pub path: &'a str,
    /// The number of the shard that it is in, where the collection was planned in shards.
    pub shard: Option<usize>,
    pub status: &'a str,
    pub reason: Option<&'a str>,
    pub warning: Option<&'a str>,
    pub content_hash: Option<&'a str>,
    pub result: Option<TableResult<'a>>,
}

/// What was found in an image.
#[derive(Debug, Clone)]
pub struct TableResult<'a> {
    /// Where its results are below the folders of every kind, without their extensions.
    pub output: &'a str,
    /// Width, height.
    pub size: [usize; 2],
    /// EXIF's, by which the image was turned upright.
    pub orientation: u8,
    pub foreground_area_px: u64,
    pub confidence: Option<f64>,
    pub clusters: usize,
    /// x, y, width, height around the largest piece of foreground, or all of it (`objects.bounds`).
    pub bounding_box: Option<[usize; 4]>,
    pub objects: Vec<TableObject<'a>>,
}

/// One object of an image.
#[derive(Debug, Clone)]
pub struct TableObject<'a> {
    /// A value of the mask.
    pub label: u16,
    /// What it is called.
    pub name: &'a str,
    /// x, y, width, height.
    pub bounding_box: [usize; 4],
    pub area_px: u64,
    pub confidence: f64,
    /// The mask in COCO's compressed runs.
    pub counts: &'a str,
}

/// A Parquet file that appears under its name when it is finished; dropped before, it leaves nothing behind.
///
/// The same rows in the same order make the same bytes. Some thousand rows are in memory at a time.
pub struct ParquetTable<'a> {
    pending: PendingFile<'a>,
    writer: SerializedFileWriter<File>,
    rows: Rows,
}

impl<'a> ParquetTable<'a> {
    /// Begins the file `path` in `folder`; a temporary file holds it until [`ParquetTable::finish`].
    pub fn create(folder: &'a OutputFolder, path: &Path) -> Result<Self, OutputError> {
        let mut pending = folder.begin(path)?;
        let file = pending.writer().get_ref().try_clone().map_err(|source| OutputError::write(path, source))?;
        let properties = WriterProperties::builder()
            .set_created_by(concat!("deepcut ", env!("CARGO_PKG_VERSION")).to_string())
            .set_compression(Compression::SNAPPY);
        let schema = PARSED_SCHEMA.clone().ok_or_else(|| ParquetError::General("its schema is wrong".into()));
        let writer = schema.and_then(|schema| SerializedFileWriter::new(file, schema, Arc::new(properties.build())));
        let writer = writer.map_err(|error| failed(path, error))?;
        Ok(Self { pending, writer, rows: Rows::default() })
    }

    /// Adds an image.
    pub fn push(&mut self, row: &TableRow) -> Result<(), OutputError> {
        self.rows.push(row);
        let is_full = self.rows.path.levels.len() >= MOST_ROWS || self.rows.text_bytes >= MOST_TEXT_BYTES;
        if is_full { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), OutputError> {
        let rows = std::mem::take(&mut self.rows);
        rows.write(&mut self.writer).map_err(|error| failed(self.pending.target(), error))
    }

    /// Syncs the table to the disk and gives the file its name, replacing an older one.
    pub fn finish(mut self) -> Result<(), OutputError> {
        if !self.rows.path.levels.is_empty() {
            self.write_group()?;
        }
        let Self { pending, writer, .. } = self;
        writer.close().map_err(|error| failed(pending.target(), error))?;
        pending.commit()
    }
}

fn failed(path: &Path, error: ParquetError) -> OutputError {
    let source = match error {
        ParquetError::External(source) => match source.downcast() {
            Ok(source) => *source,
            Err(source) => std::io::Error::other(source),
        },
        other => std::io::Error::other(other),
    };
    OutputError::write(path, source)
}

/// The values of a leaf of the schema, and of every place for one how much of the way to it is there.
struct Column<T: DataType> {
    values: Vec<T::T>,
    levels: Vec<i16>,
}

impl<T: DataType> Default for Column<T> {
    fn default() -> Self {
        Column { values: Vec::new(), levels: Vec::new() }
    }
}

impl<T: DataType> Column<T> {
    /// Adds a value of a column that has one in every row.
    fn push_required(&mut self, value: T::T) {
        self.levels.push(0);
        self.values.push(value);
    }

    /// Adds a value of a column in which some may be missing.
    fn push(&mut self, value: Option<T::T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    fn write(self, group: &mut SerializedRowGroupWriter<File>, lists: Option<&Lists>) -> ParquetResult<()> {
        let missing = || ParquetError::General("its schema has too few columns".into());
        let mut column = group.next_column()?.ok_or_else(missing)?;
        let (definition, repetition) = match lists {
            Some(Lists { definition, repetition }) => (&definition[..], Some(&repetition[..])),
            None => (&self.levels[..], None),
        };
        column.typed::<T>().write_batch(&self.values, Some(definition), repetition)?;
        column.close()
    }
}

/// Where the lists of objects begin, and which are empty or not there.
#[derive(Default)]
struct Lists {
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

/// Rows that are not yet written.
#[derive(Default)]
struct Rows {
    text_bytes: usize,
    path: Column<ByteArrayType>,
    shard: Column<Int32Type>,
    output: Column<ByteArrayType>,
    status: Column<ByteArrayType>,
    reason: Column<ByteArrayType>,
    warning: Column<ByteArrayType>,
    content_hash: Column<ByteArrayType>,
    width: Column<Int32Type>,
    height: Column<Int32Type>,
    orientation: Column<Int32Type>,
    foreground_area_px: Column<Int64Type>,
    confidence: Column<DoubleType>,
    clusters: Column<Int32Type>,
    bounding_box: [Column<Int32Type>; 4],
    lists: Lists,
    labels: Column<Int32Type>,
    names: Column<ByteArrayType>,
    boxes: [Column<Int32Type>; 4],
    areas_px: Column<Int64Type>,
    confidences: Column<DoubleType>,
    counts: Column<ByteArrayType>,
}

impl Rows {
    fn push(&mut self, row: &TableRow) {
        let result = row.result.as_ref();
        self.text_bytes += row.path.len();
        self.path.push_required(row.path.into());
        self.shard.push(row.shard.map(int));
        self.status.push_required(row.status.into());
        let texts = [
            (&mut self.output, result.map(|result| result.output)),
            (&mut self.reason, row.reason),
            (&mut self.warning, row.warning),
            (&mut self.content_hash, row.content_hash),
        ];
        for (column, text) in texts {
            self.text_bytes += text.map_or(0, str::len);
            column.push(text.map(ByteArray::from));
        }
        self.width.push(result.map(|result| int(result.size[0])));
        self.height.push(result.map(|result| int(result.size[1])));
        self.orientation.push(result.map(|result| i32::from(result.orientation)));
        self.foreground_area_px.push(result.map(|result| long(result.foreground_area_px)));
        self.confidence.push(result.and_then(|result| result.confidence));
        self.clusters.push(result.map(|result| int(result.clusters)));
        let bounding_box = result.and_then(|result| result.bounding_box);
        for (at, column) in self.bounding_box.iter_mut().enumerate() {
            column.push(bounding_box.map(|bounding_box| int(bounding_box[at])));
        }
        let objects = result.map(|result| &result.objects[..]);
        if objects.unwrap_or_default().is_empty() {
            self.lists.definition.push(i16::from(objects.is_some()));
            self.lists.repetition.push(0);
        }
        for (number, object) in objects.unwrap_or_default().iter().enumerate() {
            self.lists.definition.push(2);
            self.lists.repetition.push(i16::from(number > 0));
            self.labels.values.push(i32::from(object.label));
            self.names.values.push(object.name.into());
            for (column, length) in self.boxes.iter_mut().zip(object.bounding_box) {
                column.values.push(int(length));
            }
            self.areas_px.values.push(long(object.area_px));
            self.confidences.values.push(object.confidence);
            self.counts.values.push(object.counts.into());
            self.text_bytes += object.name.len() + object.counts.len();
        }
    }

    /// Writes them as one group, in the order of the schema.
    fn write(self, writer: &mut SerializedFileWriter<File>) -> ParquetResult<()> {
        let mut writer = writer.next_row_group()?;
        let group = &mut writer;
        self.path.write(group, None)?;
        self.shard.write(group, None)?;
        for column in [self.output, self.status, self.reason, self.warning, self.content_hash] {
            column.write(group, None)?;
        }
        for column in [self.width, self.height, self.orientation] {
            column.write(group, None)?;
        }
        self.foreground_area_px.write(group, None)?;
        self.confidence.write(group, None)?;
        self.clusters.write(group, None)?;
        self.bounding_box.into_iter().try_for_each(|column| column.write(group, None))?;
        let lists = Some(&self.lists);
        self.labels.write(group, lists)?;
        self.names.write(group, lists)?;
        self.boxes.into_iter().try_for_each(|column| column.write(group, lists))?;
        self.areas_px.write(group, lists)?;
        self.confidences.write(group, lists)?;
        self.counts.write(group, lists)?;
        writer.close()?;
        Ok(())
    }
}

/// Sides and places of images are far smaller than what the format's numbers hold.
fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;
    use crate::event::Silent;
    use crate::output::Claim;

    fn object(label: u16, name: &'static str) -> TableObject<'static> {
        let bounding_box = [1, 2, 3, usize::from(label)];
        TableObject { label, name, bounding_box, area_px: 5, confidence: 0.5, counts: "04" }
    }

    #[test]
    fn rows_are_read_as_they_were_pushed_and_make_the_same_bytes() {
        let found = TableResult {
            output: "a/b",
            size: [20, 10],
            orientation: 1,
            foreground_area_px: 9,
            confidence: Some(0.75),
            clusters: 3,
            bounding_box: Some([0, 1, 4, 5]),
            objects: vec![object(1, "object"), object(2, "part \"é\"")],
        };
        let nothing = TableResult { confidence: None, bounding_box: None, objects: Vec::new(), ..found.clone() };
        let row = |path, result| TableRow {
            path,
            shard: Some(7),
            status: "done",
            content_hash: Some("ff"),
            result,
            ..TableRow::default()
        };
        let skipped = TableRow { path: "c.jpg", status: "skipped", reason: Some("broken"), ..TableRow::default() };
        let rows = [row("a/b.jpg", Some(found)), skipped, row("d.jpg", Some(nothing))];
        let root = tempfile::tempdir().unwrap();
        let folder = OutputFolder::open(root.path(), "test", &[Claim::file("t.parquet")], None, &Silent).unwrap();
        let path = root.path().join("t.parquet");
        let write = || {
            let mut table = ParquetTable::create(&folder, &path).unwrap();
            // More than one group.
            (0..MOST_ROWS).for_each(|number| table.push(&rows[number % 3]).unwrap());
            rows.iter().for_each(|row| table.push(row).unwrap());
            table.finish().unwrap();
            std::fs::read(&path).unwrap()
        };
        assert!(write() == write());
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 2);
        let read: Vec<serde_json::Value> = reader.get_row_iter(None).unwrap().map(|row| json(&row.unwrap())).collect();
        assert_eq!(read.len(), MOST_ROWS + 3);
        let last = &read[MOST_ROWS..];
        assert_eq!(read[..3], *last);
        let expected = serde_json::json!({
            "path": "a/b.jpg", "shard": 7, "output": "a/b", "status": "done", "reason": null, "warning": null, "content_hash": "ff",
            "width": 20, "height": 10, "orientation": 1, "foreground_area_px": 9, "confidence": 0.75, "clusters": 3,
            "box": {"x": 0, "y": 1, "width": 4, "height": 5},
            "objects": [
                {"label": 1, "name": "object", "box": {"x": 1, "y": 2, "width": 3, "height": 1}, "area_px": 5,
                 "confidence": 0.5, "counts": "04"},
                {"label": 2, "name": "part \"é\"", "box": {"x": 1, "y": 2, "width": 3, "height": 2}, "area_px": 5,
                 "confidence": 0.5, "counts": "04"},
            ],
        });
        assert_eq!(last[0], expected);
        let absent = &serde_json::Value::Null;
        assert_eq!([&last[1]["reason"], &last[1]["objects"], &last[1]["shard"]], [&"broken".into(), absent, absent]);
        assert_eq!((&last[2]["objects"], &last[2]["box"]), (&serde_json::json!([]), &serde_json::Value::Null));
    }

    fn json(row: &parquet::record::Row) -> serde_json::Value {
        fn value(field: &parquet::record::Field) -> serde_json::Value {
            use parquet::record::Field;
            match field {
                Field::Null => serde_json::Value::Null,
                Field::Int(number) => (*number).into(),
                Field::Long(number) => (*number).into(),
                Field::Double(number) => (*number).into(),
                Field::Str(text) => text.as_str().into(),
                Field::Group(row) => json(row),
                Field::ListInternal(list) => list.elements().iter().map(value).collect(),
                other => panic!("{other:?}"),
            }
        }
        row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
    }
}
