//! What happens to interfaces while they are watched, and getting in where somebody else already is.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::ffi::OsStrExt as _,
    },
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use aya::programs::Program;
use nix::sys::signal::Signal;
use serde_json::json;
use tmap::capture::xdp::{Config, Hook, Promiscuous, Sensor, XdpMode};
use tmap_tests::{
    command::{Running, json_lines, wait_for},
    net::{
        detach::{detach_links_of, replace_links_of},
        namespaces::{INTERFACE, Namespace, Wire},
        talk::{self, SERVERS},
    },
};

/// A namespace that watches, and one that talks to it over any number of veth pairs.
struct Pairs {
    near: Namespace,
    far: Namespace,
}

impl Pairs {
    /// Pairs with these names; both ends are up, and the near ones have addresses.
    fn new(names: &[&str]) -> Self {
        let pairs = Self { near: Namespace::new(), far: Namespace::new() };
        for (number, name) in names.iter().enumerate() {
            pairs.add(name, number);
        }
        pairs
    }

    fn add(&self, name: &str, number: usize) {
        self.near.join(name, &self.far);
        for end in [&self.near, &self.far] {
            end.sysctl(&format!("net.ipv6.conf.{name}.disable_ipv6"), "1");
            end.ip(&format!("link set {name} up"));
        }
        self.near.ip(&format!("addr add 192.0.{number}.1/24 dev {name}"));
    }
}

/// The texts of a run's `interface` lines of one kind.
fn texts(tmap: &Running, change: &str) -> Vec<String> {
    let lines = tmap.lines("interface");
    let own = lines.iter().filter(|line| line["change"] == change);
    own.map(|line| line["text"].as_str().expect("a text").to_owned()).collect()
}

/// Waits for a change, and returns its text.
fn awaited(tmap: &Running, change: &str) -> String {
    wait_for(change, || !texts(tmap, change).is_empty());
    texts(tmap, change).remove(0)
}

/// Ends a run that told none of these changes, and has no warning.
fn end_without(tmap: &mut Running, changes: &[&str]) {
    assert!(changes.iter().all(|change| texts(tmap, change).is_empty()), "{}", tmap.err());
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
}

/// How many frames a run has seen, as its last sign of life says.
fn seen(tmap: &Running) -> u64 {
    tmap.lines("heartbeat").last().map_or(0, |line| line["seen"].as_u64().expect("a count"))
}

/// Sends frames into the watched end of the pair of this number until `tmap` sees some. Nobody answers, so
/// the kernel asks for the address.
fn is_seen(pairs: &Pairs, tmap: &Running, number: usize) {
    let before = seen(tmap);
    let socket = pairs.near.run(|| UdpSocket::bind("0.0.0.0:0").expect("bound"));
    wait_for("frames", || {
        socket.send_to(b"hello", format!("192.0.{number}.99:9")).expect("sent");
        thread::sleep(Duration::from_millis(150));
        seen(tmap) > before
    });
}

