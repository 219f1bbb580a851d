//! Sums of products of bytes: the one operation for which processors have instructions of their own.
//!
//! Left operands are unsigned, right ones signed, sums exact integers: every version gives the same. Operands come as
//! [`Quad`]s along the dimension that is summed over; values (4q … 4q + 3) of lane r are `strip[q * LANES + r]`.

use super::super::kernels::LANES;

/// Calls the tile of so many outputs.
macro_rules! of_outputs {
    ($outputs:expr, $tile:ident, $vectors:literal, $($argument:expr),*) => {
        match $outputs {
            1 => $tile::<1, $vectors>($($argument),*),
            2 => $tile::<2, $vectors>($($argument),*),
            3 => $tile::<3, $vectors>($($argument),*),
            4 => $tile::<4, $vectors>($($argument),*),
            5 => $tile::<5, $vectors>($($argument),*),
            6 => $tile::<6, $vectors>($($argument),*),
            outputs => panic!("a panel of {outputs} outputs"),
        }
    };
}

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Four neighbouring values of one byte each, the first in the lowest.
pub type Quad = u32;

/// Outputs that are computed together: with four vectors of lanes they and their operands fill 32 registers.
pub const PANEL: usize = 6;

/// How a processor multiplies bytes, the fastest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// Four products and their sum for each of 16 lanes (`vpdpbusd`).
    Avx512Vnni,
    /// The same for 8 lanes.
    AvxVnni,
    /// Two products of 16 bits for each of 8 lanes.
    Avx2,
    /// Four products of signed bytes and their sum for each of 4 lanes (`sdot`).
    NeonDot,
    /// Whatever the compiler makes of plain arithmetic.
    Plain,
}

impl Instructions {
    pub const ALL: [Instructions; 5] = [
        Instructions::Avx512Vnni,
        Instructions::AvxVnni,
        Instructions::Avx2,
        Instructions::NeonDot,
        Instructions::Plain,
    ];

    /// The fastest ones of this processor.
    pub fn fastest() -> Instructions {
        Self::ALL.into_iter().find(|instructions| instructions.are_available()).unwrap_or(Instructions::Plain)
    }

    #[cfg(target_arch = "x86_64")]
    pub fn are_available(self) -> bool {
        use std::arch::is_x86_feature_detected as detected;
        match self {
            Instructions::Avx512Vnni => detected!("avx512f") && detected!("avx512vnni"),
            Instructions::AvxVnni => detected!("avx2") && detected!("avxvnni"),
            Instructions::Avx2 => detected!("avx2"),
            Instructions::NeonDot => false,
            Instructions::Plain => true,
        }
    }

