use std::fs::File;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

/// As Hugging Face writes images.
const NESTED: &str = "message schema {
    required int32 label;
    optional group image { optional binary bytes; optional binary path (STRING); }
}";
const PLAIN: &str = "message schema { required binary jpg; }";

/// Row `number`: a value of its own and of its own length; every tenth is missing where it can be.
fn value(number: usize) -> Vec<u8> {
    format!("{number:05} ").repeat(1 + number % 7).into_bytes()
}

fn is_missing(number: usize, schema: &str) -> bool {
    schema == NESTED && number % 10 == 3
}

/// Writes groups of so many rows.
fn write(path: &Path, schema: &str, groups: &[usize], properties: WriterPropertiesBuilder) {
    let properties = properties.set_write_batch_size(1).set_data_page_size_limit(200).build();
    let message = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), message, Arc::new(properties)).unwrap();
    let mut first = 0;
    for rows in groups {
        let numbers = first..first + rows;
        first += rows;
        let present: Vec<usize> = numbers.clone().filter(|number| !is_missing(*number, schema)).collect();
        let mut group = writer.next_row_group().unwrap();
        let mut write = |texts: Vec<Vec<u8>>, levels: &[i16]| {
            let texts: Vec<ByteArray> = texts.into_iter().map(ByteArray::from).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&texts, Some(levels), None).unwrap();
            column.close().unwrap();
        };
        if schema == PLAIN {
            write(present.into_iter().map(value).collect(), &vec![0; *rows]);
        } else {
            // The value is missing, and so is in every other such row all of the image.
            let level = |number: usize| if is_missing(number, schema) { (number / 10 % 2) as i16 } else { 2 };
            let levels: Vec<i16> = numbers.clone().map(level).collect();
            let mut column = group.next_column().unwrap().unwrap();
            let labels: Vec<i32> = numbers.clone().map(|number| number as i32).collect();
            column.typed::<Int32Type>().write_batch(&labels, None, None).unwrap();
            column.close().unwrap();
            let mut write = |texts: Vec<Vec<u8>>| {
                let texts: Vec<ByteArray> = texts.into_iter().map(ByteArray::from).collect();
                let mut column = group.next_column().unwrap().unwrap();
                column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
                column.close().unwrap();
            };
            write(present.iter().map(|number| value(*number)).collect());
            write(present.iter().map(|number| format!("{number}.jpg").into_bytes()).collect());
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn cells(path: &Path) -> Vec<Cell> {
    let found = found(path, Arc::default()).map(Result::unwrap);
    let cell = |found: Found| match found.stored {
        Stored::Cell(cell) => cell,
        other => panic!("{other:?}"),
    };
    found.map(cell).collect()
}

fn read(cell: &Cell) -> Option<Vec<u8>> {
    match cell.read() {
        Ok(bytes) => Some(bytes.as_ref().to_vec()),
        Err(reason) => {
            assert!(reason.contains("null"), "{reason}");
            None
        }
    }
}

fn reason(path: &Path) -> String {
    let mut found = found(path, Arc::default());
    let error = found.next().unwrap().unwrap_err().to_string();
    assert!(found.next().is_none());
    error
}

#[test]
fn every_row_is_read_in_any_order_of_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let groups = [900, 1, 400];
    let total: usize = groups.iter().sum();
    let properties = WriterProperties::builder;
    let plain = || properties().set_dictionary_enabled(false);
    for (schema, properties) in [
        (NESTED, properties().set_compression(Compression::SNAPPY)),
        (NESTED, plain().set_compression(Compression::GZIP(Default::default()))),
        (NESTED, plain().set_writer_version(WriterVersion::PARQUET_2_0).set_compression(Compression::LZ4_RAW)),
        (PLAIN, plain()),
        (PLAIN, plain().set_encoding(Encoding::DELTA_LENGTH_BYTE_ARRAY).set_compression(Compression::LZ4)),
        (PLAIN, properties().set_dictionary_page_size_limit(1000)),
    ] {
        write(&path, schema, &groups, properties);
        let cells = cells(&path);
        assert_eq!(cells.len(), total);
        let expected = |number: usize| (!is_missing(number, schema)).then(|| value(number));
        let in_order = 0..total;
        let not_quite =
            (0..total).map(|number| if number + 9 < total { number / 9 * 9 + 8 - number % 9 } else { number });
        let jumping = (0..200).map(|number| number * 7919 % total);
        let backwards = (total - 300..total).rev();
        for number in in_order.chain(not_quite).chain(jumping).chain(backwards) {
            assert_eq!(read(&cells[number]), expected(number), "{number}");
        }
        let windows = &cells[0].table.windows;
        assert!(format!("{windows:?}").starts_with('4'), "{windows:?}");
    }
}

#[test]
fn rows_are_read_by_several_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    write(&path, NESTED, &[300, 300], WriterProperties::builder());
    let cells = cells(&path);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cells = &cells;
            scope.spawn(move || {
                for (number, cell) in cells.iter().enumerate().skip(thread).step_by(4) {
                    assert_eq!(read(cell), (!is_missing(number, NESTED)).then(|| value(number)));
                }
            });
        }
    });
}

#[test]
fn zstandard_is_read() {
    // Written by pyarrow and by Polars, with three rows each; see the script beside them.
    for name in ["pyarrow", "pyarrow_v2", "polars"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/zstd_{name}.parquet"));
        let values: Vec<Option<Vec<u8>>> = cells(&path).iter().map(read).collect();
        let expected = [Some(b"first ".repeat(50)), None, Some(b"third ".repeat(50))];
        assert_eq!(values, expected, "{name}");
    }
}

#[test]
fn what_holds_no_images_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    for (schema, expected) in [
        ("message schema { required int32 a; optional binary image (STRING); }", "no column of images"),
        ("message schema { repeated binary image; }", "no column of images"),
        ("message schema { required binary a; required binary b; }", "(a, b); call one of them image"),
    ] {
        let message = Arc::new(parse_message_type(schema).unwrap());
        let writer = SerializedFileWriter::new(File::create(&path).unwrap(), message, Arc::default()).unwrap();
        writer.close().unwrap();
        let reason = reason(&path);
        assert!(reason.contains("no image can be had from the Parquet file") && reason.contains(expected), "{reason}");
    }
    write(&path, PLAIN, &[], WriterProperties::builder());
    assert!(cells(&path).is_empty());
    for bytes in [&b""[..], b"PAR1", b"PAR1 and something else PAR1"] {
        std::fs::write(&path, bytes).unwrap();
        assert!(reason(&path).contains("no image can be had from"), "{}", reason(&path));
    }
}

#[test]
fn a_damaged_page_costs_its_rows_and_forged_files_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    write(
        &path,
        NESTED,
        &[200],
        WriterProperties::builder().set_dictionary_enabled(false).set_compression(Compression::SNAPPY),
    );
    let whole = std::fs::read(&path).unwrap();
    let mut state = 1u32;
    let mut outcomes = [0; 3];
    for _ in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..2 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (state >> 8) as usize % bytes.len();
            bytes[at] ^= 1 << (state & 7);
        }
        std::fs::write(&path, &bytes).unwrap();
        for found in found(&path, Arc::default()).take(400) {
            match found.map(|found| found.stored) {
                Ok(Stored::Cell(cell)) => outcomes[usize::from(cell.read().is_ok())] += 1,
                Ok(other) => panic!("{other:?}"),
                Err(_) => outcomes[2] += 1,
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 10), "{outcomes:?}");
}
