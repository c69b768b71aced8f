//! A picture of what was measured, against something logarithmic: as SVG.

use std::fmt::Write as _;

use serde::Serialize;

/// The whole, and the plot's own edges within it, in pixels.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 730.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 340.0;

/// Colours that differ for most colour-blind readers too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// What the axes say.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Axes {
    /// Above all.
    pub title: &'static str,
    /// Below, with its unit; this axis is logarithmic.
    pub x: &'static str,
    /// To the left, with its unit.
    pub y: &'static str,
}

/// Points of one kind, in order.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// What they are.
    pub name: String,
    /// `(x, y, spread of y)`.
    pub points: Vec<(f64, f64, f64)>,
}

/// Draws curves over a logarithmic axis; `None` without points.
pub fn svg(axes: &Axes, curves: &[Curve]) -> Option<String> {
    let Axes { title, x: x_name, y: y_name } = axes;
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let least = all().map(|point| point.0).reduce(f64::min)?.log10().floor();
    let most = all().map(|point| point.0).reduce(f64::max)?.log10().ceil().max(least + 1.0);
    let top = ceiling(all().map(|point| point.1 + point.2).reduce(f64::max)?);
    let x = |value: f64| LEFT + (value.log10() - least) / (most - least) * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - value / top * (BOTTOM - TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{title}</text>\n"
    );
    for step in 0..=5 {
        let value = top * f64::from(step) / 5.0;
        let at = y(value);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for power in least as i32..=most as i32 {
        let at = x(10_f64.powi(power));
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 20.0,
            short(power)
        );
    }
    name_axes(&mut out, x_name, y_name);
    for (number, (curve, colour)) in curves.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let path: Vec<String> =
            curve.points.iter().map(|&(px, py, _)| format!("{:.1},{:.1}", x(px), y(py))).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for &(px, py, spread) in &curve.points {
            let (at, low, high) = (x(px), y((py - spread).max(0.0)), y(py + spread));
            let _ = writeln!(
                out,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"{colour}\"/>\
                 <circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>",
                y(py)
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" fill=\"{colour}\">{}</text>",
            LEFT + 14.0,
            TOP + 20.0 * (number + 1) as f64,
            curve.name
        );
    }
    out.push_str("</svg>\n");
    Some(out)
}

/// Writes the names of both axes beside them.
fn name_axes(out: &mut String, x_name: &str, y_name: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{x_name}</text>\n\
         <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">{y_name}</text>",
        (LEFT + RIGHT) / 2.0,
        HEIGHT - 18.0,
        (TOP + BOTTOM) / 2.0
    );
}

/// The next of 1, 2 and 5 times a power of ten, so that fifths of it are round.
fn ceiling(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|&step| step >= value).unwrap_or(value)
}

/// A power of ten as people say it.
fn short(power: i32) -> String {
    match power {
        0..3 => 10_i32.pow(power.unsigned_abs()).to_string(),
        3..6 => format!("{}k", 10_i32.pow(power.unsigned_abs() - 3)),
        6..9 => format!("{}M", 10_i32.pow(power.unsigned_abs() - 6)),
        _ => format!("10^{power}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes = Axes { title: "cost", x: "flows", y: "ns" };

    #[test]
    fn points_lie_where_their_values_are() {
        let curve = Curve { name: "ns".to_owned(), points: vec![(1e3, 10.0, 1.0), (1e5, 20.0, 0.0)] };
        let text = svg(&AXES, &[curve]).expect("points");
        // Two decades: the ends of the axis; 20 is the top.
        assert!(text.contains("<polyline points=\"70.0,190.0 730.0,40.0\""), "{text}");
        assert!(text.contains(">1k</text>") && text.contains(">100k</text>"), "{text}");
        assert!(svg(&AXES, &[]).is_none());
    }
}
