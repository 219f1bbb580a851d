use super::*;

/// Three bands of colour, 90 × 40, each 30 wide, with some texture.
fn bands() -> RgbImage {
    let pixel = |index: usize| {
        let texture = (index * 29 % 7) as u8;
        [[30 + texture, 60, 50], [200, 180, 90 + texture], [90, 20 + texture, 160]][index % 90 / 30]
    };
    RgbImage::from_values(90, 40, (0..90 * 40).map(pixel).collect())
}

/// A mask by column.
fn columns(width: usize, height: usize, label: impl Fn(usize) -> u8) -> Mask {
    Mask::from_values(width, height, (0..width * height).map(|index| label(index % width)).collect())
}

/// Shares of a node for every pixel: `own` for its class, the rest alike.
fn shares_of(classes: &Mask, count: usize, own: f32) -> (LabelMap, Vec<f32>) {
    let nodes = LabelMap::from_values(classes.width, classes.height, (0..classes.values.len() as u32).collect());
    let share = |class: usize, of: u8| if class == usize::from(of) { own } else { (1.0 - own) / (count - 1) as f32 };
    (nodes, classes.values.iter().flat_map(|&of| (0..count).map(move |class| share(class, of))).collect())
}

/// [`refine`] where the network says what the mask says, with a share of 0.7.
fn refined(image: &RgbImage, mask: &Mask, outside: Option<&Mask>, class_of: fn(u8) -> u8, config: CutConfig) -> Mask {
    let (nodes, values) = shares_of(&mask.map(class_of), 3, 0.7);
    refine(image, mask.clone(), Shares { nodes: &nodes, values: &values, classes: 3 }, outside, class_of, config)
}

#[test]
fn boundaries_of_the_mask_move_to_edges_of_the_image() {
    // (column of the coarse mask → value, value → class, column of the refined mask → value)
    type Values = fn(usize) -> u8;
    type ClassOf = fn(u8) -> u8;
    let cases: [(Values, ClassOf, Values); 4] = [
        (|x| u8::from((36..55).contains(&x)) * 9, |value| value / 9, |x| u8::from((30..60).contains(&x)) * 9),
        (|x| [0, 4, 7][(x + 5) / 32], |value| value / 3, |x| [0, 4, 7][x / 30]),
        (|x| [3, 2, 1][(x + 5) / 32], |value| value - 1, |x| [3, 2, 1][x / 30]),
        // Nothing is to be moved.
        (|_| 2, |value| value, |_| 2),
    ];
    for (coarse, class_of, expected) in cases {
        let found = refined(&bands(), &columns(90, 40, coarse), None, class_of, CutConfig::default());
        assert!(found == columns(90, 40, expected), "{:?}", &found.values[..90]);
    }
}

#[test]
fn values_are_those_of_the_nearest_part() {
    // Values 4 and 5 are parts of class 1, the one above the other; 0 and 6 of class 0, on the left and on the right.
    let parts = |is_object: bool, at: usize| match (is_object, at / 90 < 20, at % 90 < 45) {
        (true, above, _) => {
            if above {
                4
            } else {
                5
            }
        }
        (false, _, left) => {
            if left {
                0
            } else {
                6
            }
        }
    };
    let mask = |from: usize, to: usize| {
        Mask::from_values(90, 40, (0..90 * 40).map(|at| parts((from..to).contains(&(at % 90)), at)).collect())
    };
    let class_of = |value| u8::from(value == 4 || value == 5);
    for (from, to) in [(36, 55), (25, 66)] {
        assert!(refined(&bands(), &mask(from, to), None, class_of, CutConfig::default()) == mask(30, 60), "{from}");
    }
    // Where nothing of a class is beside what becomes of it, that takes the most frequent value.
    let (before, after) = ([2, 2, 3, 0, 0, 0], [1, 1, 1, 0, 0, 1]);
    let row = |values: [u8; 6]| Mask::from_values(6, 1, values.to_vec());
    let before_classes = row(before).map(|value| u8::from(value > 0));
    assert_eq!(with_values(row(before), &before_classes, &row(after)).values, [2, 2, 3, 0, 0, 2]);
}

#[test]
fn pixels_off_the_band_keep_their_value() {
    // The network takes all for background, and the mask has three columns too few.
    let mask = columns(90, 40, |x| u8::from((33..60).contains(&x)));
    let (nodes, values) = shares_of(&columns(90, 40, |_| 0), 2, 0.99);
    let shares = Shares { nodes: &nodes, values: &values, classes: 2 };
    let config = CutConfig { band_px: 5, ..CutConfig::default() };
    let off = |x: usize| (38..55).contains(&x);
    let found = refine(&bands(), mask.clone(), shares, None, |value| value, CutConfig { smoothness: 0.0, ..config });
    assert!(found == columns(90, 40, |x| u8::from(off(x))), "{:?}", &found.values[..90]);
    let found = refine(&bands(), mask, shares, None, |value| value, CutConfig { smoothness: 50.0, ..config });
    assert!(found == columns(90, 40, |x| u8::from((30..60).contains(&x))), "{:?}", &found.values[..90]);
}