fn watch(pairs: &Pairs, arguments: &[&str]) -> Running {
    Running::start(&pairs.far, &[&["--json", "--every", "100ms", "--no-promisc"], arguments].concat())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_others_are_watched_when_one_is_gone_and_it_is_watched_again_when_it_is_back() {
    let pairs = Pairs::new(&["one", "two"]);
    let mut tmap = watch(&pairs, &["-i", "one,two"]);
    pairs.near.ip("link del one");
    let text = awaited(&tmap, "gone");
    assert_eq!(text, "interface one is gone; going on with two until it can be watched");
    is_seen(&pairs, &tmap, 1);
    let last = tmap.lines("heartbeat").pop().expect("signs of life");
    assert_eq!((&last["watched"][0], &last["unwatched"][0]), (&"two".into(), &"one".into()));
    pairs.add("one", 0);
    let text = awaited(&tmap, "back");
    assert!(text.starts_with("interface one is watched (ingress by TCX"), "{text}");
    is_seen(&pairs, &tmap, 0);
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(1), "what was missed is a warning");
    let summary = tmap.lines("summary").pop().expect("a summary");
    let warning = summary["warnings"][0].as_str().expect("a warning");
    assert!(warning.ends_with("until it can be watched") && warning.starts_with("20"), "{warning}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_ends_when_none_is_left_unless_it_is_to_wait() {
    let pairs = Pairs::new(&["one", "two"]);
    let mut tmap = watch(&pairs, &["-i", "one", "-i", "two"]);
    pairs.near.ip("link del one");
    awaited(&tmap, "gone");
    pairs.near.ip("link del two");
    assert_eq!(tmap.end().code(), Some(1));
    assert!(tmap.err().contains("interface two is gone; ending with what was seen"), "{}", tmap.err());

    let mut tmap = watch(&pairs, &["-i", "one", "--wait"]);
    assert_eq!(awaited(&tmap, "waiting"), "interface one is not there yet; waiting for it");
    pairs.add("one", 0);
    awaited(&tmap, "back");
    is_seen(&pairs, &tmap, 0);
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
}

/// Also an interface that has one name which is no UTF-8.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_answers_to_its_alternative_names() {
    let pairs = Pairs::new(&["one", "two"]);
    pairs.far.ip("link property add dev one altname first-of-them");
    let add_odd = ["-n", pairs.far.name(), "link", "property", "add", "dev", "two", "altname"];
    let status = Command::new("ip").args(add_odd).arg(OsStr::from_bytes(b"odd\xff")).status();
    assert!(status.is_ok_and(|status| status.success()));
    let mut tmap = watch(&pairs, &["-i", "first-of-them,two"]);
    is_seen(&pairs, &tmap, 0);
    assert_eq!(watched(&tmap), ["one", "two"]);
    end_without(&mut tmap, &["waiting", "gone", "failed"]);

    let mut tmap = watch(&pairs, &["-i", "later,two", "--wait"]);
    assert_eq!(awaited(&tmap, "waiting"), "interface later is not there yet; waiting for it");
    pairs.far.ip("link property add dev one altname later");
    assert!(awaited(&tmap, "back").starts_with("interface one is watched ("));
    is_seen(&pairs, &tmap, 0);
    end_without(&mut tmap, &["gone", "failed"]);

    // `any` has the interface before it has the name.
    let mut tmap = watch(&pairs, &["-i", "any,even-later", "--wait"]);
    awaited(&tmap, "waiting");
    pairs.far.ip("link property add dev one altname even-later");
    wait_for("the name", || {
        tmap.lines("heartbeat").last().is_some_and(|last| last["unwatched"] == serde_json::json!([]))
    });
    assert_eq!(watched(&tmap), ["one", "two"]);
    end_without(&mut tmap, &["back", "gone", "failed"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_becomes_of_an_interface_is_one_line_each() {
    let pairs = Pairs::new(&["one", "two"]);
    let elsewhere = Namespace::new();
    pairs.far.ip("link set two down");
    let mut tmap = watch(&pairs, &["-i", "one,two", "--egress"]);
    assert_eq!(awaited(&tmap, "down"), "interface two is down");
    pairs.far.ip("link set two up");
    assert_eq!(awaited(&tmap, "up"), "interface two is up");
    pairs.far.ip("link set two down name zwei");
    assert_eq!(awaited(&tmap, "renamed"), "interface two is named zwei now, and still watched");
    pairs.far.ip("link set zwei up mtu 1400");
    assert_eq!(awaited(&tmap, "mtu"), "interface zwei has an MTU of 1400 now; it was 1500");
    pairs.far.ip(&format!("link set zwei netns {}", elsewhere.name()));
    assert_eq!(
        awaited(&tmap, "moved"),
        "interface zwei went to another network namespace, and is still watched"
    );
    elsewhere.ip("link set zwei up");
    is_seen(&pairs, &tmap, 1);
    let times = tmap.err().lines().filter(|line| line.starts_with("tmap: 20")).count();
    assert!(times >= 5, "each line has its time: {}", tmap.err());
    drop(elsewhere);
    assert!(awaited(&tmap, "gone").starts_with("interface zwei is gone"));
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(1));
}

/// By native XDP and by TCX, both sides.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_detached_program_is_noticed_and_attached_again() {
    let pairs = Pairs::new(&["one"]);
    for mode in ["native", "tc"] {
        let mut tmap = watch(&pairs, &["-i", "one", "--egress", "--xdp-mode", mode]);
        assert_eq!(detach_links_of(tmap.pid()), 2);
        wait_for("both to be noticed", || texts(&tmap, "detached").len() == 2);
        for text in texts(&tmap, "detached") {
            assert!(text.starts_with("interface one: somebody detached tmap ("), "{text}");
            assert!(text.contains("; attached again ("), "{text}");
        }
        is_seen(&pairs, &tmap, 0);
        // Whoever does it again and again wants to be rid of tmap.
        wait_for("the end", || {
            if texts(&tmap, "failed").is_empty() {
                detach_links_of(tmap.pid());
            }
            !texts(&tmap, "failed").is_empty()
        });
        assert_eq!(tmap.end().code(), Some(1));
        let err = tmap.err();
        assert!(err.contains("this happened 3 times within 30 s; ending with what was seen"), "{err}");
        assert!(!pairs.far.ip("link show dev one").contains("xdp"));
    }
}

/// The descriptor of a loaded program.
fn descriptor<'a>(sensor: &'a Sensor, name: &str) -> BorrowedFd<'a> {
    let fd = match sensor.ebpf().program(name).expect("in the object") {
        Program::Xdp(program) => program.fd(),
        Program::SchedClassifier(program) => program.fd(),
        _ => panic!("{name} is of another type"),
    };
    fd.expect("loaded").as_fd()
}

/// Its link stays, and runs somebody else's program: by native XDP and by TCX, both sides.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_replaced_program_is_noticed_and_attached_again() {
    let pairs = Pairs::new(&["one"]);
    let (others, _rings) = Sensor::load(&Config::default()).expect("loads");
    for mode in ["native", "tc"] {
        let mut tmap = watch(&pairs, &["-i", "one", "--egress", "--xdp-mode", mode]);
        let program =
            |kind: &str| descriptor(&others, if kind == "xdp" { "tmap_xdp_eth" } else { "tmap_tc_eth" });
        assert_eq!(replace_links_of(tmap.pid(), program), 2);
        wait_for("both to be noticed", || texts(&tmap, "detached").len() == 2);
        for text in texts(&tmap, "detached") {
            assert!(text.starts_with("interface one: somebody replaced tmap's program ("), "{text}");
            assert!(text.contains("; attached again ("), "{text}");
        }
        is_seen(&pairs, &tmap, 0);
        tmap.send(Signal::SIGTERM);
        assert_eq!(tmap.end().code(), Some(1), "what was missed is a warning");
    }
}

/// A BPF file system that is gone in the end.
struct Pins(tempfile::TempDir);

impl Pins {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let status = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "a BPF file system can't be mounted");
        Self(folder)
    }

    /// Pins a program of `sensor`; returns where.
    fn pin(&self, sensor: &mut Sensor, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        match sensor.ebpf_mut().program_mut(name).expect("in the object") {
            Program::Xdp(program) => program.pin(&path).expect("pinned"),
            Program::SchedClassifier(program) => program.pin(&path).expect("pinned"),
            _ => panic!("{name} is of another type"),
        }
        path
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// By TC, tmap sees only what an XDP program leaves.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_program_that_comes_beside_is_told() {
    let (pairs, pins) = (Pairs::new(&["one"]), Pins::new());
    let (mut loader, _rings) = Sensor::load(&Config::default()).expect("loads");
    let path = pins.pin(&mut loader, "tmap_xdp_eth");
    let mut tmap = watch(&pairs, &["-i", "one", "--xdp-mode", "tc"]);
    pairs.far.ip(&format!("link set dev one xdpgeneric pinned {}", path.display()));
    let text = awaited(&tmap, "beside");
    assert!(
        text.starts_with("interface one has the XDP program ") && text.contains("somebody else"),
        "{text}"
    );
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(1), "what may be missed is a warning");
}

