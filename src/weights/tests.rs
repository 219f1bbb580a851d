//! Small networks in the files that people have.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Origin, StateDict, WeightsError, WeightsFile};

const WIDTH: usize = 2;

type Stored = (String, Vec<usize>, Vec<f32>);

/// A transformer of two blocks with some registers.
fn network() -> Vec<Stored> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("cls_token".into(), vec![1, 1, WIDTH]),
        ("pos_embed".into(), vec![1, 5, WIDTH]),
        ("register_tokens".into(), vec![1, 3, WIDTH]),
        ("patch_embed.proj.weight".into(), vec![WIDTH, 3, 2, 2]),
        ("patch_embed.proj.bias".into(), vec![WIDTH]),
        ("norm.weight".into(), vec![WIDTH]),
        ("norm.bias".into(), vec![WIDTH]),
    ];
    for block in 0..2 {
        for (layer, rows, columns) in [
            ("norm1", WIDTH, None),
            ("attn.qkv", 3 * WIDTH, Some(WIDTH)),
            ("attn.proj", WIDTH, Some(WIDTH)),
            ("norm2", WIDTH, None),
            ("mlp.fc1", 4, Some(WIDTH)),
            ("mlp.fc2", WIDTH, Some(4)),
        ] {
            let weight = [Some(rows), columns].into_iter().flatten().collect();
            shapes.push((format!("blocks.{block}.{layer}.weight"), weight));
            shapes.push((format!("blocks.{block}.{layer}.bias"), vec![rows]));
        }
        shapes.extend(["ls1", "ls2"].map(|scale| (format!("blocks.{block}.{scale}.gamma"), vec![WIDTH])));
    }
    let filled = shapes.into_iter().enumerate().map(|(number, (name, shape))| {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|index| ((number * 31 + index) as f32).sin()).collect();
        (name, shape, values)
    });
    filled.collect()
}

/// The tensors under other names; what `rename` leaves out is not there.
fn renamed(network: &[Stored], rename: impl Fn(&str) -> Option<String>) -> Vec<Stored> {
    let renamed =
        network.iter().filter_map(|(name, shape, values)| Some((rename(name)?, shape.clone(), values.clone())));
    renamed.collect()
}

fn file(tensors: &[Stored]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()
}

fn load(tensors: &[Stored]) -> Result<StateDict, WeightsError> {
    StateDict::from_bytes(&file(tensors), Path::new("weights"))
}

fn assert_holds(state: &StateDict, network: &[Stored]) {
    for (name, shape, values) in network {
        assert_eq!(state.values(name, shape).unwrap(), values, "{name}");
    }
    assert_eq!(state.depth(), 2);
}

