use super::super::kernels::LANES;
use super::super::layers::Linear;
use super::{AttentionBuffers, ByteLinear, ByteProjection, LinearBuffers, gelu};

fn wave(length: usize, step: f32) -> Vec<f32> {
    (0..length).map(|index| (index as f32 * step).sin()).collect()
}

/// `weight · strip + bias` of the first `tokens` lanes in bytes.
fn product(linear: &Linear, strip: &[f32], tokens: usize) -> Vec<f32> {
    let mut target = vec![f32::NAN; linear.outputs() * LANES];
    LinearBuffers::default().apply(&mut target, strip, &ByteLinear::new(linear), tokens, |_| {});
    target
}

#[test]
fn layers_are_as_close_to_single_precision_as_their_steps_allow() {
    for (inputs, outputs, tokens) in [(7, 5, 64), (130, 33, 17), (3, 70, 1), (192, 24, 40), (400, 25, 64)] {
        let strip: Vec<f32> = wave(inputs * LANES, 0.37).iter().map(|value| 3.0 * value + 1.0).collect();
        let linear = Linear { weight: wave(inputs * outputs, 0.71), bias: wave(outputs, 0.3) };
        let found = product(&linear, &strip, tokens);
        let mut sum = found.clone();
        LinearBuffers::default().add(&mut sum, &strip, &ByteLinear::new(&linear), tokens);
        for output in 0..outputs {
            for lane in 0..tokens {
                let at = output * LANES + lane;
                let products = (0..inputs).map(|i| linear.weight[output * inputs + i] * strip[i * LANES + lane]);
                let expected: f32 = products.sum::<f32>() + linear.bias[output];
                // Half a step of an activation is 6 / 510, of a weight 1 / 254, and values are up to 4.
                let bound = inputs as f32 * (6.0 / 510.0 + 4.0 / 254.0) * 1.01;
                assert!((found[at] - expected).abs() < bound, "{inputs} {outputs}: {} is not {expected}", found[at]);
                // Errors of many inputs cancel out.
                assert!(inputs < 100 || (found[at] - expected).abs() < bound / 4.0, "{inputs} {outputs}");
                assert!((sum[at] - 2.0 * found[at]).abs() < 1e-3);
            }
        }
    }
}

#[test]
fn an_outlier_costs_only_its_own_token_and_group_their_resolution() {
    let inputs = 384;
    let linear = Linear { weight: wave(inputs, 0.71), bias: vec![0.0] };
    let mut strip = wave(inputs * LANES, 0.37);
    let before = product(&linear, &strip, LANES);
    strip[5 * LANES + 3] = 1e6;
    let after = product(&linear, &strip, LANES);
    assert!((0..LANES).filter(|&lane| lane != 3).all(|lane| before[lane] == after[lane]));
    let expected = linear.weight[5] * 1e6;
    assert!((after[3] - expected).abs() < 0.01 * expected.abs(), "{} is not {expected}", after[3]);
}

#[test]
fn equal_values_and_nothing_are_exact() {
    let inputs = 9;
    let linear = Linear { weight: [vec![0.5; inputs], vec![0.0; inputs]].concat(), bias: vec![1.0, 2.0] };
    for value in [0.0, -0.25, 7.0, 1e-38] {
        let found = product(&linear, &vec![value; inputs * LANES], LANES);
        assert!(found[..LANES].iter().all(|found| (found - 1.0 - 4.5 * value).abs() < 1e-4), "{value}: {}", found[0]);
        assert!(found[LANES..].iter().all(|&found| found == 2.0));
    }
}

#[test]
fn what_is_not_finite_spoils_its_token_alone() {
    for spoilt in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let linear = Linear { weight: wave(3 * 200, 0.71), bias: vec![0.0; 3] };
        let mut strip = wave(200 * LANES, 0.37);
        strip[199 * LANES + 7] = spoilt;
        let found = product(&linear, &strip, LANES);
        for (place, value) in found.iter().enumerate() {
            assert_eq!(value.is_nan(), place % LANES == 7, "{spoilt} at {place}");
        }
    }
}

