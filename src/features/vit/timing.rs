//! How long this processor takes for a transformer's products in bfloat16, beside single precision.

use std::time::Instant;

use super::arithmetic::{Arithmetic, Bfloat, Single};
use super::bfloat::{self, PairLinear};
use super::kernels::LANES;
use super::layers::Linear;
use crate::numerics::random;

/// Products of one turn: long enough for the clock, short enough for all turns to take a fraction of a second.
const PRODUCTS_PER_TURN: usize = 500_000_000;

/// Turns of either, one after the other; the best counts.
const TURNS: usize = 7;

/// What products of fewer channels take says nothing of a whole network.
const LEAST_WIDTH: usize = 128;

/// The time that the two linear layers of a block, `width → hidden → width`, take in bfloat16, divided by that in single
/// precision; none where the processor has no bfloat16, or the network is so small that it does not matter.
pub fn bfloat_time_share(width: usize, hidden: usize) -> Option<f64> {
    if !bfloat::available() || width < LEAST_WIDTH || hidden == 0 {
        return None;
    }
    let values = |purpose, count| random::uniform(&mut random::stream(0, purpose, 0), 0.05, count);
    let layer = |purpose, outputs| Linear { weight: values(purpose, width * hidden), bias: vec![0.0; outputs] };
    let single = [layer("timed layer up", hidden), layer("timed layer down", width)];
    let paired = [PairLinear::new(&single[0]), PairLinear::new(&single[1])];
    let strip = values("timed strip", width * LANES);
    let rounds = (PRODUCTS_PER_TURN / (2 * width * hidden * LANES)).max(1);
    let mut best = [f64::INFINITY; 2];
    for _ in 0..TURNS {
        best[0] = best[0].min(turn::<Single>(&single, &strip, hidden, rounds));
        best[1] = best[1].min(turn::<Bfloat>(&paired, &strip, hidden, rounds));
    }
    Some(best[1] / best[0])
}

/// Seconds for so many rounds through both layers.
fn turn<A: Arithmetic>([up, down]: &[A::Linear; 2], strip: &[f32], hidden: usize, rounds: usize) -> f64 {
    let (mut inner, mut outer, mut buffer) = (vec![0.0; hidden * LANES], vec![0.0; strip.len()], Vec::new());
    let began = Instant::now();
    for _ in 0..rounds {
        inner.fill(0.0);
        A::add_product(&mut inner, A::operand(&mut buffer, strip), up, LANES);
        outer.fill(0.0);
        A::add_product(&mut outer, A::operand(&mut buffer, &inner), down, LANES);
    }
    std::hint::black_box(&outer);
    began.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_timed_where_there_is_bfloat_and_something_to_gain() {
        assert_eq!(bfloat_time_share(LEAST_WIDTH - 1, 512), None);
        let share = bfloat_time_share(128, 512);
        assert_eq!(share.is_some(), bfloat::available());
        assert!(share.is_none_or(|share| (0.05..20.0).contains(&share)), "{share:?}");
    }
}
