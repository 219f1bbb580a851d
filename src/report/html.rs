//! The page around a report, and everything that goes from data into HTML.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, Render, html};

use crate::event::plural;

/// The policy in it forbids every request.
const HEAD: &str = include_str!("head.html");
const STYLE: &str = include_str!("style.css");

/// Characters of a path and of a reason that a page shows.
pub const LONGEST_PATH: usize = 200;
pub const LONGEST_REASON: usize = 400;

/// Larger pictures are left out: a page stays bounded whoever makes its thumbnails.
const MOST_PICTURE_BYTES: usize = 32 * 1024;

/// What stands for a number that is not known.
pub const UNKNOWN: &str = "–";

/// Text for HTML, between tags as well as in quoted attributes.
///
/// Control characters, which file names may hold, become their Unicode pictures: a line break in a name is seen.
pub struct Text<'a>(pub &'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(visible(other))?,
            }
        }
        Ok(())
    }
}

impl Render for Text<'_> {
    fn render_to(&self, buffer: &mut String) {
        // Writing to a string cannot fail.
        let _ = write!(buffer, "{self}");
    }
}

/// A control character's picture, and any other character itself.
pub fn visible(character: char) -> char {
    match character {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

/// `text` as a JSON string that may stand within `<script>`: nothing in it ends the script or begins a comment.
pub fn json_string(text: &str) -> String {
    let visible: String = text.chars().map(visible).collect();
    let json = serde_json::Value::from(visible).to_string();
    let escape = |json: String, of: char| json.replace(of, &format!("\\u{:04x}", u32::from(of)));
    ['<', '>', '&', '\''].into_iter().fold(json, escape)
}

/// The end of `text` with an ellipsis before it, at most `most` characters in all: of a path, the end tells most.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().rev().nth(most.saturating_sub(1)) {
        Some((start, _)) if start > 0 => {
            let tail: String = text[start..].chars().skip(1).collect();
            Cow::Owned(format!("…{tail}"))
        }
        _ => Cow::Borrowed(text),
    }
}

/// The file's name within `path`.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path)
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `jpeg` if a page may hold it.
pub fn bounded_picture(jpeg: Option<Vec<u8>>) -> Option<Vec<u8>> {
    jpeg.filter(|bytes| !bytes.is_empty() && bytes.len() <= MOST_PICTURE_BYTES)
}

/// A picture, or two side by side, with their file's name and `value`, plain text, below. `id` is that of the first.
pub fn picture_tile(path: &str, jpegs: &[impl AsRef<[u8]>], id: Option<String>, value: &str) -> Markup {
    let path = shortened(path, LONGEST_PATH);
    html! {
        li class=[(jpegs.len() > 1).then_some("pair")] {
            figure title=(Text(&path)) {
                div.frame {
                    @if jpegs.is_empty() {
                        span.missing { "no picture" }
                    }
                    @for (number, jpeg) in jpegs.iter().enumerate() {
                        img id=[id.as_ref().filter(|_| number == 0)] src={ "data:image/jpeg;base64," (base64(jpeg.as_ref())) } alt=(Text(&path)) decoding="async";
                    }
                }
                figcaption {
                    span.name { (Text(file_name(&path))) }
                    span.value { (value) }
                }
            }
        }
    }
}

/// A part of a page that links lead to.
pub struct Section {
    id: &'static str,
    /// What links call it.
    name: &'static str,
    content: Markup,
}

impl Section {
    /// A section whose heading is its name.
    pub fn titled(id: &'static str, name: &'static str, content: Markup) -> Section {
        let content = html! {
            section id=(id) aria-labelledby={ (id) "-title" } {
                h2 id={ (id) "-title" } { (name) }
                (content)
            }
        };
        Section { id, name, content }
    }

    /// A section that has one sentence to say, under another heading.
    pub fn note(id: &'static str, name: &'static str, heading: &str, note: &str, content: Markup) -> Section {
        let content = html! {
            section id=(id) { h2 { (heading) } p.note { (note) } (content) }
        };
        Section { id, name, content }
    }
}

/// What a page is made of.
pub struct Page<'a> {
    /// What made it, in one or two words.
    pub kind: &'a str,
    /// Plain text.
    pub title: &'a str,
    /// One sentence below the title, plain text.
    pub lead: &'a str,
    /// Headline numbers: what each counts, and its value.
    pub figures: Vec<(&'static str, String)>,
    /// In order; those that are none are left out.
    pub sections: Vec<Option<Section>>,
    /// The script at the end, if the page needs one.
    pub script: Option<&'a str>,
}

