use super::*;
use crate::event::Silent;

/// Writes the plan of all images of the sources beside it, as runs do.
fn plan(path: &Path, sources: &Sources, shards: usize) -> ShardPlan {
    let collection = crate::dataset::open_sources(sources, &SampleConfig::default()).unwrap();
    let mut lines = Vec::new();
    let mut list = ListWriter::new(&mut lines, sources);
    for record in collection.records() {
        let found = record.as_ref().map(|record| (record, bytes_found(record)));
        list.push(found).unwrap();
    }
    let (images, bytes) = list.totals();
    let ranges = cut(lines.as_slice(), shards, Balance::Files, images, bytes).unwrap();
    let plan = ShardPlan::new(sources, &SampleConfig::default(), Balance::Files, ranges).unwrap();
    fs::write(ShardPlan::list_path(path), lines).unwrap();
    fs::write(path, plan.to_bytes()).unwrap();
    plan
}

/// What a collection gives, errors as text.
fn found(records: impl Iterator<Item = Result<Record, DatasetError>>) -> Vec<Result<Record, (PathBuf, String)>> {
    records.map(|record| record.map_err(|error| (error.path().to_path_buf(), error.to_string()))).collect()
}

#[test]
fn the_shards_of_a_plan_are_the_collection() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["a/1.jpg", "a/1.png", "a/x.jpg/2.png", "a/é \\xff.jpg", "b/3.gif", "elsewhere/4.jpg"] {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), name).unwrap();
    }
    fs::create_dir(at("b/5.jpg")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere", at("b/6.jpg")).unwrap();
    let list = at("list.txt");
    fs::write(&list, "elsewhere/4.jpg\nelsewhere/missing.jpg\n").unwrap();
    let path = at("plan.json");
    for sources in [Sources::from(at("a")), vec![at("a"), at("b"), list.clone()].into(), list.into()] {
        let whole = found(crate::dataset::open_sources(&sources, &SampleConfig::default()).unwrap().records());
        for shards in 1..=whole.len() {
            let written = plan(&path, &sources, shards);
            assert_eq!(ShardPlan::read(&path).unwrap(), written);
            assert_eq!((written.images(), written.shards().len()), (whole.len() as u64, shards));
            let mut all = Vec::new();
            for shard in 0..shards {
                let choice = ShardChoice { plan: path.clone(), shard, accept_changes: false };
                let shard = PlannedShard::open(&choice, &SampleConfig::default()).unwrap();
                shard.check(&Silent).unwrap();
                all.extend(found(shard.records()));
            }
            assert_eq!(all, whole);
        }
    }
}

#[test]
fn what_is_no_plan_and_what_it_no_longer_fits_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (data, path) = (folder.path().join("data"), folder.path().join("plan.json"));
    fs::create_dir(&data).unwrap();
    ["1.jpg", "2.jpg", "3.jpg"].iter().for_each(|name| fs::write(data.join(name), "x").unwrap());
    let written = plan(&path, &data.as_path().into(), 2);
    let open = |shard| {
        let choice = ShardChoice { plan: path.clone(), shard, accept_changes: false };
        PlannedShard::open(&choice, &SampleConfig::default())
    };
    assert!(matches!(open(2), Err(PlanError::NoSuchShard { index: 2, shards: 2, .. })));
    let choice = ShardChoice { plan: path.clone(), shard: 0, accept_changes: false };
    let all_frames = SampleConfig { frames: FrameUse::All, ..SampleConfig::default() };
    assert!(matches!(PlannedShard::open(&choice, &all_frames), Err(PlanError::OtherSearch { setting: "data.frames" })));

    fs::write(data.join("2.jpg"), "other").unwrap();
    fs::remove_file(data.join("1.jpg")).unwrap();
    let error = open(0).unwrap().check(&Silent).unwrap_err().to_string();
    assert!(error.contains("1 file is missing, 1 file has another size") && error.contains("1.jpg"), "{error}");
    open(1).unwrap().check(&Silent).unwrap();
    let accepting = ShardChoice { accept_changes: true, ..choice };
    PlannedShard::open(&accepting, &SampleConfig::default()).unwrap().check(&Silent).unwrap();

    let text = fs::read_to_string(&path).unwrap();
    let list = ShardPlan::list_path(&path);
    let lines = fs::read_to_string(&list).unwrap();
    fs::write(&list, lines.replace("3.jpg", "4.jpg")).unwrap();
    assert!(matches!(open(1), Err(PlanError::OtherList { .. })));
    fs::remove_file(&list).unwrap();
    assert!(matches!(open(1), Err(PlanError::Unreadable { .. })));
    for (changed, expected) in [
        (text.replace("\"format\":1", "\"format\":2"), "format 2"),
        (text.replace("\"images\":3", "\"images\":4"), "changed since"),
        (text[..text.len() / 2].to_string(), "no plan"),
        ("[]".to_string(), "no plan"),
    ] {
        fs::write(&path, changed).unwrap();
        let error = open(0).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(written.difference(&written), None);
}
