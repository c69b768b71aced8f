//! tshark as the judge: an independent reader of the same captures.

use std::{collections::BTreeMap, collections::HashMap, ffi::OsString, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tmap::{
    capture::file::{Location, Room, Stop},
    cli,
    config::Config,
    read,
};
use tmap_common::{Flags, parse};

use crate::command::{json_lines, of_type};

/// What tshark prints of a capture: the lines of these fields, of frames that pass a display filter.
///
/// # Errors
/// Where tshark isn't installed or fails.
fn fields(capture: &Path, filter: &str, occurrence: &str, fields: &[&str]) -> Result<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-Y", filter, "-T", "fields", "-E", occurrence, "-r"]).arg(capture);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().context("tshark can't be run: cargo xtask setup installs it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark failed on {}: {said}", capture.display());
    Ok(String::from_utf8(output.stdout)?)
}

/// TSval, TSecr and bytes of data by frame number, from 1.
type Stamps = BTreeMap<u64, (u32, u32, u32)>;

/// Compares the time stamps and the bytes of data that tmap and tshark read in every frame with time stamps.
/// Returns how many frames have any.
///
/// # Errors
/// Where they differ, or tshark can't be run.
pub fn compare_stamps(capture: &Path) -> Result<usize> {
    let (own, theirs) = (stamps_by_tmap(capture)?, stamps_by_tshark(capture)?);
    let differing: Vec<_> = own
        .keys()
        .chain(theirs.keys())
        .filter(|number| own.get(number) != theirs.get(number))
        .map(|number| (number, own.get(number), theirs.get(number)))
        .take(8)
        .collect();
    ensure!(differing.is_empty(), "{}: frame, tmap, tshark: {differing:?}", capture.display());
    Ok(own.len())
}

fn stamps_by_tmap(capture: &Path) -> Result<Stamps> {
    let mut capture =
        Location::new(capture).open(&Stop::new(|| false), Room::default(), |reader, _| reader)?;
    let mut stamps = Stamps::new();
    let mut number = 0;
    while let Ok(Some(frame)) = capture.next_frame() {
        number += 1;
        let Ok(link) = frame.link else { continue };
        if let Ok(segment) = parse(frame.bytes, link, true)
            && segment.is_stamped()
        {
            stamps.insert(number, (segment.tsval, segment.tsecr, segment.payload_bytes));
        }
    }
    Ok(stamps)
}

/// What tshark reads. Packets quoted in ICMP errors aren't on their way, so they don't count.
fn stamps_by_tshark(capture: &Path) -> Result<Stamps> {
    let filter = "tcp.options.timestamp.tsval and not icmp and not icmpv6";
    let names = ["frame.number", "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr", "tcp.len"];
    let line = |line: &str| {
        let numbers = line.split('\t').map(str::parse::<u64>).collect::<Result<Vec<_>, _>>()?;
        let [number, tsval, tsecr, bytes] = numbers[..] else { bail!("not four fields: {line}") };
        Ok((number, (tsval as u32, tsecr as u32, bytes as u32)))
    };
    fields(capture, filter, "occurrence=l", &names)?.lines().map(line).collect()
}

/// Segments and bytes of data by sender, its port, receiver, its port.
type Connections = BTreeMap<[String; 4], (u64, u64)>;

/// Compares segments and bytes of data of each connection side, as `tmap read --connections` tells them.
/// Returns how many sides there are. Connections on the same ports count as one.
///
/// # Errors
/// Where they differ, or tshark can't be run.
pub fn compare_connections(capture: &Path) -> Result<usize> {
    let mut theirs = Connections::new();
    for frame in frames(capture)?.into_values() {
        let side = theirs.entry(frame.ends).or_default();
        *side = (side.0 + 1, side.1 + frame.payload_bytes);
    }
    let mut own = Connections::new();
    for line in of_type(&lines_of(&["tmap", "read", "--json", "--connections"], capture)?, "connection") {
        let ends = ["src", "sport", "dst", "dport"].map(|name| word(line, name));
        let count = |name: &str| line[name].as_u64().with_context(|| format!("no {name}: {line}"));
        let side = own.entry(ends).or_default();
        *side = (side.0 + count("segments")?, side.1 + count("payload_bytes")?);
    }
    let differing: Vec<_> = theirs
        .iter()
        .filter(|(ends, counts)| own.get(*ends) != Some(counts))
        .map(|(ends, counts)| (ends, own.get(ends), counts))
        .take(8)
        .collect();
    ensure!(differing.is_empty(), "{}: connection, tmap, tshark: {differing:?}", capture.display());
    ensure!(own.len() == theirs.len(), "tmap has {} sides, tshark {}", own.len(), theirs.len());
    Ok(own.len())
}

