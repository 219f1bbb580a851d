//! Who may use whom: reads the paths in the source and holds them against the table of the house.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Rooms that anyone may use; they use only each other.
const FOUNDATIONS: [&str; 10] =
    ["error", "event", "files", "manifest", "names", "numerics", "parallel", "raster", "remote", "tensor"];

/// For every other room, the rooms it may use besides itself and the foundations.
const MAY_USE: &[(&str, &[&str])] = &[
    ("pixels", &[]),
    ("dataset", &["pixels"]),
    ("nodes", &[]),
    ("weights", &[]),
    ("features", &["nodes", "pixels", "weights"]),
    ("graph", &["nodes"]),
    ("model", &["graph"]),
    ("objective", &["graph"]),
    ("train", &["graph", "model", "objective"]),
    ("segment", &["graph", "model", "nodes", "objective", "refine", "train"]),
    ("cluster", &["graph", "metrics", "model", "nodes", "objective", "train"]),
    ("refine", &["pixels"]),
    ("metrics", &["pixels"]),
    ("output", &["pixels"]),
    (
        "config",
        &[
            "cluster",
            "dataset",
            "features",
            "graph",
            "model",
            "objective",
            "output",
            "pixels",
            "refine",
            "segment",
            "train",
        ],
    ),
    (
        "method",
        &[
            "config",
            "features",
            "graph",
            "model",
            "nodes",
            "objective",
            "output",
            "pixels",
            "refine",
            "segment",
            "train",
            "weights",
        ],
    ),
    ("results", &["dataset", "method", "output", "refine", "segment"]),
    ("evaluate", &["dataset", "metrics", "output", "pixels", "results"]),
    ("report", &["cluster", "output", "results"]),
    (
        "pipeline",
        &[
            "cluster",
            "config",
            "dataset",
            "evaluate",
            "features",
            "graph",
            "method",
            "metrics",
            "model",
            "nodes",
            "objective",
            "output",
            "pixels",
            "refine",
            "report",
            "results",
            "segment",
            "train",
            "weights",
        ],
    ),
    ("cli", &["features", "method", "parallel", "pipeline", "config", "error", "event", "names"]),
];

/// For crates that must stay in one place, the places (as beginnings of paths below `src`) that may name them.
const CONFINED: &[(&str, &[&str])] = &[
    (
        "burn",
        &["tensor/", "features/vit/", "graph/", "model/", "objective/", "train/", "segment/", "cluster/", "pipeline/"],
    ),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("anyhow", &["cli/"]),
    ("signal_hook", &["cli/"]),
    ("image", &["pixels/", "output/"]),
    ("re_rav1d", &["pixels/avif/"]),
    ("tiff", &["pixels/"]),
    ("jpeg_decoder", &["pixels/"]),
    ("jpeg_encoder", &["output/"]),
    ("fast_image_resize", &["pixels/"]),
    (
        "faer",
        &[
            "cluster/spectral.rs",
            "numerics/normalised_affinity.rs",
            "numerics/principal.rs",
            "segment/spectral.rs",
            "segment/touching.rs",
        ],
    ),
    ("gemm", &["features/vit/kernels.rs", "numerics/product.rs"]),
    ("pulp", &["segment/grapl/layers.rs"]),
    ("cudarc", &["tensor/device.rs"]),
    ("ureq", &["weights/hub/"]),
    ("object_store", &["remote/store.rs"]),
    ("tokio", &["remote/store.rs"]),
    ("rustls", &["remote/store.rs"]),
    ("sha2", &["weights/store.rs"]),
    ("csv", &["evaluate/", "pipeline/"]),
    ("maud", &["report/"]),
    ("base64", &["report/"]),
    ("roxmltree", &["dataset/truth/voc.rs"]),
    ("encoding_rs", &["dataset/"]),
    ("ignore", &["dataset/"]),
    ("tar", &["dataset/archive.rs"]),
    ("parquet", &["dataset/table/", "output/parquet_table.rs"]),
    ("ruzstd", &["dataset/table/pages.rs"]),
];

/// The only files with unsafe code.
const UNSAFE: [&str; 9] = [
    "features/vit/bfloat.rs",
    "features/vit/int8/kernels/aarch64.rs",
    "features/vit/int8/kernels/mod.rs",
    "features/vit/int8/kernels/x86.rs",
    "features/vit/kernels.rs",
    "main.rs",
    "numerics/product.rs",
    "numerics/vectorised.rs",
    "tensor/device.rs",
];

struct Source {
    /// Relative to `src`, with `/`.
    path: String,
    /// Without comments and unit tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let source = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let relative = path.strip_prefix(&root).unwrap();
        let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_str().unwrap()).collect();
        Source { path: parts.join("/"), code: without_comments_and_tests(&text) }
    };
    // Files named tests.rs are unit tests in a file of their own.
    files.into_iter().map(source).filter(|source| !source.path.ends_with("tests.rs")).collect()
}

