//! Files of the project that must agree with each other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = project().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

/// The value of the first line `KEY = "…"`.
fn value<'a>(toml: &'a str, key: &str) -> &'a str {
    let line = toml.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).unwrap();
    line.trim_matches('"')
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    let documents = [".", "benches", "checkpoints", "docs"].iter().flat_map(|folder| files(folder));
    for document in documents.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&document).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            if !document.parent().unwrap().join(link).exists() {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn continuous_integration_checks_the_oldest_supported_compiler() {
    let oldest = read("Cargo.toml");
    let oldest = value(&oldest, "rust-version");
    assert!(read(".github/workflows/ci.yml").contains(&format!("toolchain: \"{oldest}\"")), "{oldest}");
}

#[test]
fn every_test_file_belongs_to_a_program() {
    for program in ["house", "numerics", "program"] {
        let main = read(format!("tests/{program}/main.rs"));
        let modules: BTreeSet<&str> =
            main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
        let files = files(&format!("tests/{program}"));
        let stems: BTreeSet<&str> = files.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
        assert_eq!(
            stems.into_iter().filter(|stem| *stem != "main").collect::<BTreeSet<_>>(),
            modules,
            "tests/{program}"
        );
    }
    assert!(files("tests").is_empty(), "{:?} belong to no test program", files("tests"));
}

#[test]
fn every_hostile_format_has_a_fuzz_target_and_a_test() {
    let (manifest, house) = (read("fuzz/Cargo.toml"), read("tests/house/hostile_bytes.rs"));
    let targets = read("fuzz/targets.rs");
    let names: Vec<&str> = targets.split("\npub fn ").skip(1).filter_map(|rest| rest.split('(').next()).collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "fuzz/Cargo.toml lacks {name}");
        assert!(read(format!("fuzz/fuzz_targets/{name}.rs")).contains(&format!("targets::{name}(bytes)")), "{name}");
        assert!(house.contains(&format!("targets::{name},")), "tests/house/hostile_bytes.rs lacks {name}");
    }
}
