//! The container of AVIF: which bytes of a file are its picture and its opacity, and how it is turned upright.
//!
//! Sources: ISO/IEC 14496-12 (boxes) and 23008-12 (items and their properties).

use std::io::{self, Read, Seek, SeekFrom};

use image::metadata::Orientation;

use crate::pixels::decode::error::DecodeError;

/// The description of the pictures in a file is no larger.
const MOST_DESCRIPTION_BYTES: u64 = 4 << 20;
/// Boxes before the description that are passed over.
const MOST_BOXES: usize = 64;
/// Pieces of one item.
const MOST_EXTENTS: usize = 1 << 16;

/// What a file declares.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::pixels) struct Container {
    pub width: u32,
    pub height: u32,
    pub picture: Item,
    pub opacity: Option<Item>,
    /// Colours are multiplied with the opacity already.
    pub premultiplied: bool,
    pub orientation: Orientation,
    /// What says how colours follow from samples, where the container says it: the matrix (ITU-T H.273) and whether the full
    /// range is used.
    pub colour: Option<(u16, bool)>,
}

/// Where the bytes of an item are.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::pixels) struct Item {
    /// Offset and length of every piece, within the file or within the description's own data.
    extents: Vec<(u64, u64)>,
    own_data: Option<Vec<u8>>,
}

impl Item {
    /// The bytes of the item, of a file in memory.
    pub fn bytes(&self, file: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let source = self.own_data.as_deref().unwrap_or(file);
        let mut bytes = Vec::new();
        for &(offset, length) in &self.extents {
            let start = usize::try_from(offset).map_err(|_| DecodeError::Truncated)?;
            let rest = source.get(start..).ok_or(DecodeError::Truncated)?;
            let length = if length == 0 { rest.len() } else { usize::try_from(length).unwrap_or(usize::MAX) };
            let piece = rest.get(..length).ok_or(DecodeError::Truncated)?;
            if bytes.len() + piece.len() > source.len() {
                return Err(broken("its pieces overlap"));
            }
            bytes.extend_from_slice(piece);
        }
        Ok(bytes)
    }
}

/// Reads the description of a file's main picture; the error inside is that of a file which has none.
pub(in crate::pixels) fn read(file: &mut (impl Read + Seek)) -> io::Result<Result<Container, DecodeError>> {
    let mut at = 0;
    for _ in 0..MOST_BOXES {
        file.seek(SeekFrom::Start(at))?;
        let mut header = Vec::new();
        file.by_ref().take(16).read_to_end(&mut header)?;
        let Some(Head { kind, start, length }) = head(&header) else { break };
        if kind == *b"meta" {
            let payload = length.map_or(MOST_DESCRIPTION_BYTES, |length| length.saturating_sub(start));
            if payload > MOST_DESCRIPTION_BYTES {
                return Ok(Err(broken("its description has more than 4 MiB")));
            }
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(at + start))?;
            file.by_ref().take(payload).read_to_end(&mut bytes)?;
            return Ok(description(&bytes));
        }
        let Some(length) = length.filter(|&length| length >= start) else { break };
        let Some(next) = at.checked_add(length) else { break };
        at = next;
    }
    Ok(Err(DecodeError::Truncated))
}

/// How a box begins.
struct Head {
    kind: [u8; 4],
    /// Where its content starts.
    start: u64,
    /// Up to its end; none where that is the file's.
    length: Option<u64>,
}

fn head(bytes: &[u8]) -> Option<Head> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?);
    let kind = *bytes.get(4..)?.first_chunk()?;
    Some(match length {
        0 => Head { kind, start: 8, length: None },
        1 => Head { kind, start: 16, length: Some(u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?)) },
        _ => Head { kind, start: 8, length: Some(u64::from(length)) },
    })
}

/// The boxes within another; those that do not fit end them.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let Head { kind, start, length } = head(rest)?;
        let length = length.map_or(Some(rest.len()), |length| usize::try_from(length).ok())?;
        let content = rest.get(usize::try_from(start).ok()?..length)?;
        rest = &rest[length..];
        Some((kind, content))
    })
}

fn find<'a>(content: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(content).find(|(found, _)| found == kind).map(|(_, content)| content)
}

