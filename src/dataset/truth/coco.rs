//! COCO's JSON: boxes, masks (polygons and runs) and key-points.
//!
//! Files are read as Python and COCO's own tools read them, and beyond: numbers may be texts, identifiers texts or numbers
//! with a point, a crowd whatever is true, a polygon one list of numbers or a list of pairs. What has no meaning is left out
//! and told with the annotation's id, and so is what was taken in another way than it stands there.
//!
//! Key-points may also come in the simple form that some animal data sets have: a list of \[x, y, visible\] per
//! annotation instead of one flat list of numbers.

mod file;
mod segment;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::notes::Notes;
use super::{Annotated, Truth, TruthError, name_key, plain_path};
use crate::dataset::ordinary_components;
use crate::raster::{Mask, RunLengthMask, mask_from_polygons};
use file::{Annotation, Category};
use segment::{Segment, size_of_runs};
use values::{Id, Object, Shape};

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
    /// Of the image, where the file tells it.
    size: Option<(usize, usize)>,
    objects: Vec<Segment>,
    crowds: Vec<Segment>,
}

/// The segments of one image, drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnMasks {
    /// The union of the objects, 1 inside.
    pub foreground: Mask,
    /// The union of the crowds without the objects, 1 inside.
    pub void: Mask,
    /// Objects that are drawn.
    pub objects: usize,
    /// What cannot be drawn, and why: one sentence each.
    pub left_out: Vec<String>,
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
    size: Option<(usize, usize)>,
    annotations: Vec<InstanceEntry>,
}

#[derive(Debug, Clone, PartialEq)]
struct InstanceEntry {
    category: Option<Id>,
    segment: Segment,
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

/// What an annotation gave.
enum Used {
    Object,
    Crowd,
    /// Its category is needed and not in the file's list.
    Homeless,
}

/// What was noted while an annotation was read: sentences that are true of it.
type Remarks = Vec<&'static str>;

/// The boxes of every image; those of crowds are left out. Images without annotations have none.
pub fn boxes(path: &Path) -> Result<Truth<Vec<CocoBox>>, TruthError> {
    gather(path, |annotation, found: &mut Vec<CocoBox>, _, _| {
        let numbers = match &annotation.bbox {
            Shape::Flat(numbers) => <[f64; 4]>::try_from(numbers.as_slice()).ok(),
            _ => None,
        };
        let [x, y, width, height] = numbers
            .filter(|numbers| numbers.iter().all(|number| number.is_finite()))
            .filter(|[_, _, width, height]| *width >= 0.0 && *height >= 0.0)
            .ok_or(
                "left out, for the bbox is not four numbers x, y, width, height, of which the sides are not negative",
            )?;
        if annotation.iscrowd.is_true() {
            return Ok(Used::Crowd);
        }
        found.push(CocoBox { x, y, width, height });
        Ok(Used::Object)
    })
}

/// The masks of every image; crowds are kept apart from objects.
pub fn masks(path: &Path) -> Result<Truth<CocoMasks>, TruthError> {
    let gathered = gather(path, |annotation, found: &mut (Vec<Segment>, Vec<Segment>), _, remarks| {
        let segment = Segment::read(annotation, remarks)?;
        if annotation.iscrowd.is_true() {
            found.1.push(segment);
            return Ok(Used::Crowd);
        }
        found.0.push(segment);
        Ok(Used::Object)
    })?;
    Ok(with_size(gathered, |(objects, crowds), size| CocoMasks { size, objects, crowds }))
}

/// The objects and crowds of every image one by one, by category and within it in the file's order. Images without
/// annotations have none.
pub fn instances(path: &Path) -> Result<Truth<CocoInstances>, TruthError> {
    let gathered = gather(path, |annotation, found: &mut Vec<InstanceEntry>, _, remarks| {
        let (area_px, is_crowd) = (annotation.area.number(), annotation.iscrowd.is_true());
        found.push(InstanceEntry {
            category: annotation.category_id.id(),
            segment: Segment::read(annotation, remarks)?,
            area_px: area_px.is_finite().then_some(area_px),
            is_crowd,
        });
        Ok(if is_crowd { Used::Crowd } else { Used::Object })
    })?;
    Ok(with_size(gathered, |mut annotations: Vec<InstanceEntry>, size| {
        // The order in which COCO's own tool goes through them, which decides between equal overlaps.
        annotations.sort_by(|a, b| a.category.cmp(&b.category));
        CocoInstances { size, annotations }
    }))
}

/// The labelled key-points of every image, all its annotations together. A point is named by its category's list, so
/// categories may share names; an annotation of an unknown category has no names and is left out with a remark.
pub fn key_points(path: &Path) -> Result<Truth<Vec<KeyPoint>>, TruthError> {
    gather(path, |annotation, found: &mut Vec<KeyPoint>, category: Option<&Category>, _| {
        let Some(category) = category else { return Ok(Used::Homeless) };
        let numbers = match &annotation.keypoints {
            Shape::Flat(numbers) if numbers.len() % 3 == 0 => numbers.clone(),
            Shape::Lists(parts) if parts.iter().all(|part| part.numbers.len() == 3) => {
                parts.iter().flat_map(|part| part.numbers.iter().copied()).collect()
            }
            _ => return Err("left out, for the keypoints are not three numbers x, y, visible for each point"),
        };
        let (triples, names) = (numbers.as_chunks::<3>().0, &category.keypoints.0);
        if triples.len() > names.len() {
            return Err("left out, for there are more keypoints than the category names");
        }
        for (name, &[x, y, visible]) in names.iter().zip(triples) {
            if visible > 0.0 && x.is_finite() && y.is_finite() {
                found.push(KeyPoint { name: name.text().unwrap_or_default().to_string(), x, y });
            }
        }
        Ok(Used::Object)
    })
}

impl CocoMasks {
    /// Whether there is any object.
    pub fn has_objects(&self) -> bool {
        !self.objects.is_empty()
    }