    #[cfg(target_arch = "aarch64")]
    pub fn are_available(self) -> bool {
        match self {
            Instructions::NeonDot => std::arch::is_aarch64_feature_detected!("dotprod"),
            instructions => instructions == Instructions::Plain,
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn are_available(self) -> bool {
        self == Instructions::Plain
    }

    /// Whether bytes are multiplied faster than single precision.
    pub fn are_for_bytes(self) -> bool {
        matches!(self, Instructions::Avx512Vnni | Instructions::AvxVnni | Instructions::NeonDot)
    }
}

/// Where a product's right operand lies: quad q of output o of a panel is `panel · panel_stride + q · quad_stride +
/// o · output_stride`.
#[derive(Debug, Clone, Copy)]
pub struct Right<'a> {
    pub quads: &'a [Quad],
    pub panel_stride: usize,
    pub quad_stride: usize,
    pub output_stride: usize,
}

/// `sums = right · strip`, of unsigned bytes in the strip and signed ones on the right.
///
/// Only the lanes of the first `tokens` tokens, rounded up to 16, are computed.
///
/// # Shapes
/// strip `[quads, LANES]`, right `[outputs, quads]` → sums `[outputs, LANES]`
///
/// # Panics
/// If the right operand is shorter than that, or the processor lacks the instructions.
pub fn sums(instructions: Instructions, sums: &mut [i32], strip: &[Quad], right: Right, tokens: usize) {
    assert!(instructions.are_available(), "{instructions:?} is only chosen on processors that have it");
    let quads = strip.len() / LANES;
    for (panel, sums) in sums.chunks_mut(PANEL * LANES).enumerate() {
        let outputs = sums.len() / LANES;
        let first = panel * right.panel_stride;
        if quads == 0 || outputs == 0 {
            sums.fill(0);
            continue;
        }
        let last = (quads - 1) * right.quad_stride + (outputs - 1) * right.output_stride;
        let quads_of_panel = &right.quads[first..first + last + 1];
        let right = Right { quads: quads_of_panel, ..right };
        match instructions {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the instruction sets have been asserted above.
            Instructions::Avx512Vnni => unsafe { x86::wide::panel(sums, strip, right, tokens) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the instruction sets have been asserted above.
            Instructions::AvxVnni => unsafe { x86::vnni::panel(sums, strip, right, tokens) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the instruction set has been asserted above.
            Instructions::Avx2 => unsafe { x86::madd::panel(sums, strip, right, tokens) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the instruction set has been asserted above.
            Instructions::NeonDot => unsafe { aarch64::panel(sums, strip, right, tokens) },
            _ => plain(sums, strip, right, tokens),
        }
    }
}

/// The definition of a panel's sums.
fn plain(sums: &mut [i32], strip: &[Quad], right: Right, tokens: usize) {
    let computed = tokens.next_multiple_of(16).min(LANES);
    for (output, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let sums = &mut sums[..computed];
        sums.fill(0);
        for (place, lanes) in strip.as_chunks::<LANES>().0.iter().enumerate() {
            let quad = right.quads[place * right.quad_stride + output * right.output_stride].to_le_bytes();
            let factors = quad.map(|byte| i32::from(byte.cast_signed()));
            for (sum, values) in sums.iter_mut().zip(lanes) {
                for (byte, factor) in factors.iter().enumerate() {
                    *sum += (values >> (8 * byte) & 0xff).cast_signed() * factor;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: usize, step: usize) -> Vec<Quad> {
        (0..count).map(|index| (index * step).wrapping_mul(2_654_435_761) as u32 ^ (index as u32) << 7).collect()
    }

    /// The sums by their definition, in wider integers.
    fn expected(strip: &[Quad], right: Right, output: usize, lane: usize) -> i64 {
        let quads = strip.len() / LANES;
        let at = |q: usize| {
            output / PANEL * right.panel_stride + q * right.quad_stride + output % PANEL * right.output_stride
        };
        let products = |q: usize| {
            let (left, right) = (strip[q * LANES + lane].to_le_bytes(), right.quads[at(q)].to_le_bytes());
            left.into_iter()
                .zip(right)
                .map(|(left, right)| i64::from(left) * i64::from(right.cast_signed()))
                .sum::<i64>()
        };
        (0..quads).map(products).sum()
    }

    #[test]
    fn all_instructions_give_the_exact_sums() {
        for (quads, outputs, tokens) in
            [(1usize, 1usize, 1), (5, 6, 64), (96, 13, 17), (16, 64, 40), (3, 5, 33), (0, 7, 64)]
        {
            let strip = bytes(quads * LANES, 3);
            let panels = outputs.div_ceil(PANEL);
            let packed = bytes(panels * PANEL * quads, 7);
            let weights = Right { quads: &packed, panel_stride: PANEL * quads, quad_stride: PANEL, output_stride: 1 };
            let of_keys = bytes((quads * LANES).max(1), 11);
            let keys = Right { quads: &of_keys, panel_stride: PANEL, quad_stride: LANES, output_stride: 1 };
            let of_values = bytes(outputs * quads, 13);
            let values = Right { quads: &of_values, panel_stride: PANEL * quads, quad_stride: 1, output_stride: quads };
            for right in [weights, keys, values] {
                for instructions in Instructions::ALL.into_iter().filter(|instructions| instructions.are_available()) {
                    let mut found = vec![-1; outputs * LANES];
                    sums(instructions, &mut found, &strip, right, tokens);
                    for output in 0..outputs {
                        for lane in 0..tokens {
                            let expected = expected(&strip, right, output, lane);
                            assert_eq!(i64::from(found[output * LANES + lane]), expected, "{instructions:?} {quads}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn extremes_neither_saturate_nor_overflow() {
        // The widest perceptron of a giant transformer.
        let quads = 8192 / 4;
        let strip = vec![u32::MAX; quads * LANES];
        for (byte, factor) in [(0x81, -127), (0x80, -128), (0x7f, 127)] {
            let weights = vec![u32::from_le_bytes([byte; 4]); quads];
            let right = Right { quads: &weights, panel_stride: quads, quad_stride: 1, output_stride: 1 };
            for instructions in Instructions::ALL.into_iter().filter(|instructions| instructions.are_available()) {
                let mut found = vec![0; LANES];
                sums(instructions, &mut found, &strip, right, LANES);
                assert!(found.iter().all(|&sum| sum == 255 * factor * 8192), "{instructions:?}: {}", found[0]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn a_right_operand_that_is_too_short_is_refused() {
        let right = Right { quads: &[0; 11], panel_stride: 12, quad_stride: 6, output_stride: 1 };
        sums(Instructions::fastest(), &mut [0; 6 * LANES], &[0; 2 * LANES], right, LANES);
    }
}
