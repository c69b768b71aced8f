//! The screen of `tmap top`, view by view, from traffic whose truth is known.
//!
//! After a change of what is shown, write the golden files and the pictures in docs/screen.md anew, and read
//! the difference before you commit it: `SNAPSHOTS=overwrite cargo test -p tmap-tests --test engine screen`.

use std::{fs, path::Path, sync::OnceLock};

use jiff::tz::TimeZone;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent},
    style::Color,
};
use snapbox::{Data, assert_data_eq, file};
use tmap::{
    engine::{Engine, Event, Holdings, Options, Snapshot, Wanted},
    report::{Capturing, Stats, Summary, stats::CpuStats},
    screen::{
        App, Ask, Feed, Setup, draw,
        feed::{Health, Progress},
    },
    time::WallClock,
};
use tmap_common::{Address, Counters, Record, Skip};
use tmap_tests::simulate::{
    Offsets, Scenario,
    conversation::{START_NS, acknowledgement},
};

const S: u64 = 1_000_000_000;

/// How long the traffic lasts, in seconds.
const LENGTH_S: u64 = 300;

/// Engine time is wall-clock time, as in captures.
const WALL: WallClock = WallClock { unix_minus_engine_ns: 0 };

fn ip4(last: u8) -> Address {
    Address::from_ip4([198, 51, 100, last])
}

/// The records of a scenario, as if they came from this address.
fn from(address: Address, scenario: &Scenario) -> Vec<Record> {
    let mut records = scenario.run().records;
    for record in &mut records {
        record.segment.src = address;
        record.time_ns += START_NS;
    }
    records
}

/// A machine that is up for 20 days, and reboots in the middle of the traffic.
fn rebooting(address: [u8; 4]) -> Vec<Record> {
    let peer = ([203, 0, 113, 9], 443);
    let at = |second: u64, port: u16, ticks: u64| {
        (0..200).map(move |step| {
            let time_ns = second * S + step * 200_000_000 + (step * 7_919 % 300) * 1_000;
            let tsval = ((ticks + (time_ns - second * S) / 1_000_000) % (1 << 32)) as u32;
            acknowledgement(START_NS + time_ns, ((address, port), peer), tsval, 1)
        })
    };
    let days = 20 * 86_400 * 1_000;
    let before =
        at(10, 40_001, days).chain(at(40, 40_002, days + 30_000)).chain(at(70, 40_003, days + 60_000));
    before
        .chain(at(160, 40_004, 12_000))
        .chain(at(200, 40_005, 52_000))
        .chain(at(240, 40_006, 92_000))
        .collect()
}

/// The traffic: five addresses.
fn records() -> Vec<Record> {
    let base = Scenario { duration_s: LENGTH_S as f64, ..Scenario::default() };
    let fixed = Scenario { machines: 5, offsets: Offsets::Global, connections: 8, seed: 3, ..base.clone() };
    let random = Scenario { machines: 3, connections: 24, seed: 5, ..base.clone() };
    let one = Scenario { machines: 1, offsets: Offsets::Global, tick_hz: 250.0, seed: 7, ..base.clone() };
    let few = Scenario { machines: 2, connections: 1, segments: (2.0, 4.0), seed: 8, ..base };
    let ip6 = Address::from_ip6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    let mut records = from(ip4(1), &fixed);
    records.extend(from(ip4(2), &random));
    records.extend(from(ip6, &one));
    records.extend(from(ip4(4), &few));
    records.extend(rebooting([198, 51, 100, 9]));
    records.sort_by_key(|record| record.time_ns);
    records
}

/// All that the engine says of the traffic.
struct Story {
    early: Snapshot,
    all: Snapshot,
    events: Vec<(Event, u64)>,
    holdings: Holdings,
    opened: Vec<(Address, Snapshot)>,
}

fn story() -> &'static Story {
    static STORY: OnceLock<Story> = OnceLock::new();
    STORY.get_or_init(|| {
        let mut engine = Engine::new(Options::default());
        let records = records();
        let mut events = Vec::new();
        let mut early = Snapshot::default();
        let mut done = 0;
        for second in 1..=LENGTH_S {
            let now_ns = START_NS + second * S;
            let until = records.partition_point(|record| record.time_ns < now_ns);
            engine.observe_all(&records[done..until]);
            done = until;
            events.extend(engine.review(now_ns).into_iter().map(|event| (event, now_ns)));
            if second == LENGTH_S - 10 {
                early = engine.snapshot(now_ns, Wanted::default());
            }
        }
        let now_ns = START_NS + LENGTH_S * S;
        let all = engine.snapshot(now_ns, Wanted::default());
        let wanted = Wanted { connections: true, siblings: false };
        let every = engine.snapshot(now_ns, wanted);
        let opened = all.addresses.iter().map(|report| (report.address, every.clone())).collect();
        Story { early, all, events, holdings: engine.holdings(), opened }
    })
}

