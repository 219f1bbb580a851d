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
fn folders_are_walked_in_order_and_what_is_left_out_is_counted() {
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
        "d.tiff",
        "e.JFIF",
        ".hidden.jpg",
        ".cache/1.jpg",
        "private/1.jpg",
        "out/1.png",
        "a/skipped.jpg",
        "name.jpg/inner.png",
    ] {
        write(&root, name, "");
    }
    write(&root, "f", b"\x89PNG\r\n\x1a\n");
    write(&root, "g.txt", b"\xff\xd8\xff");
    write(&root, ".gitignore", "private/\n");
    write(&root, ".ignore", "out\n");
    write(&root, "a/.ignore", "!out\n*.webp\n");
    write(&root, "a/.deepcutignore", "skipped.*\n");
    let collection =
        open_sources(&root.as_path().into(), &SampleConfig { respect_ignore: true, ..SampleConfig::default() })
            .unwrap();
    let expected = [
        "Z.jpg",
        "a/10.png",
        "a/2.jpeg",
        "a-.gif",
        "a.bmp",
        "b.JPG",
        "d.tiff",
        "e.JFIF",
        "f",
        "g.txt",
        "name.jpg has the name of an image and is a folder; rename or remove it",
        "name.jpg/inner.png",
        "é ü.jpg",
    ];
    assert_eq!(listing(&collection, &root), expected);
    let remarks = "2 files are no images (1 without extension, 1 .txt), 2 hidden, 1 left out by .deepcutignore, 1 left out by \
                   .gitignore, 2 left out by .ignore";
    assert_eq!(collection.remarks(), [remarks]);

    let collection = open(&root).unwrap();
    let expected = [
        "Z.jpg",
        "a/10.png",
        "a/2.jpeg",
        "a/x/1.webp",
        "a-.gif",
        "a.bmp",
        "b.JPG",
        "d.tiff",
        "e.JFIF",
        "f",
        "g.txt",
        "name.jpg has the name of an image and is a folder; rename or remove it",
        "name.jpg/inner.png",
        "out/1.png",
        "private/1.jpg",
        "é ü.jpg",
    ];
    assert_eq!(listing(&collection, &root), expected);
    assert_eq!(listing(&collection, &root), expected, "a second pass");
    let remarks = "2 files are no images (1 without extension, 1 .txt), 2 hidden, 1 left out by .deepcutignore, 3 .gitignore or \
                   .ignore files do not count unless `data.respect_ignore` is set";
    assert_eq!(collection.remarks(), [remarks]);
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
    write(root, "m/.deepcutignore", "{unclosed\n2.jpg\n");
    write(root, "m/2.jpg", "");
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
    assert_eq!(&result[4..6], ["m/1.jpg", "z.jpg"]);
    assert!(
        result[6].starts_with("cannot use all ignore files of") && result[6].contains("{unclosed"),
        "{}",
        result[6]
    );
    assert_eq!(result.len(), 7);
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
    write(root, "coco.json", "{\n  \"images\": []\n}\n");
    write(root, "numbers.json", "[{\"id\": 1}]");
    write(root, "empty.txt", "");
    write(root, "one.of.PNG", "");
    write(root, "picture", b"GIF89a");
    for (name, expected) in [
        ("missing", "missing does not exist; check the spelling of the path"),
        (
            "weights.bin",
            "weights.bin is neither an image nor a list of images: bytes that are no UTF-8 in line 2; a list is text (",
        ),
        ("zeros", "zeros is neither an image nor a list of images: a zero byte in line 1; "),
        ("long", "long is neither an image nor a list of images: too many bytes in line 1; "),
        ("coco.json", "coco.json is neither an image nor a list of images: JSON that is not one object in line 1; "),
        ("numbers.json", "numbers.json is neither an image nor a list of images: an element without a path"),
    ] {
        let message = open(&root.join(name)).unwrap_err().to_string().replace(&format!("{}/", root.display()), "");
        assert!(message.starts_with(expected), "{message}");
    }
    assert_eq!(open(&root.join("empty.txt")).unwrap().records().count(), 0);
    let one = open(&root.join("one.of.PNG")).unwrap();
    assert_eq!((one.name(), listing(&one, root)), ("one.of".to_owned(), vec!["one.of.PNG".to_owned()]));
    assert_eq!(one.records().next().unwrap().unwrap().output, Path::new("one.of"));
    assert_eq!(listing(&open(&root.join("picture")).unwrap(), root), ["picture"]);
}

