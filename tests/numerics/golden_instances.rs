//! Scores of instances against pycocotools: `tests/golden/instances.py` made objects, predictions and scores.

use std::collections::BTreeMap;

use deepcut::event::Silent;
use deepcut::pipeline::{EvaluateRequest, EvaluateTask, RegionOptions, evaluate};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Golden {
    truth: Value,
    predictions: Vec<Value>,
    scores: BTreeMap<String, f64>,
}

#[test]
fn instances_score_as_in_pycocotools() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/instances.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("truth.json"), golden.truth.to_string()).unwrap();
    let lines: Vec<String> = golden.predictions.iter().map(Value::to_string).collect();
    std::fs::write(path("predictions.jsonl"), lines.join("\n")).unwrap();
    let request = EvaluateRequest {
        predictions: folder.path().to_path_buf(),
        truth: Some(path("truth.json")),
        task: EvaluateTask::Instances,
        void: None,
        foreground_classes: Vec::new(),
        regions: RegionOptions::default(),
        csv: None,
        threads: 0,
    };
    let summary = evaluate(&request, &Silent).unwrap();
    assert_eq!(summary.images, golden.predictions.len());
    assert_eq!(summary.scores.len(), golden.scores.len());
    for (name, score) in summary.scores {
        let expected = golden.scores[name];
        assert!((score - expected).abs() < 1e-9, "{name}: {score} is not {expected}");
    }
}
