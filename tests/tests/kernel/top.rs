//! `tmap top` on the real kernel: what it shows is what came, and its screen loses no record.

use nix::sys::signal::Signal;
use tmap_tests::{
    bench::{
        object::{Draw, Handshakes},
        sender::Sender,
    },
    command::binary,
    net::{
        namespaces::{INTERFACE, Wire},
        root,
    },
    terminal::Terminal,
};

/// Frames a second that any machine takes in.
const RATE: u32 = 100_000;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_record_is_lost_while_the_screen_is_drawn_ten_times_a_second() {
    root::require();
    let mut sender = Sender::new(Draw::Zipf(1 << 10), Handshakes::First).expect("the veth is there");
    let arguments = ["top", "-i", INTERFACE, "--xdp-mode", "native", "--refresh", "100ms"];
    let mut terminal = Terminal::start_in(&sender.wire.far, &arguments, (140, 40));
    terminal.wait_for("Waiting for the first snapshot");
    terminal.press("\t\t");
    terminal.wait_for("frames/s");
    sender.send(3 * RATE, Some(RATE)).expect("frames are sent");
    terminal.press("\t");
    terminal.wait_for("Conns");
    terminal.press("\r");
    terminal.wait_for("Addresses > ");
    sender.send(3 * RATE, Some(RATE)).expect("frames are sent");
    terminal.press("\t\t");
    let health = terminal.wait_for("all accounted for");
    println!("{health}");
    assert!(health.contains("+ 0 lost, all accounted for"), "{health}");
    assert!(health.contains("none lost") && !health.contains("LOST"), "{health}");
    terminal.send(Signal::SIGTERM);
    assert_eq!(terminal.end().code(), Some(0), "{}", terminal.text());
    assert_eq!(terminal.is_taken(), (false, false));
    let summary = terminal.text();
    assert!(summary.contains("frames, ") && !summary.contains("LOST"), "{summary}");
}

/// A screen that fails, here by the key F12, ends the run with a summary and then with the error.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_screen_that_fails_loses_no_summary() {
    root::require();
    let wire = Wire::new(1500, false);
    let arguments = ["TMAP_TEST_PANIC=1", &*binary().to_string_lossy(), "top", "-i", INTERFACE];
    let mut terminal = Terminal::start_program(&wire.far, "env", &arguments, (100, 40));
    terminal.wait_for("Waiting for the first snapshot");
    terminal.press("\u{1b}[24~");
    assert_eq!(terminal.end().code(), Some(1), "{}", terminal.text());
    let raw = terminal.raw();
    let (summary, error) = (raw.find("No frames were seen"), raw.find("the screen's thread failed"));
    assert!(summary.is_some() && summary < error, "{}", terminal.text());
    assert!(!wire.far.ip(&format!("link show {INTERFACE}")).contains("xdp"), "detached");
}
