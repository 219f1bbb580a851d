//! Random fields, and small arithmetic on colours and vectors.

/// A colour in sRGB, 1 for full.
pub type Colour = [f32; 3];

/// Random fields that depend on position and seed alone.
pub struct Noise(pub u32);

impl Noise {
    /// A uniform number in 0..1 for an integer position.
    pub fn hash(&self, x: i32, y: i32) -> f32 {
        let mut bits = self.0 ^ (x as u32).wrapping_mul(0x85eb_ca6b) ^ (y as u32).wrapping_mul(0xc2b2_ae35);
        for (shift, factor) in [(16, 0x7feb_352d_u32), (15, 0x846c_a68b), (16, 0x9e37_79b1)] {
            bits = (bits ^ (bits >> shift)).wrapping_mul(factor);
        }
        ((bits ^ (bits >> 15)) >> 8) as f32 / (1 << 24) as f32
    }

    /// Value noise: random values on the integer grid, blended smoothly in between.
    pub fn smooth(&self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (ramp(0.0, 1.0, x - left), ramp(0.0, 1.0, y - top));
        let row = |offset: i32| {
            let at = |step: i32| self.hash(left as i32 + step, top as i32 + offset);
            at(0) + across * (at(1) - at(0))
        };
        row(0) + down * (row(1) - row(0))
    }

    /// Four octaves of value noise, still within 0..1.
    pub fn layered(&self, x: f32, y: f32) -> f32 {
        let octave = |scale: f32, weight: f32| weight * self.smooth(scale * x + 19.0 * scale, scale * y - 7.0 * scale);
        octave(1.0, 0.5) + octave(2.1, 0.26) + octave(4.3, 0.15) + octave(8.7, 0.09)
    }

    /// Cells around scattered points: how far from the cell's border, and a random number of the cell.
    pub fn cells(&self, x: f32, y: f32) -> (f32, f32) {
        let (mut first, mut second, mut tone) = (f32::MAX, f32::MAX, 0.0);
        for offset in 0..9 {
            let (column, row) = (x.floor() as i32 + offset % 3 - 1, y.floor() as i32 + offset / 3 - 1);
            let (dx, dy) =
                (self.hash(column, 2 * row) + column as f32 - x, self.hash(column, 2 * row + 1) + row as f32 - y);
            let distance = dx.hypot(dy);
            if distance < first {
                (first, second, tone) = (distance, first, self.hash(column + 1000, row));
            } else {
                second = second.min(distance);
            }
        }
        (second - first, tone)
    }
}

/// 0 at `start`, 1 at `end`, with flat ends; `start` may lie above `end`.
pub fn ramp(start: f32, end: f32, value: f32) -> f32 {
    let t = ((value - start) / (end - start)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The minimum, rounded where both are within `radius` of each other.
pub fn smooth_minimum(first: f32, second: f32, radius: f32) -> f32 {
    let overlap = (radius - (first - second).abs()).max(0.0) / radius;
    first.min(second) - 0.25 * radius * overlap * overlap
}

pub fn unit(vector: [f32; 3]) -> [f32; 3] {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-6);
    vector.map(|value| value / length)
}

pub fn add(base: Colour, other: Colour, weight: f32) -> Colour {
    [0, 1, 2].map(|channel| base[channel] + weight * other[channel])
}

pub fn mix(base: Colour, other: Colour, amount: f32) -> Colour {
    [0, 1, 2].map(|channel| base[channel] + amount.clamp(0.0, 1.0) * (other[channel] - base[channel]))
}
