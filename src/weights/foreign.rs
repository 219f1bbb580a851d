//! What people give in place of weights, told by how it begins, and what to do about it.

/// Why a file is not weights that can be read, if it is of a kind that is known.
pub fn reason(bytes: &[u8]) -> Option<String> {
    let is = |start: &[u8]| bytes.starts_with(start);
    let text = &bytes[..bytes.len().min(1024)];
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    let begins =
        |start: &str| text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start.as_bytes()));
    const SAVE: &str = "save the network's state dict with PyTorch or as safetensors";
    let (what, advice) = if bytes.is_empty() {
        ("empty", "fetch it again")
    } else if begins("version https://git-lfs") {
        ("a git-lfs pointer, not the file it stands for", "run `git lfs pull` beside it, or download the file itself")
    } else if ["<!doctype", "<html", "<head", "<?xml", "<!--"].iter().any(|start| begins(start)) {
        ("a web page, not a file of weights", "fetch it again by its direct link, signed in where that is asked for")
    } else if is_json(bytes, text) {
        (
            "JSON, but no index of safetensors",
            "name the file of weights, or the model.safetensors.index.json of its parts",
        )
    } else if is(b"GGUF") {
        ("a GGUF file, which holds a quantised language model or an export", SAVE)
    } else if is(b"\x89HDF\r\n\x1a\n") {
        ("an HDF5 file, as Keras writes it", SAVE)
    } else if is(b"\x93NUMPY") {
        ("one NumPy array (.npy)", SAVE)
    } else if is(&[0x08, 0x01, 0x12]) {
        ("a TensorFlow model (saved_model.pb)", SAVE)
    } else if matches!(bytes, [0x08, 3..=20, 0x12 | 0x1a | 0x22 | 0x3a | 0x42, ..]) {
        ("an ONNX model, in which the weights have lost their names", SAVE)
    } else if bytes.ends_with(&[0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb]) {
        ("the index of a TensorFlow checkpoint", SAVE)
    } else if [&b"\x1f\x8b"[..], b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c"]
        .iter()
        .any(|start| is(start))
    {
        ("compressed", "unpack it first")
    } else if bytes.get(257..262) == Some(b"ustar") {
        ("a tar archive", "unpack it and name the file of weights in it")
    } else if matches!(bytes, [0x81..=0x8f, 0xa0..=0xbf | 0xd9, ..] | [0xde, _, _, 0xa0..=0xbf | 0xd9, ..]) {
        ("a MessagePack file, as Flax writes it", SAVE)
    } else {
        return None;
    };
    Some(format!("it is {what}; {advice}"))
}

/// The same of a ZIP archive with files of these names.
pub fn reason_of_archive<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let mut arrays = false;
    for name in names {
        match name.rsplit('/').next().unwrap_or(name) {
            "constants.pkl" => {
                return Some(
                    "it is a TorchScript archive (torch.jit.save), which is a program; \
                     load it with torch.jit.load and save its state_dict() with torch.save",
                );
            }
            "model.weights.h5" => {
                return Some("it is a Keras model; save the network's state dict with PyTorch or as safetensors");
            }
            file => arrays |= file.ends_with(".npy"),
        }
    }
    arrays.then_some("it is an archive of NumPy arrays (.npz); save them as safetensors under the network's names")
}

/// Whether a file begins as JSON does. The length before a safetensors header could look like a bracket, but has zeros.
fn is_json(bytes: &[u8], text: &[u8]) -> bool {
    let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace() || *byte >= 0x80;
    matches!(text.first(), Some(b'{' | b'[')) && bytes[..bytes.len().min(8)].iter().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_of_weights_is_refused_by_what_it_is() {
        let table_end = [&[7; 40][..], &[0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb]].concat();
        let tar = [&[b'a'; 257][..], b"ustar\0"].concat();
        for (bytes, expected) in [
            (&b""[..], "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
            (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
            (b"\xef\xbb\xbf<HTML>", "a web page"),
            (b"{\"error\": \"Invalid credentials\"}", "JSON, but no index"),
            (b"GGUF\x03\0\0\0", "GGUF"),
            (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
            (b"\x93NUMPY\x01\0", "NumPy"),
            (b"\x08\x07\x12\x07pytorch\x1a\x05", "ONNX"),
            (b"\x08\x01\x12\xb0\x01", "saved_model.pb"),
            (&table_end, "TensorFlow checkpoint"),
            (b"\x1f\x8b\x08\0", "unpack"),
            (&tar, "tar archive"),
            (b"\x81\xa6params\x82", "Flax"),
        ] {
            let found = reason(bytes).unwrap_or_else(|| panic!("{expected}"));
            assert!(found.contains(expected), "{found}");
        }
        assert_eq!(reason(b"\x80\x02}q\x00."), None);
        assert_eq!(reason(b"{\x01\0\0\0\0\0\0{\"a\":"), None);
        for (names, expected) in [
            (&["m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"][..], "TorchScript"),
            (&["norm.weight.npy"], "npz"),
            (&["config.json", "model.weights.h5"], "Keras"),
        ] {
            assert!(reason_of_archive(names.iter().copied()).is_some_and(|found| found.contains(expected)));
        }
        assert_eq!(reason_of_archive(["m/data.pkl", "m/data/0"].into_iter()), None);
    }
}
