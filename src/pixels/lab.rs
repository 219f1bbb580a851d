//! CIE L\*a\*b\*: distances between colours as people see them.

use std::sync::LazyLock;

use crate::raster::{Raster, RgbImage};

/// Linear light in [0, 1] for every 8-bit sRGB value (IEC 61966-2-1).
static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|value| {
        let companded = value as f64 / 255.0;
        let linear = if companded > 0.04045 { ((companded + 0.055) / 1.055).powf(2.4) } else { companded / 12.92 };
        linear as f32
    })
});

/// Linear sRGB → XYZ (ITU-R BT.709 primaries, D65), each row divided by the white point (0.95047, 1, 1.08883) of the
/// 2° observer.
const XYZ_FROM_RGB: [[f32; 3]; 3] = [
    [0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047],
    [0.212671, 0.715160, 0.072169],
    [0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883],
];

/// Converts to CIE L\*a\*b\* under D65 and the 2° observer: L\* = 116 f(Y) − 16, a\* = 500 (f(X) − f(Y)),
/// b\* = 200 (f(Y) − f(Z)), with f(t) = ∛t above 0.008856 and 7.787 t + 16/116 below (CIE 15, with the rounded
/// constants that scikit-image uses too). L\* is in [0, 100], a\* and b\* roughly in [−110, 110].
///
/// # Shapes
/// `[image.height, image.width]` of RGB → the same of [L\*, a\*, b\*]
pub fn lab_from_rgb(image: &RgbImage) -> Raster<[f32; 3]> {
    let linear = &*LINEAR;
    image.map(|[red, green, blue]| {
        let [red, green, blue] = [red, green, blue].map(|value| linear[usize::from(value)]);
        let [x, y, z] = XYZ_FROM_RGB.map(|row| lightness(row[0] * red + row[1] * green + row[2] * blue));
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    })
}

/// CIE's f(t) for t in [0, 1.1].
fn lightness(t: f32) -> f32 {
    if t > 0.008856 { cube_root(t) } else { 7.787 * t + 16.0 / 116.0 }
}

/// ∛t for a normal positive t, to about 2e-7: dividing the exponent by three, then two of Halley's steps. Only basic
/// operations, so that the compiler can work on several pixels at once and every machine gives the same bits.
fn cube_root(t: f32) -> f32 {
    // A third of the bit pattern is a third of the exponent, but for the bias, two thirds of which must come back; the
    // constant is 2/3 · 127 · 2²³, lowered so that the error is balanced over a period of three octaves.
    let mut root = f32::from_bits(t.to_bits() / 3 + 0x2A51_2CE3);
    for _ in 0..2 {
        let cube = root * root * root;
        root *= (cube + 2.0 * t) / (2.0 * cube + t);
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_roots_are_as_good_as_the_type() {
        for step in 1..=20_000u32 {
            let t = step as f32 * 5.5e-5;
            let exact = f64::from(t).cbrt();
            assert!((f64::from(cube_root(t)) / exact - 1.0).abs() < 3e-7, "{t}");
        }
    }

    #[test]
    fn known_colours() {
        // Published L*a*b* coordinates of the sRGB corners under D65.
        for (rgb, lab) in [
            ([0, 0, 0], [0.0, 0.0, 0.0]),
            ([255, 255, 255], [100.0, 0.0, 0.0]),
            ([255, 0, 0], [53.24, 80.09, 67.20]),
            ([0, 255, 0], [87.73, -86.18, 83.18]),
            ([0, 0, 255], [32.30, 79.19, -107.86]),
        ] {
            let result = lab_from_rgb(&Raster::filled(1, 1, rgb)).at(0, 0);
            for (value, expected) in result.iter().zip(lab) {
                assert!((value - expected).abs() < 0.02, "{rgb:?} gives {result:?}");
            }
        }
    }
}
