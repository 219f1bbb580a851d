//! The silhouettes: every kind of object as a few superellipses.

use crate::material::*;
use crate::noise::Colour;

#[derive(Clone, Copy)]
pub enum Kind {
    Mushroom,
    Vase,
    Leaf,
    Pear,
    Pumpkin,
    Boat,
    Duck,
    Fish,
    Horse,
    Cow,
    Sheep,
    Balloon,
    Ladybird,
    Starfish,
    Flower,
}

/// A superellipse with its own colour; x, y, radii in units of half the object's height.
pub struct Part {
    pub x: f32,
    pub y: f32,
    pub radii: [f32; 2],
    pub degrees: f32,
    /// 2 is an ellipse; less is pointed, more is boxy.
    pub power: f32,
    /// How much wider the lower end is than the middle; −1 comes to a point below, 1 above.
    pub taper: f32,
    pub colour: Colour,
}

impl Part {
    /// 0 at the part's centre, 1 on its outline.
    pub fn level(&self, u: f32, v: f32) -> f32 {
        let (sine, cosine) = self.degrees.to_radians().sin_cos();
        let (dx, dy) = (u - self.x, v - self.y);
        let across = (cosine * dx + sine * dy) / self.radii[0];
        let along = (cosine * dy - sine * dx) / self.radii[1];
        let across = across / (1.0 + self.taper * along.clamp(-1.0, 1.0)).max(0.03);
        (across.abs().powf(self.power) + along.abs().powf(self.power)).powf(1.0 / self.power)
    }

    fn boxy(self, power: f32) -> Self {
        Self { power, ..self }
    }

    fn tapered(self, taper: f32) -> Self {
        Self { taper, ..self }
    }
}

fn part(x: f32, y: f32, across: f32, along: f32, degrees: f32, colour: Colour) -> Part {
    Part { x, y, radii: [across, along], degrees, power: 2.0, taper: 0.0, colour }
}

