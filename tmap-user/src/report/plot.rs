//! A picture of clocks: phase against time, one panel per address and tick rate, as SVG.
//!
//! Every connection is a point, in the colour of its most probable machine, the larger the better its
//! phase is known; every machine is a line. The upper edge of a panel is its lower edge: a phase is
//! known modulo one tick.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
};

use tmap_common::Address;

use super::number::{Calendar, count, hertz, more_of, signed, span};
use crate::engine::snapshot::{
    AddressReport, ConnectionReport, Estimate, MachineReport, PhasePoint, Snapshot,
};

/// The most panels drawn, those with most connections first.
const MAX_PANELS: usize = 8;

/// The most machines named in a legend.
const MAX_NAMED: usize = 16;

/// A phase less certain than this, in ticks, says nothing and isn't drawn.
const WORST_SIGMA_TICKS: f64 = 0.2;

/// A panel, in pixels: the whole, and the plot's own edges within it.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 770.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 400.0;

/// Distance of two entries of the legend, in pixels.
const LEGEND_STEP: f64 = 19.0;

/// The smallest and the largest radius of a point, in pixels.
const RADII: (f64, f64) = (2.0, 6.5);

/// The radius of a point whose phase is known to a tick, in pixels; it grows with the square root of
/// precision.
const RADIUS_AT_ONE_TICK: f64 = 0.65;

/// Colours that differ for most colour-blind readers too (Okabe and Ito), then hues far apart.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195"];

/// Writes the picture; returns how many panels it has.
///
/// # Errors
/// Those of writing.
pub fn svg(out: &mut impl Write, snapshot: &Snapshot, calendar: &Calendar<'_>) -> io::Result<usize> {
    let panels = panels(snapshot);
    let height = HEIGHT * panels.len().max(1) as f64;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    )?;
    for (index, panel) in panels.iter().enumerate() {
        writeln!(out, "<g transform=\"translate(0 {})\">", index as f64 * HEIGHT)?;
        out.write_all(panel.draw(calendar).as_bytes())?;
        writeln!(out, "</g>")?;
    }
    writeln!(out, "</svg>")?;
    Ok(panels.len())
}

/// One address and one tick rate.
struct Panel<'a> {
    report: &'a AddressReport,
    hz: f64,
    points: Vec<(PhasePoint, &'a ConnectionReport)>,
    /// Connections whose phase is too uncertain.
    blurred: usize,
    from_ns: u64,
    to_ns: u64,
}

/// What is worth a panel, the busiest first.
fn panels(snapshot: &Snapshot) -> Vec<Panel<'_>> {
    let mut places: BTreeMap<(Address, u64), Vec<(PhasePoint, &ConnectionReport)>> = BTreeMap::new();
    for connection in &snapshot.connections {
        if let Some(place) = connection.place {
            places.entry((connection.src, place.tick_hz as u64)).or_default().push((place, connection));
        }
    }
    let mut panels: Vec<Panel<'_>> = places
        .into_iter()
        .filter_map(|((address, hz), mut points)| {
            let report = snapshot.addresses.iter().find(|report| report.address == address)?;
            let all = points.len();
            points.retain(|(place, _)| place.phase_ticks.sigma <= WORST_SIGMA_TICKS);
            let from_ns = points.iter().map(|(place, _)| place.at_ns).min()?;
            let to_ns = points.iter().map(|(place, _)| place.at_ns).max()?;
            let blurred = all - points.len();
            // The best known last, on top.
            points.sort_by(|a, b| b.0.phase_ticks.sigma.total_cmp(&a.0.phase_ticks.sigma));
            Some(Panel { report, hz: hz as f64, points, blurred, from_ns, to_ns })
        })
        .collect();
    panels.sort_by_key(|panel| std::cmp::Reverse(panel.points.len()));
    panels.truncate(MAX_PANELS);
    panels
}

