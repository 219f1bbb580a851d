//! Renders the demonstration collection: small scenes with exact ground truth, drawn from formulas alone.
//!
//! `cargo run --release --example render_demonstration -- demonstration` writes `images/NAME.jpg` and `masks/NAME.png`
//! (0 background, 255 foreground). Every random choice hashes the scene's number, so each run gives the same bytes.

mod material;
mod noise;
mod object;
mod shape;

use std::error::Error;
use std::path::PathBuf;

use deepcut::output::{encode_jpeg, write_atomically};
use deepcut::raster::{Mask, RgbImage};

use material::*;
use noise::{Colour, Noise, add};
use object::{Object, Placed};
use shape::Kind;

const JPEG_QUALITY: u8 = 88;
/// Samples per pixel and axis, which smooth the edges.
const SAMPLES: usize = 3;
/// Strength of the sensor noise, in 8-bit steps.
const SENSOR_NOISE: f32 = 5.0;

struct Scene {
    name: &'static str,
    width: usize,
    height: usize,
    ground: Ground,
    objects: &'static [Placed],
}

const fn scene(name: &'static str, width: usize, height: usize, ground: Ground, objects: &'static [Placed]) -> Scene {
    Scene { name, width, height, ground, objects }
}

#[rustfmt::skip]
static SCENES: [Scene; 24] = [
    scene("balloon_red", 168, 208, Ground::Sky, &[Placed(Kind::Balloon, 0.42, 0.50, 0.40, 2.0, RED)]),
    scene("balloons_two", 240, 168, Ground::Sky, &[
        Placed(Kind::Balloon, 0.52, 0.54, 0.42, -3.0, VIOLET),
        Placed(Kind::Balloon, 1.13, 0.40, 0.26, 2.0, ORANGE),
    ]),
    scene("boat_regatta", 240, 160, Ground::Sea, &[
        Placed(Kind::Boat, 0.48, 0.46, 0.42, -3.0, RED),
        Placed(Kind::Boat, 1.16, 0.44, 0.28, 2.0, ORANGE),
    ]),
    scene("boat_white", 200, 176, Ground::Sea, &[Placed(Kind::Boat, 0.60, 0.48, 0.46, 4.0, WHITE)]),
    scene("cow_patched", 232, 168, Ground::Meadow, &[Placed(Kind::Cow, 0.60, 0.55, 0.40, 0.0, WHITE)]),
    scene("daisy_white", 192, 176, Ground::Grass, &[Placed(Kind::Flower, 0.53, 0.50, 0.38, 8.0, WHITE)]),
    scene("duck_brown", 216, 160, Ground::Pond, &[Placed(Kind::Duck, 0.70, 0.50, 0.44, 0.0, BROWN)]),
    scene("duck_yellow", 208, 160, Ground::Pond, &[Placed(Kind::Duck, 0.60, 0.52, 0.48, 4.0, YELLOW)]),
    scene("fish_gravel", 232, 160, Ground::Gravel, &[Placed(Kind::Fish, 0.74, 0.52, 0.56, -14.0, BLUE)]),
    scene("fish_pond", 224, 160, Ground::Pond, &[
        Placed(Kind::Fish, 0.50, 0.40, 0.42, 18.0, ORANGE),
        Placed(Kind::Fish, 1.10, 0.74, 0.34, -12.0, WHITE),
    ]),
    scene("horse_chestnut", 232, 176, Ground::Meadow, &[Placed(Kind::Horse, 0.62, 0.54, 0.42, 0.0, CHESTNUT)]),
    scene("ladybird", 200, 168, Ground::Wood, &[Placed(Kind::Ladybird, 0.62, 0.50, 0.38, 38.0, RED)]),
    scene("leaf_autumn", 176, 200, Ground::Stone, &[Placed(Kind::Leaf, 0.44, 0.50, 0.43, 28.0, ORANGE)]),
    scene("leaf_green", 216, 168, Ground::Wood, &[Placed(Kind::Leaf, 0.66, 0.48, 0.54, -58.0, GREEN)]),
    scene("mushroom_red", 176, 200, Ground::Forest, &[Placed(Kind::Mushroom, 0.45, 0.52, 0.39, 3.0, RED)]),
    scene("mushrooms_brown", 216, 176, Ground::Forest, &[
        Placed(Kind::Mushroom, 0.45, 0.50, 0.40, -5.0, BROWN),
        Placed(Kind::Mushroom, 0.97, 0.64, 0.26, 8.0, CHESTNUT),
    ]),
    scene("pear_green", 168, 192, Ground::Cloth, &[Placed(Kind::Pear, 0.45, 0.53, 0.41, 9.0, [0.66, 0.72, 0.22])]),
    scene("pears_two", 224, 168, Ground::Wood, &[
        Placed(Kind::Pear, 0.42, 0.50, 0.40, -20.0, YELLOW),
        Placed(Kind::Pear, 0.96, 0.56, 0.36, 34.0, [0.62, 0.68, 0.20]),
    ]),
    scene("pumpkin_border", 208, 160, Ground::Grass, &[Placed(Kind::Pumpkin, 0.32, 0.60, 0.50, -6.0, ORANGE)]),
    scene("pumpkin_shelf", 208, 176, Ground::Shelf, &[
        Placed(Kind::Pumpkin, 0.62, 0.52, 0.40, 0.0, [0.88, 0.42, 0.08]),
    ]),
    scene("sheep", 224, 168, Ground::Meadow, &[Placed(Kind::Sheep, 0.66, 0.56, 0.38, 0.0, WHITE)]),
    scene("starfish", 192, 176, Ground::Sand, &[Placed(Kind::Starfish, 0.56, 0.52, 0.46, 14.0, RED)]),
    scene("vase_blue", 160, 208, Ground::Shelf, &[Placed(Kind::Vase, 0.38, 0.49, 0.41, 0.0, BLUE)]),
    scene("vase_clay", 176, 200, Ground::Bricks, &[Placed(Kind::Vase, 0.46, 0.48, 0.42, 0.0, CLAY)]),
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("give the folder to write to")?);
    let mut size_bytes = 0;
    for (number, scene) in SCENES.iter().enumerate() {
        let (image, mask) = render(scene, number as u32 + 1);
        let jpeg = encode_jpeg(&image, JPEG_QUALITY)?;
        write_atomically(&folder.join("images").join(scene.name).with_extension("jpg"), |file| file.write_all(&jpeg))?;
        let png = encode_grey(&mask)?;
        write_atomically(&folder.join("masks").join(scene.name).with_extension("png"), |file| file.write_all(&png))?;
        size_bytes += jpeg.len() + png.len();
        let inside_px = mask.values.iter().filter(|&&value| value > 0).count();
        println!("{:16} {:2} % foreground", scene.name, 100 * inside_px / mask.values.len());
    }
    println!("{} scenes, {} KiB, in {}", SCENES.len(), size_bytes / 1024, folder.display());
    Ok(())
}

