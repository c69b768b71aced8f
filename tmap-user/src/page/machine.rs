//! A machine as a row of a table.

use crate::{
    engine::snapshot::MachineReport,
    report::{
        detail,
        number::{Calendar, measured, signed},
        words,
    },
};

/// A row. Numbers beside texts are what the columns are sorted by.
pub(super) struct Row {
    pub id: u32,
    pub percent: f64,
    pub share: String,
    pub connections: f64,
    pub connections_text: String,
    pub tick: f64,
    pub tick_text: String,
    pub rate: String,
    pub skew: Option<f64>,
    pub skew_text: String,
    /// When the counter was zero, engine time in seconds.
    pub boot: Option<f64>,
    pub boot_text: String,
    pub boot_more: String,
    pub system: String,
    pub signature: String,
    pub ports: String,
    pub peers: String,
    pub first: u64,
    pub first_text: String,
    pub last_text: String,
}

impl Row {
    pub(super) fn of(machine: &MachineReport, calendar: &Calendar<'_>) -> Self {
        let skew = words::sound_skew(machine);
        let (boot_text, boot_more) = boot(machine, calendar);
        Self {
            id: machine.id,
            percent: machine.load_percent,
            share: words::load(machine),
            connections: machine.connections,
            connections_text: connections(machine.connections),
            tick: machine.tick_hz,
            tick_text: words::tick(machine),
            rate: if machine.tick_hz > 0.0 {
                format!("{} Hz", measured(machine.rate_hz))
            } else {
                String::new()
            },
            skew: skew.map(|skew| skew.value),
            skew_text: skew.map_or_else(|| "not known".to_owned(), |skew| format!("{} ppm", signed(skew))),
            boot: machine.boot.map(|boot| boot.engine_s.value),
            boot_text,
            boot_more,
            system: words::system(&machine.os),
            signature: machine.os.signature.clone().unwrap_or_default(),
            ports: words::ports_in_short(&machine.ports),
            peers: detail::peers_in_words(machine).unwrap_or_default(),
            first: machine.first_seen_ns,
            first_text: calendar.day_and_second(machine.first_seen_ns),
            last_text: calendar.day_and_second(machine.last_seen_ns),
        }
    }
}

/// `about 70`: the column says what.
fn connections(connections: f64) -> String {
    let text = words::weighted(connections);
    let bare = text.strip_suffix(" connections").or_else(|| text.strip_suffix(" connection"));
    match bare {
        Some(bare) if bare.ends_with(char::is_numeric) => bare.to_owned(),
        _ => "less than half of one".to_owned(),
    }
}

/// When the machine started, and what that depends on.
fn boot(machine: &MachineReport, calendar: &Calendar<'_>) -> (String, String) {
    if let Some(boot) = machine.boot {
        let text = words::boot_time(boot, calendar);
        let all = words::up_since(boot, calendar);
        let more = all.strip_prefix(&text).unwrap_or_default().trim_start_matches([',', ' ']).to_owned();
        return (text, more);
    }
    match machine.boot_if_fixed {
        Some((boot, probability)) => (
            "not known".to_owned(),
            format!(
                "if its offset is fixed ({:.0} % of such systems): {}",
                100.0 * probability,
                words::up_since(boot, calendar)
            ),
        ),
        None => ("not known".to_owned(), String::new()),
    }
}