/// Gives an interface a name of any bytes; it is up then.
fn rename(namespace: &Namespace, from: &[u8], to: &[u8]) {
    for words in [&[from, b"down"][..], &[from, b"name", to], &[to, b"up"]] {
        let mut command = namespace.command("ip");
        command.args(["link", "set", "dev"]).args(words.iter().map(|word| OsStr::from_bytes(word)));
        assert!(command.status().is_ok_and(|status| status.success()), "{words:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn any_says_once_that_it_cannot_watch_what_has_an_odd_name() {
    let pairs = Pairs::new(&["one", "odd"]);
    rename(&pairs.far, b"odd", b"odd\xff");
    let mut tmap = watch(&pairs, &["-i", "any"]);
    let text = "any cannot watch 1 interface that is up, because its name is not UTF-8 (rename it); going on \
                with one until it can be watched";
    assert_eq!(awaited(&tmap, "failed"), text);
    is_seen(&pairs, &tmap, 0);
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(texts(&tmap, "failed").len(), 1);
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(1), "it is a warning");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn one_that_gets_an_odd_name_is_still_watched() {
    for mode in ["tc", "native"] {
        let pairs = Pairs::new(&["one"]);
        let mut tmap = watch(&pairs, &["-i", "one", "--xdp-mode", mode]);
        rename(&pairs.far, b"one", b"one\xff");
        assert_eq!(awaited(&tmap, "renamed"), "interface one is named one\u{fffd} now, and still watched");
        is_seen(&pairs, &tmap, 0);
        rename(&pairs.far, b"one\xff", b"eins");
        wait_for("the next name", || texts(&tmap, "renamed").len() == 2);
        is_seen(&pairs, &tmap, 0);
        end_without(&mut tmap, &["moved", "gone", "failed", "back", "detached"]);
    }
}

/// What waits for the name goes on waiting, and takes it when it is free, alone.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn one_that_takes_the_name_of_an_awaited_one_is_watched_once() {
    for names in ["one,spare", "spare,one"] {
        for mode in ["tc", "native"] {
            let pairs = Pairs::new(&["one"]);
            let mut tmap = watch(&pairs, &["-i", names, "--wait", "--xdp-mode", mode]);
            rename(&pairs.far, b"one", b"spare");
            assert_eq!(awaited(&tmap, "renamed"), "interface one is named spare now, and still watched");
            thread::sleep(Duration::from_millis(1200));
            is_seen(&pairs, &tmap, 0);
            let last = tmap.lines("heartbeat").pop().expect("signs of life");
            assert_eq!(last["watched"].as_array().map(Vec::len), Some(1), "{last}");
            assert_eq!(last["unwatched"].as_array().map(Vec::len), Some(0), "{last}");
            assert_eq!(texts(&tmap, "back"), [""; 0], "{names} {mode}");
            assert_eq!(detach_links_of(tmap.pid()), 1, "{names} {mode}: it is attached once");
            pairs.near.ip("link del one");
            awaited(&tmap, "gone");
            pairs.add("spare", 1);
            awaited(&tmap, "back");
            is_seen(&pairs, &tmap, 1);
            thread::sleep(Duration::from_millis(1200));
            assert_eq!(texts(&tmap, "back").len(), 1, "{names} {mode}");
            assert_eq!(detach_links_of(tmap.pid()), 1, "{names} {mode}: the new one, too");
            tmap.send(Signal::SIGTERM);
            tmap.end();
        }
    }
}

/// Its program is where it is: only its name is here again, on another one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn one_that_takes_the_name_of_one_that_moved_is_another() {
    for names in ["one,two", "two,one"] {
        for mode in ["tc", "native"] {
            let (pairs, elsewhere) = (Pairs::new(&["one", "two"]), Namespace::new());
            let mut tmap = watch(&pairs, &["-i", names, "--egress", "--xdp-mode", mode]);
            pairs.far.ip(&format!("link set one netns {}", elsewhere.name()));
            awaited(&tmap, "moved");
            elsewhere.ip("link set one up");
            rename(&pairs.far, b"two", b"one");
            assert_eq!(awaited(&tmap, "renamed"), "interface two is named one now, and still watched");
            thread::sleep(Duration::from_millis(1200));
            for number in [0, 1] {
                is_seen(&pairs, &tmap, number);
            }
            end_without(&mut tmap, &["gone", "failed", "back", "detached"]);
        }
    }
}

/// An interface has to be down to be renamed, and is the same one then.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_summary_says_how_often_and_how_long_an_interface_was_down() {
    let pairs = Pairs::new(&["one", "two"]);
    let mut tmap = watch(&pairs, &["-i", "one,two"]);
    pairs.far.ip("link set two down");
    awaited(&tmap, "down");
    thread::sleep(Duration::from_millis(300));
    pairs.far.ip("link set two name zwei");
    awaited(&tmap, "renamed");
    pairs.far.ip("link set zwei up");
    awaited(&tmap, "up");
    pairs.far.ip("link set one down");
    wait_for("the other one", || texts(&tmap, "down").len() == 2);
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
    let summary = tmap.lines("summary").pop().expect("a summary");
    let down = summary["interfaces_down"].as_array().expect("a list");
    let told = |at: usize| [&down[at]["interface"], &down[at]["times"], &down[at]["is_down"]];
    assert_eq!(told(0), [&json!("one"), &json!(1), &json!(true)], "{summary}");
    assert_eq!(told(1), [&json!("zwei"), &json!(1), &json!(false)], "{summary}");
    let down_s = down[1]["down_s"].as_f64().expect("seconds");
    assert!(down.len() == 2 && (0.3..60.0).contains(&down_s), "{summary}");

    let mut tmap = Running::start(&pairs.far, &["rtt", "--summary", "-i", "zwei", "--no-promisc"]);
    pairs.far.ip("link set zwei down");
    wait_for("a line", || tmap.err().contains("interface zwei is down"));
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
    let out = tmap.out();
    assert!(
        out.contains("Interface that was down: zwei (once, ") && out.contains(", until the end)."),
        "{out}"
    );
}

