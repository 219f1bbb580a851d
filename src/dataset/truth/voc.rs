//! Boxes in Pascal VOC's XML: one file per image.

use std::path::Path;

use encoding_rs::Encoding;
use roxmltree::{Document, Node, ParsingOptions};

use super::notes::Notes;
use super::{Annotated, LeftOut, Truth, TruthError, files_below, image_key, read_bytes};
use crate::dataset::text::decode_text;

/// Annotations of one image are small.
const MAX_MEBIBYTES: u64 = 16;

/// Most attributes of one element, and most elements within each other: annotations have one and four. The parser compares
/// every attribute with all before it, and goes as deep as the elements do.
const MOST_ATTRIBUTES: usize = 100;
const DEEPEST: usize = 100;

/// A box as the file has it: first and last pixel, both inside, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct VocBox {
    pub class: String,
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

/// What a file of XML holds.
#[derive(Debug, Default, PartialEq)]
struct Parsed {
    /// Width and height.
    size: Option<(usize, usize)>,
    boxes: Vec<VocBox>,
    /// What was left out or read in another way than it stands there, and the class of its object.
    remarks: Vec<(&'static str, String)>,
}

/// Why a file of XML holds no annotation of an image.
#[derive(Debug, PartialEq)]
enum Unusable {
    /// It is about something else; its root has this name.
    Foreign(String),
    Broken(String),
}

/// The objects of every XML file below `root`; the image has the file's name. Objects marked difficult or truncated are
/// among them, the boxes of their parts are not.
///
/// Text is read in the encoding that the file declares. Corners in another order are put in order, and a comma may stand
/// for the decimal point; objects without a box, files that are broken and XML of other kinds are left out and told. Files
/// without any box at all are nothing to compare with.
pub fn boxes(root: &Path) -> Result<Truth<Vec<VocBox>>, TruthError> {
    let (mut images, mut notes, mut left_out) = (Vec::new(), Notes::default(), Vec::new());
    let files = files_below(root, &["xml"])?;
    for relative in &files {
        let path = root.join(relative);
        let bytes = match read_bytes(&path, MAX_MEBIBYTES) {
            Ok(bytes) => bytes,
            Err(error) => {
                left_out.push(LeftOut { path, reason: error.to_string() });
                continue;
            }
        };
        let (text, guessed) = decode(&bytes);
        let name = || relative.display().to_string();
        if let Some(encoding) = guessed {
            notes.add(format!("no encoding is declared and it is no UTF-8; read as {encoding}"), name);
        }
        match parse(&text) {
            Ok(Parsed { size, boxes, remarks }) => {
                for (what, class) in remarks {
                    notes.add(what, || format!("{} ({class})", relative.display()));
                }
                images.push(Annotated { key: image_key(relative), file: None, size, content: boxes });
            }
            Err(Unusable::Foreign(name)) => {
                notes.add("XML that is no annotation of an image", || format!("{} (<{name}>)", relative.display()));
            }
            Err(Unusable::Broken(reason)) => left_out.push(LeftOut { path, reason }),
        }
    }
    if !files.is_empty() && images.iter().all(|image| image.content.is_empty()) {
        let broken = left_out.first().map(|file| format!("{}: {}", file.path.display(), file.reason));
        let example = broken.or(notes.example()).map_or(String::new(), |example| format!(" ({example})"));
        let reason = format!("no box in any of its {} XML files{example}", files.len());
        return Err(TruthError::NothingAnnotated { path: root.to_path_buf(), reason });
    }
    Ok(Truth::new(root, images, notes.remarks(root), left_out))
}

/// The text in its declared encoding, and the encoding where it was guessed.
fn decode(bytes: &[u8]) -> (String, Option<&'static str>) {
    // Encodings that leave ASCII as it is have a declaration that can be read before the encoding is known.
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let declaration = head.strip_prefix("<?xml").and_then(|rest| rest.split("?>").next()).unwrap_or("");
    let quoted = declaration.split_once("encoding").and_then(|(_, rest)| rest.split(['"', '\'']).nth(1));
    let label = quoted.map(|label| match Encoding::for_label(label.as_bytes()) {
        Some(_) => label.to_string(),
        // Python's spelling: latin-1, utf_8.
        None => label.replace(['-', '_'], ""),
    });
    decode_text(bytes, label.as_deref())
}

/// The size of the image and its objects.
fn parse(text: &str) -> Result<Parsed, Unusable> {
    if text.trim().is_empty() {
        return Err(Unusable::Broken("it is empty".into()));
    }
    check_shape(text).map_err(Unusable::Broken)?;
    // A declaration of the document's type says nothing that is needed, unless it brings text of its own.
    if text.contains("<!ENTITY") {
        return Err(Unusable::Broken("it declares entities, which are not read; write them out".into()));
    }
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| Unusable::Broken(format!("it is no XML ({error})")))?;
    let root = document.root_element();
    if !is_named(root, "annotation") {
        return Err(Unusable::Foreign(root.tag_name().name().to_string()));
    }
    let size = child(root, "size").and_then(|size| {
        let side = |name| child(size, name)?.text()?.trim().parse::<usize>().ok().filter(|&side| side > 0);
        Some((side("width")?, side("height")?))
    });
    let mut parsed = Parsed { size, ..Parsed::default() };
    for node in root.children().filter(|node| is_named(*node, "object")) {
        let class = child(node, "name").and_then(|name| name.text()).unwrap_or("").trim().to_string();
        let note = |what| (what, class.clone());
        match object(node) {
            Some((corners, remarks)) => {
                parsed.remarks.extend(remarks.into_iter().map(note));
                let [left, top, right, bottom] = corners;
                parsed.boxes.push(VocBox { class, left, top, right, bottom });
            }
            None => parsed.remarks.push(note(
                "objects left out, for they have no <bndbox> with the numbers <xmin>, <ymin>, <xmax> and <ymax>",
            )),
        }
    }
    Ok(parsed)
}

