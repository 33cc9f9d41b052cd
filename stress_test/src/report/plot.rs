//! Drawing: axes, columns, lines and dots, as inline SVG. Knows nothing of what the numbers mean.

use std::fmt::{self, Write};

const LEFT: f64 = 52.0;
const RIGHT: f64 = 52.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 36.0;
/// Room for the text of a bar.
const TEXT_WIDTH: f64 = 190.0;
const GRID: &str = "#e6e9ee";
const COLOURS: [&str; 8] = [
    "#3b74c4", "#d9822b", "#2f9e6e", "#a3509e", "#b3403a", "#6b7280", "#0e8a9c", "#8a7a2f",
];

/// The colour of the n-th of several things.
pub(crate) fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// How values become positions.
#[derive(Clone, Copy)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    title: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    Logarithmic,
    Nines,
}

impl Axis {
    /// Even steps.
    pub(crate) fn linear(low: f64, high: f64, title: &'static str) -> Axis {
        Axis {
            low,
            high: high.max(low + 1e-9),
            scale: Scale::Linear,
            title,
        }
    }

    /// Even factors; `low` is above 0.
    pub(crate) fn logarithmic(low: f64, high: f64, title: &'static str) -> Axis {
        Axis {
            low,
            high: high.max(low * 1.001),
            scale: Scale::Logarithmic,
            title,
        }
    }

    /// Percentiles, given as 1 / (share above): 2 is p50, 1000 is p99.9.
    pub(crate) fn nines() -> Axis {
        Axis {
            low: 1.0,
            high: 1200.0,
            scale: Scale::Nines,
            title: "percentile",
        }
    }

    /// 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            _ => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Nines => [
                (1.0, "0"),
                (2.0, "p50"),
                (10.0, "p90"),
                (20.0, "p95"),
                (100.0, "p99"),
                (1000.0, "p99.9"),
            ]
            .map(|(value, name)| (value, name.to_owned()))
            .to_vec(),
            Scale::Linear => {
                let step = round_step((self.high - self.low) / 5.0);
                let first = (self.low / step).ceil();
                (0..20)
                    .map(|i| (first + f64::from(i)) * step)
                    .take_while(|value| *value <= self.high)
                    .map(|value| (value, short(value)))
                    .collect()
            }
            Scale::Logarithmic => (-4..8)
                .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)))
                .filter(|value| (self.low..=self.high).contains(value))
                .map(|value| (value, short(value)))
                .collect(),
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let digit = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|digit| digit * power >= rough)
        .unwrap_or(10.0);
    digit * power
}

fn short(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.0}k", v / 1e3),
        v if v >= 10.0 || v == 0.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.1}").trim_end_matches(".0").to_owned(),
        v => format!("{v:.2}"),
    }
}

/// A rectangle with two axes.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Of the whole drawing.
    pub(crate) width: f64,
    /// Of the whole drawing.
    pub(crate) height: f64,
    /// To the right.
    pub(crate) x: Axis,
    /// Upwards.
    pub(crate) y: Axis,
}

impl Frame {
    /// Begins the drawing with its grid and titles.
    pub(crate) fn open(&self, out: &mut String) -> fmt::Result {
        write!(
            out,
            "<svg viewBox=\"0 0 {} {}\" role=\"img\">",
            self.width, self.height
        )?;
        let (bottom, right) = (self.height - BOTTOM, self.width - RIGHT);
        for (value, name) in self.y.ticks() {
            let y = self.y_at(value);
            write!(out, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"{GRID}\"/>")?;
            write!(
                out,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 6.0,
                y + 4.0
            )?;
        }
        for (value, name) in self.x.ticks() {
            let x = self.x_at(value);
            write!(out, "<path d=\"M{x:.1} {bottom}v4\" stroke=\"#9aa3af\"/>")?;
            write!(
                out,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                bottom + 16.0
            )?;
        }
        write!(out, "<path d=\"M{LEFT} {bottom}H{right}\" stroke=\"#9aa3af\"/>")?;
        write!(out, "<text x=\"{LEFT}\" y=\"12\">{}</text>", self.y.title)?;
        write!(
            out,
            "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            self.height - 4.0,
            self.x.title
        )
    }

    /// Ends it.
    pub(crate) fn close(&self, out: &mut String) -> fmt::Result {
        write!(out, "</svg>")
    }

    /// The scale of `y` on the right side.
    pub(crate) fn right_axis(&self, out: &mut String, colour: &str) -> fmt::Result {
        let right = self.width - RIGHT;
        for (value, name) in self.y.ticks() {
            write!(
                out,
                "<text x=\"{}\" y=\"{:.1}\" style=\"fill:{colour}\">{name}</text>",
                right + 6.0,
                self.y_at(value) + 4.0
            )?;
        }
        write!(
            out,
            "<text x=\"{right}\" y=\"12\" text-anchor=\"end\" style=\"fill:{colour}\">{}</text>",
            self.y.title
        )
    }

    /// A filled outline over bins of the same width, from 0.
    pub(crate) fn steps(&self, out: &mut String, values: &[f64], bin: f64, colour: &str) -> fmt::Result {
        let bottom = self.height - BOTTOM;
        write!(
            out,
            "<path fill=\"{colour}\" fill-opacity=\".28\" stroke=\"{colour}\" d=\"M{LEFT} {bottom}"
        )?;
        for (i, value) in values.iter().enumerate() {
            write!(
                out,
                "V{:.1}H{:.1}",
                self.y_at(*value),
                self.x_at((i as f64 + 1.0) * bin)
            )?;
        }
        write!(out, "V{bottom}Z\"/>")
    }