/// The kernel lets interfaces have any bytes for a name.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_whose_name_is_no_utf_8_hides_no_other() {
    let pairs = Pairs::new(&["one", "odd"]);
    rename(&pairs.far, b"odd", b"odd\xff");
    let tmap = watch(&pairs, &["-i", "one"]);
    is_seen(&pairs, &tmap, 0);
    pairs.far.ip("link set one down");
    assert_eq!(awaited(&tmap, "down"), "interface one is down");
    tmap.interrupt();
}

/// Loaders pin programs and end, so that no process holds them.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn beside_a_program_that_no_process_holds() {
    let (namespace, pins) = (Namespace::new(), Pins::new());
    let (mut loader, rings) = Sensor::load(&Config::default()).expect("loads");
    let path = pins.pin(&mut loader, "tmap_xdp_eth");
    drop((loader, rings));
    namespace.ip(&format!("link set dev lo xdpgeneric pinned {}", path.display()));
    let tmap = Running::start(&namespace, &["-i", "lo"]);
    let err = tmap.err();
    assert!(err.contains("tmap: lo: ingress by TCX (beside XDP program "), "{err}");
    assert!(err.contains("\"tmap_xdp_eth\" (which no process holds); frames that it drops"), "{err}");
    tmap.interrupt();
    assert!(namespace.ip("link show dev lo").contains("xdpgeneric"), "the other one stays");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_replaced_clsact_filter_is_noticed_and_attached_again() {
    let (wire, pins) = (Wire::new(1500, false), Pins::new());
    let (mut loader, _rings) = Sensor::load(&Config::default()).expect("loads");
    let path = pins.pin(&mut loader, "tmap_tcin_eth");
    let config = Config { clsact: true, ..config(&[INTERFACE], XdpMode::Tc) };
    wire.far.run(|| {
        let (mut sensor, _rings) = Sensor::open(&config).expect("opens");
        let now = Instant::now();
        assert_eq!(sensor.check(now), []);
        let words = ["filter", "replace", "dev", INTERFACE, "ingress", "prio", "1", "handle", "1", "bpf"];
        let status = Command::new("tc").args(words).args(["da", "object-pinned"]).arg(&path).status();
        assert!(status.is_ok_and(|status| status.success()));
        let changes = sensor.check(now);
        assert_eq!(changes.len(), 1, "{changes:?}");
        let text = &changes[0].text;
        assert!(text.contains("somebody replaced tmap's program (ingress by clsact); attached"), "{text}");
        assert_eq!(sensor.check(now), []);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_deleted_clsact_filter_is_noticed_and_attached_again() {
    let wire = Wire::new(1500, false);
    let config = Config {
        interfaces: vec![INTERFACE.to_owned()],
        xdp_mode: XdpMode::Tc,
        egress: true,
        clsact: true,
        ..Config::default()
    };
    wire.far.run(|| {
        let (mut sensor, _rings) = Sensor::open(&config).expect("opens");
        let now = Instant::now();
        assert_eq!(sensor.check(now), []);
        let status = Command::new("tc").args(["filter", "del", "dev", INTERFACE, "ingress"]).status();
        assert!(status.is_ok_and(|status| status.success()));
        let changes = sensor.check(now);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(changes[0].text.ends_with("attached again (ingress by clsact)"), "{changes:?}");
        assert_eq!(sensor.check(now), []);
    });
}

/// The hooks of a sensor, and the reason for the first of them.
fn hooks(sensor: &Sensor) -> (Vec<(String, Hook)>, String) {
    let attachments = sensor.attachments();
    let hooks = attachments.iter().map(|attachment| (attachment.interface.clone(), attachment.hook));
    (hooks.collect(), attachments[0].reason.clone().unwrap_or_default())
}

fn config(interfaces: &[&str], xdp_mode: XdpMode) -> Config {
    let interfaces = interfaces.iter().map(|&name| name.to_owned()).collect();
    Config { interfaces, xdp_mode, every_packet: true, ..Config::default() }
}

/// The other one is another process, which keeps its program; both see the same segments.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn beside_another_xdp_program_it_is_named_and_stays() {
    let namespace = Namespace::new();
    let other =
        Running::start(&namespace, &["-i", "lo", "--every-packet", "--json", "--xdp-mode", "generic"]);
    let tmap = Running::start(&namespace, &["-i", "lo", "--every-packet", "--json"]);
    let err = tmap.err();
    let holder = format!("\"tmap_xdp_eth\" (held by PID {} (", other.pid());
    for part in ["tmap: lo: ingress by TCX (beside XDP program ", &holder, "frames that it drops"] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(!err.contains("xdp off"), "{err}");
    namespace.run(|| {
        let listener = TcpListener::bind("127.0.0.1:8080").expect("bound");
        let mut client = TcpStream::connect("127.0.0.1:8080").expect("connected");
        let mut server = listener.accept().expect("a client").0;
        for _ in 0..50 {
            client.write_all(b"question").expect("sent");
            server.read_exact(&mut [0; 8]).expect("received");
            server.write_all(b"answer").expect("sent");
            client.read_exact(&mut [0; 6]).expect("received");
        }
    });
    thread::sleep(Duration::from_millis(200));
    let emitted = |out: String| {
        let lines = json_lines(&out);
        lines.last().expect("a summary")["packets"]["emitted"].as_u64().expect("a count")
    };
    let (first, second) = (emitted(other.interrupt()), emitted(tmap.interrupt()));
    assert!(first >= 100, "{first}");
    assert_eq!(first, second);
}

/// There tmap goes by TC anyway, and says what it misses all the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn on_a_veth_another_xdp_program_is_named_too() {
    let pairs = Pairs::new(&["one"]);
    let other = watch(&pairs, &["-i", "one", "--xdp-mode", "native"]);
    let tmap = watch(&pairs, &["-i", "one"]);
    let holder = format!("\"tmap_xdp_eth\" (held by PID {} (", other.pid());
    for part in ["tmap: one: ingress by TCX (beside XDP program ", &holder, "frames that it drops"] {
        assert!(tmap.err().contains(part), "{part}: {}", tmap.err());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn clsact_goes_beside_another_xdp_program_too() {
    let namespace = Namespace::new();
    namespace.run(|| {
        let (_other, _rings) = Sensor::open(&config(&["lo"], XdpMode::Generic)).expect("opens");
        let clsact = Config { clsact: true, ..config(&["lo"], XdpMode::Auto) };
        let (sensor, _rings) = Sensor::open(&clsact).expect("opens");
        assert_eq!(hooks(&sensor).0, [("lo".to_owned(), Hook::IngressClsact)]);
    });
}

/// The kernel refuses a program on a port whose bridge has one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_bridge_and_its_port_or_a_macvlan_and_its_parent_in_any_order() {
    let pairs = Pairs::new(&["p1", "p2"]);
    pairs.far.ip("link add br0 type bridge");
    pairs.far.ip("link set p1 master br0");
    pairs.far.ip("link add mv0 link p2 type macvlan");
    pairs.far.ip("link set br0 up");
    pairs.far.ip("link set mv0 up");
    pairs.far.run(|| {
        for (upper, lower) in [("br0", "p1"), ("mv0", "p2")] {
            for names in [[upper, lower], [lower, upper]] {
                let (sensor, _rings) = Sensor::open(&config(&names, XdpMode::Generic)).expect("opens");
                let hooks = hooks(&sensor).0;
                let expected = [lower, upper].map(|name| (name.to_owned(), Hook::XdpGeneric));
                assert_eq!(hooks, expected);
            }
            // Another process's program above: beside it, and named.
            let (_other, _rings) = Sensor::open(&config(&[upper], XdpMode::Generic)).expect("opens");
            let error = Sensor::open(&config(&[lower], XdpMode::Generic)).err().expect("refused").to_string();
            assert!(error.contains(&format!("on {upper}; --xdp-mode auto goes beside it")), "{error}");
            let (sensor, _rings) = Sensor::open(&config(&[lower], XdpMode::Auto)).expect("opens");
            assert_eq!(hooks(&sensor).0, [(lower.to_owned(), Hook::IngressTcx)]);
        }
    });
}

/// In a kernel with bonding: `cargo xtask test` leaves this module out where there is none.
mod bond {
    use super::*;

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn a_bond_and_its_slaves_in_any_order() {
        let pairs = Pairs::new(&["p1", "p2"]);
        pairs.far.ip("link add bond0 type bond");
        for slave in ["p1", "p2"] {
            pairs.far.ip(&format!("link set {slave} down"));
            pairs.far.ip(&format!("link set {slave} master bond0"));
        }
        pairs.far.ip("link set bond0 up");
        pairs.far.run(|| {
            for names in [["bond0", "p1", "p2"], ["p1", "p2", "bond0"], ["p1", "bond0", "p2"]] {
                let (sensor, _rings) = Sensor::open(&config(&names, XdpMode::Generic)).expect("opens");
                let expected = ["p1", "p2", "bond0"].map(|name| (name.to_owned(), Hook::XdpGeneric));
                assert_eq!(hooks(&sensor).0, expected);
            }
            let (sensor, _rings) = Sensor::open(&config(&["any"], XdpMode::Auto)).expect("opens");
            let names: Vec<String> = hooks(&sensor).0.into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["p1", "p2"], "each frame once");
        });
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn any_watches_each_frame_once_and_what_comes_later() {
    let pairs = Pairs::new(&["p1", "two"]);
    pairs.far.ip("link add br0 type bridge");
    pairs.far.ip("link set p1 master br0");
    pairs.far.ip("link set br0 up");
    let mut tmap = watch(&pairs, &["-i", "any"]);
    let err = tmap.err();
    assert!(err.contains("tmap: p1: ") && err.contains("tmap: two: "), "{err}");
    assert!(!err.contains("br0") && !err.contains("lo: "), "{err}");
    pairs.add("three", 2);
    assert!(awaited(&tmap, "back").starts_with("interface three is watched ("));
    is_seen(&pairs, &tmap, 2);
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
}

/// A check that has no time left attaches to one interface, and leaves the others to the next ones: whoever
/// checks answers signals in between.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn interfaces_that_come_at_once_are_taken_in_one_after_another() {
    let pairs = Pairs::new(&["one"]);
    pairs.near.run(|| {
        let (mut sensor, _rings) = Sensor::open(&config(&["any"], XdpMode::Auto)).expect("opens");
        let long_ago = Instant::now() - Duration::from_secs(1);
        assert_eq!((sensor.check(long_ago), sensor.is_unfinished()), (Vec::new(), false));
        for (number, name) in ["two", "three", "four"].iter().enumerate() {
            pairs.add(name, number + 1);
        }
        for (left, is_unfinished) in [(2, true), (1, true), (0, false)] {
            let changes = sensor.check(long_ago);
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert_eq!((sensor.watched().len(), sensor.is_unfinished()), (4 - left, is_unfinished));
        }
        assert_eq!((sensor.check(long_ago), sensor.is_unfinished()), (Vec::new(), false));
    });
}

/// How many users of its promiscuous mode an interface has.
fn promiscuity(namespace: &Namespace, interface: &str) -> u32 {
    let text = namespace.ip(&format!("-d link show dev {interface}"));
    let (_, rest) = text.split_once("promiscuity ").expect("ip says it");
    rest.split(' ').next().expect("a number").parse().expect("a number")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_mirror_port_is_promiscuous_until_the_end_however_it_comes() {
    let pairs = Pairs::new(&["span"]);
    let (near, far) = (&pairs.near, &pairs.far);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut tmap = Running::start(far, &["-i", "span"]);
        wait_for("the word on the mode", || {
            tmap.err().contains("span is in promiscuous mode while tmap runs")
        });
        assert_eq!(promiscuity(far, "span"), 1);
        tmap.send(signal);
        tmap.end();
        wait_for("the end of the mode", || promiscuity(far, "span") == 0);
    }
    let _tmap = Running::start(far, &["-i", "span", "--no-promisc"]);
    assert_eq!(promiscuity(far, "span"), 0);
    // The near end has an address, so it is no mirror port.
    let tmap = Running::start(near, &["-i", "span"]);
    assert_eq!(promiscuity(near, "span"), 0);
    drop(tmap);
    let _tmap = Running::start(near, &["-i", "span", "--promisc"]);
    assert_eq!(promiscuity(near, "span"), 1);
}

/// Whether it is a mirror port shows when it comes up: at the start, made later, made again, and back from
/// another namespace.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_mirror_port_that_comes_up_later_is_promiscuous() {
    let (pairs, elsewhere) = (Pairs::new(&["two"]), Namespace::new());
    let far = &pairs.far;
    let make = || {
        pairs.near.join("span", far);
        pairs.near.ip("link set span up");
    };
    make();
    let mut tmap = Running::start(far, &["--json", "-i", "span", "--wait"]);
    let told = |number: usize| {
        wait_for("the word on the mode", || texts(&tmap, "promiscuous").len() == number);
        let text = "interface span is in promiscuous mode while tmap runs (--no-promisc leaves it off)";
        assert_eq!(texts(&tmap, "promiscuous")[number - 1], text);
        assert_eq!(promiscuity(far, "span"), 1);
    };
    assert_eq!(promiscuity(far, "span"), 0);
    far.ip("link set span up");
    told(1);
    far.ip("link del span");
    awaited(&tmap, "gone");
    make();
    awaited(&tmap, "back");
    far.ip("link set span up");
    told(2);
    far.ip(&format!("link set span netns {}", elsewhere.name()));
    awaited(&tmap, "moved");
    elsewhere.ip(&format!("link set span netns {}", far.name()));
    wait_for("it to be back", || texts(&tmap, "back").len() == 2);
    far.ip("link set span up");
    told(3);
    // Faster than from one check to the next.
    far.ip(&format!("link set span netns {}", elsewhere.name()));
    elsewhere.ip(&format!("link set span netns {}", far.name()));
    far.ip("link set span up");
    wait_for("the mode again", || promiscuity(far, "span") == 1);
    tmap.send(Signal::SIGTERM);
    tmap.end();
    assert_eq!(promiscuity(far, "span"), 0);
}

/// A mirror port that hears a router gives itself one, before tmap starts and while it runs.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_mirror_port_that_hears_a_router_stays_one() {
    let pairs = Pairs::new(&["one", "two"]);
    let far = &pairs.far;
    // As the kernel does it for an advertisement: for a time.
    let hear = |name: &str, net: u8| {
        let allow = format!("echo 0 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6");
        assert!(far.command("sh").args(["-c", &allow]).status().expect("a shell").success());
        far.ip(&format!("-6 addr add 2001:db8:{net}::2/64 dev {name} valid_lft 600 preferred_lft 600"));
    };
    hear("one", 1);
    let mut tmap = Running::start(far, &["--json", "-i", "one,two"]);
    wait_for("promiscuous mode", || ["one", "two"].iter().all(|name| promiscuity(far, name) == 1));
    hear("two", 2);
    // What comes after it is noticed, so it was, too.
    far.ip("addr add 192.0.2.2/24 dev one");
    wait_for("the end of the mode", || promiscuity(far, "one") == 0);
    assert_eq!(promiscuity(far, "two"), 1);
    assert_eq!(texts(&tmap, "promiscuous").len(), 3, "{:?}", texts(&tmap, "promiscuous"));
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
}