/// The whole file but for comments and for every item under `#[cfg(test)]`, wherever it stands.
///
/// Formatted code is taken for granted: an item ends with a line that ends in `;`, or with a closing brace as far in as the
/// attribute.
fn without_comments_and_tests(text: &str) -> String {
    let mut kept = Vec::new();
    let mut lines = text.lines().map(|line| line.split("//").next().unwrap().trim_end());
    while let Some(line) = lines.next() {
        if line.trim_start() != "#[cfg(test)]" {
            kept.push(line);
            continue;
        }
        let indentation = &line[..line.len() - line.trim_start().len()];
        let closing = format!("{indentation}}}");
        let mut opened = false;
        for line in lines.by_ref() {
            opened |= line.ends_with('{');
            if line == closing || (!opened && line.ends_with(';')) {
                break;
            }
        }
    }
    kept.join("\n")
}

/// The room a file belongs to; none for `lib.rs` and `main.rs`, which only list rooms.
fn room(path: &str) -> Option<&str> {
    let first = path.split('/').next().unwrap().trim_end_matches(".rs");
    (!["lib", "main"].contains(&first)).then_some(first)
}

/// Every name that directly follows `prefix` (such as `crate::`) in the code.
fn names_after<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(prefix)
        .filter(|(start, _)| !code[..*start].ends_with(is_name))
        .map(|(start, _)| &code[start + prefix.len()..])
        .map(|rest| &rest[..rest.find(|character| !is_name(character)).unwrap_or(rest.len())])
        .collect()
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let mut problems = Vec::new();
    for source in sources() {
        let Some(room) = room(&source.path) else { continue };
        let allowed: &[&str] = match MAY_USE.iter().find(|(name, _)| *name == room) {
            Some((_, allowed)) => allowed,
            None if FOUNDATIONS.contains(&room) => &[],
            None => panic!("{}: the room {room} is not in the table", source.path),
        };
        // The program stands outside the library and sees it under its public name.
        let (prefix, foundations) = if room == "cli" { ("deepcut::", &[][..]) } else { ("crate::", &FOUNDATIONS[..]) };
        for used in names_after(&source.code, prefix) {
            if used != room && !allowed.contains(&used) && !foundations.contains(&used) {
                problems.push(format!("{} uses {used}", source.path));
            }
        }
        // `super` must not lead out of the room: only `crate::` paths are checked above.
        let depth = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
        if source.code.contains(&"super::".repeat(depth + 1)) {
            problems.push(format!("{} leaves its room through super", source.path));
        }
    }
    assert!(problems.is_empty(), "forbidden uses:\n{}", problems.join("\n"));
}

#[test]
fn crates_stay_in_their_places() {
    let mut problems = Vec::new();
    for source in sources() {
        for (name, places) in CONFINED {
            let named = !names_after(&source.code, &format!("{name}::")).is_empty();
            if named && !places.iter().any(|place| source.path.starts_with(place)) {
                problems.push(format!("{} names the crate {name}", source.path));
            }
        }
    }
    assert!(problems.is_empty(), "crates out of place:\n{}", problems.join("\n"));
}

#[test]
fn unsafe_code_stays_in_its_places_and_the_library_never_prints() {
    let mut problems = Vec::new();
    for source in sources() {
        let says_unsafe = source.code.split(|character: char| !character.is_alphanumeric() && character != '_');
        if says_unsafe.into_iter().any(|word| word == "unsafe") && !UNSAFE.contains(&source.path.as_str()) {
            problems.push(format!("{} has unsafe code", source.path));
        }
        let prints = ["println!", "print!(", "dbg!"].iter().any(|print| source.code.contains(print));
        if prints && room(&source.path) != Some("cli") {
            problems.push(format!("{} prints", source.path));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_check_sees_what_it_forbids() {
    let text = "use crate::train::x; // crate::cli\n\
                #[cfg(test)]\nmod test_pictures;\nuse crate::graph::y;\n\
                #[cfg(test)]\nmod tests {\n    use crate::output::z;\n    fn f() {\n        g();\n    }\n}\n\
                impl A {\n    #[cfg(test)]\n    fn h() {\n        crate::metrics::i();\n    }\n}\n\
                use crate::segment::j;";
    let code = without_comments_and_tests(text);
    assert_eq!(names_after(&code, "crate::").into_iter().collect::<Vec<_>>(), ["graph", "segment", "train"]);
    assert_eq!(room("features/vit/model.rs"), Some("features"));
    assert!(names_after("my_burn::x burn_flex::y", "burn::").is_empty());
}
