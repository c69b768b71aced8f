//! The same capture through tmap, p0f and tcpdump: packets per second.
//!
//! Two million packets with handshakes, both directions and time stamps. Each does its own work: tmap
//! its whole report, p0f its fingerprints, tcpdump copies packets to `/dev/null`.

use std::{
    env, fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use tmap_common::{Address, Flags, Link, Record, Segment, Syn, record::Direction};

use super::{Figure, Report, Settings, report::Limit, rounds::interleave};
use crate::wire::{
    capture::{Order, Packet, pcap},
    frame::frame,
};

/// Segments of a connection, both directions.
const SEGMENTS: u64 = 100;

/// Connections that begin per second.
const CONNECTIONS_PER_S: u64 = 200;

/// A program that reads the file.
struct Contestant {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

/// Deletes the file in the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs the benchmark.
///
/// # Errors
/// Where the file can't be written or a program fails.
pub fn run(settings: &Settings) -> Result<Report> {
    let connections = if settings.quick { 1_000 } else { 20_000 };
    let scratch = Scratch(env::temp_dir().join(format!("tmap-bench-{}.pcap", std::process::id())));
    let packets = write(&scratch.0, connections)?;
    let mut contestants = contestants(&scratch.0)?;
    let series = interleave(settings.rounds, &mut contestants, seconds)?;
    let mut report = Report::new("file", &["s", "M packets/s", "times the baseline"], &series[0]);
    for (contestant, own) in contestants.iter().zip(&series) {
        let rates: Vec<f64> = own.values.iter().map(|s| packets as f64 / s / 1e6).collect();
        let times = series[0].ratio(own);
        report.row(contestant.name, &[Some(own.figure()), Some(Figure::of(&rates)), Some(times)]);
    }
    let tmap = contestants.iter().position(|contestant| contestant.name == "tmap read");
    if contestants[0].name == "p0f"
        && let Some(index) = tmap
    {
        report.bar("tmap read, times p0f", Limit::AtLeast(5.0), series[0].ratio(&series[index]));
    }
    report.note(format!("{packets} packets of {connections} connections, in the page cache"));
    Ok(report)
}

/// Who is there; the first one is the baseline.
fn contestants(file: &Path) -> Result<Vec<Contestant>> {
    let tmap = env::current_exe()?.with_file_name("tmap");
    ensure!(tmap.exists(), "{} isn't there; build it: cargo build --release", tmap.display());
    let name = file.to_str().context("the path isn't UTF-8")?;
    let arguments = |words: &[&str]| -> Vec<String> {
        words.iter().chain(&[name]).map(|&word| word.to_owned()).collect()
    };
    let dump = arguments(&["-nn", "-w", "/dev/null", "-r"]);
    let all = [
        Contestant { name: "p0f", program: "/usr/sbin/p0f".into(), arguments: arguments(&["-r"]) },
        Contestant { name: "tcpdump", program: "tcpdump".into(), arguments: dump },
        Contestant { name: "tmap read", program: tmap, arguments: arguments(&["read"]) },
    ];
    Ok(all.into_iter().filter(|c| !c.program.is_absolute() || c.program.exists()).collect())
}

/// How long one takes, in seconds.
fn seconds(contestant: &mut Contestant) -> Result<f64> {
    let began = Instant::now();
    let mut command = Command::new(&contestant.program);
    command.args(&contestant.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().with_context(|| format!("{} doesn't start", contestant.name))?;
    if !status.success() {
        bail!("{} failed: {status}", contestant.name);
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Writes the capture; the number of its packets.
fn write(path: &Path, connections: u64) -> Result<usize> {
    let mut records: Vec<Record> = (0..connections).flat_map(connection).collect();
    records.sort_by_key(|record| record.time_ns);
    let mut out = BufWriter::new(fs::File::create(path).context("can't write the capture")?);
    let mut packets = 0;
    // The file's header once, then what each part has behind its own.
    for part in records.chunks(65_536) {
        let framed: Vec<Packet> = part
            .iter()
            .map(|record| Packet { time_ns: record.time_ns, bytes: frame(&record.segment, Link::Ethernet) })
            .collect();
        let bytes = pcap(&framed, 1, Order::Little, true);
        out.write_all(if packets == 0 { &bytes } else { &bytes[24..] })?;
        packets += framed.len();
    }
    out.flush()?;
    Ok(packets)
}

/// A connection: handshake, data and acknowledgements, FINs.
fn connection(number: u64) -> impl Iterator<Item = Record> {
    let begin_ns = 1_700_000_000_000_000_000 + number * 1_000_000_000 / CONNECTIONS_PER_S;
    let client = Address::from_ip4([10, 0, (number % 500 / 250) as u8, (number % 250) as u8 + 1]);
    let server = Address::from_ip4([198, 51, 100, (number % 20) as u8 + 1]);
    let port = 1024 + (number % 60_000) as u16;
    // From half a second in all, which shows no clock, to half a minute, which does; and a little that
    // differs from segment to segment.
    let step_ns = 5_000_000 << (number % 7);
    (0..SEGMENTS).map(move |at| {
        let from_client = at % 2 == 0;
        let time_ns = begin_ns + at * step_ns + (number * 7_919 + at * 104_729) % 400_000;
        let hz = if from_client { 1_000 } else { 250 };
        let machine = if from_client { number % 500 } else { 1_000 + number % 20 };
        let ticks = ((time_ns - 1_600_000_000_000_000_000) / (1_000_000_000 / hz)) as u32;
        let flags = match at {
            0 => Flags::SYN,
            1 => Flags::SYN | Flags::ACK,
            _ if at + 2 >= SEGMENTS => Flags::FIN | Flags::ACK,
            _ => Flags::ACK,
        };
        let syn =
            Syn { window: 64_240, mss: 1_460, window_scale: 7, option_order: 0x3_1842, ..Syn::default() };
        Record {
            time_ns,
            direction: Direction::Ingress,
            suppressed: 0,
            segment: Segment {
                src: if from_client { client } else { server },
                dst: if from_client { server } else { client },
                src_port: if from_client { port } else { 443 },
                dst_port: if from_client { 443 } else { port },
                flags,
                has_payload: at > 2,
                payload_bytes: 0,
                hop_limit: 64,
                tsval: ticks.wrapping_add((machine as u32).wrapping_mul(2_654_435_761)),
                tsecr: 1,
                syn: flags.intersects(Flags::SYN).then_some(syn),
                tunnel: None,
            },
        }
    })
}
