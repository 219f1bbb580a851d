//! What grounds and surfaces look like.

use crate::noise::{Colour, Noise, mix, ramp};

pub const WHITE: Colour = [0.93, 0.92, 0.88];
pub const BLACK: Colour = [0.07, 0.06, 0.06];
pub const RED: Colour = [0.80, 0.13, 0.10];
pub const ORANGE: Colour = [0.93, 0.48, 0.10];
pub const YELLOW: Colour = [0.95, 0.80, 0.18];
pub const GREEN: Colour = [0.33, 0.60, 0.16];
pub const BLUE: Colour = [0.14, 0.30, 0.66];
pub const VIOLET: Colour = [0.50, 0.26, 0.62];
pub const PINK: Colour = [0.92, 0.50, 0.62];
pub const BROWN: Colour = [0.45, 0.25, 0.12];
pub const CHESTNUT: Colour = [0.58, 0.27, 0.11];
pub const CREAM: Colour = [0.90, 0.83, 0.66];
pub const CLAY: Colour = [0.74, 0.36, 0.22];

#[derive(Clone, Copy)]
pub enum Ground {
    Forest,
    Shelf,
    Bricks,
    Stone,
    Wood,
    Cloth,
    Grass,
    Sea,
    Pond,
    Gravel,
    Meadow,
    Sky,
    Sand,
}

/// What covers an object besides its parts' own colours.
#[derive(Clone, Copy)]
pub enum Surface {
    Mottled,
    Speckled,
    Woolly,
    Veined,
    Banded(Colour),
    Striped(Colour),
    Patched(Colour),
    Gored(Colour),
}

impl Surface {
    /// The colour of the covered surface at (u, v), and a factor for its fine relief.
    pub fn apply(self, colour: Colour, noise: &Noise, u: f32, v: f32) -> (Colour, f32) {
        let soft = 0.70 + 0.40 * noise.layered(3.0 * u, 3.0 * v) + 0.20 * noise.layered(14.0 * u, 14.0 * v);
        match self {
            Surface::Mottled => (colour, soft),
            Surface::Speckled => (mix(colour, BROWN, 0.55 * ramp(0.76, 0.86, noise.smooth(30.0 * u, 30.0 * v))), soft),
            Surface::Woolly => (colour, 0.55 + 0.8 * noise.layered(11.0 * u, 11.0 * v)),
            Surface::Veined => {
                let side = ((v + 0.9 * u.abs()) * 5.0).rem_euclid(1.0);
                let vein = ramp(0.05, 0.02, u.abs()).max(0.7 * ramp(0.1, 0.03, (side - 0.5).abs()));
                let patchy = mix(colour, [0.72, 0.20, 0.10], 0.5 * ramp(0.5, 0.8, noise.layered(2.0 * u, 2.0 * v)));
                let patchy = if colour[1] > colour[0] { colour } else { patchy };
                (mix(patchy, CREAM, 0.45 * vein), soft)
            }
            Surface::Banded(band) => {
                let wave = 0.04 * (14.0 * u).sin();
                let inside = ramp(0.05, 0.03, (v - 0.02 + wave).abs()) + ramp(0.05, 0.03, (v - 0.46 - wave).abs());
                (mix(colour, band, 0.85 * inside), soft)
            }
            Surface::Striped(stripe) => {
                let wave = (9.0 * u + 4.0 * noise.smooth(2.0 * u, 2.0 * v)).sin();
                let body = ramp(-0.75, -0.5, u) * ramp(0.62, 0.42, u);
                let scales = 0.97 + 0.05 * (34.0 * u).sin() * (34.0 * v).sin();
                (mix(colour, stripe, body * ramp(0.35, 0.6, wave)), soft * scales)
            }
            Surface::Patched(patch) => {
                let body = ramp(0.35, 0.25, v);
                (mix(colour, patch, body * ramp(0.53, 0.56, noise.layered(1.9 * u + 11.0, 1.9 * v))), soft)
            }
            Surface::Gored(gore) => {
                let half_width = 0.74 * (1.0 - ((v + 0.3) / 0.95).powi(2)).max(0.05).sqrt();
                let meridian = (u / half_width).clamp(-1.0, 1.0).asin();
                let envelope = ramp(0.62, 0.6, v);
                (mix(colour, gore, envelope * ramp(-0.1, 0.1, (6.0 * meridian).sin())), 0.5 + 0.5 * soft)
            }
        }
    }
}

