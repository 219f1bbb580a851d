use super::*;

fn write(root: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The relative paths of the records, and the messages of errors with the root left out, in order.
fn listing(collection: &Collection, root: &Path) -> Vec<String> {
    let root = format!("{}/", root.display());
    let text = |item: Result<Record, DatasetError>| match item {
        Ok(record) => record.relative.to_string_lossy().into_owned(),
        Err(error) => error.to_string().replace(&root, ""),
    };
    collection.records().map(text).collect()
}

#[test]
fn folders_are_walked_in_order_without_hidden_and_ignored_files() {
    let outside = tempfile::tempdir().unwrap();
    // Ignore files above the collection do not matter.
    write(outside.path(), ".gitignore", "*.jpg\n");
    let root = outside.path().join("photos");
    for name in [
        "b.JPG",
        "a/2.jpeg",
        "a/10.png",
        "a/x/1.webp",
        "a.bmp",
        "a-.gif",
        "Z.jpg",
        "é ü.jpg",
        "notes.txt",
        "c",
        "d.txt",
        ".hidden.jpg",
        ".cache/1.jpg",
        "private/1.jpg",
        "out/1.png",
        "a/skipped.jpg",
        "name.jpg/inner.png",
    ] {
        write(&root, name, "");
    }
    write(&root, ".gitignore", "private/\n");
    write(&root, ".ignore", "out\n");
    write(&root, "a/.deepcutignore", "skipped.*\n");
    let collection = open(&root).unwrap();
    let expected = [
        "Z.jpg",
        "a/10.png",
        "a/2.jpeg",
        "a/x/1.webp",
        "a-.gif",
        "a.bmp",
        "b.JPG",
        "name.jpg has the name of an image and is a folder; rename or remove it",
        "name.jpg/inner.png",
        "é ü.jpg",
    ];
    assert_eq!(listing(&collection, &root), expected);
    assert_eq!(listing(&collection, &root), expected, "a second pass");
    let first = collection.records().nth(1).unwrap().unwrap();
    assert_eq!(first.path, root.join("a/10.png"));
    assert_eq!(collection.name(), "photos");
    assert_eq!(open(&root.join("a/..")).unwrap().name(), "photos");
    assert_eq!(listing(&open(&root.join("a/x/..")).unwrap(), &root), ["10.png", "2.jpeg", "x/1.webp"]);
}

#[test]
fn a_collection_is_a_dataset_of_its_usable_records() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jpg", "a.png", "b/c.jpg"] {
        write(folder.path(), name, "");
    }
    let collection = open(folder.path()).unwrap();
    let relative: Vec<PathBuf> = Dataset::iter(&collection).map(|record| record.relative).collect();
    assert_eq!((collection.len(), relative), (3, ["a.jpg", "a.png", "b/c.jpg"].map(PathBuf::from).to_vec()));
    assert_eq!(collection.get(3), None);
    let last = burn_dataset::transform::SelectionDataset::from_indices_checked(collection, vec![2]);
    assert_eq!(last.get(0).unwrap().relative, Path::new("b/c.jpg"));
}

#[test]
fn images_of_one_stem_have_places_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jpg", "a.k/1.jpg", "a.png", "b.c.jpg", "b.d.jpg"] {
        write(folder.path(), name, "");
    }
    let collection = open(folder.path()).unwrap();
    let names: Vec<_> = collection.records().flatten().map(|record| record.output).collect();
    assert_eq!(names, ["a", "a.k/1", "a.png", "b.c", "b.d"].map(PathBuf::from));
}

#[cfg(unix)]
#[test]
fn links_and_unreadable_folders_do_not_end_the_walk() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "a/1.jpg", "");
    write(root, "z.jpg", "");
    write(root, "locked/1.jpg", "");
    write(root, "m/.ignore", "{unclosed\n");
    write(root, "m/1.jpg", "");
    symlink(root.join("z.jpg"), root.join("c.jpg")).unwrap();
    symlink(root, root.join("a/loop")).unwrap();
    symlink(root.join("nothing"), root.join("d.jpg")).unwrap();
    symlink(root.join("nothing"), root.join(".#lock.jpg")).unwrap();
    fs::set_permissions(root.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    // Permissions do not bind the superuser.
    let locked = fs::read_dir(root.join("locked")).is_err();
    let result = listing(&open(root).unwrap(), root);
    let at_open = open(&root.join("locked"));
    fs::set_permissions(root.join("locked"), fs::Permissions::from_mode(0o755)).unwrap();
    let refusal = "cannot read locked: Permission denied (os error 13); check its permissions";
    assert_eq!(&result[..2], ["a/1.jpg", "c.jpg"]);
    assert_eq!(result[2], "d.jpg is a link to nothing; mend or remove it");
    assert_eq!(result[3], if locked { refusal } else { "locked/1.jpg" });
    assert!(
        result[4].starts_with("cannot use all ignore files of") && result[4].contains("{unclosed"),
        "{}",
        result[4]
    );
    assert_eq!(&result[5..], ["m/1.jpg", "z.jpg"]);
    assert_eq!(matches!(at_open, Err(DatasetError::Unreadable { .. })), locked);
}

