//! Boxes in Pascal VOC's XML: one file per image.

use std::path::Path;

use roxmltree::{Document, Node};

use super::{Annotated, Truth, TruthError, files_below, image_key, read_text};

/// Annotations of one image are small.
const MAX_MEBIBYTES: u64 = 16;

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
