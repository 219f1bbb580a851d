//! Tables as CSV.

/// One line of a CSV file with its end (RFC 4180, with plain line ends): fields with commas, quotes or line breaks are
/// quoted.
pub fn csv_line<S: AsRef<str>>(fields: &[S]) -> String {
    let field = |text: &S| {
        let text = text.as_ref();
        if text.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_string()
        }
    };
    fields.iter().map(field).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_that_need_it_are_quoted() {
        assert_eq!(csv_line(&["a b", "a,b", "a\"b", "a\nb", ""]), "a b,\"a,b\",\"a\"\"b\",\"a\nb\",\n");
    }
}