/// Numbers of a few bytes each, one after the other.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    /// The next number, of so many bytes.
    fn next(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(number.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Version and flags, with which many boxes begin.
    fn version(&mut self) -> Option<(u64, u64)> {
        Some((self.next(1)?, self.next(3)?))
    }
}

/// A property of an item.
#[derive(Debug, Clone, Copy)]
struct Property<'a> {
    kind: [u8; 4],
    content: &'a [u8],
}

fn description(meta: &[u8]) -> Result<Container, DecodeError> {
    let meta = meta.get(4..).ok_or(DecodeError::Truncated)?;
    let incomplete = || broken("its description is incomplete");
    let main = find(meta, b"pitm").and_then(main_item).ok_or_else(incomplete)?;
    match find(meta, b"iinf").and_then(|kinds| kind_of(kinds, main)) {
        Some(kind) if kind == *b"av01" => {}
        Some(kind) if kind == *b"grid" => {
            return Err(DecodeError::Unsupported { what: "a picture of several tiles".into() });
        }
        _ => return Err(DecodeError::Unsupported { what: "a picture that is not coded as AV1".into() }),
    }
    let properties = find(meta, b"iprp").ok_or_else(incomplete)?;
    let of = |item: u64| properties_of(properties, item).unwrap_or_default();
    let of_main = of(main);
    let size = of_main.iter().find(|property| property.kind == *b"ispe").ok_or_else(incomplete)?;
    let mut numbers = Numbers(size.content.get(4..).ok_or(DecodeError::Truncated)?);
    let mut side = || numbers.next(4).and_then(|side| u32::try_from(side).ok()).ok_or(DecodeError::Truncated);
    let (width, height) = (side()?, side()?);
    if of_main.iter().any(|property| property.kind == *b"clap") {
        return Err(DecodeError::Unsupported { what: "a picture of which a part is shown".into() });
    }
    let references = find(meta, b"iref").map(references).unwrap_or_default();
    let is_opacity = |&item: &u64| {
        let auxiliary = of(item).into_iter().find(|property| property.kind == *b"auxC");
        auxiliary.is_some_and(|property| property.content.windows(5).any(|text| text == b"alpha"))
    };
    let opacity = references
        .iter()
        .filter(|(kind, _, to)| kind == b"auxl" && to.contains(&main))
        .map(|&(_, from, _)| from)
        .find(is_opacity);
    let premultiplied = opacity.is_some_and(|opacity| {
        references.iter().any(|(kind, from, to)| kind == b"prem" && *from == main && to.contains(&opacity))
    });
    let places = find(meta, b"iloc").ok_or_else(incomplete)?;
    let place = |item: u64| place_of(places, item, find(meta, b"idat")).ok_or_else(incomplete);
    Ok(Container {
        width,
        height,
        picture: place(main)?,
        opacity: opacity.map(place).transpose()?,
        premultiplied,
        orientation: orientation(&of_main),
        colour: of_main.iter().find_map(colour),
    })
}

fn main_item(content: &[u8]) -> Option<u64> {
    let mut numbers = Numbers(content);
    let (version, _) = numbers.version()?;
    numbers.next(if version == 0 { 2 } else { 4 })
}

/// The kind of an item, among all.
fn kind_of(content: &[u8], item: u64) -> Option<[u8; 4]> {
    let mut numbers = Numbers(content);
    let (version, _) = numbers.version()?;
    numbers.next(if version == 0 { 2 } else { 4 })?;
    boxes(numbers.0).filter(|(kind, _)| kind == b"infe").find_map(|(_, entry)| {
        let mut numbers = Numbers(entry);
        let (version, _) = numbers.version()?;
        let found = numbers.next(if version < 3 { 2 } else { 4 })?;
        numbers.next(2)?;
        (found == item).then(|| numbers.0.first_chunk().copied())?
    })
}