fn counters(share: u64) -> Counters {
    let mut counters = Counters { seen: 4_000 * share, emitted: 1_500 * share, ..Counters::default() };
    counters.skipped[Skip::NotTcp as usize] = 700 * share;
    counters.skipped[Skip::NoTimestamps as usize] = 150 * share;
    counters.skipped[Skip::NotIp as usize] = 50 * share;
    counters.suppressed = 1_600 * share - 12;
    counters.ring_full = 12;
    counters
}

/// The screen before anything was told.
fn fresh(colour: bool) -> App {
    App::new(Setup {
        source: "eth0".to_owned(),
        is_live: true,
        wall: WALL,
        zone: TimeZone::get("Europe/Warsaw").expect("the zone is built in or on the system"),
        engine: Options::default(),
        colour,
        half_blocks: false,
    })
}

/// The screen once the whole story was told.
fn told(colour: bool) -> App {
    let story = story();
    let mut app = fresh(colour);
    app.update(Feed::Notice("eth0: attached in the driver (native XDP)".to_owned(), START_NS));
    for (event, time_ns) in &story.events {
        app.update(Feed::Event(Box::new(event.clone()), *time_ns));
    }
    for step in 1..=60 {
        let stats = Stats {
            now_ns: START_NS + (LENGTH_S - 60 + step) * S,
            interval_s: 1.0,
            counters: counters(step * step),
            before: counters((step - 1).pow(2).max(1)),
            cpus: vec![
                CpuStats { cpu: 0, ring_fill_percent: 3.2, ring_full: 12, seen: 9_000_000 },
                CpuStats { cpu: 1, ring_fill_percent: 0.0, ring_full: 0, seen: 5_400_000 },
            ],
            holdings: story.holdings,
        };
        let health = Health {
            stats,
            wall: WALL,
            cpu_percent: 3.1,
            screen_percent: 0.4,
            snapshot_s: 0.012,
            snapshots: step,
            is_taking: false,
        };
        app.update(Feed::Health(Box::new(health)));
    }
    for snapshot in [&story.early, &story.all] {
        app.update(Feed::Summary(Box::new(Summary {
            snapshot: snapshot.clone(),
            began_ns: START_NS,
            counters: counters(3_600),
            capturing: Capturing::BySensor { egress: false },
            holdings: story.holdings,
            outages: Vec::new(),
            wall: WALL,
            warnings: Vec::new(),
        })));
    }
    answer(&mut app);
    app
}

/// Does what the screen asks for, as the loop of `live` does.
fn answer(app: &mut App) {
    for ask in app.asks() {
        if let Ask::Detail(Some(address)) = ask {
            let found = story().opened.iter().find(|(own, _)| *own == address).expect("a known address");
            app.update(Feed::Detail(address, Box::new(found.1.clone())));
        }
    }
}

fn press(app: &mut App, keys: &[KeyCode]) {
    for key in keys {
        app.key(KeyEvent::from(*key));
        answer(app);
    }
}

fn terminal(app: &App, (columns, rows): (u16, u16)) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("memory");
    terminal.draw(|frame| draw(frame, app)).expect("drawn");
    terminal
}

/// What is on the screen, row by row, without spaces at the ends.
fn text(app: &App, size: (u16, u16)) -> String {
    let terminal = terminal(app, size);
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(size.0));
    let lines = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Every view, and the keys that lead there.
fn views() -> Vec<(&'static str, Vec<KeyCode>)> {
    use KeyCode::{Char, Down, Enter, Right, Tab};
    vec![
        ("addresses", vec![]),
        ("filter", vec![Char('/'), Char('1'), Char('0'), Char('0'), Char('.'), Char('2')]),
        ("address", vec![Enter, Down]),
        ("random offsets", vec![Down, Enter]),
        ("picture", vec![Enter, Char('v')]),
        ("another picture", vec![Enter, Char('v'), Right]),
        ("words", vec![Down, Enter, Char('w')]),
        ("events", vec![Tab]),
        ("health", vec![Tab, Tab]),
        ("help", vec![Char('?')]),
    ]
}

fn shown(keys: &[KeyCode], size: (u16, u16)) -> String {
    let mut app = told(true);
    press(&mut app, keys);
    text(&app, size)
}

fn all_views(size: (u16, u16)) -> String {
    views().iter().map(|(name, keys)| format!("=== {name}\n{}", shown(keys, size))).collect()
}

#[test]
fn every_view_at_80_by_24() {
    assert_data_eq!(all_views((80, 24)), file!["../golden/screen-80x24.txt"].raw());
}

#[test]
fn every_view_at_140_by_40() {
    assert_data_eq!(all_views((140, 40)), file!["../golden/screen-140x40.txt"].raw());
}

