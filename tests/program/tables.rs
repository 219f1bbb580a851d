//! Parquet files: as collections, and as results.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

use crate::drive::{disc, expect, path_text, predictions, run, text, write_png};

const SPECTRAL: [&str; 5] = ["segment", "--method", "spectral", "--max-bad", "1"];

/// Writes images as Hugging Face does, in groups of two rows.
fn write_table(path: &Path, images: &[Option<Vec<u8>>]) {
    let schema = "message schema { optional group image { optional binary bytes; optional binary path (STRING); } }";
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for images in images.chunks(2) {
        let mut group = writer.next_row_group().unwrap();
        let bytes: Vec<ByteArray> = images.iter().flatten().map(|image| image.clone().into()).collect();
        let levels: Vec<i16> = images.iter().map(|image| if image.is_some() { 2 } else { 1 }).collect();
        let paths = vec![ByteArray::from("img.png"); images.len()];
        for (values, levels) in [(bytes, levels), (paths, vec![2; images.len()])] {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn images(folder: &Path) -> Vec<Vec<u8>> {
    let image = |number: u32| {
        let path = folder.join(format!("{number:06}.png"));
        write_png(&path, 70 + 3 * number, 60, disc);
        fs::read(path).unwrap()
    };
    (0..6).map(image).collect()
}

fn json(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::Double(number) => (*number).into(),
        Field::Str(text) => text.as_str().into(),
        Field::Group(row) => of_row(row),
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        other => panic!("{other:?}"),
    }
}

fn of_row(row: &Row) -> Value {
    row.get_column_iter().map(|(name, field)| (name.clone(), json(field))).collect()
}

/// The rows of predictions.parquet by path.
fn rows(out: &Path) -> BTreeMap<String, Value> {
    let reader = SerializedFileReader::new(File::open(out.join("predictions.parquet")).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(|row| of_row(&row.unwrap()));
    rows.map(|row| (row["path"].as_str().unwrap().to_string(), row)).collect()
}

#[test]
fn rows_of_a_table_are_images_and_those_without_one_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let images = images(&at("data"));
    let mut rows: Vec<Option<Vec<u8>>> = images.iter().cloned().map(Some).collect();
    write_table(&at("0.parquet"), &rows);
    let arguments = |data: &str, out: &str| {
        let further = ["--data", path_text(&at(data)), "--out", path_text(&at(out)), "--save", "masks,overlays"]
            .map(str::to_string);
        SPECTRAL.iter().map(ToString::to_string).chain(further).collect::<Vec<_>>()
    };
    let run = |data: &str, out: &str| {
        let arguments = arguments(data, out);
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (data, out) in [("data", "folder"), ("0.parquet", "table")] {
        let output = run(data, out);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    for number in 0..6 {
        let overlay = |out: &str| fs::read(at(out).join(format!("overlays/{number:06}.jpg"))).unwrap();
        assert!(overlay("folder") == overlay("table"), "{number}");
    }
    let hashes =
        |out: &str| predictions(&at(out)).into_values().map(|line| line["content_hash"].clone()).collect::<Vec<_>>();
    assert_eq!(hashes("folder"), hashes("table"));

    rows[1] = None;
    rows[3].as_mut().unwrap().truncate(50);
    write_table(&at("1.parquet"), &rows);
    fs::write(at("2.parquet"), b"PAR1").unwrap();
    let output = run("{0..2}.parquet", "several");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    let skipped: Vec<&str> = error.lines().filter(|line| line.starts_with("skipped:")).collect();
    let expected =
        [("1.parquet/000001", "no image"), ("1.parquet/000003", "cut off"), ("2.parquet", "no image can be had")];
    assert_eq!(skipped.len(), 3, "{error}");
    for (name, reason) in expected {
        assert!(skipped.iter().any(|line| line.contains(name) && line.contains(reason)), "{name}: {error}");
    }
    assert_eq!(predictions(&at("several")).len(), 13);
    assert!(at("several/masks/1/000005.png").exists());
    // Nothing is done again.
    let again = run("{0..2}.parquet", "several");
    assert!(text(&again.stdout).contains("10 already done"), "{}", text(&again.stdout));
}

#[test]
fn results_are_one_table_that_says_what_all_others_say() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    images(&at("data"));
    fs::write(at("data/bad.png"), "no image").unwrap();
    let segment = |save: &str, out: &str| {
        let (data, out) = (at("data"), at(out));
        expect(3, &[&SPECTRAL[..], &["--data", path_text(&data), "--out", path_text(&out), "--save", save]].concat());
    };
    segment("masks,coco,parquet", "out");
    let (lines, rows) = (predictions(&at("out")), rows(&at("out")));
    assert_eq!(lines.keys().collect::<Vec<_>>(), rows.keys().collect::<Vec<_>>());
    let labels: Value = serde_json::from_slice(&fs::read(at("out/labels.json")).unwrap()).unwrap();
    for (path, line) in &lines {
        let row = &rows[path];
        for name in
            ["status", "reason", "content_hash", "width", "height", "foreground_area_px", "confidence", "clusters"]
        {
            assert_eq!(row[name], *line.get(name).unwrap_or(&Value::Null), "{path} {name}");
        }
        let sides = |row: &Value| match &row["box"] {
            Value::Null => Value::Null,
            found => ["x", "y", "width", "height"].map(|side| found[side].clone()).to_vec().into(),
        };
        assert_eq!(sides(row), *line.get("box").unwrap_or(&Value::Null));
        let Some(objects) = line.get("objects").and_then(Value::as_array) else {
            assert_eq!((path.as_str(), &row["objects"]), ("bad.png", &Value::Null));
            continue;
        };
        assert_eq!(row["output"], path.trim_end_matches(".png"));
        assert_eq!(row["objects"].as_array().unwrap().len(), objects.len());
        for (found, object) in row["objects"].as_array().unwrap().iter().zip(objects) {
            assert_eq!([&found["label"], &found["area_px"]], [&object["label"], &object["area_px"]]);
            assert_eq!(
                [&found["confidence"], &found["counts"]],
                [&object["confidence"], &object["segmentation"]["counts"]]
            );
            assert_eq!(sides(found), object["box"]);
            let label = labels["labels"].as_array().unwrap().iter().find(|label| label["value"] == object["label"]);
            assert_eq!(found["name"], label.unwrap()["name"]);
        }
    }
    assert!(rows.values().any(|row| row["objects"].as_array().is_some_and(|objects| !objects.is_empty())));

    // The same bytes from a run that finds everything done, and from one with a single thread.
    let table = |out: &str| fs::read(at(out).join("predictions.parquet")).unwrap();
    let whole = table("out");
    segment("masks,parquet", "out");
    assert!(whole == table("out"));
    segment("parquet", "alone");
    assert!(whole == table("alone"));
    // It is a run's own, known by its checksum.
    expect(0, &["verify", path_text(&at("out"))]);
    fs::write(at("out/predictions.parquet"), "mine").unwrap();
    let output = run(&["verify", path_text(&at("out"))]);
    assert!(output.status.code() != Some(0) && text(&output.stdout).contains("predictions.parquet"));
    let (data, out) = (at("data"), at("out"));
    let again = [&SPECTRAL[..], &["--data", path_text(&data), "--out", path_text(&out), "--save", "parquet"]].concat();
    assert_eq!(run(&again).status.code(), Some(2));
    assert_eq!(table("out"), b"mine");
}

#[test]
fn rows_of_tables_are_done_in_shards_and_the_result_says_in_which() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let images: Vec<Option<Vec<u8>>> = images(&at("data")).into_iter().map(Some).collect();
    write_table(&at("0.parquet"), &images);
    write_table(&at("1.parquet"), &[&images[..3], &[None]].concat());
    fs::write(at("2.parquet"), b"PAR1").unwrap();
    let (data, plan, save) = (at("{0..2}.parquet"), at("plan.json"), ["--save", "masks,overlays,coco,parquet"]);
    let segment = |input: &[&str], out: &str| {
        let out = at(out);
        run(&[&SPECTRAL[..], input, &["--out", path_text(&out)], &save].concat())
    };
    assert_eq!(segment(&["--data", path_text(&data)], "single").status.code(), Some(3));
    let planned = ["plan", "--data", path_text(&data), "--shards", "4", "--out", path_text(&plan)];
    let said = text(&run(&planned).stdout);
    assert!(said.contains("11 images in 4 shards of 2 to 3, 1 of them to be skipped"), "{said}");
    let shard = |number: &str, out: &str, further: &[&str]| {
        segment(&[&["--plan", path_text(&plan), "--shard", number], further].concat(), out)
    };
    for number in ["3", "1", "0", "2"] {
        let output = shard(number, "out", &[]);
        assert!([0, 3].contains(&output.status.code().unwrap()), "{}", text(&output.stderr));
    }
    expect(3, &["merge", path_text(&at("out")), "--max-bad", "1"]);
    for file in ["predictions.jsonl", "coco.json", "masks/0/000005.png", "overlays/1/000002.jpg"] {
        assert!(fs::read(at("single").join(file)).unwrap() == fs::read(at("out").join(file)).unwrap(), "{file}");
    }

    let (single, merged) = (rows(&at("single")), rows(&at("out")));
    assert_eq!(merged.len(), 11);
    let mut shards: Vec<u64> = merged.values().map(|row| row["shard"].as_u64().unwrap()).collect();
    shards.sort_unstable();
    assert_eq!(shards, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]);
    for (path, row) in &merged {
        let number = row["shard"].as_u64().unwrap();
        assert_eq!(rows(&at(&format!("out/shards/{number:05}")))[path], *row);
        assert_eq!(single[path]["shard"], Value::Null);
        let without = |row: &Value| {
            Value::Object(row.as_object().unwrap().clone().into_iter().filter(|(name, _)| name != "shard").collect())
        };
        assert_eq!(without(&single[path]), without(row));
    }

    // A table that has lost its last rows.
    write_table(&at("1.parquet"), &images[..2]);
    let output = shard("3", "other", &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("missing") && said.contains("1.parquet/00000"), "{said}");
    let output = shard("3", "other", &["--accept-changes"]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("has no row 3 any more"), "{said}");
}
