//! `docs/output.schema.json` and `docs/output.md` against real output.
//!
//! Every line that `tmap` prints is validated. So that nothing passes by not occurring, every kind of line
//! and every property of the schema has to occur in this output, and not only as null.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use jsonschema::Validator;
use serde_json::{Value, json};
use tempfile::TempDir;
use tmap::{
    capture::xdp::ChangeKind,
    engine::{Holdings, Snapshot, rtt},
    report::{
        Capturing, Format, Outage, Reporter, Sink, Stats, Summary,
        sensor::{Heartbeat, Notice},
        stats::CpuStats,
    },
    time::WallClock,
};
use tmap_common::{Address, Counters, Flags, Link, Record, Segment, Syn};
use tmap_tests::{
    command::{json_lines, tmap},
    judge::web::without_timestamps,
    simulate::{Offsets, SHARED, containers, conversation::mail_cluster, web},
    wire::{
        capture::{Order, Packet, packets, pcap},
        frame::LINUX_SYN,
    },
};

const SCHEMA: &str = include_str!("../../../docs/output.schema.json");
const DESCRIPTION: &str = include_str!("../../../docs/output.md");

const S: u64 = 1_000_000_000;

/// Properties that the captures of this test can't show, each with the reason. They are still validated
/// wherever they occur.
const NEVER_SHOWN: [(&str, &str); 2] = [
    ("rtt.host_ms", "known only after a first summary: SIGUSR1, in the middle of a run"),
    ("rtt.tick_hz", "as above"),
];

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

/// The names of the schemas of lines, in the order of the file.
fn line_types(schema: &Value) -> Vec<String> {
    let references = schema["oneOf"].as_array().expect("one schema a line type");
    references.iter().map(|one| name_of(one["$ref"].as_str().expect("a reference")).to_owned()).collect()
}

fn name_of(reference: &str) -> &str {
    reference.strip_prefix("#/$defs/").expect("references stay in the file")
}

/// The name of the schema for a line: its type, and for events the event.
fn type_of(line: &Value) -> String {
    let name = line["type"].as_str().expect("every line has a type");
    match line["event"].as_str() {
        Some(event) if name == "event" => format!("event_{event}"),
        _ => name.to_owned(),
    }
}

/// The validator of each line type.
fn validators(schema: &Value) -> BTreeMap<String, Validator> {
    let validator = |name: &String| {
        let mut own = schema.clone();
        let root = own.as_object_mut().expect("an object");
        root.remove("oneOf");
        root.insert("$ref".to_owned(), json!(format!("#/$defs/{name}")));
        jsonschema::validator_for(&own).expect("the schema is sound")
    };
    line_types(schema).iter().map(|name| (name.clone(), validator(name))).collect()
}

/// All properties of a line type, as paths: `address.machine_list.id`.
fn properties(root: &Value, schema: &Value, path: &str, out: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return properties(root, &root["$defs"][name_of(reference)], path, out);
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        properties(root, inner, &path, out);
        out.insert(path);
    }
    for inner in schema["anyOf"].as_array().into_iter().flatten().chain(schema.get("items")) {
        properties(root, inner, path, out);
    }
}

/// The properties of a value that aren't null, as paths.
fn shown(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    for (name, inner) in value.as_object().into_iter().flatten().filter(|(_, inner)| !inner.is_null()) {
        let path = format!("{path}.{name}");
        shown(inner, &path, out);
        out.insert(path);
    }
    value.as_array().into_iter().flatten().for_each(|inner| shown(inner, path, out));
}

/// The lines of a run that must end well.
fn lines(arguments: &[&str], path: &Path) -> Vec<Value> {
    let run = tmap(arguments.iter().copied().chain([path.to_str().expect("a plain path")]));
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
    json_lines(&run.out)
}

/// A capture of raw IP packets, in the order of time.
fn write(folder: &TempDir, name: &str, mut packets: Vec<Packet>) -> std::path::PathBuf {
    packets.sort_by_key(|packet| packet.time_ns);
    let path = folder.path().join(name);
    fs::write(&path, pcap(&packets, 101, Order::Little, true)).expect("written");
    path
}

