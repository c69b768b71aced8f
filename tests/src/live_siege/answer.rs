//! What a summary says of those whose truth is known.

use std::io::BufRead;

use serde_json::Value;

use super::cast;

/// What a summary says of one address; all `None` where the address isn't in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Best estimate of the number of machines.
    pub machines: Option<u64>,
    /// The interval of that number.
    pub low: Option<u64>,
    /// Its upper end; `None` where there is none.
    pub high: Option<u64>,
    /// What limits the answer.
    pub doubt: Option<String>,
}

impl Told {
    fn new(line: &Value) -> Self {
        let number = |name: &str| line[name].as_u64();
        Self {
            machines: number("machines"),
            low: number("machines_low"),
            high: number("machines_high"),
            doubt: line["doubt"].as_str().map(str::to_owned),
        }
    }

    /// Whether this many are within the interval. Without a lower end, nothing is said.
    pub fn holds(&self, machines: u64) -> bool {
        self.low.is_some_and(|low| low <= machines) && self.high.is_none_or(|high| machines <= high)
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        write!(f, "{}, {} to {}", number(self.machines), number(self.low), number(self.high))?;
        self.doubt.as_ref().map_or(Ok(()), |doubt| write!(f, " ({doubt})"))
    }
}

/// A summary.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// What it says of the NAT.
    pub nat: Told,
    /// What it says of each server.
    pub servers: Vec<Told>,
    /// Its last line.
    pub summary: Value,
}

impl Answer {
    /// How many machines it says are behind each server.
    pub fn peers(&self) -> Vec<Option<u64>> {
        self.servers.iter().map(|told| told.machines).collect()
    }
}

/// How lines of addresses begin, and the last line of a summary.
const ADDRESS: &[u8] = b"{\"type\":\"address\",\"address\":\"";
const SUMMARY: &[u8] = b"{\"type\":\"summary\"";

/// Reads lines of JSON until they end, and gives each summary to `take`. Of the many addresses of a flood, no
/// line is parsed.
pub(super) fn read(mut lines: impl BufRead, mut take: impl FnMut(Answer)) {
    let wanted: Vec<Vec<u8>> = std::iter::once(cast::nat())
        .chain(cast::servers())
        .map(|address| [ADDRESS, format!("{address}\"").as_bytes()].concat())
        .collect();
    let mut told = vec![Told::default(); wanted.len()];
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        if line.starts_with(SUMMARY) {
            let all = std::mem::replace(&mut told, vec![Told::default(); wanted.len()]);
            take(Answer {
                nat: all[0].clone(),
                servers: all[1..].to_vec(),
                summary: serde_json::from_slice(&line).unwrap_or_default(),
            });
        } else if let Some(place) = wanted.iter().position(|begin| line.starts_with(begin)) {
            told[place] = serde_json::from_slice(&line).map(|line| Told::new(&line)).unwrap_or_default();
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_told_apart() {
        let text = concat!(
            r#"{"type":"address","address":"198.51.100.1","machines":5,"machines_low":4,"#,
            r#""machines_high":null,"doubt":"unanswered"}"#,
            "\n",
            r#"{"type":"address","address":"203.0.113.2","machines":1,"machines_low":1,"#,
            r#""machines_high":1,"doubt":null}"#,
            "\n{\"type\":\"event\"}\n",
            r#"{"type":"summary","records":7}"#,
            "\n{\"type\":\"summary\",\"records\":8}\n",
        );
        let mut answers = Vec::new();
        read(text.as_bytes(), |answer| answers.push(answer));
        let [first, second] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(first.nat.to_string(), "5, 4 to ? (unanswered)");
        assert!(first.nat.holds(5) && first.nat.holds(99) && !first.nat.holds(3));
        assert_eq!(first.peers(), [None, Some(1), None, None, None, None]);
        assert_eq!((&first.summary["records"], &second.summary["records"]), (&7.into(), &8.into()));
        assert!(second.nat == Told::default() && !second.nat.holds(5));
    }
}