impl Page<'_> {
    /// The whole page.
    pub fn html(&self) -> String {
        let title = shortened(self.title, LONGEST_PATH);
        let sections: Vec<&Section> = self.sections.iter().flatten().collect();
        let page = html! {
            (PreEscaped("<!doctype html>\n"))
            html lang="en" {
                head {
                    (PreEscaped(HEAD))
                    title { (Text(&title)) " · " (self.kind) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        p.kind { (self.kind) }
                        h1 { (Text(&title)) }
                        p.lead { (Text(self.lead)) }
                        dl.figures {
                            @for (name, value) in &self.figures { div { dt { (name) } dd { (Text(value)) } } }
                        }
                        @if sections.len() > 1 {
                            nav aria-label="Sections" {
                                @for section in &sections { a href={ "#" (section.id) } { (section.name) } "\n" }
                            }
                        }
                    }
                    main { @for section in &sections { (section.content) "\n" } }
                    footer {
                        "Made by deepcut " (env!("CARGO_PKG_VERSION")) ". This page is complete in itself and loads nothing."
                    }
                    @if let Some(script) = self.script { script { (PreEscaped(script)) } }
                }
            }
        };
        page.into_string() + "\n"
    }
}

/// A sentence of the library with a capital and a full stop, what stands in backticks as code.
pub fn sentence(text: &str) -> Markup {
    let mut characters = text.chars();
    let capital: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    let whole = format!("{capital}{}.", characters.as_str());
    html! {
        @for (index, part) in whole.split('`').enumerate() {
            @if index % 2 == 1 { code { (Text(part)) } } @else { (Text(part)) }
        }
    }
}

/// A count with its digits in threes.
pub fn whole(count: u64) -> String {
    in_threes(&count.to_string())
}

fn in_threes(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A count of things, in the plural where it is not one.
pub fn counted(count: u64, name: &str) -> String {
    format!("{} {}", whole(count), plural(count, name))
}

/// A number with `decimals`, a true minus, and a dash for what is not a number.
pub fn decimal(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return UNKNOWN.to_string();
    }
    let text = format!("{:.decimals$}", value.abs());
    let is_zero = text.chars().all(|character| matches!(character, '0' | '.'));
    let minus = if value < 0.0 && !is_zero { "\u{2212}" } else { "" };
    match text.split_once('.') {
        Some((digits, fraction)) => format!("{minus}{}.{fraction}", in_threes(digits)),
        None => format!("{minus}{}", in_threes(&text)),
    }
}

/// About four significant digits, with a power of ten for very large and very small numbers.
pub fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || value == 0.0 {
        return decimal(value, 0);
    }
    if !(1e-4..1e6).contains(&magnitude) {
        let text = format!("{value:.3e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{mantissa}·10^{exponent}").replace('-', "\u{2212}");
    }
    let decimals = (3 - magnitude.log10().floor() as i32).clamp(0, 7) as usize;
    decimal(value, decimals)
}

/// A fraction in per cent.
pub fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{}\u{202f}%", decimal(100.0 * fraction, 1)) } else { UNKNOWN.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_becomes_markup() {
        let cases = [
            ("<img src=x onerror=alert(1)>.jpg", "&lt;img src=x onerror=alert(1)&gt;.jpg"),
            ("\"quotes' & ampersands\".jpg", "&quot;quotes&#39; &amp; ampersands&quot;.jpg"),
            ("&lt;", "&amp;lt;"),
            ("line\nbreak\0\u{7f}", "line␊break␀␡"),
            ("naïve 名前 \u{fffd}", "naïve 名前 \u{fffd}"),
        ];
        for (name, expected) in cases {
            assert_eq!(Text(name).to_string(), expected);
        }
    }

    #[test]
    fn a_json_string_cannot_leave_its_script_and_reads_back() {
        let name = "</script><!--<script>\\ \"'&\u{2028}\u{2029}\u{1}名";
        let json = json_string(name);
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{1}']));
        let read: String = serde_json::from_str(&json).unwrap();
        assert_eq!(read, "</script><!--<script>\\ \"'&\u{fffd}\u{fffd}␁名");
    }

    #[test]
    fn long_paths_keep_their_end() {
        for (text, most, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 4, "…def"),
            ("名前前前", 3, "…前前"),
            ("", 3, ""),
            ("ab", 1, "…"),
            ("ab", 0, "…"),
        ] {
            assert_eq!(shortened(text, most), expected);
        }
        assert_eq!(
            [file_name("a/b.jpg"), file_name("b.jpg"), file_name("a/"), file_name("")],
            ["b.jpg", "b.jpg", "a/", ""]
        );
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [whole(0), whole(999), whole(44_000), whole(1_234_567)],
            ["0", "999", "44\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        let cases = [
            (0.0, "0"),
            (-0.12345, "−0.1235"),
            (-12345.6, "−12\u{202f}346"),
            (1234.56, "1\u{202f}235"),
            (3.0, "3.000"),
            (-2.5e9, "−2.500·10^9"),
            (1e-7, "1.000·10^−7"),
            (f64::NAN, "–"),
            (f64::NEG_INFINITY, "–"),
        ];
        for (value, expected) in cases {
            assert_eq!(significant(value), expected);
        }
        assert_eq!(decimal(-0.001, 1), "0.0");
        assert_eq!([percent(0.1234), percent(f64::NAN)], ["12.3\u{202f}%", "–"]);
    }

    #[test]
    fn oversized_pictures_are_left_out() {
        assert!(bounded_picture(Some(vec![0; MOST_PICTURE_BYTES])).is_some());
        assert!(bounded_picture(Some(vec![0; MOST_PICTURE_BYTES + 1])).is_none());
        assert!(bounded_picture(Some(Vec::new())).is_none());
    }
}