/// Containers of one kernel behind several addresses: random offsets, phases, siblings. The connections of
/// the first container come through a tunnel.
fn tunnelled() -> Vec<Packet> {
    let mut packets = packets(&containers::records(Offsets::PerConnection), Link::Ip);
    let first = SHARED.octets();
    packets.iter_mut().filter(|packet| packet.bytes[12..16] == first).for_each(wrap);
    packets
}

/// Puts a packet into another IPv4 header.
fn wrap(packet: &mut Packet) {
    let length = (packet.bytes.len() as u16 + 20).to_be_bytes();
    let mut bytes = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, 4, 0, 0];
    bytes.extend([192, 0, 2, 201, 192, 0, 2, 202]);
    bytes.append(&mut packet.bytes);
    packet.bytes = bytes;
}

/// Machines with one offset each, a connection opened without timestamps, a spoofed segment, and an address
/// that sends too little.
fn mail() -> Vec<Packet> {
    let mut records = mail_cluster();
    let first = records[0];
    let syn = Syn { option_order: 0x31_1142, ..LINUX_SYN };
    records.push(Record {
        segment: Segment {
            src: Address::from_ip4(SHARED.octets()),
            src_port: 50_000,
            flags: Flags::SYN,
            has_payload: false,
            tsval: 0,
            tsecr: 0,
            syn: Some(syn),
            ..first.segment
        },
        ..first
    });
    let mut spoofed = records[records.len() / 2];
    spoofed.time_ns += 1_000;
    spoofed.segment.tsval ^= 0x4000_0000;
    spoofed.segment.hop_limit = 250;
    records.push(spoofed);
    let mut lone = first;
    lone.segment.src = Address::from_ip4([192, 0, 2, 99]);
    records.push(lone);
    packets(&records, Link::Ip)
}

/// A machine whose source ports follow Linux's rule. It is there for so long that its random offsets are told
/// before the end.
fn walking() -> web::Web {
    let row = web::grid::port_rows().into_iter().next().expect("a row");
    web::Web { connections: 400, peers: 2, duration_s: 900.0, seed: 1, ..row.web }
}

/// Its connections.
fn walks() -> Vec<Packet> {
    packets(&walking().run().simulation.records, Link::Ip)
}

/// Its connections where it has switched timestamps off.
fn bare_walks() -> Vec<Packet> {
    packets(&without_timestamps(&walking()), Link::Ip)
}

/// A clock of 1 kHz: what it shows at a time in seconds, or nothing while it is off.
type Clock = fn(f64) -> Option<f64>;

/// An address with a steady machine and one that reboots, and another with a machine that sleeps.
fn interrupted() -> Vec<Packet> {
    const STEADY: Clock = |t| Some(5e8 + 1000.012 * t);
    const REBOOTED: Clock = |t| match t {
        t if t < 400.0 => Some(9e8 + 999.991 * t),
        t if t < 470.0 => None,
        t => Some(999.991 * (t - 460.0)),
    };
    const ASLEEP: Clock = |t| match t {
        t if t < 400.0 => Some(7e8 + 1000.003 * t),
        t if t < 701.0 => None,
        t => Some(7e8 + 1000.003 * (t - 300.0)),
    };
    let mut records = Vec::new();
    for (host, clocks) in [(21, [STEADY, REBOOTED]), (22, [STEADY, ASLEEP])] {
        for (number, clock) in clocks.into_iter().enumerate() {
            records.extend((0..60).flat_map(|round| connection(host, round * 2 + number as u16, clock)));
        }
    }
    packets(&records, Link::Ip)
}

