//! Classes of images in a CSV file.

use std::path::Path;

use super::{TruthError, read_bytes};
use crate::dataset::has_image_name;
use crate::dataset::text::{column_name, decode_text, delimiter, image_column, rows};

/// No table of labels is larger.
const MAX_MEBIBYTES: u64 = 1024;
/// What the column with the images' names may also be called.
const FURTHER_NAMES: [&str; 2] = ["image_id", "id"];
/// What the column with the classes is usually called, in small letters.
const CLASSES: [&str; 6] = ["label", "labels", "class", "classes", "category", "target"];

/// The classes that a file gives images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Names of images as they stand there, and their classes.
    pub rows: Vec<(String, String)>,
    /// What had to be guessed to read them: one sentence each.
    pub guesses: Vec<String>,
}

/// Reads image names and classes from a table: CSV (RFC 4180), with `;` or tabs for commas just as well, whose first line
/// names the columns; capitals and spaces around titles do not count.
///
/// `column` names the column with the classes. Without it they are in the only column called label, class or alike, or in a
/// table of two in the one that does not name images. Names are in the first column called path, image, file, filename,
/// file_name, name, image_path, file_path, filepath, image_id or id, or else in the first one. Rows with an empty class are left
/// out. Where the first line names an image (`is_image`, or the extension of one) there is no header, and `column` is a number
/// from 1.
pub fn labels(path: &Path, column: Option<&str>, is_image: &dyn Fn(&str) -> bool) -> Result<Labels, TruthError> {
    let (text, guessed) = decode_text(&read_bytes(path, MAX_MEBIBYTES)?, None);
    let empty = || TruthError::malformed(path, "it is empty");
    let first_line = text.lines().find(|line| !line.trim().is_empty()).ok_or_else(empty)?;
    let mut rows = rows(&text, delimiter(first_line)).map_err(|reason| TruthError::malformed(path, reason))?;
    let titles = rows.first().ok_or_else(empty)?;
    let header: Vec<String> = titles.iter().map(|title| title.trim().to_string()).collect();
    let mut guesses = Vec::new();
    if let Some(encoding) = guessed {
        let path = path.display();
        guesses.push(format!("{path} is no UTF-8 and was read as {encoding}; save it as UTF-8 if classes look wrong"));
    }
    let names_image = |field: &String| !field.is_empty() && (has_image_name(Path::new(field)) || is_image(field));
    let image_in_header = header.iter().position(names_image);
    let columns = match image_in_header {
        Some(names) => {
            let (path, line) = (path.display(), first_line.trim());
            guesses.push(format!(
                "{path} has no line that names its columns: its first line, {line}, was taken for an image like the others"
            ));
            columns_by_place(&header, names, column)
        }
        None => {
            rows.remove(0);
            columns_by_title(&header, column)
        }
    };
    let (names, classes) = columns.map_err(|problem| TruthError::NoColumn {
        path: path.to_path_buf(),
        problem,
        columns: header.join(", "),
    })?;
    let mut found = Vec::with_capacity(rows.len());
    for (index, row) in rows.into_iter().enumerate() {
        if row.len() != header.len() {
            let (first, number) = if image_in_header.is_some() { ("first", index + 1) } else { ("header", index + 2) };
            let reason = format!("row {number} has {} fields, its {first} {}", row.len(), header.len());
            return Err(TruthError::malformed(path, reason));
        }
        let (name, class) = (row[names].trim(), row[classes].trim());
        if !name.is_empty() && !class.is_empty() {
            found.push((name.to_string(), class.to_string()));
        }
    }
    Ok(Labels { rows: found, guesses })
}