/// A field of a line as text.
fn word(line: &Value, name: &str) -> String {
    line[name].as_str().map_or_else(|| line[name].to_string(), str::to_owned)
}

/// A frame as tshark sees it.
struct Frame {
    time_us: u64,
    /// Sender, its port, receiver, its port.
    ends: [String; 4],
    ack_rtt_us: Option<f64>,
    /// The frame that this one acknowledges.
    acks: Option<usize>,
    tsval: u32,
    tsecr: u32,
    /// Its data, in bytes.
    payload_bytes: u64,
    /// Whether it is answered: data, SYN or FIN.
    asks: bool,
    /// A retransmission. tshark takes one that follows an echo closely for reordering.
    is_repeated: bool,
}

/// Every time-stamped frame of a capture by number.
fn frames(capture: &Path) -> Result<HashMap<usize, Frame>> {
    let names = [
        "frame.number",
        "frame.time_epoch",
        "ip.src",
        "ipv6.src",
        "tcp.srcport",
        "ip.dst",
        "ipv6.dst",
        "tcp.dstport",
        "tcp.analysis.ack_rtt",
        "tcp.analysis.acks_frame",
        "tcp.options.timestamp.tsval",
        "tcp.options.timestamp.tsecr",
        "tcp.analysis.retransmission",
        "tcp.analysis.out_of_order",
        "tcp.len",
        "tcp.flags",
    ];
    let text = fields(capture, "tcp.options.timestamp.tsval", "occurrence=f", &names)?;
    text.lines().map(|line| frame(&line.split('\t').collect::<Vec<_>>())).collect()
}

fn frame(fields: &[&str]) -> Result<(usize, Frame)> {
    let [
        number,
        time,
        src4,
        src6,
        sport,
        dst4,
        dst6,
        dport,
        rtt,
        acks,
        tsval,
        tsecr,
        again,
        late,
        bytes,
        flags,
    ] = fields
    else {
        bail!("unexpected fields: {fields:?}")
    };
    let (seconds, fraction) = time.split_once('.').context("a time without a fraction")?;
    let time_us = seconds.parse::<u64>()? * 1_000_000 + (fraction.parse::<u64>()? + 500) / 1_000;
    let flags = u16::from_str_radix(flags.trim_start_matches("0x"), 16)? as u8;
    let either = |a: &str, b: &str| if a.is_empty() { b.to_owned() } else { a.to_owned() };
    let frame = Frame {
        time_us,
        ends: [either(src4, src6), (*sport).to_owned(), either(dst4, dst6), (*dport).to_owned()],
        ack_rtt_us: rtt.parse::<f64>().ok().map(|seconds| seconds * 1e6),
        acks: acks.parse().ok(),
        tsval: tsval.parse()?,
        tsecr: tsecr.parse()?,
        payload_bytes: bytes.parse()?,
        asks: *bytes != "0" || Flags(flags).intersects(Flags::SYN | Flags::FIN),
        is_repeated: !again.is_empty() || !late.is_empty(),
    };
    Ok((number.parse()?, frame))
}

/// How tmap's round trips compare with tshark's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrips {
    /// Those that tmap finds.
    pub samples: usize,
    /// Those for which tshark finds the same.
    pub same: usize,
    /// Those that tmap measures from an earlier segment than tshark.
    pub longer: usize,
    /// Those that tmap measures from a retransmission.
    pub of_repeated: usize,
}

