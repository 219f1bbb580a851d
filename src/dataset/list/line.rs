//! What one line of a list names.

use std::path::Path;

use crate::dataset::has_image_name;
use crate::names::percent_decoded;

/// The file that a line names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub path: String,
    /// Whether the line says more, such as a label.
    pub has_more: bool,
}

/// What may stand between a path and what follows it.
const AFTER_PATH: [char; 4] = ['\t', ' ', ',', ';'];

/// The entry of a line; none for blank lines and comments.
///
/// Lines are as odd as people write them: with spaces around, quoted, as URL of a file, with the other system's separators,
/// with a label after the path. The plainest meaning counts under which `exists` knows the file; of lines that are nothing but
/// a path it is not asked.
pub(super) fn entry(line: &str, exists: &dyn Fn(&str) -> bool) -> Option<Entry> {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return None;
    }
    if let Some(name) = trimmed.strip_prefix('\\').filter(|name| name.starts_with('#')) {
        return Some(Entry { path: name.to_string(), has_more: false });
    }
    let entry = |path: &str, has_more| Some(Entry { path: path.to_string(), has_more });
    let short = before_more(trimmed);
    if line == trimmed && short.is_none() && is_plain(trimmed) {
        return entry(trimmed, false);
    }
    let quoted = in_quotes(trimmed);
    let columns = trimmed.split_once('\t').map(|(first, _)| first.trim_end());
    // Hardly a file has the name of an image, a tab and more: not worth looking for it.
    let is_row = |short: &&str| columns == Some(*short) && quoted.is_none() && !short.starts_with('#');
    if let Some(short) = short.filter(is_row) {
        return entry(&path(short, exists), true);
    }
    let before_space = trimmed.rsplit_once(' ').map(|(before, _)| before.trim_end());
    let meanings = [
        (line != trimmed).then_some((line, false)),
        Some((trimmed, false)),
        quoted,
        short.map(|short| (short, true)),
        columns.map(|first| (first, true)),
        before_space.map(|before| (before, true)),
    ];
    let found = meanings.into_iter().flatten().find_map(|(text, has_more)| Some((named(text, exists)?, has_more)));
    if let Some((path, has_more)) = found {
        return entry(&path, has_more);
    }
    if trimmed.starts_with('#') {
        return None;
    }
    // None of them exists: the one that was meant most likely, to be named as missing.
    let meant = quoted.or(short.or(columns).map(|short| (short, true))).unwrap_or((trimmed, false));
    entry(&usual(meant.0), meant.1)
}

/// The path that a text stands for which is nothing but a path: as it is, or as it is usually meant.
pub(super) fn path(text: &str, exists: &dyn Fn(&str) -> bool) -> String {
    let usual = usual(text);
    if usual == text || exists(text) { text.to_string() } else { usual }
}

/// The spelling of a text under which there is a file.
fn named(text: &str, exists: &dyn Fn(&str) -> bool) -> Option<String> {
    let usual = usual(text);
    if !text.is_empty() && exists(text) {
        return Some(text.to_string());
    }
    (usual != text && exists(&usual)).then_some(usual)
}

/// A URL of a file as its path, and other systems' separators as this one's.
fn usual(text: &str) -> String {
    if let Some(path) = of_url(text) {
        return path;
    }
    if std::path::MAIN_SEPARATOR == '/' { text.replace('\\', "/") } else { text.to_string() }
}

/// Whether a text is a path and no more at first sight.
fn is_plain(text: &str) -> bool {
    let is_foreign = std::path::MAIN_SEPARATOR == '/' && text.contains('\\');
    let is_odd = is_foreign || text.starts_with(['#', '"', '\'']) || text.contains('\t') || scheme(text).is_some();
    !is_odd && (has_image_name(Path::new(text)) || !text.contains(' '))
}

/// What comes before the first separator that follows an image's extension.
fn before_more(text: &str) -> Option<&str> {
    let mut shorter = text.match_indices(AFTER_PATH).map(|(at, _)| &text[..at]);
    shorter.find(|shorter| has_image_name(Path::new(shorter)))
}

