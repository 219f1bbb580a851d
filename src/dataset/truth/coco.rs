//! COCO's JSON: boxes, masks (polygons and runs) and key-points.
//!
//! Key-points may also come in the simple form that some animal data sets have: a list of \[x, y, visible\] per
//! annotation instead of one flat list of numbers.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Annotated, Truth, TruthError, name_key, read_text};
use crate::dataset::ordinary_components;
use crate::raster::{Mask, RunLengthMask, mask_from_polygons};

/// The annotations of all of COCO's training images have 450 MiB.
const MAX_MEBIBYTES: u64 = 4096;

/// Remarks that are written out one by one; more of the same kind are only counted.
const REMARKS: usize = 5;

const WITHOUT_SEGMENTATION: &str = "has no segmentation of polygons or runs";

/// A box as COCO has it, in continuous coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CocoBox {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// The segments of one image: runs and polygons, not drawn yet.
#[derive(Debug, Clone, PartialEq)]
pub struct CocoMasks {
    width: usize,
    height: usize,
    objects: Vec<Segmentation>,
    crowds: Vec<Segmentation>,
}

/// An object or a crowd of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct CocoInstance {
    pub mask: RunLengthMask,
    /// As the file has it, which is not always the mask's own.
    pub area_px: f64,
    pub is_crowd: bool,
}

/// The objects and crowds of one image by themselves: runs and polygons, not drawn yet.
#[derive(Debug, Clone, PartialEq)]
pub struct CocoInstances {
    pub width: usize,
    pub height: usize,
    annotations: Vec<InstanceEntry>,
}

#[derive(Debug, Clone, PartialEq)]
struct InstanceEntry {
    category_id: Option<u64>,
    segmentation: Segmentation,
    area_px: Option<f64>,
    is_crowd: bool,
}

/// A key-point that is there: labelled, whether it is seen or hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPoint {
    pub name: String,
    /// Continuous coordinates: the pixel (i, j) covers [i, i + 1) × [j, j + 1).
    pub x: f64,
    pub y: f64,
}

