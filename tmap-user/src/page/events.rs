//! What happened during a run, as sentences with times.

use tmap_common::Address;

use crate::{
    engine::Event,
    picture::MOST_REBOOTS,
    printable,
    report::{number::Calendar, sensor::Notice, text},
};

/// The most events kept; more are counted.
const MAX_EVENTS: usize = 20_000;

/// What happened during a run.
#[derive(Clone, Debug, Default)]
pub struct Events {
    list: Vec<Happened>,
    /// The reboots, as pictures of machines' lives want them.
    reboots: Vec<Event>,
    left_out: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Happened {
    /// Engine time at which it was noticed, in nanoseconds.
    pub at_ns: u64,
    /// That moment as local time.
    pub time: String,
    /// The address that it is about; `None` where it is about the sensor.
    pub address: Option<Address>,
    /// Whether it is more than a machine that was found.
    pub is_news: bool,
    /// What happened.
    pub text: String,
}

impl Events {
    /// Takes an event that was noticed at engine time `now_ns`. Round trips are no events here.
    pub fn push(&mut self, event: &Event, now_ns: u64, calendar: &Calendar<'_>) {
        if matches!(event, Event::Reboot { .. }) && self.reboots.len() < MOST_REBOOTS {
            self.reboots.push(event.clone());
        }
        if let Some(address) = event.address() {
            let is_news = matches!(event, Event::Reboot { .. } | Event::ClockMoved { .. });
            self.keep(now_ns, Some(address), is_news, text::in_words(event, calendar), calendar);
        }
    }

    /// Takes a change of a watched interface.
    pub fn push_notice(&mut self, notice: &Notice, calendar: &Calendar<'_>) {
        self.keep(notice.now_ns, None, true, printable(&notice.text), calendar);
    }

    fn keep(
        &mut self,
        at_ns: u64,
        address: Option<Address>,
        is_news: bool,
        text: String,
        calendar: &Calendar<'_>,
    ) {
        if self.list.len() >= MAX_EVENTS {
            self.left_out += 1;
            return;
        }
        let time = calendar.local(at_ns as f64 / 1e9, 0.0);
        self.list.push(Happened { at_ns, time, address, is_news, text });
    }

    /// The reboots.
    pub(super) fn reboots(&self) -> &[Event] {
        &self.reboots
    }

    /// All that were kept, as they came.
    pub(super) fn all(&self) -> &[Happened] {
        &self.list
    }

    /// Those of one address, in order of time.
    pub(super) fn of(&self, address: Address) -> Vec<&Happened> {
        let mut own: Vec<&Happened> = self.list.iter().filter(|one| one.address == Some(address)).collect();
        own.sort_by_key(|one| one.at_ns);
        own
    }

    /// How many were not kept.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::time::WallClock;

    #[test]
    fn events_are_bounded_and_the_rest_is_counted() {
        let calendar = Calendar { wall: WallClock::default(), zone: &TimeZone::UTC };
        let address = Address::from_ip4([198, 51, 100, 1]);
        let mut events = Events::default();
        for second in 0..MAX_EVENTS as u64 + 3 {
            let event = Event::OffsetsRandom { address, connections: second };
            events.push(&event, second * 1_000_000_000, &calendar);
        }
        assert_eq!((events.all().len(), events.left_out()), (MAX_EVENTS, 3));
        assert!(events.of(address)[1].text.contains("(1 connection so far)"), "{:?}", events.of(address)[1]);
        assert!(events.of(Address::from_ip4([198, 51, 100, 2])).is_empty());
    }
}