/// The columns with the names of images and with their classes, by the titles of all columns; or why there are none.
fn columns_by_title(header: &[String], column: Option<&str>) -> Result<(usize, usize), String> {
    let titled = |title: &str| header.iter().position(|known| column_name(known) == column_name(title));
    let names = image_column(header).or_else(|| FURTHER_NAMES.iter().find_map(|name| titled(name)));
    let classes = match column {
        Some(column) => {
            let exact = header.iter().position(|title| title == column.trim());
            exact.or_else(|| titled(column)).ok_or_else(|| format!("no column {column}"))?
        }
        None => {
            let others = (0..header.len()).filter(|at| Some(*at) != names);
            let mut usual = others.filter(|at| CLASSES.contains(&column_name(&header[*at]).as_str()));
            match (usual.next(), usual.next(), header.len()) {
                (Some(classes), None, _) => classes,
                (_, _, 2) => 1 - names.unwrap_or(0),
                _ => return Err("no two columns, of which one would be the classes".into()),
            }
        }
    };
    let names = names.filter(|names| *names != classes).unwrap_or(usize::from(classes == 0));
    if names < header.len() { Ok((names, classes)) } else { Err("no column with the images' names".into()) }
}

/// The same without titles, of a row whose column `names` names an image.
fn columns_by_place(row: &[String], names: usize, column: Option<&str>) -> Result<(usize, usize), String> {
    let classes = match (column, row.len()) {
        (None, 2) => 1 - names,
        (None, _) => return Err("no line that names its columns, and not two of them".into()),
        (Some(column), columns) => {
            let number = column.trim().parse::<usize>().ok().filter(|number| (1..=columns).contains(number));
            number.ok_or_else(|| format!("no line that names its columns, of which {column} is no number"))? - 1
        }
    };
    if names == classes { Err("the images' names in the column of the classes".into()) } else { Ok((names, classes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, column: Option<&str>) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, text).unwrap();
        let found = labels(&path, column, &|name| name == "known");
        found.map(|found| found.rows).map_err(|error| error.to_string())
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
            ("filename;label\n1;a,b\n", None, pairs(&[("1", "a,b")])),
            ("label\tfilename\na\t1\n", None, pairs(&[("1", "a")])),
            (" File Name , Label \n1 , a \n", None, pairs(&[("1", "a")])),
            ("a,Kind\n1,cat\n", Some("kind"), pairs(&[("1", "cat")])),
            ("image_id,x,label\ng0.jpg,1,a\n", None, pairs(&[("g0.jpg", "a")])),
            // No header.
            ("g0.jpg,a\ng1.jpg,b\n", None, pairs(&[("g0.jpg", "a"), ("g1.jpg", "b")])),
            ("a;known\nb;unknown\n", None, pairs(&[("known", "a"), ("unknown", "b")])),
            ("g0.jpg,1,a\n", Some("3"), pairs(&[("g0.jpg", "a")])),
        ] {
            assert_eq!(read(text, column), expected, "{text}");
        }
    }

    #[test]
    fn what_is_guessed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        for (bytes, expected, class) in [
            (&b"file,label\n1,caf\xe9\n"[..], Some("windows-1252"), "café"),
            (b"1.jpg,a\n", Some("its first line, 1.jpg,a, was taken for an image"), "a"),
            (b"\xff\xfef\0i\0l\0e\0,\0x\0\n\x001\0,\0\xe9\0", None, "é"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let Labels { rows, guesses } = labels(&path, None, &|_| false).unwrap();
            assert_eq!(rows[0].1, class);
            assert_eq!(guesses.len(), usize::from(expected.is_some()));
            assert!(expected.is_none_or(|expected| guesses[0].contains(expected)), "{guesses:?}");
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
            ("g0.jpg,1,a\n", None, "`label_column`"),
            ("g0.jpg,1,a\n", Some("label"), "label is no number"),
            ("g0.jpg,a\ng1.jpg\n", None, "row 2 has 1 fields, its first 2"),
        ] {
            let error = read(text, column).unwrap_err();
            assert!(error.contains(expected) && error.contains("labels.csv"), "{text}: {error}");
        }
    }
}