/// An 8-bit grey PNG.
fn encode_grey(mask: &Mask) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, mask.width as u32, mask.height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&mask.values)?;
    writer.finish()?;
    Ok(bytes)
}

/// The photograph and the truth of one scene: a pixel is foreground if objects cover at least half of it.
fn render(scene: &Scene, seed: u32) -> (RgbImage, Mask) {
    let noise = Noise(seed.wrapping_mul(0x9e37_79b9));
    let objects: Vec<Object> = scene.objects.iter().map(Object::new).collect();
    let mut image = RgbImage::filled(scene.width, scene.height, [0; 3]);
    let mut mask = Mask::filled(scene.width, scene.height, 0);
    let step = 1.0 / (scene.height * SAMPLES) as f32;
    for index in 0..image.values.len() {
        let (column, row) = (index % scene.width, index / scene.width);
        let (mut sum, mut covered) = ([0.0; 3], 0);
        for sample in 0..SAMPLES * SAMPLES {
            let x = ((column * SAMPLES + sample % SAMPLES) as f32 + 0.5) * step;
            let y = ((row * SAMPLES + sample / SAMPLES) as f32 + 0.5) * step;
            let (colour, inside) = look(scene.ground, &objects, &noise, x, y);
            sum = add(sum, colour, 1.0);
            covered += usize::from(inside);
        }
        let grain = |channel: u32| {
            let roll = |salt| noise.hash(index as i32, (channel * 7 + salt) as i32);
            SENSOR_NOISE * (roll(1) + roll(2) + roll(3) - 1.5)
        };
        let (across, down) = (column as f32 / scene.width as f32 - 0.5, row as f32 / scene.height as f32 - 0.5);
        let vignette = 1.06 - 0.45 * (across * across + down * down);
        let scale = 255.0 * vignette / (SAMPLES * SAMPLES) as f32;
        image.values[index] =
            [0, 1, 2].map(|channel| (sum[channel] * scale + grain(channel as u32)).round().clamp(0.0, 255.0) as u8);
        mask.values[index] = if 2 * covered >= SAMPLES * SAMPLES { 255 } else { 0 };
    }
    (image, mask)
}

/// What a ray through (x, y) meets, and whether that is an object.
fn look(ground: Ground, objects: &[Object], noise: &Noise, x: f32, y: f32) -> (Colour, bool) {
    // Later objects stand in front.
    for object in objects.iter().rev() {
        if let Some(colour) = object.colour(noise, x, y) {
            return (colour, true);
        }
    }
    let shade: f32 = objects.iter().map(|object| 1.0 - object.shadow(ground, noise, x, y)).product();
    (ground.colour(noise, x, y).map(|channel| channel * shade), false)
}
