//! Interfaces that were down while they were watched.

use serde::Serialize;

use super::number::{count, first_of, span};
use crate::printable;

/// Longest list of interfaces in a line of text; the others are only counted.
const MAX_NAMES: usize = 8;

/// An interface that was down while it was watched.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outage {
    /// The interface.
    pub interface: String,
    /// How often it was down.
    pub times: u64,
    /// How long it was down in all, in seconds.
    pub down_s: f64,
    /// Whether it still was at the time of the summary.
    pub is_down: bool,
}

/// `Interfaces that were down: wan (2 times, 12 s in all), lan (once, 34 s, until the end).`; nothing without
/// any.
pub(super) fn line(outages: &[Outage]) -> String {
    let names: Vec<String> = outages.iter().take(MAX_NAMES).map(in_words).collect();
    let what = match outages {
        [] => return String::new(),
        [_] => "Interface that was down",
        _ => "Interfaces that were down",
    };
    format!("{what}: {}.\n", first_of(&names, outages.len()))
}

/// `wan (2 times, 12 s in all)`.
fn in_words(outage: &Outage) -> String {
    let Outage { interface, times, down_s, is_down } = outage;
    let (often, all) = if *times == 1 { ("once".to_owned(), "") } else { (count(*times, "time"), " in all") };
    let end = if *is_down { ", until the end" } else { "" };
    format!("{} ({often}, {}{all}{end})", printable(interface), span(*down_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_often_and_how_long_and_names_few() {
        let outage = |name: &str, times, down_s, is_down| Outage {
            interface: name.to_owned(),
            times,
            down_s,
            is_down,
        };
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[outage("wan", 1, 12.0, false)]), "Interface that was down: wan (once, 12 s).\n");
        let both = [outage("wan", 2, 12.34, false), outage("lan", 1, 34.0, true)];
        let expected =
            "Interfaces that were down: wan (2 times, 12.3 s in all), lan (once, 34 s, until the end).\n";
        assert_eq!(line(&both), expected);
        let many = vec![outage("v", 1, 1.0, false); 11];
        assert!(line(&many).ends_with("v (once, 1 s) and 3 more.\n"), "{}", line(&many));
    }
}
