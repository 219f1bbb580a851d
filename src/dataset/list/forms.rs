//! The forms that lists of images have: lines of text, tables, JSON.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::{fmt, io};

use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::Value;

use super::line;
use crate::dataset::text::{column_name, decode_text, delimiter, image_column, rows};
use crate::dataset::{DatasetError, stored};
use crate::files;
use crate::remote::is_remote;

/// More bytes than any system's paths have: what has a longer line is no list, and need not be read into memory.
const MAX_LINE_BYTES: usize = 1 << 16;
/// Lists in UTF-16 are decoded as a whole; none is larger.
const MAX_UTF_16_BYTES: u64 = 1 << 30;
/// Of what names no file so much is shown.
const SHOWN: usize = 100;

/// How a list was read.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What its entries are counted by.
    pub unit: &'static str,
    /// Lines with more than a path.
    pub with_more: u64,
}

/// Receives the entries of a list: the number of a line or an element, and its path, or what stands there instead of one.
type Take<'a> = &'a mut dyn FnMut(usize, Result<String, String>);

/// How the lines of a list are read, once one of them has shown it.
enum Form {
    Lines,
    Table { delimiter: char, column: usize },
    Objects,
}

/// Reads the list at `path`, entry by entry in the order of the file; `exists` knows whether there is a file.
pub(super) fn read(path: &Path, exists: &dyn Fn(&str) -> bool, take: Take) -> Result<Outcome, DatasetError> {
    let unreadable = |source| DatasetError::reading(path, source);
    let not_a_list =
        |line, reason: &str| DatasetError::NotAList { path: path.to_path_buf(), line, reason: reason.into() };
    let mut reader = open(path).map_err(unreadable)?.ok_or_else(|| not_a_list(1, "bytes that are no UTF-16"))?;
    if is_array(reader.fill_buf().map_err(unreadable)?) {
        return match array(reader, exists, take) {
            Ok(()) => Ok(Outcome { unit: "element", with_more: 0 }),
            Err(error) if error.is_io() => Err(unreadable(error.into())),
            Err(error) => Err(not_a_list(error.line(), &error.to_string())),
        };
    }
    let (mut form, mut bytes, mut with_more) = (None, Vec::new(), 0);
    for number in 1.. {
        bytes.clear();
        let mut limited = reader.by_ref().take(MAX_LINE_BYTES as u64);
        if limited.read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
            break;
        }
        if bytes.len() == MAX_LINE_BYTES {
            return Err(not_a_list(number, "too many bytes"));
        }
        let text = str::from_utf8(&bytes).map_err(|_| not_a_list(number, "bytes that are no UTF-8"))?;
        if text.contains('\0') {
            return Err(not_a_list(number, "a zero byte"));
        }
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() {
            continue;
        }
        let path_of = |named: Option<&str>| named.map(|named| line::path(named, exists)).ok_or_else(|| shown(text));
        if form.is_none() {
            if text.trim().starts_with('#') && line::entry(text, exists).is_none() {
                continue;
            }
            let (found, is_header) = form_of(text, exists).map_err(|reason| not_a_list(number, reason))?;
            form = Some(found);
            if is_header {
                continue;
            }
        }
        match &form {
            None | Some(Form::Lines) => {
                if let Some(line::Entry { path, has_more }) = line::entry(text, exists) {
                    with_more += u64::from(has_more);
                    take(number, Ok(path));
                }
            }
            Some(Form::Table { delimiter, column }) => {
                let fields = rows(text, *delimiter).ok().and_then(|mut rows| rows.pop());
                let field = fields.as_ref().and_then(|fields| fields.get(*column)).map(|field| field.trim());
                take(number, path_of(field.filter(|field| !field.is_empty())));
            }
            Some(Form::Objects) => {
                let object: Option<Value> = serde_json::from_str(text).ok();
                take(number, path_of(object.as_ref().and_then(path_in)));
            }
        }
    }
    Ok(Outcome { unit: "line", with_more })
}

/// The text of a list, its byte order mark left out; none where it is marked as UTF-16 and is not.
fn open(path: &Path) -> io::Result<Option<Box<dyn BufRead>>> {
    let file: Box<dyn Read> =
        if is_remote(path) { Box::new(stored::open(path)?.0) } else { Box::new(files::open(path)?) };
    let mut reader = BufReader::new(file);
    let head = reader.fill_buf()?;
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        let (text, _) = decode_text(&files::read_rest(reader, MAX_UTF_16_BYTES, 0)?, None);
        let is_text = !text.contains(char::REPLACEMENT_CHARACTER);
        return Ok(is_text.then(|| Box::new(Cursor::new(text.into_bytes())) as Box<dyn BufRead>));
    }
    if head.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(Some(Box::new(reader)))
}

/// The form that the first line shows, and whether it is a header and no entry.
fn form_of(line: &str, exists: &dyn Fn(&str) -> bool) -> Result<(Form, bool), &'static str> {
    if exists(line) {
        return Ok((Form::Lines, false));
    }
    let trimmed = line.trim();
    if let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(trimmed) {
        path_in(&value).ok_or("an object without a path")?;
        return Ok((Form::Objects, false));
    }
    if trimmed == "{" || trimmed.starts_with("{\"") {
        return Err("JSON that is not one object");
    }
    let delimiter = delimiter(line);
    let titles = rows(line, delimiter).ok().and_then(|mut rows| rows.pop()).unwrap_or_default();
    Ok(match image_column(&titles) {
        Some(column) => (Form::Table { delimiter, column }, true),
        None => (Form::Lines, false),
    })
}

/// Whether a text begins as a JSON array of texts or objects does.
fn is_array(head: &[u8]) -> bool {
    let inside = head.trim_ascii_start().strip_prefix(b"[");
    inside.is_some_and(|inside| matches!(inside.trim_ascii_start().first(), None | Some(b'"' | b'{' | b']')))
}

/// The path that an element of a list in JSON names.
fn path_in(element: &Value) -> Option<&str> {
    let Value::Object(fields) = element else { return element.as_str() };
    let titles: Vec<String> = fields.keys().map(|key| column_name(key)).collect();
    fields.values().nth(image_column(&titles)?)?.as_str()
}

/// Reads a JSON array, element by element.
fn array(reader: impl Read, exists: &dyn Fn(&str) -> bool, take: Take) -> serde_json::Result<()> {
    struct Elements<'a> {
        exists: &'a dyn Fn(&str) -> bool,
        take: Take<'a>,
    }

    impl<'de> Visitor<'de> for Elements<'_> {
        type Value = ();

        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str("an array of paths")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
            let mut number = 0;
            while let Some(element) = elements.next_element::<Value>()? {
                number += 1;
                match path_in(&element) {
                    Some(path) => (self.take)(number, Ok(line::path(path, self.exists))),
                    None if number == 1 => return Err(serde::de::Error::custom("an element without a path")),
                    None => (self.take)(number, Err(shown(&element.to_string()))),
                }
            }
            Ok(())
        }
    }

    let mut json = serde_json::Deserializer::from_reader(reader);
    json.deserialize_seq(Elements { exists, take })?;
    json.end()
}

fn shown(text: &str) -> String {
    text.trim().chars().take(SHOWN).collect()
}
