//! Files in the formats that are read, written to confuse, stall or fill their readers.

use std::fs;
use std::path::Path;

use image::ImageFormat;

use super::ground::{checkpoint, collection, encoded, fresh};
use super::process::{Process, soon};
use super::{Outcome, Row, ensure, settle};
use crate::drive::{path_text, program, project};

/// More than any of these files, and the program itself, have use for.
const MOST_KIB: u64 = 400 << 10;

/// A forged file, and whether it must be refused; what is only odd may be read as far as it goes.
struct Forged {
    what: &'static str,
    bytes: Vec<u8>,
    refused: bool,
}

fn refused(what: &'static str, bytes: impl Into<Vec<u8>>) -> Forged {
    Forged { what, bytes: bytes.into(), refused: true }
}

fn odd(what: &'static str, bytes: impl Into<Vec<u8>>) -> Forged {
    Forged { what, bytes: bytes.into(), refused: false }
}

fn safetensors(length: u64, header: &str, data: usize) -> Vec<u8> {
    [&length.to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

fn with_header(header: &str, data: usize) -> Vec<u8> {
    safetensors(header.len() as u64, header, data)
}

fn tensors() -> Vec<Forged> {
    let tensor = |shape: &str, from: u64, to: u64| {
        format!(r#"{{"features":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
    };
    let many: Vec<String> =
        (0..100_000).map(|at| format!(r#""t{at}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    vec![
        refused("a header of 2⁶⁴ - 1 bytes", safetensors(u64::MAX, "{}", 0)),
        refused("a header of 2⁶³ bytes", safetensors(1 << 63, "{}", 64)),
        refused("a header longer than the file", safetensors(100_000_000, "{}", 64)),
        refused("a header of nested arrays", with_header(&"[".repeat(1_000_000), 0)),
        refused("a header of nested objects", with_header(&r#"{"a":"#.repeat(200_000), 0)),
        refused("a shape that overflows", with_header(&tensor("[4294967296,4294967296,16]", 0, 0), 0)),
        refused("a shape larger than the data", with_header(&tensor("[1000000,1000000]", 0, 24), 24)),
        refused("offsets that overflow", with_header(&tensor("[2,3]", u64::MAX - 23, u64::MAX), 24)),
        refused("offsets that run backwards", with_header(&tensor("[2,3]", 24, 0), 24)),
        refused("a hundred thousand empty tensors", with_header(&format!("{{{}}}", many.join(",")), 0)),
        refused("no bytes", ""),
    ]
}

fn pickles() -> Vec<Forged> {
    let good = fs::read(project("tests/golden/tiny_vit.pth")).unwrap();
    let legacy = fs::read(project("tests/golden/tiny_vit_legacy.pth")).unwrap();
    let mut large_entry = good.clone();
    // The sizes in the local header of the first entry, and in the directory's.
    large_entry[18..26].fill(0xff);
    let directory = good.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let mut large_directory = good.clone();
    large_directory[directory + 20..directory + 28].fill(0xff);
    // Every tuple holds the one before twice.
    let doubled = [&b"\x80\x02)"[..], &b"q\x01h\x01h\x01\x86".repeat(40), b"."].concat();
    vec![
        refused("a call of os.system", &b"\x80\x02cos\nsystem\n(S'touch pickle_was_run'\ntR."[..]),
        refused("a million marks", [&b"\x80\x02"[..], &b"(".repeat(1_000_000), b"."].concat()),
        refused("nested lists", [&b"\x80\x02"[..], &b"]".repeat(500_000), &b"a".repeat(499_999), b"."].concat()),
        refused("a list that holds itself", &b"\x80\x02]q\x00h\x00a."[..]),
        refused("tuples that double 40 times", doubled),
        refused("a text of 2⁶⁴ - 1 bytes", [&b"\x80\x04\x8d"[..], &[0xff; 8], b"a."].concat()),
        refused("a number of 2³¹ bytes", &b"\x80\x02\x8b\xff\xff\xff\x7f."[..]),
        refused("a frame of 2⁶³ bytes", [&b"\x80\x04\x95"[..], &[0xff; 7], b"\x7f."].concat()),
        refused("a memo at 2³² - 1", &b"\x80\x02)r\xff\xff\xff\xff."[..]),
        odd("a large entry in an archive", large_entry),
        odd("a large entry in an archive's directory", large_directory),
        refused("half an archive", &good[..good.len() / 2]),
        refused("half an old file", &legacy[..legacy.len() / 2]),
        refused("an archive without entries", [&b"PK\x05\x06"[..], &[0; 18]].concat()),
    ]
}

fn vectors() -> Vec<Forged> {
    let npy = |version: u8, header: &str, data: usize| {
        let length = match version {
            1 => (header.len() as u16).to_le_bytes().to_vec(),
            _ => (header.len() as u32).to_le_bytes().to_vec(),
        };
        [b"\x93NUMPY", &[version, 0][..], &length, header.as_bytes(), &vec![0; data]].concat()
    };
    let shaped = |shape: &str| npy(1, &format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n"), 64);
    vec![
        refused("a shape that overflows", shaped("(9223372036854775807, 9223372036854775807)")),
        refused("a shape larger than the data", shaped("(1000000000, 4)")),
        refused("a negative shape", shaped("(-4, 4)")),
        refused("no rows", shaped("(0, 4)")),
        refused("no columns", shaped("(4, 0)")),
        refused("a shape of nested tuples", npy(2, &format!("{{'shape': {}", "(".repeat(1_000_000)), 0)),
        refused("objects", npy(1, "{'descr': '|O', 'fortran_order': False, 'shape': (4, 4), }\n", 64)),
        refused("a header of 4 GiB", [&b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..], &[b' '; 64]].concat()),
        refused("a version of the future", npy(9, "{}", 0)),
        refused("half a header", &b"\x93NUMPY\x01\x00\x76"[..]),
        refused("numbers that are none", {
            let mut bytes = shaped("(4, 4)");
            let start = bytes.len() - 64;
            bytes[start..].fill(0xff);
            bytes
        }),
    ]
}

fn tables() -> Vec<Forged> {
    vec![
        refused("a quote that never ends", [&b"id,class\n\""[..], &b"a,".repeat(2_000_000)].concat()),
        refused("a million columns", [&b"a,"[..], &b"a,".repeat(1_000_000), b"\n"].concat()),
        refused("zeroes", vec![0; 4 << 20]),
        refused("bytes that are no text", b"\xff\xfe,\xfd\n\xff,\xff\n".repeat(1000)),
        refused("one long line", vec![b'a'; 16 << 20]),
        refused("no bytes", ""),
    ]
}

fn annotations() -> Vec<Forged> {
    let image = r#"{"id":1,"file_name":"a0.png","width":48,"height":40}"#;
    let with = |annotation: &str| {
        format!(r#"{{"images":[{image}],"categories":[{{"id":1,"name":"a"}}],"annotations":[{annotation}]}}"#)
    };
    let segmented = |segmentation: &str| {
        with(&format!(r#"{{"image_id":1,"category_id":1,"bbox":[1,1,9,9],"iscrowd":0,"segmentation":{segmentation}}}"#))
    };
    let polygon: Vec<String> = (0..200_000).map(|at| format!("{},{}", at % 47, at * 7 % 39)).collect();
    vec![
        refused("nested arrays", "[".repeat(1_000_000)),
        refused("nested objects", r#"{"images":"#.repeat(200_000)),
        refused(
            "nested arrays inside an annotation",
            segmented(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        ),
        odd("a box of infinite numbers", with(r#"{"image_id":1,"category_id":1,"bbox":[1e308,1e308,1e308,1e308]}"#)),
        refused("a number without end", with(&format!(r#"{{"image_id":{}}}"#, "9".repeat(1_000_000)))),
        odd("runs of a huge image", segmented(r#"{"size":[4294967295,4294967295],"counts":[1,2,3]}"#)),
        odd(
            "runs that overflow",
            segmented(r#"{"size":[40,48],"counts":[18446744073709551615,1,18446744073709551615]}"#),
        ),
        odd(
            "packed runs without end",
            segmented(&format!(r#"{{"size":[40,48],"counts":"{}"}}"#, "o".repeat(1_000_000))),
        ),
        odd("a polygon of two hundred thousand points", segmented(&format!("[[{}]]", polygon.join(",")))),
        odd("a polygon of huge numbers", segmented("[[1e300,-1e300,1e300,1e300,-1e300,0]]")),
        odd(
            "a huge image",
            with("").replace("48", "4000000000").replace("40,", "4000000000,").replace(r#":40}"#, ":4000000000}"),
        ),
    ]
}

fn xml() -> Vec<Forged> {
    let inside = |text: &str| format!("<annotation><object><name>a</name>{text}</object></annotation>");
    let attributes: String = (0..60_000).map(|at| format!(" a{at}=\"\"")).collect();
    let laughs: String = (0..30).map(|at| format!("<!ENTITY l{} \"&l{at};&l{at};&l{at};\">", at + 1)).collect();
    let namespaces: String = (0..60_000).map(|at| format!(" xmlns:a{at}=\"b{at}\"")).collect();
    vec![
        refused("60 000 attributes", format!("<annotation{attributes}></annotation>")),
        refused("60 000 namespaces", format!("<annotation{namespaces}></annotation>")),
        refused("100 000 levels", format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000))),
        refused("100 000 levels without end", "<a>".repeat(100_000)),
        refused("entities that multiply", format!("<!DOCTYPE a [<!ENTITY l0 \"ha\">{laughs}]>{}", inside("&l30;"))),
        refused("an entity that holds itself", format!("<!DOCTYPE a [<!ENTITY l \"&l;\">]>{}", inside("&l;"))),
        refused(
            "a file as an entity",
            format!("<!DOCTYPE a [<!ENTITY l SYSTEM \"file:///etc/hostname\">]>{}", inside("&l;")),
        ),
        odd(
            "huge numbers",
            inside("<bndbox><xmin>-1e300</xmin><ymin>1</ymin><xmax>1e308</xmax><ymax>NaN</ymax></bndbox>"),
        ),
        odd("two hundred thousand objects", format!("<annotation>{}</annotation>", "<object/>".repeat(200_000))),
        refused("no bytes", ""),
    ]
}

fn configurations() -> Vec<Forged> {
    vec![
        refused("nested arrays", format!("a = {}", "[".repeat(200_000))),
        refused("nested tables", format!("a = {}", "{a=".repeat(200_000))),
        refused("a key of a hundred thousand parts", format!("{}a = 1", "a.".repeat(100_000))),
        refused("a table of a hundred thousand parts", format!("[{}a]", "a.".repeat(100_000))),
        refused("a hundred thousand keys", (0..100_000).map(|at| format!("a{at} = 1\n")).collect::<String>()),
        refused("a number without end", format!("[train]\nepochs = {}", "9".repeat(1_000_000))),
        refused("a text without end", format!("a = \"\"\"{}", "a".repeat(4 << 20))),
        refused("bytes that are no text", vec![0xff; 1000]),
        refused("zeroes", vec![0; 4 << 20]),
    ]
}

fn lists() -> Vec<Forged> {
    vec![
        refused("zeroes", vec![0; 4 << 20]),
        refused("one long line", vec![b'a'; 16 << 20]),
        refused("a hundred thousand names of nothing", "nothing.png\n".repeat(100_000)),
        refused("only line breaks", "\n".repeat(1_000_000)),
    ]
}

/// A tar's header, with a size as it stands in it.
fn header(name: &str, kind: u8, size: &[u8; 12]) -> Vec<u8> {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(size);
    block[148..156].fill(b' ');
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.to_vec()
}

fn tars() -> Vec<Forged> {
    let picture = encoded(1, ImageFormat::Png);
    let (largest, far) = (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", b"77777777777\0");
    let small: [u8; 12] = format!("{:011o}\0", picture.len()).into_bytes().try_into().unwrap();
    let padded = [&picture[..], &vec![0; picture.len().next_multiple_of(512) - picture.len()]].concat();
    let end = [0; 1024];
    let good = |name: &str| [&header(name, b'0', &small)[..], &padded, &end].concat();
    vec![
        refused("a picture of 2⁶³ - 1 bytes", [&header("a.png", b'0', largest)[..], &padded].concat()),
        refused("a picture of 8 GiB", [&header("a.png", b'0', far)[..], &padded].concat()),
        refused("a size that is no number", header("a.png", b'0', b"99999999999z")),
        refused("a long name of 8 GiB", [&header("././@LongLink", b'L', far)[..], &good("a.png")].concat()),
        refused("attributes of 8 GiB", [&header("a", b'x', far)[..], &good("a.png")].concat()),
        refused("a header that does not add up", [&[b'a'; 512][..], &padded, &end].concat()),
        refused("links only", [&header("a.png", b'2', b"00000000000\0")[..], &end].concat()),
        refused("half a header", &header("a.png", b'0', &small)[..300]),
        odd("a name that leaves the folder", good("../../a.png")),
        odd("a name from the root", good("/a.png")),
        refused("nothing but its end", end),
        refused("no bytes", ""),
    ]
}

fn parquet() -> Vec<Forged> {
    let framed = |footer: &[u8], length: u32| [b"PAR1", footer, &length.to_le_bytes(), b"PAR1"].concat();
    vec![
        refused("a footer of 2³² - 1 bytes", framed(&[0; 64], u32::MAX)),
        refused("a footer longer than the file", framed(&[0; 64], 1 << 20)),
        refused("a footer of zeroes", framed(&[0; 64], 64)),
        refused("a footer of lists in lists", framed(&[0x19; 1 << 20], 1 << 20)),
        refused("a footer of a list without end", framed(&[0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], 9)),
        refused("no footer", &b"PAR1PAR1"[..]),
        refused("half its mark", &b"PA"[..]),
        refused("no bytes", ""),
    ]
}

/// Gives every file to every command; `PATH` stands for it.
fn read(kind: &'static str, name: &str, files: Vec<Forged>, commands: &[&[&str]], ground: &Path) -> Row {
    let path = ground.join("forged").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let given = if name.ends_with(".xml") { path.parent().unwrap() } else { &path };
    let mut row = Row::new("hostile files", format!("forged {kind}"));
    for forged in files {
        fs::write(&path, &forged.bytes).unwrap();
        for command in commands {
            let arguments: Vec<&str> =
                command.iter().map(|part| if *part == "PATH" { path_text(given) } else { part }).collect();
            let mut command = program(&arguments);
            command.current_dir(ground);
            if !["inspect", "eval"].contains(&arguments[0]) {
                command.arg("--out").arg(fresh(&ground.join("out")));
            }
            let ended = Process::start(&mut command).wait_at_most(4 * soon());
            let codes: &[i32] = if forged.refused { &[2, 3, 4, 5] } else { &[0, 2, 3, 4, 5] };
            let outcome = || -> Outcome {
                ended.ended_with(codes)?;
                ensure(ended.took < soon(), || format!("it took {:.1} s", ended.took.as_secs_f64()))?;
                ensure(ended.peak_kib < MOST_KIB, || format!("it took {} MiB", ended.peak_kib >> 10))?;
                ensure(!ground.join("pickle_was_run").exists(), || "what is pickled was run")
            };
            row.attempt(format_args!("{} in {}", forged.what, arguments[0]), outcome());
        }
    }
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    row
}

#[test]
fn forged_files_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let ground = folder.path();
    let data = collection(&ground.join("data"), 2);
    let (data, network) = (path_text(&data), checkpoint());
    let results = ground.join("results");
    let infer = ["infer", "--ckpt", path_text(&network), "--data", data, "--save", "masks,coco", "--out"];
    super::process::run(program(&infer).arg(&results)).ended_with(&[0]).unwrap();
    let results = path_text(&results);
    let network: &[&str] = &["infer", "--ckpt", "PATH", "--data", data];
    let weights: &[&str] = &["train", "--weights", "PATH", "--data", data];
    let features: &[&str] = &["cluster", "--features", "PATH"];
    let boxes: &[&str] = &["eval", "--pred", results, "--truth", "PATH", "--task", "boxes"];
    let objects: &[&str] = &["eval", "--pred", results, "--truth", "PATH", "--task", "objects"];
    settle([
        read("safetensors", "a.safetensors", tensors(), &[network, weights, features, &["inspect", "PATH"]], ground),
        read("PyTorch files", "a.pth", pickles(), &[weights], ground),
        read("vectors (npy)", "a.npy", vectors(), &[features], ground),
        read("tables (csv)", "a.csv", tables(), &[&["cluster", "--data", data, "--labels", "PATH"]], ground),
        read("annotations (COCO)", "a.json", annotations(), &[boxes, objects], ground),
        read("annotations (VOC)", "a0.xml", xml(), &[boxes], ground),
        read("configurations", "a.toml", configurations(), &[&["train", "--config", "PATH", "--data", data]], ground),
        read("tars", "a.tar", tars(), &[&["segment", "--data", "PATH"], &["features", "--data", "PATH"]], ground),
        read("Parquet files", "a.parquet", parquet(), &[&["segment", "--data", "PATH"]], ground),
        read("lists", "a.txt", lists(), &[&["segment", "--data", "PATH"], &["train", "--data", "PATH"]], ground),
    ]);
}