impl Ground {
    pub fn colour(self, noise: &Noise, x: f32, y: f32) -> Colour {
        let fine = noise.layered(30.0 * x, 30.0 * y);
        match self {
            Ground::Sky => {
                let cloud = noise.layered(2.2 * x + 3.0, 4.2 * y);
                mix(mix([0.25, 0.47, 0.78], [0.70, 0.82, 0.92], y), [0.95, 0.95, 0.96], ramp(0.48, 0.72, cloud))
            }
            Ground::Sea if y < 0.46 => mix(Ground::Sky.colour(noise, x, y), [0.86, 0.86, 0.84], 0.5),
            Ground::Sea => {
                let depth = (y - 0.46).max(0.004);
                let swell = noise.layered(3.0 * x / (0.3 + depth), 9.0 * depth.ln());
                mix([0.07, 0.22, 0.33], [0.42, 0.62, 0.68], ramp(0.3, 0.85, swell))
            }
            Ground::Pond => {
                let drift = noise.smooth(3.0 * x, 3.0 * y);
                let ripple = noise.layered(4.0 * x + drift, 19.0 * y + 2.0 * drift);
                mix([0.08, 0.20, 0.18], [0.36, 0.50, 0.48], ramp(0.32, 0.85, ripple))
            }
            Ground::Meadow if y < 0.30 + 0.05 * noise.smooth(4.0 * x, 0.5) => {
                let trees = 0.18 + 0.10 * noise.layered(7.0 * x, 1.0);
                let leaves = mix([0.12, 0.20, 0.10], [0.32, 0.42, 0.20], noise.layered(22.0 * x, 22.0 * y));
                mix(Ground::Sky.colour(noise, x, y + 0.4), leaves, ramp(trees, trees + 0.01, y))
            }
            Ground::Meadow | Ground::Grass => {
                let blade = noise.layered(46.0 * x + 3.0 * noise.smooth(7.0 * x, 7.0 * y), 10.0 * y);
                let patch = mix([0.16, 0.30, 0.08], [0.30, 0.36, 0.12], noise.layered(2.5 * x, 2.5 * y));
                mix(patch, [0.52, 0.62, 0.26], ramp(0.35, 0.85, blade))
            }
            Ground::Sand => {
                let crest = (52.0 * y + 9.0 * noise.layered(2.0 * x, 2.0 * y) + 6.0 * x).sin();
                mix([0.70, 0.58, 0.40], [0.88, 0.78, 0.60], 0.5 + 0.22 * crest + 0.55 * (fine - 0.5))
            }
            Ground::Stone => {
                mix([0.30, 0.31, 0.32], [0.66, 0.65, 0.62], noise.layered(5.0 * x, 5.0 * y) * 0.6 + 0.4 * fine)
            }
            Ground::Wood => {
                let plank = (4.0 * y).floor();
                let gap = ramp(0.0, 0.03, (4.0 * y - plank).min(plank + 1.0 - 4.0 * y));
                let tone = noise.hash(plank as i32, 77);
                let bend = noise.layered(1.5 * x + 9.0 * plank, 3.0 * y);
                let grain = noise.layered(1.5 * x + 13.0 * plank, 44.0 * y + 8.0 * bend);
                let board = mix([0.36, 0.24, 0.15], [0.64, 0.47, 0.31], 0.55 * grain + 0.3 * tone + 0.12);
                board.map(|channel| channel * (0.4 + 0.6 * gap))
            }
            Ground::Cloth => {
                let stripe = |t: f32| if (5.0 * t).rem_euclid(1.0) < 0.5 { 0.5 } else { 0.0 };
                let weave = 0.93
                    + 0.05 * (260.0 * x).sin() * (260.0 * y).sin()
                    + 0.14 * (noise.layered(3.0 * x, 3.0 * y) - 0.5);
                mix([0.90, 0.89, 0.86], [0.28, 0.42, 0.62], stripe(x + 0.2 * y) + stripe(y - 0.2 * x))
                    .map(|channel| channel * weave)
            }
            Ground::Gravel => {
                let (edge, tone) = noise.cells(11.0 * x, 11.0 * y);
                let stone = mix([0.42, 0.40, 0.37], [0.74, 0.68, 0.58], tone);
                stone.map(|channel| channel * (0.35 + 0.75 * ramp(0.0, 0.45, edge)) * (0.85 + 0.3 * fine))
            }
            Ground::Forest => {
                let (edge, tone) = noise.cells(9.0 * x + 0.8 * fine, 12.0 * y + 0.8 * fine);
                let litter = mix([0.22, 0.15, 0.09], [0.50, 0.36, 0.18], tone);
                let moss = ramp(0.50, 0.62, noise.layered(2.6 * x, 3.4 * y + 7.0));
                let floor = mix(litter, mix([0.14, 0.24, 0.07], [0.38, 0.48, 0.16], fine), moss);
                floor.map(|channel| channel * (0.5 + 0.6 * ramp(0.0, 0.4, edge)) * (0.45 + 0.65 * ramp(-0.1, 0.6, y)))
            }
            Ground::Shelf | Ground::Bricks if y > 0.80 => Ground::Wood.colour(noise, x, 0.62 + 0.4 * (y - 0.80)),
            Ground::Shelf => {
                let plaster = noise.layered(3.0 * x, 3.0 * y) * 0.7 + 0.3 * fine;
                mix([0.52, 0.56, 0.50], [0.74, 0.76, 0.68], plaster)
            }
            Ground::Bricks => {
                let row = (9.0 * y).floor();
                let along = 3.6 * x + 0.5 * row.rem_euclid(2.0);
                let (across, down) = (along - along.floor(), 9.0 * y - row);
                let joint = ramp(0.03, 0.06, across.min(1.0 - across)) * ramp(0.07, 0.13, down.min(1.0 - down));
                let brick = mix([0.44, 0.24, 0.18], [0.62, 0.38, 0.29], noise.hash(along.floor() as i32, row as i32));
                mix([0.68, 0.65, 0.60], brick, joint).map(|channel| channel * (0.75 + 0.5 * fine))
            }
        }
    }
}