/// Refuses elements with more attributes, or further inside each other, than any annotation has.
fn check_shape(text: &str) -> Result<(), String> {
    let (mut rest, mut depth) = (text, 0usize);
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        // What is no element has an end of its own, before which tags do not count.
        let others = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">")];
        if let Some((opening, end)) = others.iter().find(|(opening, _)| rest.starts_with(opening)) {
            let inside = &rest[opening.len()..];
            rest = inside.find(end).map_or("", |found| &inside[found..]);
            continue;
        }
        let (mut quote, mut attributes, mut end) = (None, 0, rest.len());
        for (place, byte) in rest.bytes().enumerate() {
            match (byte, quote) {
                (b'>', None) => {
                    end = place;
                    break;
                }
                (b'=', None) => attributes += 1,
                (b'"' | b'\'', None) => quote = Some(byte),
                _ if quote == Some(byte) => quote = None,
                _ => {}
            }
            if attributes > MOST_ATTRIBUTES {
                return Err(format!("it has an element with more than {MOST_ATTRIBUTES} attributes"));
            }
        }
        let tag = &rest[..end];
        match (tag.starts_with("</"), tag.ends_with('/')) {
            (true, _) => depth = depth.saturating_sub(1),
            (false, true) => {}
            (false, false) => depth += 1,
        }
        if depth > DEEPEST {
            return Err(format!("it has more than {DEEPEST} elements inside each other"));
        }
        rest = &rest[end..];
    }
    Ok(())
}

/// Left, top, right and bottom, and what was read in another way than it stands there.
fn object(object: Node) -> Option<([f64; 4], Vec<&'static str>)> {
    let corners = child(object, "bndbox")?;
    let mut remarks = Vec::new();
    let mut corner = |name: &str| {
        let text = child(corners, name)?.text()?.trim();
        let with_point = text.replacen(',', ".", 1);
        if with_point != text {
            remarks.push("numbers with a decimal comma, read as with a point");
        }
        with_point.parse::<f64>().ok().filter(|value| value.is_finite())
    };
    let [left, top, right, bottom] = [corner("xmin")?, corner("ymin")?, corner("xmax")?, corner("ymax")?];
    remarks.dedup();
    if right < left || bottom < top {
        remarks.push("boxes whose corners are swapped, taken in their order");
    }
    Some(([left.min(right), top.min(bottom), left.max(right), top.max(bottom)], remarks))
}