/// As DHCP gives it one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_gets_an_address_is_no_mirror_port_any_more() {
    let pairs = Pairs::new(&["one", "two"]);
    let mut tmap = Running::start(&pairs.far, &["--json", "-i", "one"]);
    let mut wanted = Running::start(&pairs.far, &["--json", "-i", "two", "--promisc"]);
    wait_for("promiscuous mode", || promiscuity(&pairs.far, "one") == 1);
    for (number, name) in ["one", "two"].iter().enumerate() {
        pairs.far.ip(&format!("addr add 192.0.{number}.2/24 dev {name}"));
    }
    wait_for("the end of the mode", || promiscuity(&pairs.far, "one") == 0);
    wait_for("the word on it", || texts(&tmap, "promiscuous").len() == 2);
    let text = "interface one is not in promiscuous mode any more, because it has an address of its own \
                (--promisc keeps it)";
    assert_eq!(texts(&tmap, "promiscuous")[1], text);
    assert_eq!(promiscuity(&pairs.far, "two"), 1);
    for tmap in [&mut tmap, &mut wanted] {
        tmap.send(Signal::SIGTERM);
        assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
    }
}

/// Faster than from one check to the next, and with the index that it had: only its programs and its mode
/// tell that it is another one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_is_made_again_with_its_index_is_watched_again() {
    let namespace = Namespace::new();
    let make = "ip link add one index 21 type veth peer name two index 22 && ip link set one up && ip link set two up";
    let run = |script: &str| {
        let status = namespace.command("sh").args(["-c", script]).status().expect("a shell");
        assert!(status.success(), "{script}");
    };
    run(make);
    let options = ["-i", "one", "--wait", "--json", "--every", "100ms", "--promisc", "--xdp-mode", "generic"];
    let mut tmap = Running::start(&namespace, &options);
    let is_watched =
        || namespace.ip("link show one").contains("xdpgeneric") && promiscuity(&namespace, "one") == 1;
    wait_for("promiscuous mode", is_watched);
    for _ in 0..3 {
        run(&format!("ip link del one && {make}"));
        wait_for("the new one", is_watched);
    }
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(1), "what was missed is a warning");
}