#[test]
fn lists_of_every_form_name_the_same_images() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["good/a b.jpg", "good/c.jpg", "lists/#1.jpg"] {
        write(root, name, "");
    }
    let utf_16 = |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
        units.flat_map(|unit: u16| unit.to_be_bytes()).collect()
    };
    let url = format!("file://{}", root.join("good").display());
    for (name, content) in [
        ("plain.txt", b"\xef\xbb\xbf../good/a b.jpg\r\n../good/c.jpg\r\n".to_vec()),
        ("utf16.txt", utf_16("../good/a b.jpg\r\n../good/c.jpg\r\n")),
        ("urls.txt", format!("{url}/a%20b.jpg\n{url}/c.jpg").into_bytes()),
        ("quoted.txt", b"\"../good/a b.jpg\"\n'../good/c.jpg'\n".to_vec()),
        ("labels.txt", b"../good/a b.jpg\ta label\n../good/c.jpg 0\n".to_vec()),
        ("titles.csv", b"# made by hand\nclass, File Name\n1,../good/a b.jpg\n\"x, y\",\"../good/c.jpg\"\n".to_vec()),
        ("titles.tsv", b"Path\tclass\n../good/a b.jpg\t\n../good/c.jpg\t1\n".to_vec()),
        ("semicolons", b"name;class\n../good/a b.jpg;1\n../good/c.jpg;1".to_vec()),
        ("no titles.csv", b"../good/a b.jpg,0\n../good/c.jpg,1\n".to_vec()),
        ("lines.jsonl", b"{\"id\": 1, \"file_name\": \"../good/a b.jpg\"}\n\n{\"path\": \"../good/c.jpg\"}\n".to_vec()),
        ("texts.json", b" [\n \"../good/a b.jpg\",\n \"../good/c.jpg\"\n]\n".to_vec()),
        ("objects.json", b"[{\"Image\": \"../good/a b.jpg\"}, {\"image\": \"../good/c.jpg\"}]".to_vec()),
        #[cfg(unix)]
        ("windows.txt", b"..\\good\\a b.jpg\r\n..\\good\\c.jpg\r\n".to_vec()),
    ] {
        write(root, &format!("lists/{name}"), content);
        let collection = open(&root.join("lists").join(name)).unwrap();
        let found: Vec<Record> = collection.records().map(Result::unwrap).collect();
        assert!(found.iter().all(|record| record.path.exists()), "{name}: {found:?}");
        let relative: Vec<_> = found.iter().map(|record| record.relative.to_str().unwrap()).collect();
        let names = if name == "urls.txt" { vec!["a b.jpg", "c.jpg"] } else { vec!["good/a b.jpg", "good/c.jpg"] };
        assert!(relative.iter().zip(&names).all(|(found, end)| found.ends_with(end)), "{name}: {relative:?}");
        assert_eq!(relative.len(), names.len(), "{name}");
        let said = collection.remarks();
        assert_eq!(said.len(), usize::from(["labels.txt", "no titles.csv"].contains(&name)), "{name}: {said:?}");
        assert!(said.iter().all(|said| said.starts_with("2 lines of")), "{said:?}");
    }
    write(root, "lists/odd.jsonl", "{\"path\": \"#1.jpg\"}\n{\"path\": 1}\nno object\n");
    let odd = [
        "line 2 of lists/odd.jsonl names no file: {\"path\": 1}; put the path of an image there",
        "line 3 of lists/odd.jsonl names no file: no object; put the path of an image there",
        "#1.jpg",
    ];
    assert_eq!(listing(&open(&root.join("lists/odd.jsonl")).unwrap(), root), odd);
    write(root, "lists/hash.txt", "# a comment\n#1.jpg\n#2.jpg\n");
    assert_eq!(listing(&open(&root.join("lists/hash.txt")).unwrap(), root), ["#1.jpg"]);
}

#[test]
fn several_sources_are_one_collection_with_places_below_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["z/in/a.jpg", "z/in/a.png", "y/in/a.jpg", "one.jpg"] {
        write(root, name, "");
    }
    write(root, "list.txt", "z/in/a.jpg\n");
    let sources: Sources = ["z/in", "y/in", "list.txt", "one.jpg"].map(|name| root.join(name)).to_vec().into();
    let collection = open_sources(&sources, &SampleConfig::default()).unwrap();
    let relative = ["in/a.jpg", "in/a.png", "in-2/a.jpg", "list/z/in/a.jpg", "one/one.jpg"];
    assert_eq!(listing(&collection, root), relative);
    let outputs: Vec<_> = collection.records().map(|record| record.unwrap().output).collect();
    assert_eq!(outputs, ["in/a", "in/a.png", "in-2/a", "list/z/in/a", "one/one"].map(PathBuf::from));
    assert_eq!(collection.name(), "in+in+list+1-more");
    assert_eq!(sources.path_of(Path::new("in-2/b.jpg")), root.join("y/in/b.jpg"));
    for [outer, inner] in [["z", "z/in"], ["z/in", "z/../z/in"], ["z", "z/in/a.jpg"]] {
        let sources: Sources = vec![root.join(inner), root.join(outer)].into();
        let message = open_sources(&sources, &SampleConfig::default()).unwrap_err().to_string();
        assert!(message.contains("there twice"), "{message}");
    }
}
