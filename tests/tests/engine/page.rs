//! The page's sentences, from snapshots whose every figure is given.

use jiff::tz::TimeZone;
use tmap::{
    engine::{
        Event, Snapshot,
        snapshot::{Estimate, UnstampedTotals},
    },
    page::{self, Events, Made, Source},
    report::{Capturing, Summary, number::Calendar},
};
use tmap_common::{Address, Counters};

use super::report::{WALL, summary};

fn html(summary: &Summary, events: &Events) -> String {
    page::html(summary, events, &Made::default(), &TimeZone::UTC)
}

/// The three sentences.
fn in_short(summary: &Summary) -> Vec<String> {
    let html = html(summary, &Events::default());
    let (_, rest) = html.split_once("<div class=\"lead\">").expect("sentences");
    let (lead, _) = rest.split_once("</div>").expect("an end");
    lead.split("</p>").filter_map(|part| Some(part.split_once("<p>")?.1.to_owned())).collect()
}

#[test]
fn three_sentences_say_what_is_known_and_how_surely() {
    let all = summary();
    assert_eq!(
        in_short(&all),
        [
            "Behind 4 addresses, tmap found at least 4 machines, counted address by address; 2 of the \
             addresses are shared by several.",
            "The address with the most is 198.51.100.2: 3 machines (90 % sure: 2 to 5), with 1,024 \
             connections within 9.7 min; the busiest, machine 1, had 62 % of them and runs Solaris (93 %).",
            "This rests on 89 % of the connections with timestamps; 7 records were lost; the counts of 3 \
             addresses stay open, mostly so: the tick rates of most connections stay open; 1,300 connections \
             were opened without timestamps, whose machines are not counted.",
        ]
    );
    let mut one = all.clone();
    one.snapshot.addresses.retain(|report| report.machines.is_some());
    assert_eq!(in_short(&one)[0], "Behind 198.51.100.2, tmap found 3 machines (90 % sure: 2 to 5).");
    assert!(in_short(&one)[1].starts_with("It opened or answered 1,024 connections"), "{:?}", in_short(&one));
}

#[test]
fn nothing_is_said_to_be_whole_that_may_not_be() {
    let mut calm = summary();
    calm.snapshot.addresses.retain(|report| report.machines.is_some());
    calm.snapshot.unstamped = UnstampedTotals::default();
    calm.counters.ring_full = 0;
    for (capturing, says) in [
        (Capturing::BySensor { egress: false }, ", and nothing was lost on the way."),
        (
            Capturing::Before { dropped: 0, is_whole: true },
            ", and no packet was dropped while capturing, as interface statistics tell.",
        ),
        (
            Capturing::Before { dropped: 0, is_whole: false },
            "; whether packets were lost while capturing is not told.",
        ),
        (Capturing::Before { dropped: 1, is_whole: true }, "; 1 packet was dropped while capturing."),
        (Capturing::Before { dropped: 9, is_whole: false }, "; 9 packets were dropped while capturing."),
    ] {
        calm.capturing = capturing;
        assert!(in_short(&calm)[2].ends_with(says), "{:?}", in_short(&calm));
    }
}

#[test]
fn nothing_seen_is_not_nothing_there() {
    let mut none = Summary {
        snapshot: Snapshot::default(),
        counters: Counters::default(),
        warnings: Vec::new(),
        ..summary()
    };
    assert_eq!(in_short(&none)[0], "No packets were seen, so nothing can be said of any machine.");
    assert_eq!(in_short(&none)[2], "This does not mean that there are no machines.");
    none.counters = Counters { seen: 12, ..Counters::default() };
    assert_eq!(in_short(&none)[0], "12 packets were seen, but none shows the clock of a machine.");
}

#[test]
fn events_are_in_the_list_of_all_and_with_their_address() {
    let calendar = Calendar { wall: WALL, zone: &TimeZone::UTC };
    let mut events = Events::default();
    let address = Address::from_ip4([198, 51, 100, 2]);
    let at_s = Estimate { value: 300.0, sigma: 1.0 };
    events.push(&Event::Reboot { address, before: 1, after: 2, at_s }, 400_000_000_000, &calendar);
    let html = html(&summary(), &events);
    let says =
        "Machine 1 behind 198.51.100.2 probably rebooted at 2006-02-15 10:45:00 UTC; it is machine 2 now";
    assert_eq!(html.matches(says).count(), 2, "in both lists");
}

#[test]
fn what_others_chose_is_escaped() {
    let evil = "<script>alert(1)</script>\"'&";
    let made = Made {
        command: vec!["tmap".to_owned(), evil.to_owned()],
        version: "0".to_owned(),
        sources: vec![Source::Capture { name: evil.to_owned(), bytes: None, sha256: None }],
        written: None,
    };
    let mut infected = summary();
    infected.warnings = vec![evil.to_owned()];
    infected.snapshot.addresses[1].machine_list[0].os.name = evil.to_owned();
    infected.snapshot.addresses[1].evidence = evil.to_owned();
    let html = page::html(&infected, &Events::default(), &made, &TimeZone::UTC);
    assert!(!html.contains("<script>alert"), "a tag got in");
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.matches("&#60;script&#62;alert(1)").count() >= 6, "{}", html.matches("&#60;script").count());
}
