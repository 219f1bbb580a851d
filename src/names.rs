//! Names of files as text, the same in every table, message and page, and back.
//!
//! A name on disk need not be text. Every byte of it that is no UTF-8 is written `\xHH` with two hexadecimal digits in
//! lower case, and a `\` that stands before `x` and two such digits itself is written `\x5c`, so that no two names have one
//! text. All other names are written as they are.

use std::borrow::Cow;
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
    fn no_cell_begins_as_a_formula() {
        for (name, expected) in [("=a", "./=a"), ("\ta", "./\ta"), ("a=b", "a=b"), ("a/=b", "a/=b"), ("", "")] {
            assert_eq!(in_sheet(name), expected);
        }
    }
}