/// Compares round trips, frame by frame:
///
/// - every sample is the time from the first frame with the TSval that asks for an answer to the frame that
///   echoes it, as tshark read both (to 1 µs: both print microseconds);
/// - where tshark took the time to the same frame (`tcp.analysis.ack_rtt` goes by sequence number
///   and, for a delayed acknowledgement, from the *last* segment covered), both agree to 1 µs;
/// - where it took it to another frame, tshark's isn't larger: time stamps go by the earliest. A
///   retransmission is the exception: tshark counts from the original, which was lost, and time stamps
///   tell that it was the repeated one that arrived.
///
/// # Errors
/// Where one of these doesn't hold, or tshark can't be run.
pub fn compare_round_trips(capture: &Path) -> Result<RoundTrips> {
    let frames = frames(capture)?;
    let mut by_echo: HashMap<(u64, [String; 4], u32), usize> = HashMap::new();
    let mut carriers: HashMap<([String; 4], u32), Vec<usize>> = HashMap::new();
    for (&number, frame) in &frames {
        let earliest = by_echo.entry((frame.time_us, frame.ends.clone(), frame.tsecr)).or_insert(number);
        *earliest = number.min(*earliest);
        carriers.entry((frame.ends.clone(), frame.tsval)).or_default().push(number);
    }
    let lines = lines_of(&["tmap", "rtt", "--json"], capture)?;
    let mut found = RoundTrips::default();
    for sample in of_type(&lines, "rtt") {
        let Sample { ends, time_us, tsval, rtt_us } = Sample::read(sample)?;
        let [host, port, peer, peer_port] = ends.clone();
        let echo =
            by_echo.get(&(time_us, ends, tsval)).with_context(|| format!("no such frame: {sample}"))?;
        let echo = &frames[echo];
        let carriers = carriers.get(&([peer, peer_port, host, port], tsval));
        let lately =
            |carrier: &&usize| echo.time_us - frames[*carrier].time_us.min(echo.time_us) <= 10_000_000;
        let asking = |carrier: &&usize| frames[*carrier].asks;
        let first = carriers.and_then(|carriers| carriers.iter().filter(lately).filter(asking).min());
        let first = first.with_context(|| format!("nobody sent that TSval: {sample}"))?;
        let between_us = (echo.time_us - frames[first].time_us) as f64;
        ensure!((rtt_us - between_us).abs() <= 1.0, "{sample}: tshark has frames {between_us} µs apart");
        found.samples += 1;
        match (echo.ack_rtt_us, echo.acks) {
            (Some(theirs_us), Some(acked)) if acked == *first => {
                ensure!((rtt_us - theirs_us).abs() <= 1.0, "{sample}: tshark {theirs_us}");
                found.same += 1;
            }
            (Some(theirs_us), _) if rtt_us + 1.0 >= theirs_us => found.longer += 1,
            (Some(theirs_us), _) => {
                ensure!(frames[first].is_repeated, "{sample}: tshark {theirs_us}");
                found.of_repeated += 1;
            }
            (None, _) => {}
        }
    }
    Ok(found)
}

/// The lines that a command prints of a capture.
fn lines_of(command: &[&str], capture: &Path) -> Result<Vec<Value>> {
    let words = command.iter().map(OsString::from);
    let Config::Read(mut config) = cli::config(words.chain([capture.into()]))? else {
        bail!("{} is taken for an interface", capture.display());
    };
    // This process has other things to do.
    config.common.sandbox = false;
    let mut out = Vec::new();
    read::run(&config, &mut config.common.reporter(&mut out))?;
    Ok(json_lines(&String::from_utf8(out)?))
}

/// A round trip as tmap prints it.
struct Sample {
    /// The answering end, its port, the other end, its port.
    ends: [String; 4],
    time_us: u64,
    tsval: u32,
    rtt_us: f64,
}

impl Sample {
    fn read(line: &Value) -> Result<Self> {
        let text = |name: &str| word(line, name);
        let time: jiff::Timestamp = text("time").parse()?;
        Ok(Self {
            ends: ["host", "port", "peer", "peer_port"].map(text),
            time_us: time.as_microsecond() as u64,
            tsval: line["tsval"].as_u64().context("no TSval")? as u32,
            rtt_us: line["rtt_us"].as_f64().context("no round trip")?,
        })
    }
}