    /// Width and height, from the image's entry or from the first runs.
    pub fn size(&self) -> Option<(usize, usize)> {
        self.size.or_else(|| size_of_runs(self.objects.iter().chain(&self.crowds)))
    }

    /// Draws everything, in `otherwise` (width, height) where the file does not tell the image's size. The error says what
    /// is wrong with the size.
    pub fn draw(&self, otherwise: (usize, usize)) -> Result<DrawnMasks, String> {
        let (width, height) = self.size().unwrap_or(otherwise);
        let empty = mask_from_polygons(&[], width, height).map_err(|error| error.to_string())?;
        let mut drawn = DrawnMasks { foreground: empty.clone(), void: empty, objects: 0, left_out: Vec::new() };
        for (segments, is_object) in [(&self.objects, true), (&self.crowds, false)] {
            for segment in segments {
                match segment.draw(width, height) {
                    Ok(mask) => {
                        let union = if is_object { &mut drawn.foreground } else { &mut drawn.void };
                        union.values.iter_mut().zip(mask.values).for_each(|(sum, inside)| *sum |= inside);
                        drawn.objects += usize::from(is_object);
                    }
                    Err(reason) => drawn.left_out.push(reason),
                }
            }
        }
        for (void, &inside) in drawn.void.values.iter_mut().zip(&drawn.foreground.values) {
            *void &= 1 - inside;
        }
        Ok(drawn)
    }
}

impl CocoInstances {
    /// Width and height, from the image's entry or from the first runs.
    pub fn size(&self) -> Option<(usize, usize)> {
        self.size.or_else(|| size_of_runs(self.annotations.iter().map(|entry| &entry.segment)))
    }