/// A connection of a few seconds, one every ten seconds for each clock.
fn connection(host: u8, number: u16, clock: Clock) -> Vec<Record> {
    let begin_s = f64::from(number / 2) * 20.0 + f64::from(number % 2) * 3.3;
    let template = mail_cluster()[0];
    let segment = |i: u16| {
        // Steps that meet every part of the tick, and delays of up to 0.1 ms.
        let sent_s = begin_s + f64::from(i) * 0.137_31;
        let tsval = clock(sent_s)?.floor() as i64 as u32;
        let delay_s = 0.000_3 + f64::from(i * 37 % 11) * 1e-5;
        let segment = Segment {
            src: Address::from_ip4([198, 51, 100, host]),
            dst: Address::from_ip4([203, 0, 113, (number % 5) as u8]),
            src_port: 20_000 + number,
            dst_port: 443,
            flags: if i == 0 { Flags::SYN } else { Flags::ACK },
            has_payload: i > 0,
            tsval,
            tsecr: u32::from(i > 0),
            syn: (i == 0).then_some(LINUX_SYN),
            ..template.segment
        };
        Some(Record { time_ns: S + ((sent_s + delay_s) * 1e9) as u64, segment, ..template })
    };
    (0..60).filter_map(segment).collect()
}

/// Everything that `tmap --json` printed of these captures, and the health of a sensor with two CPUs.
fn output() -> Vec<Value> {
    let folder = TempDir::new().expect("a folder");
    let read = ["read", "--json", "--connections", "--siblings", "--stats", "0.000001"];
    let mut all = Vec::new();
    let made = [
        ("containers", tunnelled()),
        ("mail", mail()),
        ("interrupted", interrupted()),
        ("walks", walks()),
        ("bare-walks", bare_walks()),
    ];
    for (name, packets) in made {
        all.extend(lines(&read, &write(&folder, name, packets)));
    }
    // Traffic of today, whose systems are known.
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/three-machines.pcap.gz");
    all.extend(lines(&read, &lab));
    all.extend(lines(&["rtt", "--json", "--every", "5s"], &write(&folder, "trips", mail())));
    all.push(health());
    all.extend(interfaces());
    all.extend(outages());
    all
}

/// A `stats` line as a live sensor has it: a file has no CPUs.
fn health() -> Value {
    let mut out = Vec::new();
    let cpu = |cpu| CpuStats { cpu, ring_fill_percent: 12.5, ring_full: 7, seen: 600 };
    let stats = Stats { now_ns: S, interval_s: 1.0, cpus: vec![cpu(0), cpu(1)], ..Stats::default() };
    let mut reporter = Reporter::new(&mut out, Format::Json, jiff::tz::TimeZone::UTC);
    reporter.stats(&stats, Default::default()).expect("written");
    serde_json::from_slice(&out).expect("JSON")
}

/// A change of a live sensor's interfaces, and a sign of life.
fn interfaces() -> Vec<Value> {
    let mut out = Vec::new();
    let mut reporter = Reporter::new(&mut out, Format::Json, jiff::tz::TimeZone::UTC);
    let [interface, text] = ["wan", "it is gone"].map(str::to_owned);
    let notice = Notice { now_ns: S, interface, change: ChangeKind::Gone.name(), text };
    reporter.notice(&notice, Default::default()).expect("written");
    let names = |name: &str| vec![name.to_owned()];
    let beat = Heartbeat {
        now_ns: S,
        interval_s: 60.0,
        watched: names("lan"),
        unwatched: names("wan"),
        ..Heartbeat::default()
    };
    reporter.heartbeat(&beat, None, Default::default()).expect("written");
    json_lines(&String::from_utf8(out).expect("text"))
}

/// The summaries of live sensors, of which an interface was down.
fn outages() -> Vec<Value> {
    let mut out = Vec::new();
    let mut reporter = Reporter::new(&mut out, Format::Json, jiff::tz::TimeZone::UTC);
    for rtt in [None, Some(rtt::Report::default())] {
        let outage = Outage { interface: "wan".to_owned(), times: 2, down_s: 12.5, is_down: false };
        let summary = Summary {
            snapshot: Snapshot { now_ns: 2 * S, rtt, ..Snapshot::default() },
            began_ns: S,
            counters: Counters::default(),
            capturing: Capturing::BySensor { egress: false },
            holdings: Holdings::default(),
            outages: vec![outage],
            wall: WallClock::default(),
            warnings: Vec::new(),
        };
        reporter.summary(&summary).expect("written");
    }
    json_lines(&String::from_utf8(out).expect("text"))
}