/// What a mask of two classes costs, written down from the formula, over all pairs with a pixel that `changes`.
fn cost(image: &RgbImage, mask: &Mask, share_of_1: &[f32], changes: &[bool], config: CutConfig) -> f64 {
    let lab = lab_from_rgb(image).values;
    let (width, count) = (image.width, mask.values.len());
    let mut pairs = Vec::new();
    for one in 0..count {
        for other in one + 1..count {
            let (across, down) = ((one % width).abs_diff(other % width), (one / width).abs_diff(other / width));
            if across.max(down) == 1 && (changes[one] || changes[other]) {
                let squared: f32 = (0..3).map(|band| (lab[one][band] - lab[other][band]).powi(2)).sum();
                pairs.push((one, other, f64::from(squared), ((across + down) as f64).sqrt()));
            }
        }
    }
    let mean = pairs.iter().map(|pair| pair.2).sum::<f64>() / pairs.len() as f64;
    let differing = pairs.iter().filter(|pair| mask.values[pair.0] != mask.values[pair.1]);
    let price =
        |pair: &(usize, usize, f64, f64)| config.smoothness * (-config.contrast * pair.2 / (2.0 * mean)).exp() / pair.3;
    let data = (0..count).filter(|&pixel| changes[pixel]).map(|pixel| {
        let share = f64::from(share_of_1[pixel]);
        -(0.9 * if mask.values[pixel] == 1 { share } else { 1.0 - share } + 0.05).ln()
    });
    data.sum::<f64>() + differing.map(price).sum::<f64>()
}

#[test]
fn no_mask_is_cheaper() {
    for case in 0..20usize {
        let number = |at: usize, of: usize| (at * 7919 + case * 104_729 + 17).wrapping_mul(2_654_435_761) / 64 % of;
        let (width, height) = (5, 4);
        let pixels = width * height;
        let image = RgbImage::from_values(
            width,
            height,
            (0..pixels).map(|at| [0, 50, 90].map(|band| (number(at + band, 2) * 60 + number(at, 40)) as u8)).collect(),
        );
        let share_of_1: Vec<f32> = (0..pixels).map(|at| number(at + 200, 101) as f32 / 100.0).collect();
        let values: Vec<f32> = share_of_1.iter().flat_map(|&share| [1.0 - share, share]).collect();
        let nodes = LabelMap::from_values(width, height, (0..pixels as u32).collect());
        let shares = Shares { nodes: &nodes, values: &values, classes: 2 };
        // Columns 0, 1 and 4 stay: what changes is beside the boundary between columns 2 and 3.
        let mask = columns(width, height, |x| u8::from(x > 2));
        let changes: Vec<bool> = (0..pixels).map(|pixel| [2, 3].contains(&(pixel % width))).collect();
        let config = CutConfig { band_px: 1, smoothness: [0.3, 1.0, 3.0][case % 3], contrast: (case % 4) as f64 };
        let found = refine(&image, mask.clone(), shares, None, |value| value, config);
        let places: Vec<usize> = (0..pixels).filter(|&pixel| changes[pixel]).collect();
        let variant = |bits: usize| {
            let mut mask = mask.clone();
            places.iter().enumerate().for_each(|(bit, &place)| mask.values[place] = (bits >> bit & 1) as u8);
            cost(&image, &mask, &share_of_1, &changes, config)
        };
        let least = (0..1 << places.len()).map(variant).fold(f64::INFINITY, f64::min);
        let cost = cost(&image, &found, &share_of_1, &changes, config);
        assert!((0..pixels).all(|pixel| changes[pixel] || found.values[pixel] == mask.values[pixel]));
        assert!(cost < least + 1e-3, "{case}: {cost} {least}");
    }
}

#[test]
fn where_there_is_no_data_nothing_counts() {
    // The boundary goes on through what is no data, whose colours are those of an edge.
    let outside = columns(90, 40, |x| u8::from(x >= 57));
    let mask = Mask::from_values(90, 40, (0..90 * 40).map(|at| u8::from(at / 90 >= 18 && at % 90 > 40)).collect());
    let with_colour = |colour: [u8; 3]| {
        let mut image = bands();
        image.values.iter_mut().zip(&outside.values).filter(|(_, outside)| **outside == 1).for_each(|(pixel, _)| {
            *pixel = colour;
        });
        refined(&image, &mask, Some(&outside), |value| value, CutConfig { smoothness: 30.0, ..CutConfig::default() })
    };
    let found = with_colour([0; 3]);
    assert_eq!(found, with_colour([255, 0, 90]));
    let no_data = |mask: &Mask| -> Vec<u8> {
        mask.values.iter().zip(&outside.values).filter(|(_, outside)| **outside == 1).map(|(value, _)| *value).collect()
    };
    assert_eq!(no_data(&found), no_data(&mask));
    assert_ne!(found, mask);
}