#[cfg(target_os = "linux")]
#[test]
fn names_need_not_be_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let names = [&b"\x80.jpg"[..], b"a\xFF b\n.jpg", b"a\xFF b\n.png"].map(OsStr::from_bytes);
    for name in names {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let records: Vec<_> = open(folder.path()).unwrap().records().map(Result::unwrap).collect();
    let outputs = [&b"a\xFF b\n"[..], b"a\xFF b\n.png", b"\x80"].map(|name| Path::new(OsStr::from_bytes(name)));
    assert_eq!(records[0].relative, Path::new(names[1]));
    assert_eq!(records.iter().map(|record| &*record.output).collect::<Vec<_>>(), outputs);
}

#[test]
fn lists_are_sorted_and_hold_every_image_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["b.jpg", "data/b.jpg", "data/sub/a.png", "other/c.jpg", "other/x.jpg"] {
        write(root, name, "");
    }
    let text = format!(
        "\u{FEFF}# my images\r\n\r\nsub/a.png\r\n  b.jpg \nb.jpg\n./b.jpg\nsub/../b.jpg\n{}\nb.png\n../other/c.jpg\n..\nno extension\n\\#1.jpg\n#2.jpg\n../b.jpg\n../data/../b.jpg\nb-2.jpg",
        root.join("data/b.jpg").display()
    );
    write(root, "data/train.lst", &text);
    let collection = open(&root.join("data/train.lst")).unwrap();
    let nameless = "line 11 of data/train.lst names no file: ..; put the path of an image there";
    let expected =
        [nameless, "#1.jpg", "b-2.jpg", "b-3.jpg", "b.jpg", "b.png", "no extension", "other/c.jpg", "sub/a.png"];
    assert_eq!(listing(&collection, root), expected);
    let records: Vec<_> = collection.records().flatten().collect();
    assert_eq!(records[2].path, root.join("data/../b.jpg"));
    assert_eq!(records[4].output, Path::new("b.png"));
    assert_eq!(collection.name(), "train");
    assert!(
        collection
            .records()
            .flatten()
            .filter(|record| ["sub", "other"].iter().any(|folder| record.relative.starts_with(folder)))
            .all(|record| record.path.exists())
    );
}

#[test]
fn what_is_no_collection_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "weights.bin", b"text\n\xFF\xFE");
    write(root, "zeros", [0; 100]);
    write(root, "long", [b'x'; 100_000]);
    write(root, "empty.txt", "");
    write(root, "one.of.PNG", "");
    for (name, expected) in [
        ("missing", "missing does not exist; check the spelling of the path"),
        (
            "weights.bin",
            "weights.bin is neither an image (jpg, png, webp, bmp, gif) nor a list of images in UTF-8 text: bytes that are no UTF-8 in line 2; ",
        ),
        (
            "zeros",
            "zeros is neither an image (jpg, png, webp, bmp, gif) nor a list of images in UTF-8 text: a zero byte in line 1; ",
        ),
        (
            "long",
            "long is neither an image (jpg, png, webp, bmp, gif) nor a list of images in UTF-8 text: too many bytes in line 1; ",
        ),
    ] {
        let message = open(&root.join(name)).unwrap_err().to_string().replace(&format!("{}/", root.display()), "");
        assert!(message.starts_with(expected), "{message}");
    }
    assert_eq!(open(&root.join("empty.txt")).unwrap().records().count(), 0);
    let one = open(&root.join("one.of.PNG")).unwrap();
    assert_eq!((one.name(), listing(&one, root)), ("one.of".to_owned(), vec!["one.of.PNG".to_owned()]));
    assert_eq!(one.records().next().unwrap().unwrap().output, Path::new("one.of"));
}
