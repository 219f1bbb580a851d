//! Braces in names, as shells expand them: `shards/{000..099}.tar`, `{train,val}.tar`.

/// More names than are meant.
const MOST: usize = 100_000;

/// The names that a pattern stands for, in its order: of `{a,b}` one with each, of `{08..11}` and `{a..e}` one with every number
/// or letter of the range, numbers as wide as they are written; `{0..9..3}` goes in steps. Other braces stay as they are.
///
/// Nothing if there are more than 100 000.
pub(super) fn expand(pattern: &str) -> Option<Vec<String>> {
    let Some((start, end, parts)) = first_braces(pattern) else { return Some(vec![pattern.to_string()]) };
    let inside = match parts {
        Parts::List(parts) => {
            let mut inside = Vec::new();
            for part in parts {
                inside.extend(expand(part)?);
            }
            inside
        }
        Parts::Range(names) => names,
    };
    let rest = expand(&pattern[end..])?;
    if inside.len().checked_mul(rest.len())? > MOST {
        return None;
    }
    let names = inside.iter().flat_map(|inside| rest.iter().map(move |rest| (inside, rest)));
    Some(names.map(|(inside, rest)| format!("{}{inside}{rest}", &pattern[..start])).collect())
}

enum Parts<'a> {
    List(Vec<&'a str>),
    Range(Vec<String>),
}

/// The first braces that stand for something: where they begin and end, and what is between them.
fn first_braces(pattern: &str) -> Option<(usize, usize, Parts<'_>)> {
    pattern.match_indices('{').find_map(|(start, _)| {
        let (mut depth, mut commas) = (0, Vec::new());
        let inside = &pattern[start + 1..];
        for (at, character) in inside.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' => {
                    let end = start + 1 + at + 1;
                    let inside = &inside[..at];
                    if commas.is_empty() {
                        return range(inside).map(|names| (start, end, Parts::Range(names)));
                    }
                    let starts = std::iter::once(0).chain(commas.iter().map(|comma| comma + 1));
                    let ends = commas.iter().copied().chain([inside.len()]);
                    let parts = starts.zip(ends).map(|(start, end)| &inside[start..end]).collect();
                    return Some((start, end, Parts::List(parts)));
                }
                ',' if depth == 0 => commas.push(at),
                _ => {}
            }
        }
        None
    })
}

/// What `first..last` or `first..last..step` stands for; nothing also of a range that is too long.
fn range(inside: &str) -> Option<Vec<String>> {
    let parts: Vec<&str> = inside.split("..").collect();
    let (&first, &last, step) = match parts.as_slice() {
        [first, last] => (first, last, 1),
        [first, last, step] => (first, last, step.parse::<i64>().ok()?.unsigned_abs().max(1)),
        _ => return None,
    };
    let letter = |text: &str| match text.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => Some(i64::from(*letter)),
        _ => None,
    };
    if let (Some(first), Some(last)) = (letter(first), letter(last)) {
        return Some(steps(first, last, step)?.map(|letter| char::from(letter as u8).to_string()).collect());
    }
    let number = |text: &str| text.parse::<i64>().ok().filter(|_| !text.starts_with('+'));
    let is_padded = |text: &str| text.len() > 1 && text.trim_start_matches('-').starts_with('0');
    let width = if is_padded(first) || is_padded(last) { first.len().max(last.len()) } else { 0 };
    let numbers = steps(number(first)?, number(last)?, step)?;
    Some(numbers.map(|number| format!("{number:0width$}")).collect())
}

/// From the first to the last number in steps, upwards or downwards; nothing if they are too many.
fn steps(first: i64, last: i64, step: u64) -> Option<impl Iterator<Item = i64>> {
    let count = (first.abs_diff(last) / step).checked_add(1).filter(|count| *count <= MOST as u64)?;
    // Never further than the last, so within the type.
    let step = i64::try_from(step).unwrap_or(i64::MAX) * if last < first { -1 } else { 1 };
    Some((0..count as i64).map(move |number| first + number * step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_expanded_as_shells_do() {
        for (pattern, expected) in [
            ("a.tar", &["a.tar"][..]),
            ("s/{08..11}.tar", &["s/08.tar", "s/09.tar", "s/10.tar", "s/11.tar"]),
            ("{8..10}", &["8", "9", "10"]),
            ("{1..-1}", &["1", "0", "-1"]),
            ("{-01..1}", &["-01", "000", "001"]),
            ("{0..9..4}{a..c..2}", &["0a", "0c", "4a", "4c", "8a", "8c"]),
            ("{train,val-{0..1},}.tar", &["train.tar", "val-0.tar", "val-1.tar", ".tar"]),
            ("{a}{b,c}", &["{a}b", "{a}c"]),
            ("{x..}{", &["{x..}{"]),
            ("{a,b", &["{a,b"]),
            ("é{ü,ö}", &["éü", "éö"]),
            ("{0..99999999999999999999}", &["{0..99999999999999999999}"]),
        ] {
            assert_eq!(expand(pattern).unwrap(), expected, "{pattern}");
        }
        assert_eq!(expand("{1..1000}{1..1000}"), None);
        assert_eq!(expand("{1..100000}").map(|names| names.len()), Some(MOST));
    }
}