#[test]
fn every_naming_of_one_network_is_the_same_network() {
    let network = network();
    assert_holds(&load(&network).unwrap(), &network);
    let alias = |name: &str| Some(name.replace("register_tokens", "reg_token").replace("ls1.gamma", "gamma_1"));
    assert_holds(&load(&renamed(&network, alias)).unwrap(), &network);
    let averaging = |name: &str| Some(if name.starts_with("norm.") { format!("fc_{name}") } else { name.to_string() });
    assert_holds(&load(&renamed(&network, averaging)).unwrap(), &network);
    let chunked = |name: &str| Some(name.replace("blocks.1.", "blocks.1.1.").replace("blocks.0.", "blocks.0.0."));
    assert_holds(&load(&renamed(&network, chunked)).unwrap(), &network);

    let hugging_face = renamed(&network, |name| {
        let name = name.replace("blocks.", "encoder.layer.").replace("attn.proj", "attention.output.dense");
        let name = name.replace("ls1.gamma", "layer_scale1.lambda1").replace("ls2.gamma", "layer_scale2.lambda1");
        Some(match name.as_str() {
            "cls_token" | "register_tokens" => format!("dinov2.embeddings.{name}"),
            "pos_embed" => "dinov2.embeddings.position_embeddings".into(),
            name if name.starts_with("norm.") => format!("dinov2.layer{name}"),
            name => format!("dinov2.{}", name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")),
        })
    });
    let mut split: Vec<Stored> = Vec::new();
    for (name, shape, values) in hugging_face {
        if !name.contains("attn.qkv") {
            split.push((name, shape, values));
            continue;
        }
        let rows = values.len() / 3;
        let shape = [&[shape[0] / 3], &shape[1..]].concat();
        for (part, values) in ["query", "key", "value"].iter().zip(values.chunks_exact(rows)) {
            let name = name.replace("attn.qkv", &format!("attention.attention.{part}"));
            split.push((name, shape.clone(), values.to_vec()));
        }
    }
    split.push(("classifier.weight".into(), vec![1], vec![0.0]));
    split.push(("dinov2.embeddings.mask_token".into(), vec![1], vec![f32::NAN]));
    let state = load(&split).unwrap();
    assert_holds(&state, &network);
    assert!(state.naming().contains("dinov2") && state.origin().is_none());
    let message = state.shape_error("blocks.0.attn.qkv.weight", "expected [9]").to_string();
    assert!(message.contains("(dinov2.encoder.layer.0.attention.attention.query.weight in the file)"), "{message}");
}

#[test]
fn the_preferred_transformer_of_a_checkpoint_is_read_and_the_rest_is_left_out() {
    let network = network();
    let wrapped = |wrapper: &str| renamed(&network, |name| Some(format!("{wrapper}{name}")));
    let mut other = wrapped("state_dict.module.momentum_encoder.");
    other.iter_mut().for_each(|(_, _, values)| values.fill(0.5));
    other.push(("optimizer.state.exp_avg".into(), vec![1], vec![0.0]));
    other.push(("state_dict.module.base_encoder.head.0.weight".into(), vec![1], vec![f32::INFINITY]));
    let state = load(&[wrapped("state_dict.module.base_encoder."), other].concat()).unwrap();
    assert_holds(&state, &network);
    assert_eq!(state.origin(), Some(Origin::MocoV3));
}

#[test]
fn refusals_name_the_tensor_and_say_what_was_expected_and_found() {
    let network = network();
    let with = |name: &str, shape: &[usize], value: f32| {
        [&network[..], &[(name.to_string(), shape.to_vec(), vec![value; shape.iter().product()])]].concat()
    };
    let cases = [
        (with("blocks.0.attn.rel_pos.weight", &[7], 0.0), "blocks.0.attn.rel_pos.weight of shape [7] is not supported"),
        (with("norm_pre.weight", &[2], 0.0), "norm_pre.weight of shape [2] is not supported"),
        (with("reg_token", &[1, 3, 2], 0.0), "occurs twice; expected one of it and register_tokens"),
        (with("blocks.7.norm1.weight", &[2], 0.0), "blocks.2.norm1.weight is missing"),
        (with("rope_embed.periods", &[2], f32::NAN), "rope_embed.periods holds NaN at index 0; expected a finite"),
        (with("blocks.1.attn.q_proj.weight", &[2, 2], 0.0), "blocks.1.attn.q_proj.weight is there beside"),
        (vec![("conv1.weight".into(), vec![2], vec![0.0; 2])], "found are 1 tensors, one of them conv1.weight"),
        ([&network[..], &renamed(&network, |name| Some(format!("other.{name}")))].concat(), ""),
        (
            ["a.", "b."].map(|start| renamed(&network, |name| Some(format!("{start}{name}")))).concat(),
            "several models (a, b)",
        ),
    ];
    for (tensors, expected) in cases {
        match load(&tensors) {
            Err(error) => assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}"),
            // What stands at the top is meant.
            Ok(state) => assert!(expected.is_empty() && state.contains("norm.weight"), "{expected}"),
        }
    }
}

#[test]
fn parts_listed_in_an_index_are_one_network() {
    let network = network();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (first, second) = network.split_at(9);
    std::fs::write(at("model-1.safetensors"), file(first)).unwrap();
    std::fs::write(at("model-2.safetensors"), file(second)).unwrap();
    let index = |second_part: &str, further: &str| {
        let entry = |tensors: &[Stored], part: &str| -> Vec<String> {
            tensors.iter().map(|(name, ..)| format!("\"{name}\": \"{part}\"")).collect()
        };
        let map = [entry(first, "model-1.safetensors"), entry(second, second_part)].concat().join(",");
        format!("{{\"metadata\": {{\"total_size\": 9}}, \"weight_map\": {{{map}{further}}}}}")
    };
    let path = at("model.safetensors.index.json");
    std::fs::write(&path, index("model-2.safetensors", "")).unwrap();
    let whole = WeightsFile::read(&path).unwrap();
    assert_holds(&whole.state_dict().unwrap(), &network);
    // A folder is the file in it.
    let found = WeightsFile::read(folder.path()).unwrap();
    assert_eq!((found.path(), found.hash()), (path.as_path(), whole.hash()));
    // Every part is in the hash.
    let mut changed = second.to_vec();
    changed[0].2[0] += 1.0;
    std::fs::write(at("model-2.safetensors"), file(&changed)).unwrap();
    assert_ne!(WeightsFile::read(&path).unwrap().hash(), whole.hash());

    for (part, further, expected) in [
        ("model-3.safetensors", "", "model-3.safetensors, a part of the weights"),
        ("../model-2.safetensors", "", "the part ../model-2.safetensors, which is no name"),
        ("", "", "no name of a file"),
        ("model-2.safetensors", ", \"absent\": \"model-1.safetensors\"", "tensor absent is missing"),
    ] {
        std::fs::write(&path, index(part, further)).unwrap();
        let error = StateDict::open(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // The whole file is preferred, also behind a link as in the hub's cache.
    std::fs::write(at("blob"), file(&network)).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("blob", at("model.safetensors")).unwrap();
    #[cfg(not(unix))]
    std::fs::copy(at("blob"), at("model.safetensors")).unwrap();
    let found = WeightsFile::read(folder.path()).unwrap();
    assert_eq!(found.hash(), blake3::hash(&file(&network)));
    assert_holds(&found.state_dict().unwrap(), &network);

    let empty = tempfile::tempdir().unwrap();
    let error = WeightsFile::read(empty.path()).unwrap_err().to_string();
    assert!(error.contains("a folder without model.safetensors"), "{error}");
}