/// Attention of 20 queries over `keys` keys, of two heads of `head_width` channels; scores are binary logarithms.
fn attention(projections: &mut [Vec<f32>], head_width: usize, keys: usize) -> Vec<f32> {
    let counts = (0..keys).step_by(LANES).map(|first| LANES.min(keys - first));
    let strips: Vec<ByteProjection> = projections
        .iter_mut()
        .zip(counts.clone())
        .map(|(projected, count)| {
            let mut projection = ByteProjection::default();
            projection.quantise(projected, head_width, count);
            projection
        })
        .collect();
    let mut context = vec![f32::NAN; 2 * head_width * LANES];
    let others = strips.iter().zip(counts);
    AttentionBuffers::default().attend(&mut context, &strips[0], others, head_width, 20);
    context
}

#[test]
fn attention_equals_the_formula_as_closely_as_bytes_can() {
    for (head_width, keys) in [(16usize, 37usize), (64, 150), (10, 64), (64, 193)] {
        let width = 2 * head_width;
        let strips = keys.div_ceil(LANES);
        let of = |strip: usize| -> Vec<f32> {
            wave(3 * width * LANES, 0.0371 + 0.01 * strip as f32).iter().map(|value| 1.5 * value).collect()
        };
        let mut projections: Vec<Vec<f32>> = (0..strips).map(of).collect();
        // What lies in lanes without a token does not count.
        for lane in keys % LANES..if keys % LANES == 0 { 0 } else { LANES } {
            let last = projections.last_mut().unwrap();
            last[width * LANES + lane..].iter_mut().step_by(LANES).for_each(|value| *value = 1e9);
        }
        let whole = projections.clone();
        let context = attention(&mut projections, head_width, keys);
        for (head, lane) in [0, 1].into_iter().flat_map(|head| (0..20).map(move |lane| (head, lane))) {
            let at = |kind: usize, c: usize, token: usize| {
                f64::from(whole[token / LANES][((kind * 2 + head) * head_width + c) * LANES + token % LANES])
            };
            let score = |key: usize| (0..head_width).map(|c| at(0, c, lane) * at(1, c, key)).sum::<f64>().exp2();
            let total: f64 = (0..keys).map(score).sum();
            for c in 0..head_width {
                let expected: f64 = (0..keys).map(|key| score(key) / total * at(2, c, key)).sum();
                let found = f64::from(context[(head * head_width + c) * LANES + lane]);
                assert!((found - expected).abs() < 0.05, "{head_width} {keys}: {found} is not {expected}");
            }
        }
    }
}

#[test]
fn a_value_that_is_not_finite_spoils_its_channel_as_in_single_precision() {
    let (head_width, width) = (16, 32);
    let mut projections = vec![wave(3 * width * LANES, 0.37)];
    projections[0][(2 * width + 3) * LANES + 11] = f32::INFINITY;
    let context = attention(&mut projections, head_width, 40);
    for (channel, lanes) in context.as_chunks::<LANES>().0.iter().enumerate() {
        assert!(lanes[..20].iter().all(|value| value.is_nan() == (channel == 3)), "channel {channel}");
    }
}

#[test]
fn activation_matches_known_values() {
    // x · Φ(x), Φ from tables of the normal distribution.
    let known = [(0.0, 0.0), (1.0, 0.841_345), (-1.0, -0.158_655), (2.0, 1.954_5), (-2.0, -0.045_5), (-8.0, 0.0)];
    let mut values = [0.0; 16];
    values.iter_mut().zip(known).for_each(|(value, (x, _))| *value = x);
    values[15] = f32::NAN;
    gelu(&mut values);
    for (found, (x, expected)) in values.into_iter().zip(known) {
        assert!((found - expected).abs() < 2.5e-4, "GELU({x}) = {found}");
    }
    assert!(values[15].is_nan());
}
