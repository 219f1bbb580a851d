//! Linear layers with weights of one byte, and strips of activations of one byte that they are multiplied with.

use super::super::arithmetic::first;
use super::super::kernels::{self, LANES};
use super::super::layers::Linear;
use super::kernels::{Instructions, PANEL, Quad, Right, sums};
use super::loops;

/// Inputs that share a scale, in the weights of an output as in the activations of a token: few values are far from the
/// others, and these cost only their own group its resolution.
const GROUP: usize = 192;

/// Outputs whose sums are turned into values at a time, while they are in the fastest cache: whole panels.
const OUTPUTS: usize = 4 * PANEL;

/// A linear layer whose weights lie in the order in which products read them, rounded to 127 steps on either side of 0 for
/// every output and every group of inputs.
#[derive(Debug)]
pub struct ByteLinear {
    groups: Vec<Group>,
    inputs: usize,
    pub bias: Vec<f32>,
}

/// The weights of a group of inputs.
#[derive(Debug)]
struct Group {
    /// For every six outputs `[input quads, 6]`; outputs that are missing in the last six, and inputs in the last quad, are 0.
    panels: Vec<Quad>,
    quads: usize,
    /// Of every output the scale, and the sum of the weights that the bytes stand for.
    outputs: Vec<[f32; 2]>,
}

impl ByteLinear {
    pub fn new(linear: &Linear) -> ByteLinear {
        let inputs = linear.inputs();
        let groups = (0..inputs).step_by(GROUP).map(|start| Group::new(linear, start, GROUP.min(inputs - start)));
        ByteLinear { groups: groups.collect(), inputs, bias: linear.bias.clone() }
    }

    /// `target += weight · strip`, of the strip that `activations` hold.
    ///
    /// # Shapes
    /// `[inputs, LANES]` → target `[outputs, LANES]`
    pub fn add_product(
        &self,
        target: &mut [f32],
        activations: &Activations,
        buffer: &mut Vec<i32>,
        tokens: usize,
        mut finish: impl FnMut(&mut [f32]),
    ) {
        let instructions = Instructions::fastest();
        let target = &mut target[..self.bias.len() * LANES];
        for (chunk, target) in target.chunks_mut(OUTPUTS * LANES).enumerate() {
            let found = first(buffer, target.len());
            for (index, group) in self.groups.iter().enumerate() {
                let length = PANEL * group.quads;
                let right = Right {
                    quads: &group.panels[chunk * OUTPUTS / PANEL * length..],
                    panel_stride: length,
                    quad_stride: PANEL,
                    output_stride: 1,
                };
                sums(instructions, found, activations.quads_of(index, group.quads), right, tokens);
                let activations = [&activations.scales[index], &activations.lows[index]];
                loops::add_sums(target, found, activations, &group.outputs[chunk * OUTPUTS..]);
            }
            finish(target);
        }
    }
}

impl Group {
    fn new(linear: &Linear, start: usize, length: usize) -> Group {
        let (inputs, outputs, quads) = (linear.inputs(), linear.outputs(), length.div_ceil(4));
        let mut panels = vec![0; outputs.div_ceil(PANEL) * PANEL * quads];
        let scales = linear.weight.chunks_exact(inputs).enumerate().map(|(output, row)| {
            let row = &row[start..start + length];
            let largest = row.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
            let scale = largest / 127.0;
            let mut sum = 0;
            let panel = &mut panels[output / PANEL * PANEL * quads..][output % PANEL..];
            for (target, weights) in panel.iter_mut().step_by(PANEL).zip(row.chunks(4)) {
                let mut bytes = [0; 4];
                for (byte, weight) in bytes.iter_mut().zip(weights) {
                    let rounded = if scale > 0.0 { (weight / scale).round_ties_even() as i8 } else { 0 };
                    sum += i32::from(rounded);
                    *byte = rounded.cast_unsigned();
                }
                *target = Quad::from_le_bytes(bytes);
            }
            [scale, scale * sum as f32]
        });
        let outputs = scales.collect();
        Group { panels, quads, outputs }
    }
}

/// A strip of values in bytes, with a scale and a least value for every lane and every group of features.
#[derive(Default)]
pub struct Activations {
    quads: Vec<Quad>,
    scales: Vec<[f32; LANES]>,
    lows: Vec<[f32; LANES]>,
}

impl Activations {
    /// Holds a strip `[features, LANES]` from now on.
    pub fn quantise(&mut self, strip: &[f32]) {
        let groups = strip.len().div_ceil(GROUP * LANES);
        first(&mut self.quads, groups * GROUP / 4 * LANES);
        if self.scales.len() < groups {
            self.scales.resize(groups, [0.0; LANES]);
            self.lows.resize(groups, [0.0; LANES]);
        }
        let quads = self.quads.chunks_exact_mut(GROUP / 4 * LANES);
        let places = self.scales.iter_mut().zip(&mut self.lows);
        for ((values, quads), (scale, low)) in strip.chunks(GROUP * LANES).zip(quads).zip(places) {
            loops::quantise(quads, scale, low, values);
        }
    }

    fn quads_of(&self, group: usize, quads: usize) -> &[Quad] {
        &self.quads[group * GROUP / 4 * LANES..][..quads * LANES]
    }
}

/// Buffers of one thread for linear layers.
#[derive(Default)]
pub struct LinearBuffers {
    activations: Activations,
    sums: Vec<i32>,
}

impl LinearBuffers {
    /// `target = weight · strip + bias`, and of that what `finish` makes of it.
    pub fn apply(
        &mut self,
        target: &mut [f32],
        strip: &[f32],
        linear: &ByteLinear,
        tokens: usize,
        finish: impl FnMut(&mut [f32]),
    ) {
        kernels::fill_bias(target, &linear.bias);
        self.activations.quantise(&strip[..linear.inputs * LANES]);
        linear.add_product(target, &self.activations, &mut self.sums, tokens, finish);
    }

    /// `target += weight · strip + bias`.
    pub fn add(&mut self, target: &mut [f32], strip: &[f32], linear: &ByteLinear, tokens: usize) {
        kernels::add_bias(target, &linear.bias);
        self.activations.quantise(&strip[..linear.inputs * LANES]);
        linear.add_product(target, &self.activations, &mut self.sums, tokens, |_| {});
    }
}
