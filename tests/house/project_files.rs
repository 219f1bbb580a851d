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
    let documents = [".", "benches", "bindings/python", "checkpoints", "docs"].iter().flat_map(|folder| files(folder));
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

/// The names of the modules in a folder: of its files but for the one that lists them, and of its folders that have one.
fn modules_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(project().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let modules = entries.filter(|path| path.is_file() || path.join("mod.rs").is_file());
    let names = modules.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string());
    names.filter(|name| !["main", "mod"].contains(&name.as_str())).collect()
}

#[test]
fn every_test_file_belongs_to_a_program() {
    // Every folder with the file that lists its modules.
    let roots = ["house/main.rs", "numerics/main.rs", "program/main.rs", "program/torture/mod.rs"];
    for root in roots.map(|root| Path::new("tests").join(root)) {
        let (text, folder) = (read(&root), root.parent().unwrap());
        let modules: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
        let files = modules_in(folder);
        assert_eq!(files.iter().map(String::as_str).collect::<BTreeSet<_>>(), modules, "{}", folder.display());
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
