//! Text in whatever encoding its writers had.

use encoding_rs::{Encoding, WINDOWS_1252};

/// The text, and the encoding where it was guessed.
///
/// A byte order mark decides (UTF-8, UTF-16), then the label that the file declares; without either it is UTF-8 if it can
/// be, and otherwise taken for windows-1252, in which every byte is a character.
pub(super) fn decode_text(bytes: &[u8], declared: Option<&str>) -> (String, Option<&'static str>) {
    let decode = |encoding: &'static Encoding, bytes| encoding.decode_without_bom_handling(bytes).0.into_owned();
    if let Some((encoding, length)) = Encoding::for_bom(bytes) {
        return (decode(encoding, &bytes[length..]), None);
    }
    if let Some(encoding) = declared.and_then(|label| Encoding::for_label(label.as_bytes())) {
        return (decode(encoding, bytes), None);
    }
    match str::from_utf8(bytes) {
        Ok(text) => (text.to_string(), None),
        Err(_) => (decode(WINDOWS_1252, bytes), Some(WINDOWS_1252.name())),
    }
}