    /// Draws all of them, as [`CocoMasks::draw`] does, and says what cannot be drawn and why.
    pub fn draw(&self, otherwise: (usize, usize)) -> (Vec<CocoInstance>, Vec<String>) {
        let (width, height) = self.size().unwrap_or(otherwise);
        let (mut drawn, mut left_out) = (Vec::new(), Vec::new());
        for entry in &self.annotations {
            match entry.segment.draw(width, height) {
                Ok(mask) => {
                    let mask = RunLengthMask::encode(&mask, |inside| inside > 0);
                    let area_px = entry.area_px.unwrap_or(mask.area_px() as f64);
                    drawn.push(CocoInstance { mask, area_px, is_crowd: entry.is_crowd });
                }
                Err(reason) => left_out.push(reason),
            }
        }
        (drawn, left_out)
    }
}

/// Brings in the size of every image.
fn with_size<C, T>(gathered: Truth<C>, content: impl Fn(C, Option<(usize, usize)>) -> T) -> Truth<T> {
    let sized = |Annotated { key, file, size, content: found }: Annotated<C>| Annotated {
        key,
        file,
        size,
        content: content(found, size),
    };
    let Truth { images, remarks, left_out } = gathered;
    Truth { images: images.into_iter().map(sized).collect(), remarks, left_out }
}

/// The name without `.` and `..`, as [`name_key`] has it, but with its extension.
fn plain_name(name: &str) -> String {
    ordinary_components(Path::new(name)).filter_map(|part| part.to_str()).collect::<Vec<_>>().join("/")
}

impl Annotation {
    /// What it is called in messages.
    fn name(&self) -> String {
        self.id.id().map_or("an annotation without id".to_string(), |id| format!("annotation {id}"))
    }
}

/// The images of a file, those of one file name together.
struct Images<T> {
    annotated: Vec<Annotated<T>>,
    by_id: HashMap<Id, usize>,
}

fn list_images<T: Default>(entries: Vec<Object<file::ImageEntry>>, notes: &mut Notes) -> Images<T> {
    let mut images = Images { annotated: Vec::with_capacity(entries.len()), by_id: HashMap::new() };
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (number, Object(entry)) in entries.into_iter().enumerate() {
        let named = entry.as_ref().and_then(|entry| {
            Some((entry.id.id()?, entry.file_name.text().or(entry.coco_url.text()).filter(|name| !name.is_empty())?))
        });
        let (Some((id, name)), Some(entry)) = (named, &entry) else {
            notes.add("images left out, for they have no id or no file_name", || format!("entry {number} of images"));
            continue;
        };
        let address = name.contains("://").then(|| plain_path(name));
        let name = address.as_deref().unwrap_or(name);
        let file = plain_name(name);
        let size = entry.width.length().zip(entry.height.length());
        let place = *by_name.entry(file.clone()).or_insert(images.annotated.len());
        match images.annotated.get_mut(place) {
            Some(same) => {
                notes.add("images that are listed more than once; their annotations are taken together", || file);
                same.size = same.size.or(size);
            }
            None => {
                let key = name_key(name);
                images.annotated.push(Annotated { key, file: Some(file), size, content: T::default() });
            }
        }
        if *images.by_id.entry(id.clone()).or_insert(place) != place {
            notes.add("ids that several images have; their annotations belong to the first", || id.to_string());
        }
    }
    images
}

/// Reads the file and calls `add` for every annotation of a known image, with its category where that is known; `add` says
/// what it was, or why it is left out. Without a single object that could be used there is nothing to compare with.
fn gather<T: Default>(
    path: &Path,
    mut add: impl FnMut(&mut Annotation, &mut T, Option<&Category>, &mut Remarks) -> Result<Used, &'static str>,
) -> Result<Truth<T>, TruthError> {
    let file = file::read(path)?;
    let mut notes = Notes::default();
    let categories: BTreeMap<Id, Category> = file
        .categories
        .0
        .into_iter()
        .filter_map(|Object(category)| category.and_then(|it| Some((it.id.id()?, it))))
        .collect();
    let mut images: Images<T> = list_images(file.images.0, &mut notes);
    let (count, mut objects, mut crowds) = (file.annotations.0.len(), 0, 0);
    for (number, Object(annotation)) in file.annotations.0.into_iter().enumerate() {
        let Some(mut annotation) = annotation else {
            notes.add("left out, for they are no objects of JSON", || format!("entry {number} of annotations"));
            continue;
        };
        let id = annotation.id.id();
        let name =
            || id.as_ref().map_or_else(|| format!("entry {number} of annotations"), |id| format!("annotation {id}"));
        let place = annotation.image_id.id().and_then(|id| images.by_id.get(&id).copied());
        let Some(image) = place.and_then(|place| images.annotated.get_mut(place)) else {
            let image = annotation.image_id.id().map_or("none".to_string(), |id| id.to_string());
            notes.add("left out, for their images are not in the file", || format!("{} (image id {image})", name()));
            continue;
        };
        let class = annotation.category_id.id();
        let category = class.as_ref().and_then(|id| categories.get(id));
        let mut remarks = Remarks::new();
        let used = add(&mut annotation, &mut image.content, category, &mut remarks);
        remarks.into_iter().for_each(|remark| notes.add(remark, name));
        let with_class =
            || format!("{} (category {})", name(), class.as_ref().map_or("none".to_string(), Id::to_string));
        match used {
            Err(reason) => {
                notes.add(reason, name);
                continue;
            }
            Ok(Used::Homeless) => {
                notes.add("left out, for their classes are not in the file's list of categories", with_class);
                continue;
            }
            Ok(Used::Object) => objects += 1,
            Ok(Used::Crowd) => crowds += 1,
        }
        if category.is_none() && !categories.is_empty() {
            notes.add("counted, though their classes are not in the file's list of categories", with_class);
        }
    }
    if objects == 0 {
        let reason = match (count, crowds) {
            (0, _) => "it has no annotations".to_string(),
            (_, 0) => format!("none of its annotations can be used ({})", notes.example().unwrap_or_default()),
            _ if crowds == count => {
                "all annotations are crowds, which count nowhere; iscrowd = 0 marks objects".to_string()
            }
            _ => format!(
                "its annotations are crowds, which count nowhere, or left out ({})",
                notes.example().unwrap_or_default()
            ),
        };
        return Err(TruthError::NothingAnnotated { path: path.to_path_buf(), reason });
    }
    Ok(Truth::new(path, images.annotated, notes.remarks(path), Vec::new()))
}