/// Makes the watched interface `one`, with an index that is free in all namespaces, whose other end has this
/// name and number.
fn make_one(pairs: &Pairs, other: &str, number: usize) {
    pairs.far.ip(&format!("link add one index 21 type veth peer name {other} netns {}", pairs.near.name()));
    pairs.far.ip("link set one up");
    pairs.near.sysctl(&format!("net.ipv6.conf.{other}.disable_ipv6"), "1");
    pairs.near.ip(&format!("link set {other} up"));
    pairs.near.ip(&format!("addr add 192.0.{number}.1/24 dev {other}"));
}

/// Its programs go on in the other network namespace, and their links tell an index only: that of the new
/// one, too. By TCX and by XDP, and with time for a check in between or not.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_with_name_and_index_of_one_that_moved_is_watched_instead() {
    for mode in ["tc", "native"] {
        for has_time in [true, false] {
            let (pairs, elsewhere) = (Pairs::new(&[]), Namespace::new());
            make_one(&pairs, "old", 0);
            let mut tmap = watch(&pairs, &["-i", "one", "--egress", "--xdp-mode", mode]);
            is_seen(&pairs, &tmap, 0);
            pairs.far.ip(&format!("link set one netns {}", elsewhere.name()));
            if has_time {
                awaited(&tmap, "moved");
            }
            make_one(&pairs, "new", 1);
            let text = awaited(&tmap, "detached");
            let start = "interface one went to another network namespace, and another one has its name, \
                         which is watched instead (";
            assert!(text.starts_with(start), "{mode}: {text}");
            is_seen(&pairs, &tmap, 1);
            assert_eq!(texts(&tmap, "back"), [""; 0], "{mode}");
            tmap.send(Signal::SIGTERM);
            assert_eq!(tmap.end().code(), Some(1), "what was missed is a warning");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_comes_back_is_the_same_one() {
    for mode in ["tc", "native"] {
        let (pairs, elsewhere) = (Pairs::new(&[]), Namespace::new());
        make_one(&pairs, "old", 0);
        let mut tmap = watch(&pairs, &["-i", "one", "--egress", "--xdp-mode", mode]);
        pairs.far.ip(&format!("link set one netns {}", elsewhere.name()));
        awaited(&tmap, "moved");
        elsewhere.ip(&format!("link set one netns {}", pairs.far.name()));
        assert_eq!(awaited(&tmap, "back"), "interface one came back from the other network namespace");
        pairs.far.ip("link set one up");
        is_seen(&pairs, &tmap, 0);
        assert_eq!(texts(&tmap, "detached"), [""; 0], "{mode}");
        tmap.send(Signal::SIGTERM);
        assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
    }
}

/// As a container leaves it that had it as another one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_comes_back_under_another_name_is_the_same_one() {
    for (interface, mode) in [("any", "tc"), ("any", "native"), ("one", "generic")] {
        let (pairs, elsewhere) = (Pairs::new(&[]), Namespace::new());
        make_one(&pairs, "old", 0);
        let mut tmap = watch(&pairs, &["-i", interface, "--wait", "--xdp-mode", mode]);
        pairs.far.ip(&format!("link set one netns {}", elsewhere.name()));
        awaited(&tmap, "moved");
        elsewhere.ip("link set one name other");
        elsewhere.ip(&format!("link set other netns {}", pairs.far.name()));
        let back = "interface other is one, which came back from the other network namespace";
        assert_eq!(awaited(&tmap, "back"), back);
        pairs.far.ip("link set other up");
        is_seen(&pairs, &tmap, 0);
        let is_watched = watched(&tmap).iter().filter(|name| *name == "other" || *name == "one").count();
        assert_eq!((is_watched, texts(&tmap, "failed").len()), (1, 0), "{mode}: {}", tmap.err());
        end_without(&mut tmap, &["detached", "beside", "failed"]);
    }
}

/// Makes a pair of which one end has this name, and an index that others have had.
fn make_with_index(namespace: &Namespace, name: &str) {
    namespace.ip(&format!("link add {name} index 21 type veth peer name {name}-peer"));
    namespace.ip(&format!("link set {name} up"));
}

/// Within one check: the one that was watched there is gone, and nobody has detached anything.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_comes_back_with_name_and_index_of_one_that_is_gone_is_the_same_one() {
    for mode in [XdpMode::Tc, XdpMode::Native] {
        let (pairs, elsewhere) = (Pairs::new(&[]), Namespace::new());
        make_with_index(&pairs.far, "old");
        pairs.far.run(|| {
            let config =
                Config { wait: true, promiscuous: Promiscuous::Off, ..config(&["old", "new"], mode) };
            let (mut sensor, _rings) = Sensor::open(&config).expect("opens");
            let mut check = || {
                let changes = sensor.check(Instant::now());
                changes.into_iter().map(|change| change.text).collect::<Vec<String>>()
            };
            assert_eq!(check(), ["interface new is not there yet; waiting for it"]);
            pairs.far.ip(&format!("link set old netns {}", elsewhere.name()));
            assert_eq!(check(), ["interface old went to another network namespace, and is still watched"]);
            make_with_index(&pairs.far, "new");
            assert!(check()[0].starts_with("interface new is watched ("));
            pairs.far.ip("link del new");
            elsewhere.ip("link set old name new");
            elsewhere.ip(&format!("link set new netns {}", pairs.far.name()));
            pairs.far.ip("link set new up");
            let back = "interface new is old, which came back from the other network namespace";
            assert_eq!(check(), [back, "interface new is gone"], "{mode:?}");
            assert_eq!(check(), [""; 0]);
            assert_eq!(sensor.watched(), ["new"]);
        });
    }
}

