//! Boxes in Pascal VOC's XML: one file per image.

use std::path::Path;

use roxmltree::{Document, Node};

use super::{Annotated, Truth, TruthError, files_below, image_key, read_text};

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

/// The objects of every XML file below `root`; the image has the file's name. Objects marked difficult or truncated are
/// among them, the boxes of their parts are not.
pub fn boxes(root: &Path) -> Result<Truth<Vec<VocBox>>, TruthError> {
    let read = |relative: &std::path::PathBuf| {
        let path = root.join(relative);
        let (size, content) =
            parse(&read_text(&path, MAX_MEBIBYTES)?).map_err(|reason| TruthError::malformed(&path, reason))?;
        Ok(Annotated { key: image_key(relative), file: None, size, content })
    };
    let images = files_below(root, "xml")?.iter().map(read).collect::<Result<Vec<_>, TruthError>>()?;
    Truth::new(root, images, Vec::new())
}

type SizeAndBoxes = (Option<(usize, usize)>, Vec<VocBox>);

/// The size of the image and its objects; the error says what is wrong with the text.
fn parse(text: &str) -> Result<SizeAndBoxes, String> {
    check_shape(text)?;
    let document = Document::parse(text).map_err(|error| format!("it is no XML ({error})"))?;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        return Err(format!("its root is <{}>, not <annotation>", root.tag_name().name()));
    }
    let size = child(root, "size").and_then(|size| {
        let side = |name| child(size, name)?.text()?.trim().parse::<usize>().ok().filter(|&side| side > 0);
        Some((side("width")?, side("height")?))
    });
    let objects = root.children().filter(|node| node.has_tag_name("object"));
    Ok((size, objects.map(object).collect::<Result<_, _>>()?))
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

fn object(object: Node) -> Result<VocBox, String> {
    let class = child(object, "name").and_then(|name| name.text()).unwrap_or("").trim().to_string();
    let corners = child(object, "bndbox").ok_or_else(|| format!("the object {class:?} has no <bndbox>"))?;
    let corner = |name: &str| {
        let value = child(corners, name).and_then(|node| node.text()?.trim().parse::<f64>().ok());
        value
            .filter(|value| value.is_finite())
            .ok_or_else(|| format!("the <bndbox> of the object {class:?} has no number <{name}>"))
    };
    let [left, top, right, bottom] = [corner("xmin")?, corner("ymin")?, corner("xmax")?, corner("ymax")?];
    if right < left || bottom < top {
        return Err(format!("the <bndbox> of the object {class:?} ends before it begins"));
    }
    Ok(VocBox { class, left, top, right, bottom })
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
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
        let many = parse(&format!("<annotation{attributes}></annotation>")).unwrap_err();
        assert!(many.contains("more than 100 attributes"), "{many}");
        let deep = parse(&format!("<annotation>{deep}</annotation>")).unwrap_err();
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
        let (size, boxes) = parse(&text).unwrap();
        assert_eq!((size, boxes.len()), (Some((4, 3)), 150));
    }
}
