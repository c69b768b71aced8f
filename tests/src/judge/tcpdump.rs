//! tcpdump as the judge of what was on the wire: an independent reader of the same packets.

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, UdpSocket},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tmap_common::{Record, Segment};

use crate::net::namespaces::{INTERFACE, Wire};

/// What tcpdump prints of a time-stamped segment, and what we compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Sender and port.
    pub src: (IpAddr, u16),
    /// Receiver and port.
    pub dst: (IpAddr, u16),
    /// TCP flags, the low eight.
    pub flags: u8,
    /// TSval.
    pub tsval: u32,
    /// TSecr.
    pub tsecr: u32,
}

/// Asserts that two sorted lists are the same; shows where they differ, not all of them.
///
/// # Panics
/// Where they differ.
pub fn assert_same(ours: &[Line], theirs: &[Line], what: &str) {
    let missing = |from: &[Line], of: &[Line]| -> Vec<Line> {
        let mut rest = from.to_vec();
        of.iter()
            .filter(|line| rest.iter().position(|other| other == *line).map(|at| rest.remove(at)).is_none())
            .copied()
            .collect()
    };
    let (only_ours, only_theirs) = (missing(theirs, ours), missing(ours, theirs));
    assert!(
        only_ours.is_empty() && only_theirs.is_empty(),
        "{what}: {} records, {} segments; only tmap saw {only_ours:?}; only tcpdump saw {only_theirs:?}",
        ours.len(),
        theirs.len()
    );
}

impl From<&Record> for Line {
    fn from(record: &Record) -> Self {
        let Segment { src, dst, src_port, dst_port, flags, tsval, tsecr, .. } = record.segment;
        Self { src: (src.into(), src_port), dst: (dst.into(), dst_port), flags: flags.0, tsval, tsecr }
    }
}

/// Which way, seen from the far end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the near end to the far one.
    In,
    /// From the far end to the near one.
    Out,
}

/// A process that doesn't outlive the test, however that ends.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running tcpdump.
pub struct Tcpdump {
    child: Guarded,
    way: Way,
    lines: Receiver<String>,
    said: thread::JoinHandle<Vec<String>>,
}

/// How long a busy machine may take to print what it saw.
const PATIENCE: Duration = Duration::from_secs(20);

impl Tcpdump {
    /// Starts it at the far end, for one direction, and waits until it listens.
    ///
    /// # Panics
    /// Where there is no tcpdump.
    pub fn start(wire: &Wire, way: Way) -> Self {
        let mut command = wire.far.command("tcpdump");
        let direction = if way == Way::In { "in" } else { "out" };
        command.args(["-i", INTERFACE, "-Q", direction, "-nn", "-tt", "-l", "--immediate-mode"]);
        // Room for many short packets: in this mode it has slots of the longest length.
        command.args(["-s", "256", "-B", "16384"]);
        // The discard port is for the datagram that marks the end.
        command.args(["tcp", "or", "udp", "port", "9"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = Guarded(child.expect("tcpdump starts"));
        let mut said = BufReader::new(child.0.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(said.read_line(&mut line).expect("tcpdump speaks") > 0, "tcpdump gave up");
        }
        let said = thread::spawn(move || said.lines().map_while(Result::ok).collect());
        let out = BufReader::new(child.0.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, way, lines, said }
    }

    /// Sends a last datagram its way, ends it once it has seen that, and returns the time-stamped
    /// segments that it saw before, sorted.
    ///
    /// # Panics
    /// Where it doesn't see the datagram, or prints what can't be read.
    pub fn finish(mut self, wire: &Wire) -> Vec<Line> {
        let (from, to) = match self.way {
            Way::In => (&wire.near, "192.0.2.2:9"),
            Way::Out => (&wire.far, "192.0.2.1:9"),
        };
        // What was sent before must not be overtaken by it on another CPU.
        thread::sleep(Duration::from_millis(200));
        let socket = from.run(|| UdpSocket::bind("0.0.0.0:0").expect("bound"));
        socket.send_to(b"end", to).expect("sent");
        let mut found = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("tcpdump sees the last datagram");
            if line.contains(".9: UDP") {
                break;
            }
            found.extend(parse(&line));
        }
        // `ip netns exec` becomes tcpdump, so this is its process.
        kill(Pid::from_raw(self.child.0.id() as i32), Signal::SIGINT).expect("it runs");
        self.child.0.wait().expect("a child");
        let said = self.said.join().expect("read");
        assert!(
            said.iter().any(|line| line == "0 packets dropped by kernel"),
            "tcpdump lost packets: {said:?}"
        );
        found.sort_unstable();
        found
    }
}

/// Reads `1.5 IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [S.], ..., TS val 1 ecr 2,...], length 0`;
/// `None` for a segment without timestamps.
fn parse(line: &str) -> Option<Line> {
    let (_, stamps) = line.split_once("TS val ")?;
    let mut words = line.split(' ').skip(1);
    let parsed = (|| {
        words.next()?.strip_prefix("IP")?;
        let src = end(words.next()?)?;
        let dst = end(words.nth(1)?.strip_suffix(':')?)?;
        let (_, flags) = line.split_once("Flags [")?;
        let flags = flags.split(']').next()?.chars().map(flag).sum();
        let mut stamps = stamps.split([' ', ',', ']']);
        let tsval = stamps.next()?.parse().ok()?;
        let tsecr = stamps.nth(1)?.parse().ok()?;
        Some(Line { src, dst, flags, tsval, tsecr })
    })();
    assert!(parsed.is_some(), "can't read tcpdump's line: {line}");
    parsed
}

/// An address with its port behind the last dot.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.rsplit_once('.')?;
    Some((address.parse().ok()?, port.parse().ok()?))
}

/// tcpdump's letter for a flag.
fn flag(letter: char) -> u8 {
    match letter {
        'F' => 0x01,
        'S' => 0x02,
        'R' => 0x04,
        'P' => 0x08,
        '.' => 0x10,
        'U' => 0x20,
        'E' => 0x40,
        'W' => 0x80,
        _ => 0,
    }
}