    /// A line through points.
    pub(crate) fn line(
        &self,
        out: &mut String,
        points: impl Iterator<Item = (f64, f64)>,
        colour: &str,
    ) -> fmt::Result {
        write!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\""
        )?;
        for (x, y) in points {
            write!(out, "{:.1},{:.1} ", self.x_at(x), self.y_at(y))?;
        }
        write!(out, "\"/>")
    }

    /// The area between two lines: position, lower, upper.
    pub(crate) fn band(
        &self,
        out: &mut String,
        points: impl DoubleEndedIterator<Item = (f64, f64, f64)> + Clone,
    ) -> fmt::Result {
        write!(out, "<polygon fill=\"#3b74c4\" fill-opacity=\".18\" points=\"")?;
        for (x, low, _) in points.clone() {
            write!(out, "{:.1},{:.1} ", self.x_at(x), self.y_at(low))?;
        }
        for (x, _, high) in points.rev() {
            write!(out, "{:.1},{:.1} ", self.x_at(x), self.y_at(high))?;
        }
        write!(out, "\"/>")
    }

    /// A column from 0.
    pub(crate) fn column(
        &self,
        out: &mut String,
        from: f64,
        to: f64,
        value: f64,
        colour: &str,
    ) -> fmt::Result {
        let (left, right, y) = (self.x_at(from), self.x_at(to), self.y_at(value));
        let height = self.height - BOTTOM - y;
        let width = (right - left - 1.0).max(0.5);
        write!(
            out,
            "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        )
    }

    /// A dot.
    pub(crate) fn dot(&self, out: &mut String, x: f64, y: f64, colour: &str) -> fmt::Result {
        let (x, y) = (self.x_at(x), self.y_at(y));
        write!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{colour}\" fill-opacity=\".5\"/>"
        )
    }

    /// A dashed line across, with a name; `name` is escaped already. Long names are shown by pointing at it.
    pub(crate) fn mark(&self, out: &mut String, x: f64, name: &str) -> fmt::Result {
        let x = self.x_at(x);
        let bottom = self.height - BOTTOM;
        write!(
            out,
            "<g><title>{name}</title><path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#b3261e\" stroke-dasharray=\"4 3\"/>"
        )?;
        if name.len() <= 5 {
            write!(
                out,
                "<text x=\"{:.1}\" y=\"{}\">{name}</text>",
                x + 3.0,
                TOP + 8.0
            )?;
        }
        write!(out, "</g>")
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (self.width - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.share(value) * (self.height - TOP - BOTTOM)
    }
}

/// A row of a bar chart, in percent.
pub(crate) struct Bar {
    /// In front of it.
    pub(crate) name: String,
    /// The wide bar.
    pub(crate) value: f64,
    /// The narrow bar under it.
    pub(crate) second: f64,
    /// Where the line stands.
    pub(crate) mark: f64,
    /// Behind it.
    pub(crate) text: String,
}

/// Horizontal bars, one under the other.
pub(crate) fn bars(out: &mut String, rows: &[Bar]) -> fmt::Result {
    let row_height = 40.0;
    let most = rows
        .iter()
        .map(|row| row.value.max(row.second).max(row.mark))
        .fold(1.0, f64::max);
    let at = |percent: f64| 60.0 + percent / most * 400.0;
    write!(
        out,
        "<svg viewBox=\"0 0 480 {}\" role=\"img\">",
        rows.len() as f64 * row_height + 4.0
    )?;
    for (i, row) in rows.iter().enumerate() {
        let y = i as f64 * row_height + 4.0;
        let colour = colour(i);
        write!(out, "<text x=\"0\" y=\"{}\">{}</text>", y + 15.0, row.name)?;
        write!(
            out,
            "<rect x=\"60\" y=\"{y}\" width=\"{:.1}\" height=\"20\" fill=\"{colour}\"/>",
            at(row.value) - 60.0
        )?;
        let below = y + 22.0;
        write!(
            out,
            "<rect x=\"60\" y=\"{below}\" width=\"{:.1}\" height=\"5\" fill=\"{colour}\" fill-opacity=\".45\"/>",
            at(row.second) - 60.0
        )?;
        write!(
            out,
            "<path d=\"M{:.1} {}v31\" stroke=\"#1c2430\"/>",
            at(row.mark),
            y - 2.0
        )?;
        // A text that does not fit into its bar stands behind it, and behind the line.
        let (x, ink) = match at(row.value) - 60.0 {
            wide if wide > TEXT_WIDTH => (68.0, "#fff"),
            _ => (at(row.value.max(row.mark)) + 8.0, "#1c2430"),
        };
        write!(
            out,
            "<text x=\"{x:.1}\" y=\"{}\" style=\"fill:{ink}\">{}</text>",
            y + 14.0,
            row.text
        )?;
    }
    write!(out, "</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        let ticks = |axis: Axis| axis.ticks().into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(ticks(Axis::linear(0.0, 47.0, "")), ["0", "10", "20", "30", "40"]);
        assert_eq!(
            ticks(Axis::linear(0.0, 1.0, "")),
            ["0", "0.20", "0.40", "0.60", "0.80", "1"]
        );
        assert_eq!(
            ticks(Axis::logarithmic(0.9, 60.0, "")),
            ["1", "2", "5", "10", "20", "50"]
        );
    }

    #[test]
    fn positions_stay_within_the_frame() {
        let frame = Frame {
            width: 100.0,
            height: 100.0,
            x: Axis::linear(0.0, 1.0, ""),
            y: Axis::logarithmic(1.0, 10.0, ""),
        };
        assert_eq!(frame.x_at(-5.0), LEFT);
        assert!(frame.y_at(0.0) <= 100.0 - BOTTOM && frame.y_at(1e9) >= TOP);
    }
}