/// The interfaces that a run watches, as its last sign of life says.
fn watched(tmap: &Running) -> Vec<String> {
    let last = tmap.lines("heartbeat").pop().expect("signs of life");
    let names = last["watched"].as_array().expect("names").iter();
    names.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// A bridge shows what its ports show. Without any, it is up like others.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn any_leaves_a_bridge_out_when_a_port_joins_it() {
    let pairs = Pairs::new(&["p1"]);
    pairs.far.ip("link add br0 type bridge");
    pairs.far.ip("link set br0 up");
    let mut tmap = Running::start(&pairs.far, &["--json", "--every", "100ms", "-i", "any"]);
    wait_for("both", || !tmap.lines("heartbeat").is_empty() && watched(&tmap) == ["p1", "br0"]);
    assert_eq!(promiscuity(&pairs.far, "br0"), 1);
    for round in 1..=2 {
        pairs.far.ip("link set p1 master br0");
        wait_for("the end of the bridge", || texts(&tmap, "left_out").len() == round);
        let text = "interface br0 shows the frames of p1, and is not watched any more";
        assert_eq!(texts(&tmap, "left_out")[round - 1], text);
        wait_for("only the port", || watched(&tmap) == ["p1"]);
        assert_eq!(promiscuity(&pairs.far, "br0"), 0);
        is_seen(&pairs, &tmap, 0);
        // While its port is down there is nothing to see.
        pairs.far.ip("link set p1 down");
        wait_for("the port to be down", || texts(&tmap, "down").len() == round);
        thread::sleep(Duration::from_secs(1));
        pairs.far.ip("link set p1 up");
        wait_for("the port to be up", || texts(&tmap, "up").len() == round);
        assert_eq!((watched(&tmap), texts(&tmap, "back").len()), (vec!["p1".to_owned()], round - 1));
        pairs.far.ip("link set p1 nomaster");
        wait_for("the bridge again", || texts(&tmap, "back").len() == round);
        assert!(texts(&tmap, "back")[round - 1].starts_with("interface br0 is watched ("));
        assert_eq!(promiscuity(&pairs.far, "br0"), 1);
    }
    tmap.send(Signal::SIGTERM);
    assert_eq!(tmap.end().code(), Some(0), "{}", tmap.err());
}