impl Panel<'_> {
    fn draw(&self, calendar: &Calendar<'_>) -> String {
        let mut text = String::new();
        self.title(&mut text, calendar);
        self.axes(&mut text);
        let machines = self.machines();
        for machine in &machines {
            self.line(&mut text, machine);
        }
        for (place, connection) in &self.points {
            self.point(&mut text, *place, connection);
        }
        self.legend(&mut text, &machines);
        text
    }

    /// Machines of this rate whose phase is known.
    fn machines(&self) -> Vec<&MachineReport> {
        let own = |m: &&MachineReport| m.tick_hz == self.hz && phase(m).is_some();
        self.report.machine_list.iter().filter(own).collect()
    }

    fn title(&self, text: &mut String, calendar: &Calendar<'_>) {
        let machines = match (self.report.machines, self.report.machines_low, self.report.machines_high) {
            (Some(best), Some(low), Some(high)) if low != high => {
                format!("{} (90 % sure: {low} to {high})", count(best.into(), "machine"))
            }
            (Some(best), ..) => count(best.into(), "machine"),
            (None, ..) => "machines unknown".to_owned(),
        };
        let shown = count(self.points.len() as u64, "connection");
        let blurred = match self.blurred {
            0 => String::new(),
            more => format!("; {more} too uncertain to draw"),
        };
        let (address, hz) = (self.report.address, hertz(self.hz));
        let _ = writeln!(
            text,
            "<text x=\"{LEFT}\" y=\"24\" font-size=\"17\" font-weight=\"bold\">{address}: {machines}</text>\n\
             <text x=\"{LEFT}\" y=\"44\" fill=\"#555\">{shown} at {hz}, starting {}{blurred}</text>",
            calendar.local(self.from_ns as f64 / 1e9, 0.0),
        );
    }

    fn axes(&self, text: &mut String) {
        for tenth in 0..=4 {
            let phase = f64::from(tenth) / 4.0;
            let y = y(phase);
            let _ = writeln!(
                text,
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{phase}</text>",
                LEFT - 8.0,
                y + 4.5,
            );
        }
        let (unit_s, unit) = unit(self.span_s());
        let step = step(self.span_s() / unit_s);
        let mut at = 0.0;
        while at * unit_s <= self.span_s() * 1.0001 {
            let x = self.x(at * unit_s);
            let _ = writeln!(
                text,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\" stroke=\"#eee\"/>\n\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{at}</text>",
                BOTTOM + 20.0,
            );
            at += step;
        }
        let (middle, tick) = ((TOP + BOTTOM) / 2.0, span(1.0 / self.hz));
        let _ = writeln!(
            text,
            "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#888\"/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">time since the start ({unit})</text>\n\
             <text transform=\"translate(22 {middle}) rotate(-90)\" text-anchor=\"middle\">\
             phase (of a tick of {tick})</text>",
            RIGHT - LEFT,
            BOTTOM - TOP,
            (LEFT + RIGHT) / 2.0,
            BOTTOM + 42.0,
        );
    }

    /// A machine's line, cut where it goes round.
    fn line(&self, text: &mut String, machine: &MachineReport) {
        let Some(start) = phase(machine) else { return };
        let drift = machine.skew_ppm.map_or(0.0, |skew| skew.value * 1e-6 * self.hz);
        let since_s = (i128::from(self.from_ns) - i128::from(machine.reference_ns)) as f64 * 1e-9;
        let begin = (start.value + drift * since_s).rem_euclid(1.0);
        let mut path = String::new();
        let mut from_s = 0.0;
        let mut low = begin;
        // A clock goes round once in 1 / drift seconds; a thousand times would be a grey area.
        for _ in 0..1000 {
            let to_edge_s = if drift > 0.0 { (1.0 - low) / drift } else { low / -drift };
            let to_s = if drift == 0.0 { self.span_s() } else { (from_s + to_edge_s).min(self.span_s()) };
            let high = low + drift * (to_s - from_s);
            let _ = write!(path, "M{:.1} {:.1}L{:.1} {:.1}", self.x(from_s), y(low), self.x(to_s), y(high));
            if to_s >= self.span_s() {
                break;
            }
            (from_s, low) = (to_s, if drift > 0.0 { 0.0 } else { 1.0 });
        }
        let colour = colour(machine.id);
        let _ = writeln!(text, "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"1.5\" fill=\"none\"/>");
    }

    fn point(&self, text: &mut String, place: PhasePoint, connection: &ConnectionReport) {
        let Estimate { value, sigma } = place.phase_ticks;
        let (x, y) = (self.x((place.at_ns - self.from_ns) as f64 * 1e-9), y(value));
        let radius = size(sigma);
        let fill = connection.machine.map_or("#999".to_owned(), colour);
        let opacity = 0.25 + 0.6 * connection.probability.unwrap_or(0.0);
        let _ = writeln!(
            text,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{fill}\" fill-opacity=\"{opacity:.2}\">\
             <title>port {} to {}:{}, phase {value:.3} ± {sigma:.3}</title></circle>",
            connection.src_port, connection.dst, connection.dst_port,
        );
    }

    fn legend(&self, text: &mut String, machines: &[&MachineReport]) {
        let x = RIGHT + 24.0;
        let mut y = TOP + 14.0;
        let mut entry = |mark: &str, words: &str| {
            let _ = writeln!(
                text,
                "<g transform=\"translate({x} {y})\">{mark}<text x=\"30\" y=\"4.5\">{words}</text></g>"
            );
            y += LEGEND_STEP;
        };
        for machine in machines.iter().take(MAX_NAMED) {
            let colour = colour(machine.id);
            let mark = format!(
                "<path d=\"M0 0H22\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
                 <circle cx=\"11\" r=\"4\" fill=\"{colour}\"/>"
            );
            let skew = machine.skew_ppm.map(|skew| format!("  {} ppm", signed(skew))).unwrap_or_default();
            entry(&mark, &format!("#{}{skew}", machine.id));
        }
        if let Some(more) = machines.len().checked_sub(MAX_NAMED + 1) {
            entry("", &format!("and {}", more_of(more as u64 + 1, "machine")));
        }
        if self.points.iter().any(|(_, connection)| connection.machine.is_none()) {
            entry("<circle cx=\"11\" r=\"4\" fill=\"#999\" fill-opacity=\"0.4\"/>", "machine unknown");
        }
        entry("", "");
        for sigma in [0.01, 0.1] {
            let mark = format!("<circle cx=\"11\" r=\"{:.1}\" fill=\"#444\"/>", size(sigma));
            entry(&mark, &format!("phase ± {sigma}"));
        }
        entry("<circle cx=\"11\" r=\"4\" fill=\"#444\" fill-opacity=\"0.4\"/>", "pale: machine uncertain");
    }

    fn span_s(&self) -> f64 {
        ((self.to_ns - self.from_ns) as f64 * 1e-9).max(1e-3)
    }

    fn x(&self, since_s: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * since_s / self.span_s()
    }
}

