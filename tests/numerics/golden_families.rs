//! Transformers of every family, under every name their weights are published with, against `golden/families.py`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use deepcut::features::vit::{Engine, Facet, ImageBatch, Vit, VitConfig};
use deepcut::tensor::cpu;
use deepcut::weights::StateDict;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Families, and how the program calls them.
const FAMILIES: [(&str, &str); 8] = [
    ("dino", "ViT"),
    ("mae", "MAE"),
    ("mocov3", "MoCo-v3"),
    ("dinov2", "DINOv2"),
    ("dinov2_registers", "DINOv2"),
    ("dinov2_gated", "DINOv2"),
    ("dinov3", "DINOv3"),
    ("dinov3_gated", "DINOv3"),
];

/// The case, the stride, and what it is called in the table.
const CASES: [(&str, Option<usize>, &str); 3] =
    [("native", None, "own size"), ("other", None, "other size"), ("stride", Some(2), "half stride")];

const TOLERANCE: f32 = 1e-4;

/// A tensor that is cut into pieces by its rows.
#[derive(serde::Deserialize)]
struct Cut {
    shape: Vec<usize>,
    pieces: Vec<usize>,
}

/// The names of a naming's tensors.
type Names = BTreeMap<String, Cut>;

fn golden(family: &str) -> Vec<u8> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/families");
    std::fs::read(folder.join(format!("{family}.safetensors"))).unwrap()
}

fn floats(view: &TensorView) -> Vec<f32> {
    view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// A file of weights with these names.
fn weights(file: &SafeTensors, names: &Names) -> Vec<u8> {
    let joined: Vec<(&String, &Cut, Vec<u8>)> = names
        .iter()
        .map(|(name, cut)| {
            let pieces = cut.pieces.iter().map(|piece| file.tensor(&piece.to_string()).unwrap().data());
            (name, cut, pieces.collect::<Vec<_>>().concat())
        })
        .collect();
    let views = joined
        .iter()
        .map(|(name, cut, bytes)| (name.as_str(), TensorView::new(Dtype::F32, cut.shape.clone(), bytes).unwrap()));
    safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()
}

fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

/// What one engine computes of a case, without registers: the four facets, and the class vector.
fn compute(state: &StateDict, engine: Engine, file: &SafeTensors, case: &str, stride: Option<usize>) -> Vec<Vec<f32>> {
    let image = file.tensor(&format!("{case}.image")).unwrap();
    let &[1, 3, height, width] = image.shape() else { panic!("{case}") };
    let values = floats(&image);
    let batch = ImageBatch { values: &values, images: 1, height, width };
    let load = |facet| {
        let config = VitConfig { stride, facet, head_width: Some(16), ..VitConfig::paper() };
        Vit::load_with(state, &config, &cpu(), engine).unwrap()
    };
    let mut found: Vec<Vec<f32>> = [Facet::Key, Facet::Query, Facet::Value, Facet::Token]
        .map(|facet| {
            let tokens = load(facet).forward(&batch);
            let (class, rest) = tokens.values.split_at(tokens.width);
            [class, &rest[(tokens.leading - 1) * tokens.width..]].concat()
        })
        .into();
    found.push(load(Facet::Key).image_vectors(&batch));
    found
}

#[test]
fn every_family_under_every_name_computes_what_its_definition_says() {
    let mut table = String::from("| Family | Names | Read as |");
    CASES.iter().for_each(|(_, _, title)| write!(table, " {title} |").unwrap());
    table.push_str("\n|---|---|---|---|---|---|\n");
    let mut wrong = Vec::new();
    for (family, called) in FAMILIES {
        let bytes = golden(family);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let namings = &metadata.metadata().as_ref().unwrap()["namings"];
        let namings: BTreeMap<String, Names> = serde_json::from_str(namings).unwrap();
        assert_eq!(namings.len(), 4, "{family}");
        let mut first: Option<Vec<Vec<f32>>> = None;
        for (naming, names) in &namings {
            let path = PathBuf::from(format!("{family}, {naming}"));
            let state = StateDict::from_bytes(&weights(&file, names), &path).unwrap();
            let found_family =
                Vit::load(&state, &VitConfig { head_width: Some(16), ..VitConfig::paper() }, &cpu()).unwrap().shape();
            write!(table, "| {family} | {naming} | {} |", found_family.family).unwrap();
            if found_family.family != called {
                wrong.push(format!("{family}, {naming}: read as {}", found_family.family));
            }
            for (case, stride, _) in CASES {
                let host = compute(&state, Engine::Host, &file, case, stride);
                let tensors = compute(&state, Engine::Tensors, &file, case, stride);
                let mut good = Vec::new();
                for (place, what) in ["key", "query", "value", "token", "class"].into_iter().enumerate() {
                    let expected = floats(&file.tensor(&format!("{case}.{what}")).unwrap());
                    let worst = largest_difference(&host[place], &expected);
                    let apart = largest_difference(&host[place], &tensors[place]);
                    if worst <= TOLERANCE && apart <= TOLERANCE {
                        good.push(what);
                    } else {
                        wrong.push(format!("{family}, {naming}, {case}, {what}: off by {worst}, engines by {apart}"));
                    }
                }
                write!(table, " {} |", good.join(", ")).unwrap();
                // timm's conversion adds the class token's position, so there the sum is rounded at another time.
                if case == "other" && naming != "timm" {
                    let first = first.get_or_insert_with(|| host.clone());
                    if *first != host {
                        wrong.push(format!("{family}, {naming}: other bits than under the first names"));
                    }
                }
            }
            table.push('\n');
        }
    }
    assert!(wrong.is_empty(), "{}\n{table}", wrong.join("\n"));
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("families", table));
}
