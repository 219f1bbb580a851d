//! Small charts as inline SVG: lines and histograms with labelled axes.

use super::html::{Text, decimal, significant, whole};

/// The drawing in its own units; the style scales it to the page.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// Points of a line that are drawn; more cannot be told apart.
const MOST_POINTS: usize = 600;

/// Values beyond this are not drawn: no axis could be computed for them.
const LARGEST: f64 = 1e300;

/// How far apart positions along the horizontal axis are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// By their difference, with ticks at whole numbers.
    Steps,
    /// By their ratio, with ticks at the points themselves. Positions are positive.
    Ratios,
}

/// A line over points that ascend from left to right.
pub struct LineChart<'a> {
    pub title: &'a str,
    pub x_label: &'a str,
    pub y_label: &'a str,
    pub points: &'a [(f64, f64)],
    pub spacing: Spacing,
    /// Ticks of the vertical axis at whole numbers only.
    pub counts: bool,
    /// A range of positions to mark.
    pub marked: Option<(f64, f64)>,
}

impl LineChart<'_> {
    /// The chart; nothing if no point can be drawn.
    pub fn svg(&self) -> String {
        let finite = |&(x, y): &(f64, f64)| y.abs() < LARGEST && self.along(x).abs() < LARGEST;
        let last = self.points.len().saturating_sub(1);
        let step = self.points.len().div_ceil(MOST_POINTS).max(1);
        let drawn = |&(index, _): &(usize, &(f64, f64))| index % step == 0 || index == last;
        let points: Vec<(f64, f64)> = self.points.iter().enumerate().filter(drawn).map(|(_, point)| *point).collect();
        let (along, heights): (Vec<f64>, Vec<f64>) =
            points.iter().filter(|point| finite(point)).map(|point| (self.along(point.0), point.1)).unzip();
        let ends = |values: &[f64]| {
            let least = values.iter().copied().reduce(f64::min)?;
            Some((least, values.iter().copied().fold(least, f64::max)))
        };
        let Some(((first, end), (lowest, highest))) = ends(&along).zip(ends(&heights)) else { return String::new() };
        let vertical = Axis::new(lowest, highest, self.counts);
        let x_of = |along: f64| {
            let span = end - first;
            let share = if span > 0.0 { (along - first) / span } else { 0.5 };
            LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
        };
        let mut svg = self.marked.map_or(String::new(), |(from, to)| {
            let (from, to) = (x_of(self.along(from)) - 6.0, x_of(self.along(to)) + 6.0);
            format!(
                "<rect class=\"marked\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
                (to - from).max(0.0),
                HEIGHT - TOP - BOTTOM
            )
        });
        svg += &vertical.svg();
        let mut free_from = f64::NEG_INFINITY;
        let ticks: Vec<(f64, String)> = match self.spacing {
            Spacing::Steps => {
                let axis = Axis::new(first, end, true);
                let inside = axis.ticks().into_iter().filter(|tick| (first..=end).contains(tick));
                inside.map(|tick| (tick, axis.label(tick))).collect()
            }
            Spacing::Ratios => points
                .iter()
                .filter(|point| finite(point))
                .map(|point| (self.along(point.0), format!("{}", point.0)))
                .collect(),
        };
        for (along, label) in ticks {
            let x = x_of(along);
            // A label that would touch the one before it is left out.
            if x >= free_from {
                svg += &format!(
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    HEIGHT - BOTTOM + 17.0,
                    Text(&label)
                );
                free_from = x + 9.0 * label.chars().count() as f64 + 8.0;
            }
        }
        let mut path = String::new();
        let mut dots = String::new();
        let mut pen_down = false;
        for point in &points {
            if !finite(point) {
                pen_down = false;
                continue;
            }
            let (x, y) = (x_of(self.along(point.0)), vertical.y(point.1));
            path += &format!("{}{x:.1} {y:.1}", if pen_down { "L" } else { "M" });
            pen_down = true;
            if points.len() <= 40 {
                dots += &format!(
                    "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{}: {}</title></circle>\n",
                    point.0,
                    significant(point.1)
                );
            }
        }
        svg += &format!("<path class=\"line\" d=\"{path}\"/>\n{dots}");
        framed(self.title, self.x_label, self.y_label, &svg)
    }

    fn along(&self, x: f64) -> f64 {
        match self.spacing {
            Spacing::Steps => x,
            Spacing::Ratios => x.ln(),
        }
    }
}

