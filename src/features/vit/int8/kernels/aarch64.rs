//! Sums of products on aarch64: vectors of 4 lanes, four at a time.
//!
//! `sdot` takes signed bytes on both sides: a left value u is taken as u - 128, and 128 times the sum of the right ones is
//! added.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vdupq_n_s8, vdupq_n_s32, vdupq_n_u8, veorq_u8, vgetq_lane_s32, vld1q_dup_u32, vld1q_u32,
    vreinterpretq_s8_u8, vreinterpretq_s8_u32, vreinterpretq_u8_u32, vst1q_s32,
};
use std::arch::asm;

use super::{LANES, PANEL, Quad, Right};

const VECTOR: usize = 4;

/// The sums of at most [`PANEL`] outputs; `right` ends with the last quad that is read.
#[target_feature(enable = "neon,dotprod")]
pub fn panel(sums: &mut [i32], strip: &[Quad], right: Right, tokens: usize) {
    let outputs = sums.len() / LANES;
    let mut starts = [0; PANEL];
    for (output, start) in starts[..outputs].iter_mut().enumerate() {
        let mut total = vdupq_n_s32(0);
        for quad in
            right.quads[output * right.output_stride..].iter().step_by(right.quad_stride).take(strip.len() / LANES)
        {
            // SAFETY: one quad is read from where it is.
            let factors = unsafe { vreinterpretq_s8_u32(vld1q_dup_u32(quad)) };
            total = sdot(total, vdupq_n_s8(1), factors);
        }
        *start = 128 * vgetq_lane_s32::<0>(total);
    }
    for first in (0..tokens.min(LANES)).step_by(4 * VECTOR) {
        // SAFETY: the sums have as many rows of LANES lanes as there are outputs, four vectors from a multiple of 16 below
        // LANES are inside a row, the strip has whole rows, and `right` reaches to the last quad.
        unsafe { of_outputs!(outputs, tile, 4, sums, strip, right, &starts, first) }
    }
}

/// `OUTPUTS` outputs for `VECTORS` vectors of lanes from lane `first` on, each from its start.
///
/// # Safety
/// `sums` must hold `OUTPUTS` rows of [`LANES`] lanes, `strip` whole rows of them, the vectors must end within a row, and
/// `right` must hold the last output's last quad.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const OUTPUTS: usize, const VECTORS: usize>(
    sums: &mut [i32],
    strip: &[Quad],
    right: Right,
    starts: &[i32; PANEL],
    first: usize,
) {
    let mut totals = [[vdupq_n_s32(0); VECTORS]; OUTPUTS];
    for (totals, &start) in totals.iter_mut().zip(starts) {
        *totals = [vdupq_n_s32(start); VECTORS];
    }
    let (mut row, mut column) = (strip.as_ptr().wrapping_add(first), right.quads.as_ptr());
    // SAFETY: every address below is inside its slice by this function's requirements.
    unsafe {
        for _ in 0..strip.len() / LANES {
            let mut left = [vdupq_n_s8(0); VECTORS];
            for (vector, left) in left.iter_mut().enumerate() {
                let values = vreinterpretq_u8_u32(vld1q_u32(row.add(vector * VECTOR)));
                *left = vreinterpretq_s8_u8(veorq_u8(values, vdupq_n_u8(0x80)));
            }
            for (output, totals) in totals.iter_mut().enumerate() {
                let factors = vreinterpretq_s8_u32(vld1q_dup_u32(column.add(output * right.output_stride)));
                for (total, &left) in totals.iter_mut().zip(&left) {
                    *total = sdot(*total, left, factors);
                }
            }
            row = row.wrapping_add(LANES);
            column = column.wrapping_add(right.quad_stride);
        }
        for (output, totals) in totals.iter().enumerate() {
            for (vector, &total) in totals.iter().enumerate() {
                vst1q_s32(sums.as_mut_ptr().add(output * LANES + first + vector * VECTOR), total);
            }
        }
    }
}

/// Adds four products of signed bytes to each of four lanes; the standard library's function for it is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(total: int32x4_t, left: int8x16_t, right: int8x16_t) -> int32x4_t {
    let mut sums = total;
    // SAFETY: the instruction reads and writes these registers alone.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {left:v}.16b, {right:v}.16b",
            sums = inout(vreg) sums, left = in(vreg) left, right = in(vreg) right,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