/// Whether an element has this name, in capitals or not.
fn is_named(node: Node, name: &str) -> bool {
    node.is_element() && node.tag_name().name().eq_ignore_ascii_case(name)
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| is_named(*child, name))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn shapes_that_no_annotation_has_are_refused_at_once() {
        let attributes: String = (0..60_000).map(|number| format!(" a{number}=\">\"")).collect();
        let deep = "<a>".repeat(100_000) + &"</a>".repeat(100_000);
        let started = Instant::now();
        let broken = |text: String| match parse(&text) {
            Err(Unusable::Broken(reason)) => reason,
            other => panic!("{other:?}"),
        };
        let many = broken(format!("<annotation{attributes}></annotation>"));
        assert!(many.contains("more than 100 attributes"), "{many}");
        let deep = broken(format!("<annotation>{deep}</annotation>"));
        assert!(deep.contains("inside each other"), "{deep}");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }

    #[test]
    fn what_looks_like_deep_or_many_tags_is_none() {
        let tags = "<a b='1'>".repeat(200);
        let text = format!(
            "<?xml version='1.0'?><!-- {tags} --><annotation a='b=\"'><size><width>4</width><height>3</height></size>\
             <note><![CDATA[{tags}]]></note>{}</annotation>",
            "<object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox><a/></object>"
                .repeat(150)
        );
        let Parsed { size, boxes, .. } = parse(&text).unwrap();
        assert_eq!((size, boxes.len()), (Some((4, 3)), 150));
    }

    /// A file with one object.
    fn annotation(head: &str, class: &[u8], corners: [&str; 4]) -> Vec<u8> {
        let [left, top, right, bottom] = corners;
        let before = format!("{head}<annotation><object><name>");
        let after = format!(
            "</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>\
             </object></annotation>"
        );
        [before.as_bytes(), class, after.as_bytes()].concat()
    }

    #[test]
    fn text_is_read_in_the_encoding_of_its_file() {
        let plain = ["1", "2", "3", "4"];
        let utf16 = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            [&[0xff, 0xfe][..], &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()].concat()
        };
        for (bytes, class, is_guessed) in [
            (annotation("<?xml version='1.0' encoding='gb2312'?>", b"\xc3\xa8", plain), "猫", false),
            (annotation("<?xml version=\"1.0\" encoding=\"latin-1\"?>", b"caf\xe9", plain), "café", false),
            (annotation("\u{FEFF}<?xml version=\"1.0\"?>", "café".as_bytes(), plain), "café", false),
            (utf16(annotation("", "café".as_bytes(), plain)), "café", false),
            (annotation("", b"caf\xe9", plain), "café", true),
            (annotation("<!DOCTYPE annotation>", b"cat", plain), "cat", false),
            (annotation("<!DOCTYPE annotation [<!ELEMENT annotation ANY>]>", b"cat", plain), "cat", false),
        ] {
            let (text, guessed) = decode(&bytes);
            let parsed = parse(&text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!((parsed.boxes[0].class.as_str(), guessed.is_some()), (class, is_guessed), "{text}");
        }
        let entities = annotation("<!DOCTYPE a [<!ENTITY x 'y'>]>", b"&x;", plain);
        assert!(matches!(parse(&decode(&entities).0), Err(Unusable::Broken(reason)) if reason.contains("entities")));
    }

    #[test]
    fn odd_boxes_are_read_or_told() {
        for (corners, expected, remark) in [
            (["9.5", "1", "3e1", "4"], Some([9.5, 1.0, 30.0, 4.0]), None),
            (["9,5", "1", "30", "4"], Some([9.5, 1.0, 30.0, 4.0]), Some("comma")),
            (["30", "4", "9", "1"], Some([9.0, 1.0, 30.0, 4.0]), Some("swapped")),
            (["", "", "", ""], None, Some("left out")),
            (["1", "2", "NaN", "4"], None, Some("left out")),
        ] {
            let text = String::from_utf8(annotation("", b"cat", corners)).unwrap();
            let parsed = parse(&text.replace("annotation>", "Annotation>")).unwrap();
            let found = parsed.boxes.first().map(|found| [found.left, found.top, found.right, found.bottom]);
            assert_eq!(found, expected, "{corners:?}");
            assert_eq!(parsed.remarks.len(), usize::from(remark.is_some()), "{:?}", parsed.remarks);
            assert!(remark.is_none_or(|remark| parsed.remarks[0].0.contains(remark)), "{:?}", parsed.remarks);
        }
        assert_eq!(parse("<labels/>"), Err(Unusable::Foreign("labels".into())));
        assert_eq!(parse(" \n"), Err(Unusable::Broken("it is empty".into())));
    }
}