#[test]
fn large_images_are_cut_coarse_to_fine() {
    // A disc, of which the mask is a larger square: two halvings, and the outline is that of the image again.
    let is_disc = |at: usize| (at % 160).abs_diff(80).pow(2) + (at / 160).abs_diff(60).pow(2) < 33 * 33;
    let pixel = |at: usize| if is_disc(at) { [200, 180, (at % 5) as u8] } else { [30, (at % 7) as u8, 50] };
    let image = RgbImage::from_values(160, 120, (0..160 * 120).map(pixel).collect());
    let square = |at: usize| at % 160 > 44 && at % 160 < 116 && at / 160 > 24 && at / 160 < 96;
    let mask = Mask::from_values(160, 120, (0..160 * 120).map(|at| u8::from(square(at))).collect());
    let disc = Mask::from_values(160, 120, (0..160 * 120).map(|at| u8::from(is_disc(at))).collect());
    let (nodes, values) = shares_of(&mask, 2, 0.6);
    let shares = Shares { nodes: &nodes, values: &values, classes: 2 };
    let cut = |at_once_px| Cut { shares, classes: &[0, 1], config: CutConfig::default(), at_once_px };
    for at_once_px in [1 << 15, 1300] {
        assert!(cut(at_once_px).coarse_to_fine(&image, mask.clone(), None) == disc, "{at_once_px}");
    }

    // More than may be cut at once lies around so many boundaries, of squares that halving does not hit: they stay coarse.
    let mask = |at: usize| ((at % 160 + 1) / 4 + at / 160 / 4) as u8 % 2;
    let mask = Mask::from_values(160, 120, (0..160 * 120).map(mask).collect());
    let (nodes, values) = shares_of(&mask, 2, 0.9);
    let shares = Shares { nodes: &nodes, values: &values, classes: 2 };
    let config = CutConfig { smoothness: 0.0, ..CutConfig::default() };
    let cut = |at_once_px| Cut { shares, classes: &[0, 1], config, at_once_px };
    let (coarse_image, coarse_mask) = (resize_lanczos(&image, 80, 60), mask.resized_nearest(80, 60));
    let coarse = cut(80 * 60).coarse_to_fine(&coarse_image, coarse_mask, None).resized_nearest(160, 120);
    assert!(coarse != mask);
    assert!(cut(80 * 60).coarse_to_fine(&image, mask.clone(), None) == coarse);
    assert!(cut(160 * 120).coarse_to_fine(&image, mask.clone(), None) == mask);
}

#[test]
fn degenerate_images_shares_and_settings_pass() {
    let configs = [
        CutConfig::default(),
        CutConfig { smoothness: 0.0, contrast: 0.0, band_px: 1000 },
        CutConfig { smoothness: 1e6, contrast: 1e6, band_px: 1 },
    ];
    for (width, height) in [(1, 1), (1, 50), (50, 1), (2, 2), (30, 30)] {
        let image = RgbImage::filled(width, height, [120, 7, 255]);
        for config in configs {
            for label in [0, 1, 2] {
                let uniform = Mask::filled(width, height, label);
                assert_eq!(refined(&image, &uniform, None, |value| value, config), uniform);
            }
            let half = columns(width, height, |x| u8::from(2 * x < width));
            let outside = Mask::filled(width, height, 1);
            assert_eq!(refined(&image, &half, Some(&outside), |value| value, config), half);
            for share in [f32::NAN, 0.0, f32::INFINITY] {
                let nodes = LabelMap::filled(1, 1, 0);
                let shares = Shares { nodes: &nodes, values: &[share; 2], classes: 2 };
                let found = refine(&image, half.clone(), shares, None, |value| value, config);
                assert_eq!(found.values.len(), width * height);
            }
            let nothing = Shares { nodes: &LabelMap::filled(0, 0, 0), values: &[], classes: 0 };
            assert_eq!(refine(&image, half.clone(), nothing, None, |value| value, config), half);
        }
    }
    let empty = Mask::filled(0, 0, 0);
    let image = RgbImage::filled(0, 0, [0; 3]);
    assert_eq!(refined(&image, &empty, None, |value| value, CutConfig::default()), empty);
}
