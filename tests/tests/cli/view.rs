//! What a report lists, in which order and in which colours, as it is asked for on the command line.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tmap_common::{Link, Record};
use tmap_tests::{
    captures,
    command::{command, json_lines, of_type, tmap},
    simulate::conversation::acknowledgement,
    wire::capture::{Order, packets, pcap},
};

const S: u64 = 1_000_000_000;
/// When the capture begins.
const BEGIN_NS: u64 = 1_700_000_000 * S;

/// A machine with a counter of 1 kHz and fixed offsets: its address's last byte, how long it had been up when
/// the capture began, how many connections it has, and when it is last seen, in seconds.
struct Machine {
    last_byte: u8,
    up_s: u64,
    connections: u16,
    end_s: u64,
}

const MACHINES: [Machine; 4] = [
    Machine { last_byte: 9, up_s: 900_000, connections: 4, end_s: 50 },
    Machine { last_byte: 9, up_s: 500_000, connections: 4, end_s: 50 },
    Machine { last_byte: 2, up_s: 1_000, connections: 12, end_s: 40 },
    Machine { last_byte: 5, up_s: 700_000, connections: 3, end_s: 60 },
];

/// The capture of these machines.
fn capture() -> (TempDir, PathBuf) {
    let mut records: Vec<Record> = Vec::new();
    for (number, machine) in (0_u16..).zip(&MACHINES) {
        for connection in 0..machine.connections {
            let from = ([198, 51, 100, machine.last_byte], 40_000 + 100 * number + connection);
            let to = ([203, 0, 113, 1 + (connection % 3) as u8], 443);
            for step in 0..400 {
                let after_ns = machine.end_s * S - step * 100_000_000 - 1_000_000 * u64::from(connection);
                let tsval = ((machine.up_s * S + after_ns) / 1_000_000) as u32;
                records.push(acknowledgement(BEGIN_NS + after_ns, (from, to), tsval, 1));
            }
        }
    }
    records.sort_by_key(|record| record.time_ns);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("three-addresses.pcap");
    fs::write(&path, pcap(&packets(&records, Link::Ethernet), 1, Order::Little, true)).expect("written");
    (folder, path)
}

/// The last bytes of the addresses that a report lists, in its order: their lines begin with them.
fn listed(options: &str, path: &Path) -> Vec<u8> {
    let arguments = ["read"].into_iter().chain(options.split_whitespace()).map(PathBuf::from);
    let run = tmap(arguments.chain([path.to_owned()]));
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{options}");
    let addresses: Vec<String> = if options.contains("--json") {
        let lines = json_lines(&run.out);
        let addresses = of_type(&lines, "address").into_iter();
        addresses.map(|line| line["address"].as_str().expect("an address").to_owned()).collect()
    } else {
        run.out.lines().filter_map(|line| line.split([' ', ':']).next()).map(str::to_owned).collect()
    };
    addresses.iter().filter_map(|address| address.strip_prefix("198.51.100.")?.parse().ok()).collect()
}

#[test]
fn addresses_come_in_the_order_asked_for() {
    let (_folder, path) = capture();
    for (options, order) in [
        ("", [9, 2, 5]),
        ("--sort machines", [9, 2, 5]),
        ("--sort connections", [2, 9, 5]),
        ("--sort address", [2, 5, 9]),
        ("--sort seen", [5, 9, 2]),
        ("--sort uptime", [9, 5, 2]),
        ("-v --sort seen", [5, 9, 2]),
        ("--json", [2, 5, 9]),
        ("--json --sort seen", [5, 9, 2]),
    ] {
        assert_eq!(listed(options, &path), order, "{options}");
    }
}

#[test]
fn so_many_addresses_are_listed_as_were_asked_for() {
    let (_folder, path) = capture();
    assert_eq!(listed("--top 1", &path), [9]);
    assert_eq!(listed("--top 2 --sort address", &path), [2, 5]);
    assert_eq!(listed("--top 1 --json", &path), [9]);
    assert_eq!(listed("--min-machines 2", &path), [9]);
    assert_eq!(listed("--min-machines 2 --json", &path), [9]);
    let all = |options: [&str; 2]| tmap(["read", options[0], options[1], path.to_str().expect("UTF-8")]).out;
    let top = all(["--top", "2"]);
    assert!(top.contains("\n... and 1 more address (--top 3 lists all)\n"), "{top}");
    let few = all(["--min-machines", "2"]);
    assert!(few.contains("\n2 addresses with fewer machines left out (--min-machines)\n"), "{few}");
    let none = all(["--min-machines", "3"]);
    assert!(none.starts_with("3 addresses with fewer machines left out (--min-machines)\n"), "{none}");
}

/// What tmap prints of a capture to a terminal.
fn on_a_terminal(no_color: Option<&str>) -> String {
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = command(["read".into(), captures::path(captures::THREE)]);
    command.env("TERM", "xterm").env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR");
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    command.stdin(Stdio::null()).stdout(pty.slave).stderr(Stdio::null());
    let mut child = command.spawn().expect("tmap runs");
    // The command has a copy of the terminal's end, which must go, so that reading comes to an end.
    drop(command);
    let (mut bytes, mut terminal) = (Vec::new(), fs::File::from(pty.master));
    // Linux ends a terminal whose other end is closed with an error rather than an end of file.
    let _ = terminal.read_to_end(&mut bytes);
    assert!(child.wait().expect("ended").success());
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn colours_are_for_terminals_whose_users_want_them() {
    const ESCAPE: char = '\u{1b}';
    let coloured = on_a_terminal(None);
    assert!(coloured.contains(ESCAPE) && coloured.contains("198.51.100.1"), "{coloured}");
    // An empty value doesn't count (no-color.org).
    assert!(on_a_terminal(Some("")).contains(ESCAPE));
    let plain = on_a_terminal(Some("1"));
    assert!(!plain.contains(ESCAPE) && plain.contains("198.51.100.1"), "{plain}");
    let piped = tmap(["read".into(), captures::path(captures::THREE)]).out;
    assert!(!piped.contains(ESCAPE), "{piped}");
    assert_eq!(plain.replace("\r\n", "\n"), piped);
}
