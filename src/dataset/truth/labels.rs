//! Classes of images in a CSV file.

use std::path::Path;

use super::{TruthError, read_text};

/// No table of labels is larger.
const MAX_MEBIBYTES: u64 = 1024;
/// Names that the column with the images' names usually has; otherwise it is the first.
const USUAL: [&str; 7] = ["path", "image", "file", "filename", "file_name", "name", "id"];

/// Reads image names and classes from a CSV file (RFC 4180) whose first line names the columns.
///
/// `column` names the column with the classes; without it the file must have two columns, and the classes are in the one
/// that does not name images. Names are in the first column called path, image, file, filename, file_name, name or id,
/// or else in the first one; they are given as they stand there. Rows with an empty class are left out.
pub fn labels(path: &Path, column: Option<&str>) -> Result<Vec<(String, String)>, TruthError> {
    let text = read_text(path, MAX_MEBIBYTES)?;
    let mut rows = parse(text.trim_start_matches('\u{FEFF}')).map_err(|reason| TruthError::malformed(path, reason))?;
    if rows.is_empty() {
        return Err(TruthError::malformed(path, "it is empty"));
    }
    let header = rows.remove(0);
    let place = |name: &str| header.iter().position(|title| title.trim() == name);
    let no_column =
        |problem: String| TruthError::NoColumn { path: path.to_path_buf(), problem, columns: header.join(", ") };
    let usual = || USUAL.iter().find_map(|usual| header.iter().position(|title| title.eq_ignore_ascii_case(usual)));
    let (names, classes) = match column {
        Some(column) => {
            let classes = place(column).ok_or_else(|| no_column(format!("no column {column}")))?;
            (usual().filter(|names| *names != classes).unwrap_or(usize::from(classes == 0)), classes)
        }
        None if header.len() == 2 => {
            let names = usual().unwrap_or(0);
            (names, 1 - names)
        }
        None => return Err(no_column("no two columns, of which one would be the classes".into())),
    };
    if names >= header.len() {
        return Err(no_column("no column with the images' names".into()));
    }
    let mut found = Vec::with_capacity(rows.len());
    for (index, row) in rows.into_iter().enumerate() {
        if row.len() != header.len() {
            let reason = format!("row {} has {} fields, its header {}", index + 2, row.len(), header.len());
            return Err(TruthError::malformed(path, reason));
        }
        let (name, class) = (row[names].trim(), row[classes].trim());
        if !name.is_empty() && !class.is_empty() {
            found.push((name.to_string(), class.to_string()));
        }
    }
    Ok(found)
}

/// The fields of every row; blank lines do not count.
fn parse(text: &str) -> Result<Vec<Vec<String>>, &'static str> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted && characters.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
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

    fn read(text: &str, column: Option<&str>) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, text).unwrap();
        labels(&path, column).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_classes_are_found() {
        let pairs = |pairs: &[(&str, &str)]| Ok(pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect());
        for (text, column, expected) in [
            ("id,kind\n1,cat\n2,dog\n", None, pairs(&[("1", "cat"), ("2", "dog")])),
            ("kind,id\r\ncat,1\r\n\r\n,2\r\n", None, pairs(&[("1", "cat")])),
            ("\u{FEFF}a,b,c\nx,\"y, \"\"z\"\"\",w\n", Some("b"), pairs(&[("x", "y, \"z\"")])),
            ("kind,a\ncat,1\n", Some("kind"), pairs(&[("1", "cat")])),
            ("id,kind\n\"a\nb\",cat", None, pairs(&[("a\nb", "cat")])),
        ] {
            assert_eq!(read(text, column), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, column, expected) in [
            ("", None, "empty"),
            ("id,kind\n1,cat\n", Some("colour"), "id, kind"),
            ("id,kind,c\n1,cat,x\n", None, "`label_column`"),
            ("id,kind\n1\n", None, "row 2 has 1 fields"),
            ("id,kind\n1,\"cat\n", None, "does not end"),
            ("kind\ncat\n", Some("kind"), "kind"),
        ] {
            let error = read(text, column).unwrap_err();
            assert!(error.contains(expected) && error.contains("labels.csv"), "{text}: {error}");
        }
    }
}
