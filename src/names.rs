//! Names of files as text, the same in every table, message and page, and back.
//!
//! A name on disk need not be text. Every byte of it that is no UTF-8 is written `\xHH` with two hexadecimal digits in
//! lower case, and a `\` that stands before `x` and two such digits itself is written `\x5c`, so that no two names have one
//! text. All other names are written as they are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

/// The text of a name or of a whole path in the system's own spelling.
pub fn text(name: &OsStr) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        let valid = chunk.valid();
        for (place, character) in valid.char_indices() {
            match character {
                '\\' if escaped_byte(&valid.as_bytes()[place..]).is_some() => text.push_str("\\x5c"),
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The text of a path with `/` between its parts on every system.
pub fn portable(path: &Path) -> String {
    let part = |component: Component| match component {
        // The separator after it is its text.
        Component::RootDir => String::new(),
        other => text(other.as_os_str()),
    };
    match path.components().collect::<Vec<_>>().as_slice() {
        [Component::RootDir] => "/".into(),
        parts => parts.iter().map(|component| part(*component)).collect::<Vec<_>>().join("/"),
    }
}

/// The path that [`portable`] gives `text` for.
pub fn path(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match escaped_byte(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    native(bytes)
}

/// The name of an image as a cell of a table that spreadsheets open: what they would take for a formula has `./` before it,
/// which names the same path.
pub fn in_sheet(name: &str) -> Cow<'_, str> {
    match name.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("./{name}").into(),
        false => name.into(),
    }
}

/// The text with every `%HH` as the byte that it stands for; none where that is no UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let digit = |place: usize| char::from(*after.get(place)?).to_digit(16);
        match (first, digit(0).zip(digit(1))) {
            (b'%', Some((high, low))) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Which of `have` each of `wanted` is, where the same images are named by paths from different places: the equal one; for
/// the others that with which it has the most last parts in common, if there is one such, if it is no equal of another, and
/// if it has as many in common with no other of `wanted`. `/` and `\` both stand between parts, and capitals count.
///
/// So `C:\data\dog\1` is `photos/dog/1`, and never `photos/swan/1` as long as there is also another `1`.
pub fn tail_matches(wanted: &[&str], have: &[&str]) -> Vec<Option<usize>> {
    let [wanted, have] = [wanted, have].map(|names| names.iter().map(|name| with_slashes(name)).collect::<Vec<_>>());
    let places: HashMap<&str, usize> = have.iter().enumerate().map(|(place, name)| (&**name, place)).collect();
    let mut found: Vec<Option<usize>> = wanted.iter().map(|name| places.get(&**name).copied()).collect();
    if found.iter().all(Option::is_some) {
        return found;
    }
    let mut is_taken = vec![false; have.len()];
    found.iter().flatten().for_each(|&place| is_taken[place] = true);
    let [wanted_by_tail, have_by_tail] = [&wanted, &have].map(|names| by_tail(names));
    for (name, found) in wanted.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
        let Some((tail, &Some(place))) = tails(name).find_map(|tail| Some((tail, have_by_tail.get(tail)?))) else {
            continue;
        };
        // Seen from the other side it must be the same.
        let back = tails(&have[place]).find_map(|tail| Some((tail, wanted_by_tail.get(tail)?)));
        if !is_taken[place] && back.is_some_and(|(longest, of)| longest == tail && of.is_some()) {
            *found = Some(place);
        }
    }
    found
}

/// The name with `/` between its parts.
fn with_slashes(name: &str) -> Cow<'_, str> {
    if name.contains('\\') { name.replace('\\', "/").into() } else { name.into() }
}

/// The last parts of a path, as many as there are and down to the last one.
pub fn tails(name: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(name.match_indices('/').map(|(slash, _)| slash + 1));
    starts.map(|start| &name[start..]).filter(|tail| !tail.is_empty())
}

/// The place of the one name that ends with a tail; none if there are several.
fn by_tail<'a>(names: &'a [Cow<'_, str>]) -> HashMap<&'a str, Option<usize>> {
    let mut places = HashMap::new();
    for (place, name) in names.iter().enumerate() {
        for tail in tails(name) {
            places.entry(tail).and_modify(|known| *known = None).or_insert(Some(place));
        }
    }
    places
}

/// The byte that `\xHH` at the start of `text` stands for.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let Some(&[b'\\', b'x', high, low]) = text.first_chunk::<4>() else { return None };
    let digit = |character: u8| char::from(character).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(unix)]
fn native(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// Elsewhere names are made of Unicode: what is none in them has no way back.
#[cfg(not(unix))]
fn native(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn no_two_names_have_one_text_and_every_text_leads_back() {
        use std::collections::BTreeSet;
        use std::os::unix::ffi::OsStrExt;

        let names: [&[u8]; 14] = [
            b"a.jpg",
            b"a\xff.jpg",
            b"a\xfe.jpg",
            b"a\\xff.jpg",
            b"a\\xFF.jpg",
            b"a\\x5cxff.jpg",
            b"a\\\xff.jpg",
            b"a\\x4\xff.jpg",
            b"a\\b\\xyz.jpg",
            "a\u{fffd}.jpg".as_bytes(),
            b"\xc3\x28",
            b"\\x\xff\xfe",
            b"d\xff/e\\x00.jpg",
            b"/d/\xf0\x9f\x98",
        ];
        let texts: BTreeSet<String> = names
            .iter()
            .map(|name| {
                let written = portable(Path::new(OsStr::from_bytes(name)));
                assert_eq!(path(&written).as_os_str().as_bytes(), *name, "{written}");
                written
            })
            .collect();
        assert_eq!(texts.len(), names.len());
        for (name, expected) in [(&b"a\xff\\x5C"[..], "a\\xff\\x5cx5C"), (b"\\xg0 \\", "\\xg0 \\"), (b"/", "/")] {
            assert_eq!(portable(Path::new(OsStr::from_bytes(name))), expected);
        }
    }

    #[test]
    fn paths_from_elsewhere_match_by_their_last_parts_where_these_are_of_one_file_only() {
        type Case = (&'static [&'static str], &'static [&'static str], &'static [Option<usize>]);
        let cases: [Case; 10] = [
            (&["a", "s/b", "c"], &["c", "s/b"], &[None, Some(1), Some(0)]),
            (&["/data/x/g0.jpg", "images\\g1.jpg"], &["g1.jpg", "g0.jpg"], &[Some(1), Some(0)]),
            (&["/data/dog/1", "/data/swan/1"], &["v/swan/1", "v/dog/1"], &[Some(1), Some(0)]),
            // Frames of several videos have the same last part, whether or not another frame is taken.
            (&["dog/1", "swan/1"], &["1"], &[None, None]),
            (&["1"], &["dog/1", "swan/1"], &[None]),
            (&["dog/1", "swan/1"], &["swan/1", "cow/1"], &[None, Some(0)]),
            // What an equal name has taken is gone.
            (&["a", "x/a"], &["a"], &[Some(0), None]),
            (&["x/a/1", "a/1"], &["y/a/1"], &[None, None]),
            (&["A.jpg"], &["a.jpg"], &[None]),
            (&["x/", ""], &["x", "y/"], &[None, None]),
        ];
        for (wanted, have, expected) in cases {
            assert_eq!(tail_matches(wanted, have), expected, "{wanted:?} {have:?}");
        }
    }

    #[test]
    fn no_cell_begins_as_a_formula() {
        for (name, expected) in [("=a", "./=a"), ("\ta", "./\ta"), ("a=b", "a=b"), ("a/=b", "a/=b"), ("", "")] {
            assert_eq!(in_sheet(name), expected);
        }
    }
}