/// The pictures in the document are those of the golden file, made by the same code.
#[test]
fn pictures_in_the_document_are_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screen.md");
    let mut text = fs::read_to_string(&path).expect("docs/screen.md");
    let mut pictures = 0;
    for (name, keys) in views() {
        let mark = format!("<!-- screen: {name} -->\n```text\n");
        let Some(begin) = text.find(&mark).map(|at| at + mark.len()) else { continue };
        let end = begin + text[begin..].find("```\n").expect("the block ends");
        text.replace_range(begin..end, &shown(&keys, (80, 24)));
        pictures += 1;
    }
    assert!(pictures >= 7, "{pictures} pictures");
    assert_data_eq!(text, Data::read_from(&path, None).raw());
}

#[test]
fn something_useful_fits_any_size() {
    for (name, keys) in views() {
        for size in [(40, 10), (41, 11), (57, 17), (80, 24), (119, 30), (120, 30), (300, 80)] {
            let mut app = told(true);
            press(&mut app, &keys);
            let text = text(&app, size);
            let (columns, rows) = size;
            assert!(text.contains("tmap top"), "{name} at {columns}x{rows}: {text}");
            let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
            assert!(lines >= 4, "{name} at {columns}x{rows}: {text}");
        }
        let mut app = told(true);
        press(&mut app, &keys);
        assert!(text(&app, (39, 10)).contains("too small"), "{name}");
        text(&app, (1, 1));
    }
    let mut app = told(true);
    press(&mut app, &[KeyCode::Enter]);
    assert!(text(&app, (40, 10)).contains("#1"), "machines come before a picture");
}

#[test]
fn without_colours_there_are_none() {
    for (name, keys) in views() {
        let mut app = told(false);
        press(&mut app, &keys);
        let terminal = terminal(&app, (140, 40));
        let cells = terminal.backend().buffer().content();
        let coloured = cells.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count();
        assert_eq!(coloured, 0, "{name}");
    }
}

#[test]
fn a_view_that_stands_still_shows_nothing_new_until_it_goes_on() {
    let mut app = told(true);
    press(&mut app, &[KeyCode::Char('p')]);
    let before = text(&app, (80, 24));
    assert!(before.contains("PAUSED"), "{before}");
    app.update(Feed::Notice("a line".to_owned(), START_NS));
    app.update(Feed::Progress(Progress { share: None, is_over: false }));
    assert_eq!(text(&app, (80, 24)), before);
    press(&mut app, &[KeyCode::Char('p'), KeyCode::Tab]);
    assert!(text(&app, (80, 24)).contains("a line"));
}

#[test]
fn a_screen_that_stands_still_before_the_first_snapshot_says_so() {
    let mut app = fresh(false);
    assert!(text(&app, (80, 24)).contains("Waiting for the first snapshot"));
    press(&mut app, &[KeyCode::Char('p')]);
    let paused = text(&app, (80, 24));
    assert!(paused.contains("Paused before the first snapshot. Press p to go on."), "{paused}");
    press(&mut app, &[KeyCode::Char('p')]);
    assert!(text(&app, (80, 24)).contains("Waiting for the first snapshot"));
}

#[test]
fn the_chosen_address_stays_chosen_in_another_order() {
    let mut app = told(true);
    press(&mut app, &[KeyCode::Down, KeyCode::Char('a'), KeyCode::Enter]);
    assert!(text(&app, (80, 24)).contains("Addresses > 198.51.100.2"), "{}", text(&app, (80, 24)));
    press(&mut app, &[KeyCode::Esc, KeyCode::End, KeyCode::Enter]);
    assert!(text(&app, (80, 24)).contains("> 2001:db8::7"), "{}", text(&app, (80, 24)));
}

#[test]
fn a_filter_lists_what_contains_it() {
    let mut app = told(true);
    let typed: Vec<KeyCode> = "/2001".chars().map(KeyCode::Char).chain([KeyCode::Enter]).collect();
    press(&mut app, &typed);
    let listed = text(&app, (80, 24));
    assert!(listed.contains("2001:db8::7") && !listed.contains("198.51.100."), "{listed}");
    press(&mut app, &[KeyCode::Esc]);
    assert!(text(&app, (80, 24)).contains("198.51.100.1"));
    press(&mut app, &[KeyCode::Char('/'), KeyCode::Char('x'), KeyCode::Enter, KeyCode::Enter]);
    assert!(text(&app, (80, 24)).contains("No address contains 'x'"));
}

#[test]
fn keys_ask_for_what_only_the_loop_can_do() {
    let mut app = told(true);
    for (key, wanted) in [('r', Ask::Refresh), ('s', Ask::Save), ('q', Ask::Quit)] {
        app.key(KeyEvent::from(KeyCode::Char(key)));
        assert_eq!(app.asks(), [wanted], "{key}");
    }
    app.update(Feed::Saved("saved tmap-1.txt".to_owned()));
    assert!(text(&app, (80, 24)).contains("saved tmap-1.txt"));
}