/// Radius of a point.
fn size(sigma: f64) -> f64 {
    let (least, most) = RADII;
    (RADIUS_AT_ONE_TICK / sigma.max(1e-3).sqrt()).clamp(least, most)
}

fn y(phase: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * phase
}

/// A machine's phase at its reference time, a whole second: its own, or that of its offset.
fn phase(machine: &MachineReport) -> Option<Estimate> {
    machine.phase_ticks.or(machine.offset_ticks).filter(|phase| phase.sigma < WORST_SIGMA_TICKS)
}

fn colour(id: u32) -> String {
    let place = id.saturating_sub(1) as usize;
    match COLOURS.get(place) {
        Some(colour) => (*colour).to_owned(),
        // The golden angle: no two of the next dozen are close.
        None => format!("hsl({:.0} 65% 42%)", (place as f64 * 137.5) % 360.0),
    }
}

/// The unit in which a span is told.
fn unit(span_s: f64) -> (f64, &'static str) {
    match span_s {
        s if s < 300.0 => (1.0, "s"),
        s if s < 3.0 * 3600.0 => (60.0, "min"),
        _ => (3600.0, "h"),
    }
}

/// Steps of 1, 2 or 5 times a power of ten that make four to ten of them.
fn step(length: f64) -> f64 {
    let power = 10_f64.powf((length / 10.0).log10().floor());
    [1.0, 2.0, 5.0].map(|m| m * power).into_iter().find(|s| length / s <= 10.0).unwrap_or(10.0 * power)
}
