//! The JSON itself, with the fields that are used, read as Python would.

use std::path::Path;

use serde::Deserialize;

use super::values::{Atom, Entries, Object, Shape};
use crate::dataset::text::decode_text;
use crate::dataset::truth::{TruthError, read_bytes};

/// The annotations of all of COCO's training images have 450 MiB.
const MAX_MEBIBYTES: u64 = 4096;

#[derive(Deserialize)]
pub struct File {
    #[serde(default)]
    pub images: Entries<Object<ImageEntry>>,
    #[serde(default)]
    pub annotations: Entries<Object<Annotation>>,
    #[serde(default)]
    pub categories: Entries<Object<Category>>,
}

#[derive(Deserialize)]
pub struct ImageEntry {
    #[serde(default)]
    pub id: Atom,
    #[serde(default)]
    pub file_name: Atom,
    #[serde(default)]
    pub coco_url: Atom,
    #[serde(default)]
    pub width: Atom,
    #[serde(default)]
    pub height: Atom,
}

#[derive(Deserialize)]
pub struct Category {
    #[serde(default)]
    pub id: Atom,
    #[serde(default)]
    pub keypoints: Entries<Atom>,
}

#[derive(Deserialize)]
pub struct Annotation {
    #[serde(default)]
    pub id: Atom,
    #[serde(default)]
    pub image_id: Atom,
    #[serde(default)]
    pub category_id: Atom,
    #[serde(default)]
    pub iscrowd: Atom,
    #[serde(default)]
    pub area: Atom,
    #[serde(default)]
    pub bbox: Shape,
    #[serde(default)]
    pub segmentation: Shape,
    #[serde(default)]
    pub keypoints: Shape,
}

/// Reads a file that holds one object with images and annotations.
pub fn read(path: &Path) -> Result<File, TruthError> {
    // In place where it is UTF-8: such files are large.
    let text = match String::from_utf8(read_bytes(path, MAX_MEBIBYTES)?) {
        Ok(text) if !text.starts_with('\u{FEFF}') => text,
        Ok(text) => text.trim_start_matches('\u{FEFF}').to_string(),
        Err(error) => decode_text(error.as_bytes(), None).0,
    };
    if text.trim_start().starts_with('[') {
        let reason = "it is a list, as results are for pycocotools, not annotations (an object with the lists images, \
                      annotations and categories); give the file of annotations that the results belong to";
        return Err(TruthError::NothingAnnotated { path: path.to_path_buf(), reason: reason.into() });
    }
    let text = without_infinite_numbers(text);
    let broken = |error: serde_json::Error| TruthError::malformed(path, format!("it is no COCO annotation ({error})"));
    let file: File = serde_json::from_str(&text).map_err(broken)?;
    if file.images.0.is_empty() {
        return Err(TruthError::malformed(path, "it is no COCO annotation (it lists no images)"));
    }
    Ok(file)
}

/// `NaN`, `Infinity` and `-Infinity`, which Python writes and JSON does not know, as `null`.
fn without_infinite_numbers(text: String) -> String {
    const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    if !text.contains(WORDS[0]) && !text.contains(WORDS[2]) {
        return text;
    }
    let mut kept = String::with_capacity(text.len());
    let (mut rest, mut is_quoted) = (text.as_str(), false);
    while let Some(place) = rest.find(['"', '\\', 'N', 'I', '-']) {
        let (before, after) = rest.split_at(place);
        kept.push_str(before);
        let length = match (after.as_bytes()[0], is_quoted) {
            // The character behind it is none of those looked for, unless it is one byte long.
            (b'\\', _) => 2.min(after.len()),
            (b'"', _) => {
                is_quoted = !is_quoted;
                1
            }
            (_, false) => match WORDS.iter().find(|word| after.starts_with(**word)) {
                Some(word) => {
                    kept.push_str("null");
                    rest = &after[word.len()..];
                    continue;
                }
                None => 1,
            },
            _ => 1,
        };
        let length = if after.is_char_boundary(length) { length } else { 1 };
        kept.push_str(&after[..length]);
        rest = &after[length..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_numbers_are_nothing_outside_of_texts() {
        for (text, expected) in [
            (r#"{"a":NaN,"b":[-Infinity,Infinity,-1,1e-5]}"#, r#"{"a":null,"b":[null,null,-1,1e-5]}"#),
            (r#"{"NaN -Infinity":"é\\","x":NaN}"#, r#"{"NaN -Infinity":"é\\","x":null}"#),
            (r#"["\u00e9 \" NaN", NaN]"#, r#"["\u00e9 \" NaN", null]"#),
            (r#"["\é NaN", Infinity"#, r#"["\é NaN", null"#),
            (r#"["Infinity\"#, r#"["Infinity\"#),
        ] {
            assert_eq!(without_infinite_numbers(text.to_string()), expected);
        }
    }

    #[test]
    fn every_field_may_be_of_any_kind() {
        let values =
            ["null", "true", "7", "7.0", "-1e300", "\"x\"", "[]", "[1,[2,[null]],{}]", "{\"counts\":[1,\"2\"]}"];
        for value in values {
            let text = format!(
                r#"{{"id":{value},"image_id":{value},"category_id":{value},"iscrowd":{value},"area":{value},
                   "bbox":{value},"segmentation":{value},"keypoints":{value},"other":{value}}}"#
            );
            let read: Result<Object<Annotation>, _> = serde_json::from_str(&text);
            assert!(read.is_ok_and(|object| object.0.is_some()), "{value}");
            let lists: Result<File, _> =
                serde_json::from_str(&format!(r#"{{"images":{value},"annotations":[{value}],"categories":{value}}}"#));
            assert!(lists.is_ok(), "{value}");
        }
    }
}
