//! How long this processor takes for a transformer's products in bfloat16 and in bytes, beside single precision.

use std::time::Instant;

use super::arithmetic::{Arithmetic, Bfloat, Buffers, Bytes, Single};
use super::bfloat::{self, PairLinear};
use super::config::Precision;
use super::int8::{ByteLinear, are_bytes_fast};
use super::kernels::LANES;
use super::layers::Linear;
use crate::numerics::random;

/// Products of one turn: long enough for the clock, short enough for all turns to take a fraction of a second.
const PRODUCTS_PER_TURN: usize = 500_000_000;

/// Turns of each, one after the other; the best counts.
const TURNS: usize = 7;

/// What products of fewer channels take says nothing of a whole network.
const LEAST_WIDTH: usize = 128;

/// The precisions besides single that this processor has instructions for.
pub fn supported_precisions() -> impl Iterator<Item = Precision> {
    let supported = [(Precision::Bf16, bfloat::available()), (Precision::Int8, are_bytes_fast())];
    supported.into_iter().filter_map(|(precision, is_supported)| is_supported.then_some(precision))
}

/// The time that the two linear layers of a block, `width → hidden → width`, take in every supported precision, divided by that
/// in single precision, the fastest first; none where the network is so small that it does not matter.
pub fn time_shares(width: usize, hidden: usize) -> Vec<(Precision, f64)> {
    if width < LEAST_WIDTH || hidden == 0 || supported_precisions().next().is_none() {
        return Vec::new();
    }
    let values = |purpose, count| random::uniform(&mut random::stream(0, purpose, 0), 0.05, count);
    let layer = |purpose, outputs| Linear { weight: values(purpose, width * hidden), bias: vec![0.0; outputs] };
    let single = [layer("timed layer up", hidden), layer("timed layer down", width)];
    let paired = bfloat::available().then(|| single.each_ref().map(PairLinear::new));
    let bytes = are_bytes_fast().then(|| single.each_ref().map(ByteLinear::new));
    let strip = values("timed strip", width * LANES);
    let rounds = (PRODUCTS_PER_TURN / (2 * width * hidden * LANES)).max(1);
    let mut best = [f64::INFINITY; 3];
    for _ in 0..TURNS {
        best[0] = best[0].min(turn::<Single>(&single, &strip, hidden, rounds));
        if let Some(paired) = &paired {
            best[1] = best[1].min(turn::<Bfloat>(paired, &strip, hidden, rounds));
        }
        if let Some(bytes) = &bytes {
            best[2] = best[2].min(turn::<Bytes>(bytes, &strip, hidden, rounds));
        }
    }
    let times = [(Precision::Bf16, best[1] / best[0]), (Precision::Int8, best[2] / best[0])];
    let mut shares: Vec<_> = times.into_iter().filter(|(_, share)| share.is_finite()).collect();
    shares.sort_by(|one, other| one.1.total_cmp(&other.1));
    shares
}

/// Seconds for so many rounds through both layers.
fn turn<A: Arithmetic>([up, down]: &[A::Linear; 2], strip: &[f32], hidden: usize, rounds: usize) -> f64 {
    let (mut inner, mut outer, mut buffers) = (vec![0.0; hidden * LANES], vec![0.0; strip.len()], Buffers::default());
    let began = Instant::now();
    for _ in 0..rounds {
        A::linear(&mut inner, strip, up, LANES, &mut buffers);
        A::linear(&mut outer, &inner, down, LANES, &mut buffers);
    }
    std::hint::black_box(&outer);
    began.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_timed_where_there_are_instructions_and_something_to_gain() {
        assert_eq!(time_shares(LEAST_WIDTH - 1, 512), []);
        let shares = time_shares(128, 512);
        assert_eq!(shares.len(), supported_precisions().count());
        assert!(shares.iter().all(|(_, share)| (0.02..20.0).contains(share)), "{shares:?}");
        assert!(shares.is_sorted_by(|one, other| one.1 <= other.1));
    }
}