impl Kind {
    /// The parts from back to front, what covers them, and how much they shine.
    pub fn build(self, main: Colour) -> (Vec<Part>, Surface, f32) {
        let dark = main.map(|channel| 0.55 * channel);
        let around = |count: usize, distance: f32, make: &dyn Fn(f32, f32, f32) -> Part| -> Vec<Part> {
            let turns = (0..count).map(|index| 360.0 * index as f32 / count as f32);
            turns
                .map(|degrees| {
                    let (sine, cosine) = degrees.to_radians().sin_cos();
                    make(distance * sine, -distance * cosine, degrees)
                })
                .collect()
        };
        match self {
            Kind::Mushroom => {
                let mut parts = vec![
                    part(0.0, 0.45, 0.2, 0.56, 0.0, CREAM).boxy(3.0).tapered(0.3),
                    part(0.0, -0.08, 0.66, 0.17, 0.0, [0.72, 0.62, 0.46]),
                    part(0.0, -0.4, 0.86, 0.46, 0.0, main).tapered(0.25),
                ];
                let spots = [
                    (-0.45, -0.3, 0.11),
                    (-0.12, -0.58, 0.12),
                    (0.28, -0.42, 0.13),
                    (0.6, -0.2, 0.09),
                    (-0.08, -0.22, 0.09),
                    (-0.7, -0.12, 0.06),
                ];
                parts.extend(
                    spots
                        .into_iter()
                        .filter(|_| main == RED)
                        .map(|(x, y, radius)| part(x, y, radius, 0.75 * radius, 0.0, WHITE)),
                );
                (parts, Surface::Mottled, 0.15)
            }
            Kind::Vase => (
                vec![
                    part(0.0, 0.25, 0.62, 0.6, 0.0, main),
                    part(0.0, 0.86, 0.36, 0.14, 0.0, dark).boxy(4.0),
                    part(0.0, -0.52, 0.26, 0.42, 0.0, main).boxy(4.0).tapered(-0.15),
                    part(0.0, -0.9, 0.4, 0.09, 0.0, dark),
                ],
                Surface::Banded(CREAM),
                0.5,
            ),
            Kind::Leaf => (
                vec![
                    part(0.0, -0.1, 0.56, 0.95, 0.0, main).boxy(1.55).tapered(0.2),
                    part(0.0, 0.95, 0.035, 0.28, 0.0, dark),
                ],
                Surface::Veined,
                0.08,
            ),
            Kind::Pear => (
                vec![
                    part(0.0, 0.36, 0.64, 0.58, 0.0, main),
                    part(0.0, -0.28, 0.38, 0.52, 0.0, main),
                    part(0.07, -0.92, 0.05, 0.22, 18.0, BROWN),
                ],
                Surface::Speckled,
                0.28,
            ),
            Kind::Pumpkin => (
                vec![
                    part(-0.68, 0.15, 0.36, 0.6, 8.0, main),
                    part(0.68, 0.15, 0.36, 0.6, -8.0, main),
                    part(-0.38, 0.15, 0.34, 0.7, 5.0, main),
                    part(0.38, 0.15, 0.34, 0.7, -5.0, main),
                    part(0.0, 0.15, 0.34, 0.74, 0.0, main),
                    part(0.04, -0.68, 0.12, 0.26, 14.0, [0.36, 0.38, 0.16]).boxy(3.0),
                ],
                Surface::Mottled,
                0.15,
            ),
            Kind::Boat => (
                vec![
                    part(0.0, -0.25, 0.03, 0.72, 0.0, BROWN).boxy(4.0),
                    part(0.0, 0.68, 0.95, 0.2, 0.0, dark).boxy(3.5).tapered(-0.28),
                    part(0.0, 0.53, 0.98, 0.06, 0.0, BROWN).boxy(3.0),
                    part(0.4, -0.16, 0.36, 0.68, -6.0, main).boxy(9.0).tapered(0.95),
                    part(-0.4, -0.02, 0.3, 0.52, 10.0, WHITE).boxy(9.0).tapered(0.95),
                ],
                Surface::Mottled,
                0.0,
            ),
            Kind::Duck => (
                vec![
                    part(0.0, 0.3, 0.86, 0.44, 0.0, main),
                    part(-0.86, 0.02, 0.16, 0.32, -55.0, dark),
                    part(0.55, -0.12, 0.24, 0.42, 6.0, main),
                    part(0.6, -0.5, 0.32, 0.29, 0.0, if main == BROWN { [0.10, 0.34, 0.20] } else { main }),
                    part(0.96, -0.44, 0.2, 0.09, 8.0, ORANGE),
                    part(-0.16, 0.2, 0.5, 0.24, 10.0, dark),
                    part(0.69, -0.57, 0.05, 0.06, 0.0, BLACK),
                ],
                Surface::Mottled,
                0.05,
            ),
            Kind::Fish => (
                vec![
                    part(0.12, 0.0, 0.82, 0.4, 0.0, main),
                    part(-0.86, 0.0, 0.36, 0.3, 90.0, dark).boxy(3.0).tapered(0.75),
                    part(0.05, -0.36, 0.36, 0.2, 12.0, dark),
                    part(0.15, 0.36, 0.2, 0.16, -20.0, dark),
                    part(0.18, 0.08, 0.13, 0.09, 30.0, dark),
                    part(0.68, -0.1, 0.08, 0.08, 0.0, WHITE),
                    part(0.69, -0.1, 0.045, 0.045, 0.0, BLACK),
                ],
                Surface::Striped(if main == BLUE { YELLOW } else { [0.96, 0.90, 0.84] }),
                0.35,
            ),
            Kind::Horse => {
                let mut parts = vec![
                    part(-0.02, -0.1, 0.7, 0.3, 0.0, main),
                    part(-0.45, -0.14, 0.34, 0.34, 0.0, main),
                    part(0.42, -0.12, 0.3, 0.32, 0.0, main),
                ];
                parts.extend(
                    [(-0.62, 4.0), (-0.42, -3.0), (0.36, 3.0), (0.54, -4.0)]
                        .map(|(x, degrees)| part(x, 0.45, 0.1, 0.55, degrees, main).boxy(3.0).tapered(-0.3)),
                );
                parts.extend([
                    part(-0.84, 0.12, 0.1, 0.48, 12.0, BLACK),
                    part(0.55, -0.55, 0.14, 0.42, 34.0, BLACK),
                    part(0.68, -0.5, 0.2, 0.46, 32.0, main),
                    part(1.0, -0.74, 0.14, 0.32, -52.0, main),
                    part(0.84, -0.98, 0.05, 0.14, 10.0, dark),
                    part(0.98, -0.8, 0.03, 0.035, 0.0, BLACK),
                ]);
                (parts, Surface::Mottled, 0.12)
            }
            Kind::Cow => {
                let mut parts = vec![part(-0.05, -0.12, 0.86, 0.42, 0.0, main).boxy(3.0)];
                parts.extend(
                    [-0.72, -0.5, 0.42, 0.64].map(|x| part(x, 0.5, 0.11, 0.5, 0.0, main).boxy(4.0).tapered(-0.2)),
                );
                parts.extend([
                    part(-0.4, 0.34, 0.2, 0.14, 0.0, PINK),
                    part(-0.95, 0.12, 0.05, 0.48, 6.0, dark),
                    part(0.86, -0.42, 0.24, 0.3, 60.0, main),
                    part(1.08, -0.4, 0.2, 0.32, -28.0, main),
                    part(1.2, -0.2, 0.14, 0.13, 0.0, PINK),
                    part(0.86, -0.62, 0.06, 0.17, -70.0, BLACK),
                    part(1.0, -0.74, 0.04, 0.14, 20.0, CREAM),
                    part(1.12, -0.47, 0.035, 0.04, 0.0, BLACK),
                ]);
                (parts, Surface::Patched(BLACK), 0.05)
            }
            Kind::Sheep => {
                let mut parts = vec![part(-0.05, -0.08, 0.86, 0.56, 0.0, main)];
                parts.extend([-0.55, -0.3, 0.3, 0.52].map(|x| part(x, 0.66, 0.09, 0.34, 0.0, BLACK).boxy(4.0)));
                parts.extend(around(9, 0.52, &|x, y, _| part(1.25 * x - 0.05, 0.72 * y - 0.1, 0.32, 0.3, 0.0, main)));
                parts.extend([
                    part(0.82, -0.3, 0.22, 0.34, -24.0, [0.14, 0.12, 0.12]),
                    part(0.6, -0.48, 0.06, 0.18, 70.0, [0.14, 0.12, 0.12]),
                    part(0.72, -0.6, 0.22, 0.15, 0.0, main),
                ]);
                (parts, Surface::Woolly, 0.0)
            }
            Kind::Balloon => (
                vec![
                    part(0.0, -0.3, 0.72, 0.68, 0.0, main),
                    part(0.0, 0.22, 0.42, 0.4, 0.0, main).boxy(3.0).tapered(-0.6),
                    part(-0.11, 0.7, 0.018, 0.16, 0.0, BROWN),
                    part(0.11, 0.7, 0.018, 0.16, 0.0, BROWN),
                    part(0.0, 0.88, 0.16, 0.12, 0.0, BROWN).boxy(6.0),
                ],
                Surface::Gored(YELLOW),
                0.15,
            ),
            Kind::Ladybird => {
                let mut parts: Vec<Part> = [
                    (-0.72, -0.3, -60.0),
                    (0.72, -0.3, 60.0),
                    (-0.85, 0.15, -95.0),
                    (0.85, 0.15, 95.0),
                    (-0.7, 0.6, 50.0),
                    (0.7, 0.6, -50.0),
                ]
                .map(|(x, y, degrees)| part(x, y, 0.05, 0.26, degrees, BLACK))
                .into();
                parts.extend([
                    part(0.0, -0.72, 0.4, 0.27, 0.0, BLACK),
                    part(0.0, 0.12, 0.78, 0.82, 0.0, main),
                    part(0.0, 0.2, 0.025, 0.74, 0.0, BLACK),
                ]);
                parts.extend(
                    [(0.34, -0.2), (0.48, 0.24), (0.24, 0.58)]
                        .into_iter()
                        .flat_map(|(x, y)| [part(x, y, 0.13, 0.14, 0.0, BLACK), part(-x, y, 0.13, 0.14, 0.0, BLACK)]),
                );
                parts.extend([part(-0.2, -0.76, 0.08, 0.06, 0.0, WHITE), part(0.2, -0.76, 0.08, 0.06, 0.0, WHITE)]);
                (parts, Surface::Mottled, 0.55)
            }
            Kind::Starfish => {
                let mut parts = vec![part(0.0, 0.0, 0.34, 0.34, 0.0, main)];
                parts.extend(around(5, 0.5, &|x, y, degrees| part(x, y, 0.2, 0.52, degrees, main).tapered(0.35)));
                (parts, Surface::Speckled, 0.0)
            }
            Kind::Flower => {
                let mut parts = around(13, 0.62, &|x, y, degrees| part(x, y, 0.15, 0.4, degrees, main).tapered(-0.2));
                parts.push(part(0.0, 0.0, 0.31, 0.3, 0.0, YELLOW));
                (parts, Surface::Mottled, 0.0)
            }
        }
    }
}
