//! Text that others wrote: its encoding, and tables in it.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// What the column with the images' names is usually called, in small letters.
pub(super) const IMAGE_COLUMNS: [&str; 9] =
    ["path", "image", "file", "filename", "file_name", "name", "image_path", "file_path", "filepath"];

/// The text of `bytes`, and the encoding that had to be guessed for it.
///
/// A byte order mark (UTF-8, UTF-16) says it; then the `declared` encoding, unless the bytes are none of it; then UTF-8 if
/// they are valid in it, and else Windows-1252, in which all bytes are characters.
pub(super) fn decode_text(bytes: &[u8], declared: Option<&str>) -> (String, Option<&'static str>) {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return (encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned(), None);
    }
    let declared = declared.and_then(|label| Encoding::for_label(label.trim().as_bytes()));
    // Text in 8-bit characters that calls itself UTF-16 is not: who has read the declaration knows.
    let declared =
        declared.filter(|encoding| encoding.is_ascii_compatible() || bytes.iter().take(4).any(|byte| *byte == 0));
    for encoding in declared.into_iter().chain([UTF_8]) {
        if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(bytes) {
            return (text.into_owned(), None);
        }
    }
    (WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(), Some("windows-1252"))
}

/// A column's title as it is compared: small letters, and `_` for spaces in it.
pub(super) fn column_name(title: &str) -> String {
    title.trim().to_lowercase().replace(' ', "_")
}

/// The column with the images' names by its title.
pub(super) fn image_column(titles: &[String]) -> Option<usize> {
    IMAGE_COLUMNS.iter().find_map(|usual| titles.iter().position(|title| column_name(title) == *usual))
}

/// What separates the fields of a table by its first line: the most frequent of comma, semicolon and tab outside of quotes.
pub(super) fn delimiter(line: &str) -> char {
    let mut counts = [(',', 0), (';', 0), ('\t', 0)];
    let mut quoted = false;
    for character in line.chars() {
        quoted ^= character == '"';
        let count = counts.iter_mut().find(|(known, _)| !quoted && *known == character);
        count.into_iter().for_each(|(_, count)| *count += 1);
    }
    // The first of equals.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(',', |(character, _)| character)
}

/// The fields of every row of a table (RFC 4180, with any delimiter); blank lines do not count.
pub(super) fn rows(text: &str, delimiter: char) -> Result<Vec<Vec<String>>, &'static str> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.trim().is_empty() => {
                field.clear();
                quoted = true;
            }
            '\r' if !quoted && characters.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other if other == delimiter && !quoted => row.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    if quoted {
        return Err("a quoted field does not end");
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows.retain(|row| row.len() > 1 || row[0].trim() != "");
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_marked_declared_or_guessed_and_a_guess_is_told() {
        let utf_16 = |big: bool, mark: bool| -> Vec<u8> {
            let units = mark.then_some(0xFEFF).into_iter().chain("é1".encode_utf16());
            units.flat_map(|unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
        };
        for (bytes, declared, guess) in [
            ("é1".as_bytes(), None, None),
            ("\u{FEFF}é1".as_bytes(), Some("latin1"), None),
            (&utf_16(false, true), None, None),
            (&utf_16(true, true), Some("utf-8"), None),
            (&utf_16(false, false), Some("utf-16"), None),
            (b"\xe91", None, Some("windows-1252")),
            (b"\xe91", Some("iso-8859-1"), None),
            (b"\xe91", Some("utf-8"), Some("windows-1252")),
            (b"\xa8\xa61", Some("gb2312"), None),
            // Declarations that cannot be true.
            ("é1".as_bytes(), Some("utf-16"), None),
            ("é1".as_bytes(), Some("nonsense"), None),
        ] {
            assert_eq!(decode_text(bytes, declared), ("é1".to_string(), guess), "{bytes:?} {declared:?}");
        }
    }

    #[test]
    fn tables_have_the_delimiter_of_their_first_line() {
        for (line, expected) in
            [("a,b", ','), ("a;b", ';'), ("a\tb", '\t'), ("a", ','), ("\"a,b,c\";d", ';'), ("a;b,c", ',')]
        {
            assert_eq!(delimiter(line), expected, "{line}");
        }
        let found = rows("a;\"b;\"\"c\"\"\"\r\n\n \"d\ne\" ;f", ';').unwrap();
        assert_eq!(found, [["a", "b;\"c\""], ["d\ne ", "f"]]);
    }
}
