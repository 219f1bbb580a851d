//! Objects in a scene: their outline, relief, light and shadow.

use crate::material::{Ground, Surface};
use crate::noise::{Colour, Noise, mix, ramp, smooth_minimum, unit};
use crate::shape::{Kind, Part};

/// Towards the light: from the upper left, in front of the scene.
const LIGHT: [f32; 3] = [-0.48, -0.62, 0.62];

/// A placed object: kind, centre x and y, half height, turn in degrees, main colour.
///
/// The scene is 1 high, y grows downwards, and x runs from 0 to the aspect ratio.
pub struct Placed(pub Kind, pub f32, pub f32, pub f32, pub f32, pub Colour);

/// A placed object, ready to be drawn.
pub struct Object {
    parts: Vec<Part>,
    surface: Surface,
    gloss: f32,
    centre: [f32; 2],
    size: f32,
    turn: [f32; 2],
}

impl Object {
    /// Builds what the table places.
    pub fn new(&Placed(kind, x, y, size, degrees, colour): &Placed) -> Self {
        let (parts, surface, gloss) = kind.build(colour);
        let (sine, cosine) = degrees.to_radians().sin_cos();
        Self { parts, surface, gloss, centre: [x, y], size, turn: [sine, cosine] }
    }

    /// Scene → object coordinates, slightly warped so that no outline is a perfect curve.
    fn local(&self, noise: &Noise, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = ((x - self.centre[0]) / self.size, (y - self.centre[1]) / self.size);
        let [sine, cosine] = self.turn;
        let (u, v) = (cosine * dx + sine * dy, cosine * dy - sine * dx);
        let wobble = |salt: f32| 0.07 * (noise.smooth(2.3 * u + salt, 2.3 * v + salt) - 0.5);
        [u + wobble(31.0), v + wobble(57.0)]
    }

    /// Signed distance to the outline (negative inside) and height above the scene's plane.
    fn relief(&self, [u, v]: [f32; 2]) -> (f32, f32) {
        let (mut distance, mut height) = (f32::MAX, 0.0);
        for part in &self.parts {
            let (radius, thickness) = (part.level(u, v), part.radii[0].min(part.radii[1]));
            distance = smooth_minimum(distance, (radius - 1.0) * thickness, 0.03);
            let dome = thickness * (1.0 - radius * radius).max(0.0).sqrt();
            height = -smooth_minimum(-height, -dome, 0.05);
        }
        (distance, height)
    }

    /// The lit, textured colour at a scene position; none beside the object.
    pub fn colour(&self, noise: &Noise, x: f32, y: f32) -> Option<Colour> {
        if (x - self.centre[0]).hypot(y - self.centre[1]) > 1.5 * self.size {
            return None;
        }
        let [u, v] = self.local(noise, x, y);
        if self.relief([u, v]).0 > 0.0 {
            return None;
        }
        let mut colour = self.parts[0].colour;
        for part in &self.parts {
            let inside = (1.0 - part.level(u, v)) * part.radii[0].min(part.radii[1]);
            colour = mix(colour, part.colour, ramp(-0.02, 0.0, inside));
        }
        let (colour, bump) = self.surface.apply(colour, noise, u, v);
        let delta = 0.02;
        let height = |dx: f32, dy: f32| self.relief(self.local(noise, x + dx * self.size, y + dy * self.size)).1;
        // Differences to both sides: to one side alone, the outline would look flat.
        let slope = |dx: f32, dy: f32| (height(dx, dy) - height(-dx, -dy)) / (2.0 * delta);
        let normal = unit([-slope(delta, 0.0), -slope(0.0, delta), 0.8]);
        let facing: f32 = (0..3).map(|axis| normal[axis] * LIGHT[axis]).sum();
        // The highlight lies where the normal halves the angle between light and viewer.
        let halfway = unit([LIGHT[0], LIGHT[1], LIGHT[2] + 1.0]);
        let shine: f32 = (0..3).map(|axis| normal[axis] * halfway[axis]).sum::<f32>().max(0.0).powi(40) * self.gloss;
        let light = (0.42 + 0.72 * facing.max(0.0)) * bump;
        Some(colour.map(|channel| channel * light + shine))
    }

    /// How much light the object takes from the ground at (x, y), 0 to 1.
    pub fn shadow(&self, ground: Ground, noise: &Noise, x: f32, y: f32) -> f32 {
        match ground {
            Ground::Sky => 0.0,
            Ground::Forest | Ground::Shelf | Ground::Bricks | Ground::Meadow => {
                let base = self.centre[1] + 0.95 * self.size;
                let (dx, dy) = ((x - self.centre[0]) / self.size - 0.25, (y - base) / self.size);
                0.6 * ramp(1.1, 0.3, (dx / 0.85).hypot(dy / 0.16))
            }
            Ground::Sea | Ground::Pond => {
                let mirrored = 2.0 * (self.centre[1] + 0.62 * self.size) - y + 0.02 * noise.smooth(9.0 * x, 60.0 * y);
                let distance = self.relief(self.local(noise, x, mirrored)).0;
                let below = ramp(self.centre[1] + 0.5 * self.size, self.centre[1] + 0.6 * self.size, y);
                0.35 * below * ramp(0.1, -0.1, distance)
            }
            _ => 0.55 * ramp(0.14, -0.12, self.relief(self.local(noise, x - 0.045, y - 0.055)).0),
        }
    }
}