/// The properties of an item, in the order in which they apply.
fn properties_of(content: &[u8], item: u64) -> Option<Vec<Property<'_>>> {
    let all: Vec<Property> = boxes(find(content, b"ipco")?).map(|(kind, content)| Property { kind, content }).collect();
    let mut numbers = Numbers(find(content, b"ipma")?);
    let (version, flags) = numbers.version()?;
    let bytes = if flags & 1 == 1 { 2 } else { 1 };
    for _ in 0..numbers.next(4)? {
        let found = numbers.next(if version == 0 { 2 } else { 4 })?;
        let count = numbers.next(1)?;
        let mut places = Vec::new();
        for _ in 0..count {
            // The highest bit says that a reader must understand the property.
            places.push(numbers.next(bytes)? & ((1 << (8 * bytes - 1)) - 1));
        }
        if found == item {
            let property = |place: u64| all.get(usize::try_from(place).ok()?.checked_sub(1)?).copied();
            return Some(places.into_iter().filter_map(property).collect());
        }
    }
    None
}

/// Every reference: its kind, from which item, and to which.
fn references(content: &[u8]) -> Vec<([u8; 4], u64, Vec<u64>)> {
    let mut numbers = Numbers(content);
    let Some((version, _)) = numbers.version() else { return Vec::new() };
    let bytes = if version == 0 { 2 } else { 4 };
    let reference = |(kind, content)| {
        let mut numbers = Numbers(content);
        let from = numbers.next(bytes)?;
        let to = (0..numbers.next(2)?).map_while(|_| numbers.next(bytes)).collect();
        Some((kind, from, to))
    };
    boxes(numbers.0).filter_map(reference).collect()
}

/// Where the bytes of an item are.
fn place_of(content: &[u8], item: u64, own_data: Option<&[u8]>) -> Option<Item> {
    let mut numbers = Numbers(content);
    let (version, _) = numbers.version()?;
    let sizes = numbers.next(2)?;
    let [offset_bytes, length_bytes, base_bytes, index_bytes] =
        [12, 8, 4, 0].map(|shift| (sizes >> shift & 0xF) as usize);
    let index_bytes = if version == 0 { 0 } else { index_bytes };
    let id_bytes = if version < 2 { 2 } else { 4 };
    for _ in 0..numbers.next(id_bytes)? {
        let found = numbers.next(id_bytes)?;
        let method = if version == 0 { 0 } else { numbers.next(2)? & 0xF };
        let elsewhere = numbers.next(2)? != 0;
        let base = numbers.next(base_bytes)?;
        let count = usize::try_from(numbers.next(2)?).ok().filter(|&count| count <= MOST_EXTENTS)?;
        let mut extents = Vec::new();
        for _ in 0..count {
            numbers.next(index_bytes)?;
            let (offset, length) = (numbers.next(offset_bytes)?, numbers.next(length_bytes)?);
            extents.push((base.checked_add(offset)?, length));
        }
        if found == item {
            let own_data = match method {
                0 if !elsewhere => None,
                1 => Some(own_data?.to_vec()),
                _ => return None,
            };
            return Some(Item { extents, own_data });
        }
    }
    None
}

/// How a picture is turned: first by quarter turns against the clock, then mirrored.
fn orientation(properties: &[Property]) -> Orientation {
    let value = |kind: &[u8; 4]| {
        let property = properties.iter().find(|property| property.kind == *kind)?;
        property.content.first().copied()
    };
    // 0 mirrors top and bottom, 1 left and right.
    match (value(b"irot").map_or(0, |turns| turns & 3), value(b"imir").map(|axis| axis & 1)) {
        (0, None) => Orientation::NoTransforms,
        (0, Some(0)) | (2, Some(1)) => Orientation::FlipVertical,
        (0, Some(_)) | (2, Some(_)) => Orientation::FlipHorizontal,
        (1, None) => Orientation::Rotate270,
        (1, Some(0)) | (3, Some(1)) => Orientation::Rotate90FlipH,
        (1, Some(_)) | (3, Some(_)) => Orientation::Rotate270FlipH,
        (2, None) => Orientation::Rotate180,
        (_, _) => Orientation::Rotate90,
    }
}

/// The matrix and range of a property that says how colours are coded.
fn colour(property: &Property) -> Option<(u16, bool)> {
    let coded = (property.kind == *b"colr").then(|| property.content.strip_prefix(b"nclx"))??;
    let mut numbers = Numbers(coded);
    // Primaries and transfer come first.
    numbers.next(4)?;
    let matrix = numbers.next(2)? as u16;
    Some((matrix, numbers.next(1)? & 0x80 != 0))
}

fn broken(reason: &str) -> DecodeError {
    DecodeError::Broken { reason: reason.to_string() }
}