#[test]
fn every_line_fits_the_schema_and_every_property_occurs() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema), "a schema of draft 2020-12");
    let validators = validators(&schema);
    let whole = jsonschema::validator_for(&schema).expect("the schema is sound");
    let mut found = BTreeSet::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in output() {
        let name = type_of(&line);
        let validator = validators.get(&name).unwrap_or_else(|| panic!("no schema for {name}: {line}"));
        let errors: Vec<String> =
            validator.iter_errors(&line).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{line}");
        assert!(whole.is_valid(&line), "it fits {name}, but not the schema as a whole: {line}");
        shown(&line, &name, &mut found);
        *counts.entry(name).or_default() += 1;
    }
    let absent: Vec<String> =
        line_types(&schema).into_iter().filter(|name| !counts.contains_key(name)).collect();
    assert!(absent.is_empty(), "no line of type {absent:?}; there were {counts:?}");
    let mut all = BTreeSet::new();
    for name in line_types(&schema) {
        properties(&schema, &schema["$defs"][&name], &name, &mut all);
    }
    let missing: Vec<&String> = all.difference(&found).collect();
    let expected: Vec<&str> = NEVER_SHOWN.iter().map(|(path, _)| *path).collect();
    assert_eq!(missing, expected, "properties of the schema that no line had, or had as null only");
}

/// The validator is at work: what isn't described is refused.
#[test]
fn lines_that_differ_from_the_schema_are_refused() {
    let validators = validators(&schema());
    let validator = &validators["stats"];
    let sound = health();
    assert!(validator.is_valid(&sound));
    let changed = |change: fn(&mut serde_json::Map<String, Value>)| {
        let mut line = sound.clone();
        change(line.as_object_mut().expect("an object"));
        line
    };
    let wrong = [
        ("a new field", changed(|line| drop(line.insert("more".to_owned(), json!(1))))),
        ("a missing field", changed(|line| drop(line.remove("flows")))),
        ("another unit", changed(|line| drop(line.insert("interval_s".to_owned(), json!("1 s"))))),
        ("another type", changed(|line| drop(line.insert("type".to_owned(), json!("summary"))))),
        ("a field in an inner object", changed(|line| line["cpus"][0]["more"] = json!(1))),
    ];
    for (what, line) in wrong {
        assert!(!validator.is_valid(&line), "{what}: {line}");
    }
}

/// The fields that the description lists, by the name of what has them: a heading with the name in backquotes
/// (`event` and `new_machine` for `event_new_machine`), then a table with the heading "field".
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let quoted =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut section, mut in_table) = (None, false);
    for line in DESCRIPTION.lines() {
        if line.starts_with('#') {
            let names = quoted(line);
            section = (!names.is_empty()).then(|| names.join("_"));
        }
        in_table = line.starts_with("| field |") || in_table && line.starts_with('|');
        if let (true, Some(name)) = (in_table, &section) {
            let first_cell = line.split('|').nth(1).unwrap_or_default();
            all.entry(name.clone()).or_default().extend(quoted(first_cell));
        }
    }
    all
}

/// Neither the schema nor the description has a field that the other one lacks.
#[test]
fn schema_and_description_have_the_same_fields() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let with_fields = definitions.iter().filter_map(|(name, definition)| {
        let fields = definition["properties"].as_object()?.keys().cloned().collect();
        Some((name.clone(), fields))
    });
    let of_schema: BTreeMap<String, BTreeSet<String>> = with_fields.collect();
    assert!(of_schema.len() > line_types(&schema).len(), "lines and their parts");
    let described = described();
    for (name, fields) in &of_schema {
        let own = described.get(name).unwrap_or_else(|| panic!("docs/output.md has no table for `{name}`"));
        let difference: Vec<&String> = fields.symmetric_difference(own).collect();
        assert!(difference.is_empty(), "`{name}`: only one of schema and docs/output.md has {difference:?}");
    }
    let unknown: Vec<&String> = described.keys().filter(|name| !of_schema.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "docs/output.md describes {unknown:?}, which the schema doesn't have");
}