/// What stands in the quotes with which a text begins, and whether anything follows them.
fn in_quotes(text: &str) -> Option<(&str, bool)> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let (inside, rest) = text[1..].split_once(quote)?;
    Some((inside, !rest.is_empty()))
}

/// What follows `file:`.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    (scheme.eq_ignore_ascii_case("file") && rest.starts_with('/')).then_some(rest)
}

/// The path of a `file:` URL, its percent signs decoded.
fn of_url(text: &str) -> Option<String> {
    let rest = scheme(text)?;
    // Which machine it lies on can only be this one.
    let path = match rest.strip_prefix("//") {
        Some(rest) => &rest[rest.find('/')?..],
        None => rest,
    };
    let path = percent_decoded(path)?;
    // `/C:/…` is `C:/…`.
    let drive = path.strip_prefix('/').filter(|rest| cfg!(windows) && rest.get(1..2) == Some(":"));
    Some(drive.map(str::to_string).unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn odd_lines_name_the_file_that_exists_and_plain_ones_are_not_looked_up() {
        let files = [
            "a.jpg",
            "#1.jpg",
            " b.jpg",
            "c d",
            "é ü.jpg",
            "e\\f.jpg",
            "g/h.jpg",
            "it's.jpg",
            "j,k.jpg",
            "l.jpg 2.jpg",
            "m.jpg\tn",
            "/x y/a.jpg",
            "o.jpg 1",
        ];
        let asked = Cell::new(0);
        let exists = |path: &str| {
            asked.set(asked.get() + 1);
            files.contains(&path)
        };
        for (line, expected, has_more) in [
            ("#1.jpg", "#1.jpg", false),
            ("#1.jpg 3", "#1.jpg", true),
            ("\\#1.jpg", "#1.jpg", false),
            (" b.jpg", " b.jpg", false),
            ("  a.jpg ", "a.jpg", false),
            ("a.jpg\t0", "a.jpg", true),
            ("a.jpg\ta label\tmore", "a.jpg", true),
            ("a.jpg 0", "a.jpg", true),
            ("a.jpg,0", "a.jpg", true),
            ("a.jpg g/h.jpg", "a.jpg", true),
            ("c d", "c d", false),
            ("c d 7", "c d", true),
            ("c d\t7", "c d", true),
            ("l.jpg 2.jpg", "l.jpg 2.jpg", false),
            ("o.jpg 1", "o.jpg 1", false),
            ("\"a.jpg\"", "a.jpg", false),
            ("'a.jpg'", "a.jpg", false),
            ("\"j,k.jpg\",0", "j,k.jpg", true),
            ("\"..\\g\\h.jpg\"", "../g/h.jpg", false),
            ("file:///x%20y/a.jpg", "/x y/a.jpg", false),
            ("FILE://localhost/x%20y/a.jpg", "/x y/a.jpg", false),
            ("file:/x%20y/a.jpg 1", "/x y/a.jpg", true),
            // What is missing is called by what was meant.
            ("missing.jpg 0", "missing.jpg", true),
            ("missing\t0", "missing", true),
            ("no extension", "no extension", false),
        ] {
            assert_eq!(entry(line, &exists), Some(Entry { path: expected.into(), has_more }), "{line:?}");
        }
        if cfg!(unix) {
            for (line, expected) in [("e\\f.jpg", "e\\f.jpg"), ("g\\h.jpg", "g/h.jpg"), ("C:\\i.jpg", "C:/i.jpg")] {
                assert_eq!(entry(line, &exists), Some(Entry { path: expected.into(), has_more: false }), "{line:?}");
            }
        }
        for line in ["", " \t", "# a comment.jpg", "# it is a.jpg\tb", "#"] {
            assert_eq!(entry(line, &exists), None, "{line:?}");
        }
        asked.set(0);
        for plain in ["../x/é ü.jpg", "missing.png", "it's.jpg", "j,k.jpg", "a [1].JPG", "00017", "a.jpg\t0"] {
            assert!(entry(plain, &exists).is_some());
        }
        assert_eq!(asked.get(), 0);
    }
}