/// The port was down at first, so that the bridge was chosen.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn any_leaves_a_bridge_out_when_its_port_comes_up_unless_it_is_named() {
    for (names, left) in [("any", &["p1"][..]), ("any,br0", &["br0", "p1"])] {
        let pairs = Pairs::new(&["p1"]);
        pairs.far.ip("link add br0 type bridge");
        pairs.far.ip("link set p1 down");
        pairs.far.ip("link set p1 master br0");
        pairs.far.ip("link set br0 up");
        let tmap = watch(&pairs, &["-i", names]);
        wait_for("the bridge", || !tmap.lines("heartbeat").is_empty() && watched(&tmap) == ["br0"]);
        pairs.far.ip("link set p1 up");
        assert!(awaited(&tmap, "back").starts_with("interface p1 is watched ("));
        wait_for("a sign of life", || watched(&tmap) == left);
        assert_eq!(texts(&tmap, "left_out").len(), usize::from(names == "any"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_loopback_shows_each_segment_once_with_egress_too() {
    let namespace = Namespace::new();
    let count = |arguments: &[&str]| {
        let tmap =
            Running::start(&namespace, &[&["-i", "lo", "--every-packet", "--json"], arguments].concat());
        namespace.run(|| {
            let listener = TcpListener::bind("127.0.0.1:8080").expect("bound");
            let client = TcpStream::connect("127.0.0.1:8080").expect("connected");
            drop((listener.accept().expect("a client"), client));
        });
        thread::sleep(Duration::from_millis(200));
        let err = tmap.err();
        let lines = json_lines(&tmap.interrupt());
        (lines.last().expect("a summary")["packets"]["emitted"].as_u64().expect("a count"), err)
    };
    let (without, _) = count(&[]);
    let (with, err) = count(&["--egress"]);
    assert!(without >= 6 && with == without, "{without} and {with}");
    assert!(err.contains("no --egress here, because a loopback receives what it sends"), "{err}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_sign_of_life_is_one_line_of_text() {
    let wire = Wire::new(1500, false);
    let tmap = Running::start(&wire.far, &["-i", INTERFACE, "--every", "200ms"]);
    talk::in_step(&wire, SERVERS[0], 20);
    wait_for("signs of life", || tmap.out().lines().count() >= 3);
    let out = tmap.interrupt();
    let line = out.lines().find(|line| line.contains("1 address")).expect("one after the talk");
    assert!(
        line.contains("  wire: ") && line.contains(" frames so far, none lost; 1 address, 1 flow"),
        "{line}"
    );
}