/// How often values in [0, 1] fall into each of twenty equal parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: [u64; 20],
}

impl Histogram {
    /// Counts a value; one outside [0, 1] counts at the nearer end, one that is not a number not at all.
    pub fn add(&mut self, value: f64) {
        if !value.is_nan() {
            let part = (value.clamp(0.0, 1.0) * self.counts.len() as f64) as usize;
            self.counts[part.min(self.counts.len() - 1)] += 1;
        }
    }

    /// Bars over per cent; nothing if there is no value.
    pub fn svg(&self, title: &str, x_label: &str) -> String {
        let most = self.counts.iter().copied().max().unwrap_or(0);
        if most == 0 {
            return String::new();
        }
        let vertical = Axis::new(0.0, most as f64, true);
        let mut svg = vertical.svg();
        let width = (WIDTH - LEFT - RIGHT) / self.counts.len() as f64;
        for (part, &count) in self.counts.iter().enumerate() {
            if count > 0 {
                // A single image among many is still seen.
                let y = vertical.y(count as f64).min(vertical.y(0.0) - 1.5);
                svg += &format!(
                    "<rect class=\"bar\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{} to {} %: \
                     {}</title></rect>\n",
                    LEFT + part as f64 * width + 1.0,
                    width - 2.0,
                    vertical.y(0.0) - y,
                    part * 5,
                    part * 5 + 5,
                    whole(count)
                );
            }
        }
        for tick in [0, 25, 50, 75, 100] {
            svg += &format!(
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>\n",
                LEFT + f64::from(tick) / 100.0 * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM + 17.0
            );
        }
        framed(title, x_label, "images", &svg)
    }
}

/// The chart around what is drawn in it.
fn framed(title: &str, x_label: &str, y_label: &str, drawn: &str) -> String {
    format!(
        "<figure class=\"chart\"><figcaption>{title}</figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {y_label} over {x_label}\">\n{drawn}\
         <path class=\"axis\" d=\"M{LEFT} {base}H{right}\"/>\n\
         <text class=\"label\" x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{x_label}</text>\n\
         <text class=\"label\" transform=\"translate(14 {centre}) rotate(-90)\" \
         text-anchor=\"middle\">{y_label}</text>\n\
         </svg></figure>\n",
        title = Text(title),
        x_label = Text(x_label),
        y_label = Text(y_label),
        base = HEIGHT - BOTTOM,
        right = WIDTH - RIGHT,
        middle = (LEFT + WIDTH - RIGHT) / 2.0,
        below = HEIGHT - 8.0,
        centre = (TOP + HEIGHT - BOTTOM) / 2.0,
    )
}

/// A range of values that begins and ends at a tick.
struct Axis {
    from: f64,
    to: f64,
    /// Between two ticks, 1, 2 or 5 times a power of ten.
    step: f64,
}

