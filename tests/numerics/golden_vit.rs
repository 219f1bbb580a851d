//! The transformer against numbers made by the official code, in every container its weights come in.

use std::path::{Path, PathBuf};

use deepcut::features::vit::{Engine, Facet, ImageBatch, Precision, Resize, Vit, VitConfig, VitExtractor};
use deepcut::features::{Extractor, log_binned};
use deepcut::raster::RgbImage;
use deepcut::tensor::{cpu, into_vec};
use deepcut::weights::StateDict;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const ENGINES: [Engine; 2] = [Engine::Host, Engine::Tensors];

fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name)
}

fn floats(view: &TensorView) -> Vec<f32> {
    view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The tensors `weights.*` of a golden file, as a weight file of their own.
fn weights(file: &SafeTensors) -> Vec<u8> {
    let tensors = file.iter().filter_map(|(name, view)| Some((name.strip_prefix("weights.")?.to_string(), view)));
    safetensors::serialize(tensors.collect::<Vec<_>>(), None).unwrap()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: off by {worst}");
    assert!(found.iter().all(|value| value.is_finite()), "{what}");
}

/// Runs `check` on every golden file of the official transformer: name, stride, file, weights and input.
fn for_each_official(check: impl Fn(&str, Option<usize>, &SafeTensors, &StateDict, &ImageBatch)) {
    for (name, stride) in
        [("vit_p8_s8_square", None), ("vit_p8_s8_wide", None), ("vit_p8_s4_wide", Some(4)), ("vit_p16_s16", None)]
    {
        let bytes = std::fs::read(golden(&format!("{name}.safetensors"))).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let state = StateDict::from_bytes(&weights(&file), Path::new(name)).unwrap();
        let input = file.tensor("input").unwrap();
        let &[images, 3, height, width] = input.shape() else { panic!("{name}") };
        let values = floats(&input);
        let batch = ImageBatch { values: &values, images, height, width };
        check(name, stride, &file, &state, &batch);
    }
}

#[test]
fn descriptors_equal_the_official_ones() {
    for_each_official(|name, stride, file, state, batch| {
        let (images, height, width) = (batch.images, batch.height, batch.width);
        let mut host = Vec::new();
        for engine in ENGINES {
            let mut results = Vec::new();
            for facet in [Facet::Key, Facet::Query, Facet::Value, Facet::Token] {
                let config = VitConfig { stride, facet, head_width: Some(16), ..VitConfig::paper() };
                let vit = Vit::load_with(state, &config, &cpu(), engine).unwrap();
                let what = format!("{name} {engine:?} {facet:?}");
                let found = vit.forward(batch);
                let grid = vit.grid(height, width);
                assert_eq!((found.images, found.tokens), (images, 1 + grid.rows * grid.columns), "{what}");
                let expected = format!("{facet:?}_with_cls").to_lowercase();
                assert_close(&found.values, &floats(&file.tensor(&expected).unwrap()), 1e-4, &what);
                results.push(found.values.clone());
                if facet == Facet::Key {
                    let width = found.width;
                    let binned: Vec<f32> = found
                        .values
                        .chunks_exact(found.tokens * width)
                        .flat_map(|image| log_binned(&image[width..], width, grid.rows, grid.columns))
                        .collect();
                    assert_close(&binned, &floats(&file.tensor("key_log_bin").unwrap()), 1e-4, &what);
                    let embedded = vit.embed(batch).values;
                    assert_close(&embedded, &floats(&file.tensor("tokens_embedded").unwrap()), 1e-4, &what);
                    let classes = vit.image_vectors(batch);
                    assert_close(&classes, &floats(&file.tensor("cls_normed").unwrap()), 1e-4, &what);
                    results.extend([embedded, classes]);
                }
            }
            if engine == Engine::Host {
                host = results;
            } else {
                for (host, tensors) in host.iter().zip(&results) {
                    assert_close(host, tensors, 1e-5, name);
                }
            }
        }
    });
}

/// The model of `golden/tiny_vit.py`: 1 block, width 8, patches of 4 pixels. Images of 28×40 give it 71 tokens, so that
/// its strips of tokens are not all full.
fn tiny(name: &str) -> StateDict {
    StateDict::open(&golden(name)).unwrap()
}

fn tiny_config() -> VitConfig {
    VitConfig { head_width: Some(8), facet: Facet::Token, ..VitConfig::paper() }
}

fn waves(length: usize) -> Vec<f32> {
    (0..length).map(|index| (index as f32 * 0.31).sin()).collect()
}

#[test]
fn pytorch_containers_hold_the_same_weights() {
    let values = waves(2 * 3 * 28 * 40);
    let batch = ImageBatch { values: &values, images: 2, height: 28, width: 40 };
    let run = |name| Vit::load(&tiny(name), &tiny_config(), &cpu()).unwrap().forward(&batch);
    let plain = run("tiny_vit.pth");
    assert_eq!((plain.tokens, plain.width), (71, 8));
    assert!(plain == run("tiny_vit_nested.pth") && plain == run("tiny_vit_legacy.pth"));
}

/// A damaged file may state any shape.
#[test]
fn a_perceptron_without_channels_is_refused() {
    let bytes = std::fs::read(golden("vit_p16_s16.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let whole = weights(&file);
    let whole = SafeTensors::deserialize(&whole).unwrap();
    let width = whole.tensor("norm.weight").unwrap().shape()[0];
    let emptied = whole.iter().map(|(name, view)| {
        let shape = match name.split_once(".mlp.").map(|(_, part)| part) {
            Some("fc1.weight") => vec![0, width],
            Some("fc1.bias") => vec![0],
            Some("fc2.weight") => vec![width, 0],
            _ => return (name, view),
        };
        (name, TensorView::new(view.dtype(), shape, &[]).unwrap())
    });
    let damaged = safetensors::serialize(emptied.collect::<Vec<_>>(), None).unwrap();
    let state = StateDict::from_bytes(&damaged, Path::new("damaged")).unwrap();
    let error = Vit::load(&state, &VitConfig { head_width: Some(16), ..VitConfig::paper() }, &cpu()).err().unwrap();
    assert!(error.to_string().contains("mlp.fc2.weight"), "{error}");
}

/// The precisions that this processor can compute in; says so where bf16 is none.
fn precisions() -> Vec<Precision> {
    let config = VitConfig { precision: Precision::Bf16, ..tiny_config() };
    match Vit::load(&tiny("tiny_vit.pth"), &config, &cpu()) {
        Ok(_) => vec![Precision::F32, Precision::Int8, Precision::Bf16],
        Err(error) => {
            assert!(error.to_string().contains("AVX-512 BF16"), "{error}");
            eprintln!("bf16 is skipped: this processor has no AVX-512 BF16");
            vec![Precision::F32, Precision::Int8]
        }
    }
}

#[test]
fn descriptors_in_bfloat16_are_the_official_ones_as_closely_as_its_eight_bits_allow() {
    let on_host = precisions().contains(&Precision::Bf16);
    let engines: Vec<Engine> = ENGINES.into_iter().filter(|&engine| on_host || engine != Engine::Host).collect();
    for_each_official(|name, stride, file, state, batch| {
        let facets = [Facet::Key, Facet::Query, Facet::Value, Facet::Token];
        for (&engine, facet) in engines.iter().flat_map(|engine| facets.map(|facet| (engine, facet))) {
            let config =
                VitConfig { stride, facet, head_width: Some(16), precision: Precision::Bf16, ..VitConfig::paper() };
            let found = Vit::load_with(state, &config, &cpu(), engine).unwrap().forward(batch).values;
            let expected = floats(&file.tensor(&format!("{facet:?}_with_cls").to_lowercase()).unwrap());
            let length = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
            let difference: Vec<f32> = found.iter().zip(&expected).map(|(one, other)| one - other).collect();
            let relative = length(&difference) / length(&expected);
            // Every operand is off by up to 2^-9 of itself; f32 would give 1e-6 here.
            assert!(relative > 1e-5 && relative < 8e-3, "{name} {engine:?} {facet:?}: off by {relative}");
        }
    });
}

#[test]
fn descriptors_in_bytes_are_the_official_ones_as_closely_as_their_steps_allow() {
    for_each_official(|name, stride, file, state, batch| {
        for facet in [Facet::Key, Facet::Query, Facet::Value, Facet::Token] {
            let config =
                VitConfig { stride, facet, head_width: Some(16), precision: Precision::Int8, ..VitConfig::paper() };
            let found = Vit::load(state, &config, &cpu()).unwrap().forward(batch).values;
            let expected = floats(&file.tensor(&format!("{facet:?}_with_cls").to_lowercase()).unwrap());
            let length = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
            let difference: Vec<f32> = found.iter().zip(&expected).map(|(one, other)| one - other).collect();
            let relative = length(&difference) / length(&expected);
            // Every operand is off by up to half of a 255th of its range; f32 would give 1e-6 here.
            assert!(relative > 1e-5 && relative < 0.02, "{name} {facet:?}: off by {relative}");
        }
    });
}

#[test]
fn results_do_not_depend_on_threads_or_on_the_batch() {
    precisions().into_iter().for_each(results_depend_on_the_image_alone);
}

fn results_depend_on_the_image_alone(precision: Precision) {
    let values = waves(3 * 3 * 28 * 40);
    let batch = ImageBatch { values: &values, images: 3, height: 28, width: 40 };
    let config = VitConfig { precision, ..tiny_config() };
    let vit = Vit::load(&tiny("tiny_vit.pth"), &config, &cpu()).unwrap();
    let bits = |threads: usize| -> (Vec<u32>, Vec<u32>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
            (bits(vit.forward(&batch).values), bits(vit.image_vectors(&batch)))
        })
    };
    let one = bits(1);
    assert!(one == bits(2) && one == bits(5));
    let last = ImageBatch { values: &values[2 * 3 * 28 * 40..], images: 1, ..batch };
    let alone: Vec<u32> = vit.forward(&last).values.into_iter().map(f32::to_bits).collect();
    assert_eq!(alone, one.0[one.0.len() - alone.len()..]);
}

#[test]
fn several_blocks_are_joined_token_by_token() {
    let bytes = std::fs::read(golden("vit_p16_s16.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let state = StateDict::from_bytes(&weights(&file), Path::new("vit_p16_s16")).unwrap();
    let values = waves(2 * 3 * 48 * 64);
    let batch = ImageBatch { values: &values, images: 2, height: 48, width: 64 };
    for engine in ENGINES {
        for facet in [Facet::Key, Facet::Token] {
            let run = |layers: &[usize]| {
                let config = VitConfig {
                    head_width: Some(16),
                    facet,
                    layers: Some(layers.iter().map(|&layer| layer as i64).collect()),
                    ..VitConfig::paper()
                };
                Vit::load_with(&state, &config, &cpu(), engine).unwrap().forward(&batch)
            };
            let (first, last, both) = (run(&[0]), run(&[1]), run(&[0, 1]));
            assert_eq!(both.width, 2 * first.width);
            assert_ne!(first.values, last.values);
            let rows = first.values.chunks_exact(first.width).zip(last.values.chunks_exact(last.width));
            let joined: Vec<f32> = rows.flat_map(|(first, last)| [first, last].concat()).collect();
            assert_eq!(both.values, joined, "{engine:?} {facet:?}");
        }
    }
}

#[test]
fn batches_on_a_device_describe_images_as_the_processor_does() {
    let bytes = std::fs::read(golden("vit_p16_s16.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let state = StateDict::from_bytes(&weights(&file), Path::new("vit_p16_s16")).unwrap();
    let images: Vec<RgbImage> = (3..6)
        .map(|step| {
            let pixel = |place: usize| [place * step, place * place / step, 7 * place].map(|value| (value % 251) as u8);
            RgbImage::from_values(80, 70, (0..80 * 70).map(pixel).collect())
        })
        .collect();
    for (layers, normalise, remove_position) in
        [(vec![0, 1], true, 0), (vec![1], true, 3), (vec![0, 1], true, 4), (vec![0, 1], false, 3)]
    {
        let (layers, remove_position) = (Some(layers), Some(remove_position));
        let config = VitConfig {
            head_width: Some(16),
            layers,
            normalise,
            remove_position,
            input_side: 64,
            ..VitConfig::paper()
        };
        let extractor = |engine| VitExtractor::with_engine(&state, config.clone(), cpu(), engine).unwrap();
        let (host, device) = (extractor(Engine::Host), extractor(Engine::Tensors));
        // What a checkpoint keeps is used as it is.
        let adopting = extractor(Engine::Host);
        adopting.adopt_position_directions(&host.position_directions());
        assert_eq!(adopting.extract(&images[0]), host.extract(&images[0]));
        assert_eq!(host.position_directions().len(), host.width() * remove_position.unwrap().min(host.width() / 16));
        assert!(host.batches().is_none());
        let batches = device.batches().unwrap();
        assert_eq!(batches.images_per_batch(0), 1);
        assert!((2..=1000).contains(&batches.images_per_batch(u64::MAX)));
        let prepared: Vec<_> = images.iter().map(|image| batches.prepare(image)).collect();
        let described = into_vec(batches.describe(&prepared, 4));
        let expected: Vec<_> = images.iter().map(|image| host.extract(image)).collect();
        assert!(prepared.iter().zip(&expected).all(|(prepared, expected)| prepared.layout == expected.layout));
        let expected: Vec<f32> = expected.iter().flat_map(|nodes| nodes.values.clone()).collect();
        assert_eq!(3 * described.len(), 4 * expected.len(), "the fourth image is missing, its row is not");
        assert_close(&described[..expected.len()], &expected, 1e-5, "descriptors");
        assert!(described.iter().all(|value| value.is_finite()));
        let vectors = into_vec(batches.image_vectors(&prepared, 4));
        let expected: Vec<f32> = images.iter().flat_map(|image| host.image_vector(image, None)).collect();
        assert_eq!(3 * vectors.len(), 4 * expected.len());
        assert_close(&vectors[..expected.len()], &expected, 1e-5, "image vectors");
    }
    let single = VitConfig { head_width: Some(16), resize: Resize::Short, input_side: 64, ..VitConfig::paper() };
    let single = VitExtractor::with_engine(&state, single, cpu(), Engine::Tensors).unwrap();
    assert_eq!(single.batches().unwrap().images_per_batch(u64::MAX), 1, "images of several sizes");
}

#[test]
fn damaged_files_are_refused_without_a_panic() {
    for name in ["tiny_vit.pth", "tiny_vit_nested.pth", "tiny_vit_legacy.pth", "vit_p8_s8_wide.safetensors"] {
        let bytes = std::fs::read(golden(name)).unwrap();
        let load = |bytes: &[u8]| {
            let state = StateDict::from_bytes(bytes, Path::new(name))?;
            Vit::load(&state, &tiny_config(), &cpu()).map(drop)
        };
        let step = bytes.len() / 2000 + 1;
        for length in (0..bytes.len()).step_by(step) {
            let message = load(&bytes[..length]).expect_err("truncated").to_string();
            assert!(message.contains(name) && !message.contains('\n'), "{message}");
        }
        for at in (0..bytes.len()).step_by(step) {
            for flip in [0xff, 0x01] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                // Some bits are numbers and may well change; the point is to come back at all.
                let _ = load(&damaged);
            }
        }
    }
}

#[test]
fn messages_name_the_file_and_the_tensor() {
    let bytes = std::fs::read(golden("vit_p16_s16.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let bytes = weights(&file);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let infinite = [f32::INFINITY.to_le_bytes(); 48].concat();
    let view = |shape: &[usize], data| TensorView::new(safetensors::Dtype::F32, shape.to_vec(), data).unwrap();
    let cases: [(&str, Option<TensorView>, &str); 6] = [
        ("norm.bias", None, "norm.bias is missing"),
        ("pos_embed", None, "pos_embed is missing"),
        ("norm.bias", Some(view(&[24], &infinite[..96])), "norm.bias holds inf"),
        ("blocks.1.norm2.bias", Some(view(&[6, 8], &bytes[..192])), "blocks.1.norm2.bias has shape [6, 8]"),
        (
            "blocks.1.attn.q_norm.bias",
            Some(view(&[48], &infinite)),
            "blocks.1.attn.q_norm.bias of shape [48] is not supported",
        ),
        ("pos_embed", Some(view(&[1, 1, 48], &bytes[..192])), "pos_embed has shape [1, 1, 48]"),
    ];
    for (changed, replacement, expected) in cases {
        let mut tensors: Vec<(String, TensorView)> = file.iter().map(|(name, view)| (name.to_string(), view)).collect();
        tensors.retain(|(name, _)| name != changed);
        tensors.extend(replacement.map(|view| (changed.to_string(), view)));
        let file = safetensors::serialize(tensors, None).unwrap();
        let config = VitConfig { head_width: Some(16), ..VitConfig::paper() };
        let result = StateDict::from_bytes(&file, Path::new("weights.safetensors"))
            .and_then(|state| Vit::load(&state, &config, &cpu()).map(drop));
        let message = result.expect_err(changed).to_string();
        assert!(message.contains(expected) && message.contains("weights.safetensors"), "{message}");
    }
    let state = StateDict::from_bytes(&bytes, Path::new("weights.safetensors")).unwrap();
    for (config, expected) in [
        (VitConfig { head_width: Some(10), ..VitConfig::paper() }, "head_width = 10"),
        (VitConfig { head_width: Some(16), stride: Some(5), ..VitConfig::paper() }, "stride = 5"),
        (VitConfig { head_width: Some(16), layers: Some(vec![0, 3]), ..VitConfig::paper() }, "layers = [0, 3]"),
        (VitConfig { head_width: Some(16), layers: Some(vec![1, 0]), ..VitConfig::paper() }, "layers = [1, 0]"),
    ] {
        let message = Vit::load(&state, &config, &cpu()).map(drop).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn without_a_class_token_an_image_is_the_mean_of_its_normalised_patches() {
    let bytes = std::fs::read(golden("vit_p16_s16.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let whole = weights(&file);
    let whole = SafeTensors::deserialize(&whole).unwrap();
    let positions = whole.tensor("pos_embed").unwrap();
    let &[1, count, width] = positions.shape() else { panic!() };
    let of_patches = positions.data()[4 * width..].to_vec();
    let without = whole.iter().filter(|(name, _)| *name != "cls_token").map(|(name, view)| match name {
        "pos_embed" => (name, TensorView::new(view.dtype(), vec![1, count - 1, width], &of_patches).unwrap()),
        _ => (name, view),
    });
    let without = safetensors::serialize(without.collect::<Vec<_>>(), None).unwrap();
    let state = StateDict::from_bytes(&without, Path::new("without")).unwrap();
    let input = file.tensor("input").unwrap();
    let &[images, 3, height, image_width] = input.shape() else { panic!() };
    let values = floats(&input);
    let batch = ImageBatch { values: &values, images, height, width: image_width };
    let [scale, shift] = ["norm.weight", "norm.bias"].map(|name| floats(&whole.tensor(name).unwrap()));
    for engine in ENGINES {
        let config = VitConfig { facet: Facet::Token, head_width: Some(16), ..VitConfig::paper() };
        let vit = Vit::load_with(&state, &config, &cpu(), engine).unwrap();
        let tokens = vit.forward(&batch);
        let grid = vit.grid(height, image_width);
        assert_eq!((tokens.leading, tokens.tokens), (0, grid.rows * grid.columns));
        let mean_of = |image: &[f32]| {
            let mut mean = vec![0.0; width];
            for token in image.chunks_exact(width) {
                let centre = token.iter().sum::<f32>() / width as f32;
                let variance = token.iter().map(|value| (value - centre).powi(2)).sum::<f32>() / width as f32;
                for (channel, mean) in mean.iter_mut().enumerate() {
                    let normal = (token[channel] - centre) / (variance + 1e-6).sqrt();
                    *mean += (normal * scale[channel] + shift[channel]) / tokens.tokens as f32;
                }
            }
            mean
        };
        let expected: Vec<f32> = tokens.values.chunks_exact(tokens.tokens * width).flat_map(mean_of).collect();
        assert_close(&vit.image_vectors(&batch), &expected, 1e-5, &format!("{engine:?}"));
    }
}