#[derive(Deserialize)]
struct File {
    images: Vec<ImageEntry>,
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct ImageEntry {
    id: u64,
    file_name: String,
    width: Option<usize>,
    height: Option<usize>,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    #[serde(default)]
    keypoints: Vec<String>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    #[serde(default)]
    category_id: Option<u64>,
    #[serde(default)]
    iscrowd: u8,
    #[serde(default)]
    area: Option<f64>,
    #[serde(default)]
    bbox: Option<Vec<f64>>,
    #[serde(default)]
    segmentation: Option<Segmentation>,
    #[serde(default)]
    keypoints: Option<KeyPoints>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Segmentation {
    Polygons(Vec<Vec<f64>>),
    Runs { size: [usize; 2], counts: Counts },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Counts {
    Lengths(Vec<u64>),
    Compressed(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum KeyPoints {
    /// x₀, y₀, visible₀, x₁, …
    Flat(Vec<f64>),
    Triples(Vec<[f64; 3]>),
}

/// The boxes of every image; those of crowds are left out. Images without annotations have none.
pub fn boxes(path: &Path) -> Result<Truth<Vec<CocoBox>>, TruthError> {
    gather(path, |annotation, found: &mut Vec<CocoBox>, _| {
        let numbers = annotation.bbox.as_deref().and_then(|numbers| <[f64; 4]>::try_from(numbers).ok());
        let [x, y, width, height] = numbers
            .filter(|[_, _, width, height]| *width >= 0.0 && *height >= 0.0)
            .ok_or("has no bbox of four numbers x, y, width, height")?;
        if annotation.iscrowd == 0 {
            found.push(CocoBox { x, y, width, height });
        }
        Ok(true)
    })
}

/// The masks of every image; crowds are kept apart from objects.
pub fn masks(path: &Path) -> Result<Truth<CocoMasks>, TruthError> {
    let gathered = gather(path, |annotation, found: &mut (Vec<Segmentation>, Vec<Segmentation>), _| {
        let segmentation = annotation.segmentation.take().ok_or(WITHOUT_SEGMENTATION)?;
        if annotation.iscrowd == 0 {
            found.0.push(segmentation)
        } else {
            found.1.push(segmentation)
        }
        Ok(true)
    })?;
    sized(path, gathered, |(objects, crowds), width, height| CocoMasks { width, height, objects, crowds })
}

/// The objects and crowds of every image one by one, by category and within it in the file's order. Images without
/// annotations have none.
pub fn instances(path: &Path) -> Result<Truth<CocoInstances>, TruthError> {
    let gathered = gather(path, |annotation, found: &mut Vec<InstanceEntry>, _| {
        found.push(InstanceEntry {
            category_id: annotation.category_id,
            segmentation: annotation.segmentation.take().ok_or(WITHOUT_SEGMENTATION)?,
            area_px: annotation.area,
            is_crowd: annotation.iscrowd > 0,
        });
        Ok(true)
    })?;
    sized(path, gathered, |mut annotations, width, height| {
        // The order in which COCO's own tool goes through them, which decides between equal overlaps.
        annotations.sort_by_key(|entry| entry.category_id);
        CocoInstances { width, height, annotations }
    })
}

/// The labelled key-points of every image, all its annotations together. A point is named by its category's list, so
/// categories may share names; an annotation of an unknown category has no names and is left out with a remark.
pub fn key_points(path: &Path) -> Result<Truth<Vec<KeyPoint>>, TruthError> {
    gather(path, |annotation, found: &mut Vec<KeyPoint>, category: Option<&Category>| {
        let Some(category) = category else { return Ok(false) };
        let triples = match annotation.keypoints.take() {
            None => return Err("has no keypoints".into()),
            Some(KeyPoints::Triples(triples)) => triples,
            Some(KeyPoints::Flat(numbers)) if numbers.len() % 3 == 0 => numbers.as_chunks::<3>().0.to_vec(),
            Some(KeyPoints::Flat(numbers)) => return Err(format!("has {} numbers as keypoints", numbers.len())),
        };
        if triples.len() > category.keypoints.len() {
            return Err(format!(
                "has {} keypoints, its category {} names {}",
                triples.len(),
                category.id,
                category.keypoints.len()
            ));
        }
        for (name, [x, y, visible]) in category.keypoints.iter().zip(triples) {
            if visible > 0.0 {
                found.push(KeyPoint { name: name.clone(), x, y });
            }
        }
        Ok(true)
    })
}

impl CocoMasks {
    /// Whether there is any object.
    pub fn has_objects(&self) -> bool {
        !self.objects.is_empty()
    }

    /// Draws the union of the objects, and that of the crowds without the objects: (foreground, void), 1 inside. The
    /// error says what is wrong.
    pub fn draw(&self) -> Result<(Mask, Mask), String> {
        let foreground = self.union(&self.objects)?;
        let mut void = self.union(&self.crowds)?;
        for (void, &inside) in void.values.iter_mut().zip(&foreground.values) {
            *void &= 1 - inside;
        }
        Ok((foreground, void))
    }

    fn union(&self, parts: &[Segmentation]) -> Result<Mask, String> {
        let &CocoMasks { width, height, .. } = self;
        let mut union = mask_from_polygons(&[], width, height).map_err(|error| error.to_string())?;
        for part in parts {
            let mask = part.draw(width, height)?;
            union.values.iter_mut().zip(mask.values).for_each(|(sum, inside)| *sum |= inside);
        }
        Ok(union)
    }
}

impl CocoInstances {
    /// Draws all of them. The error says what is wrong.
    pub fn draw(&self) -> Result<Vec<CocoInstance>, String> {
        let draw = |entry: &InstanceEntry| {
            let mask = RunLengthMask::encode(&entry.segmentation.draw(self.width, self.height)?, |inside| inside > 0);
            let area_px = entry.area_px.unwrap_or(mask.area_px() as f64);
            Ok(CocoInstance { mask, area_px, is_crowd: entry.is_crowd })
        };
        self.annotations.iter().map(draw).collect()
    }
}

impl Segmentation {
    /// The mask of an image of this size, 1 inside.
    fn draw(&self, width: usize, height: usize) -> Result<Mask, String> {
        match self {
            Segmentation::Polygons(polygons) => {
                mask_from_polygons(polygons, width, height).map_err(|error| error.to_string())
            }
            Segmentation::Runs { size, .. } if *size != [height, width] => {
                Err(format!("runs of {}x{} in an image of {width}x{height}", size[1], size[0]))
            }
            Segmentation::Runs { counts, .. } => match counts {
                Counts::Lengths(lengths) => RunLengthMask::from_counts(width, height, lengths),
                Counts::Compressed(text) => RunLengthMask::from_compressed(width, height, text),
            }
            .map(|mask| mask.decode())
            .map_err(|error| error.to_string()),
        }
    }
}

/// Brings in the size of every image, without which nothing can be drawn.
fn sized<C, T>(
    path: &Path,
    gathered: Truth<C>,
    content: impl Fn(C, usize, usize) -> T,
) -> Result<Truth<T>, TruthError> {
    let sized = |image: Annotated<C>| {
        let (width, height) = image
            .size
            .ok_or_else(|| TruthError::malformed(path, format!("the image {} has no width and height", image.key)))?;
        Ok(Annotated {
            key: image.key,
            file: image.file,
            size: image.size,
            content: content(image.content, width, height),
        })
    };
    let images = gathered.images.into_iter().map(sized).collect::<Result<_, TruthError>>()?;
    Ok(Truth { images, remarks: gathered.remarks })
}

/// The name without `.` and `..`, as [`name_key`] has it, but with its extension.
fn plain_name(name: &str) -> String {
    ordinary_components(Path::new(name)).filter_map(|part| part.to_str()).collect::<Vec<_>>().join("/")
}

/// Reads the file and calls `add` for every annotation of a known image, with its category where that is known; `add` says
/// whether it could use the annotation.
fn gather<T: Default>(
    path: &Path,
    mut add: impl FnMut(&mut Annotation, &mut T, Option<&Category>) -> Result<bool, String>,
) -> Result<Truth<T>, TruthError> {
    let text = read_text(path, MAX_MEBIBYTES)?;
    let file: File = serde_json::from_str(&text)
        .map_err(|error| TruthError::malformed(path, format!("it is no COCO annotation ({error})")))?;
    let categories: BTreeMap<u64, &Category> = file.categories.iter().map(|category| (category.id, category)).collect();
    let mut contents: BTreeMap<u64, T> = file.images.iter().map(|image| (image.id, T::default())).collect();
    if contents.len() < file.images.len() {
        return Err(TruthError::malformed(path, "two of its images have the same id"));
    }
    let (mut homeless, mut unknown_classes, mut unused) = (Vec::new(), Vec::new(), Vec::new());
    for (number, mut annotation) in file.annotations.into_iter().enumerate() {
        let Some(content) = contents.get_mut(&annotation.image_id) else {
            homeless.push(format!("annotation {number} (image id {})", annotation.image_id));
            continue;
        };
        let category = annotation.category_id.and_then(|id| categories.get(&id).copied());
        let used = add(&mut annotation, content, category)
            .map_err(|reason| TruthError::malformed(path, format!("annotation {number} {reason}")))?;
        if category.is_none() && (!categories.is_empty() || !used) {
            let class = annotation.category_id.map_or("none".to_string(), |id| id.to_string());
            let list = if used { &mut unknown_classes } else { &mut unused };
            list.push(format!("annotation {number} (category {class})"));
        }
    }
    let mut remarks = Vec::new();
    let mut remark = |list: &[String], what: &str| {
        if !list.is_empty() {
            let more = if list.len() > REMARKS { format!(" and {} more", list.len() - REMARKS) } else { String::new() };
            let some = list[..list.len().min(REMARKS)].join(", ");
            remarks.push(format!("{}: {what}: {some}{more}", path.display()));
        }
    };
    remark(&homeless, "left out, for their images are not in the file");
    remark(&unknown_classes, "counted, though their classes are not in the file's list of categories");
    remark(&unused, "left out, for their classes are not in the file's list of categories");
    let annotated = |image: ImageEntry| Annotated {
        key: name_key(&image.file_name),
        file: Some(plain_name(&image.file_name)),
        size: image.width.zip(image.height).filter(|&(width, height)| width > 0 && height > 0),
        content: contents.remove(&image.id).unwrap_or_default(),
    };
    Truth::new(path, file.images.into_iter().map(annotated).collect(), remarks)
}