impl Axis {
    fn new(lowest: f64, highest: f64, counts: bool) -> Axis {
        let least = if counts { 1.0 } else { (lowest.abs().max(highest.abs()) * 1e-9).max(1e-300) };
        let rough = ((highest - lowest) / 5.0).max(least);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power).max(least);
        let (from, mut to) = ((lowest / step).floor() * step, (highest / step).ceil() * step);
        if to <= from {
            to = from + step;
        }
        Axis { from, to, step }
    }

    fn ticks(&self) -> Vec<f64> {
        let count = ((self.to - self.from) / self.step).round().clamp(1.0, 12.0) as usize;
        (0..=count).map(|tick| self.from + tick as f64 * self.step).collect()
    }

    fn label(&self, tick: f64) -> String {
        if self.from.abs().max(self.to.abs()) >= 1e6 || self.step < 1e-4 {
            return if tick.abs() < self.step / 2.0 {
                "0".into()
            } else {
                format!("{tick:.1e}").replace('-', "\u{2212}")
            };
        }
        decimal(tick, (-self.step.log10()).ceil().max(0.0) as usize)
    }

    /// The height of a value on the chart.
    fn y(&self, value: f64) -> f64 {
        let share = (value - self.from) / (self.to - self.from);
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    /// Lines across the chart and their values.
    fn svg(&self) -> String {
        let line = |tick: f64| {
            let y = self.y(tick);
            format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{}\"/><text class=\"tick\" x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>\n",
                WIDTH - RIGHT,
                LEFT - 7.0,
                y + 4.0,
                Text(&self.label(tick))
            )
        };
        self.ticks().into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)], spacing: Spacing) -> String {
        LineChart { title: "t", x_label: "x", y_label: "y", points, spacing, counts: false, marked: Some((2.0, 3.0)) }
            .svg()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        for (lowest, highest, counts, expected) in [
            (0.0, 7.0, true, &["0", "2", "4", "6", "8"][..]),
            (0.0, 1.0, true, &["0", "1"]),
            (-0.31, -0.02, false, &["−0.4", "−0.3", "−0.2", "−0.1", "0.0"]),
            (5.0, 5.0, true, &["5", "6"]),
            (
                0.0,
                44_000.0,
                true,
                &["0", "10\u{202f}000", "20\u{202f}000", "30\u{202f}000", "40\u{202f}000", "50\u{202f}000"],
            ),
        ] {
            let axis = Axis::new(lowest, highest, counts);
            let labels: Vec<String> = axis.ticks().into_iter().map(|tick| axis.label(tick)).collect();
            assert_eq!(labels, expected);
        }
    }

    #[test]
    fn gaps_break_the_line_and_extremes_stay_inside() {
        let svg = chart(&[(1.0, 0.0), (2.0, f64::NAN), (3.0, 1.0)], Spacing::Steps);
        let line = svg.split("class=\"line\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(line.matches('M').count(), 2, "{line}");
        for points in [
            &[(1.0, 9e299), (2.0, -9e299), (3.0, f64::MAX)][..],
            &[(1.0, 3.0)],
            &[(1.0, 1e-310), (2.0, 2e-310)],
            &[(1.0, 1e15), (2.0, 1e15 + 1.0)],
        ] {
            for spacing in [Spacing::Steps, Spacing::Ratios] {
                let svg = chart(points, spacing);
                assert!(svg.contains("class=\"line\"") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                assert!(svg.matches("class=\"grid\"").count() < 15);
            }
        }
        assert_eq!(chart(&[], Spacing::Steps), "");
        assert_eq!(chart(&[(1.0, f64::NAN)], Spacing::Steps), "");
    }

    #[test]
    fn long_lines_are_thinned_and_keep_their_end() {
        let points: Vec<(f64, f64)> = (0..100_000).map(|step| (step as f64, 1.0 / (1.0 + step as f64))).collect();
        let svg = chart(&points, Spacing::Steps);
        assert!(svg.len() < 20_000 && svg.contains(&format!("L{:.1} ", WIDTH - RIGHT)), "{}", svg.len());
    }

    #[test]
    fn a_histogram_counts_its_ends_and_ignores_what_is_no_number() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.svg("t", "x"), "");
        [0.0, 0.05, 0.5, 1.0, 1.5, -1.0, f64::NAN].into_iter().for_each(|value| histogram.add(value));
        let counts = histogram.counts;
        assert_eq!((counts[0], counts[1], counts[10], counts[19], counts.iter().sum::<u64>()), (2, 1, 1, 2, 6));
        assert_eq!(histogram.svg("t", "x").matches("class=\"bar\"").count(), 4);
    }
}
