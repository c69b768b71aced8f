//! The demonstration, end to end: known clocks in, counted machines out, nothing left behind.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tmap_tests::{command::binary, net::root};

/// This workspace's xtask, which runs the tests and so has been built.
fn xtask() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows itself");
    let path = own.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").join("xtask");
    assert!(path.is_file(), "{} is not built: run the tests by `cargo xtask test`", path.display());
    path
}

fn demo(seconds: &str) -> Command {
    root::require();
    let mut command = Command::new(xtask());
    command.args(["demo", "--check", "--seconds", seconds, "--tmap"]).arg(binary());
    command
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}{err}", output.status)
}

/// Namespaces of the demonstration that the process with this id made.
fn namespaces_of(pid: u32) -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).output().expect("ip starts");
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    list.lines().filter(|line| line.starts_with(&format!("tmapx-{pid}-"))).map(str::to_owned).collect()
}

/// Waits until the demonstration has made its three namespaces.
fn wait_for_namespaces(pid: u32) {
    let start = Instant::now();
    while namespaces_of(pid).len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(30), "no namespaces of {pid} appear");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `--check` compares with the truth that the demonstration knows: four machines behind the shared
/// address, one alone, this kernel; and two with random offsets counted right or not at all.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn machines_are_counted_right() {
    let output = demo("15").output().expect("the demonstration starts");
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("198.51.100.1: 4 machines are there; tmap counts 4"), "{text}");
    assert!(text.contains("native mode"), "{text}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interrupt_still_gives_the_table_and_leaves_nothing() {
    let child =
        demo("60").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the demonstration starts");
    let pid = child.id();
    wait_for_namespaces(pid);
    std::thread::sleep(Duration::from_secs(4));
    assert!(Command::new("kill").args(["-INT", &pid.to_string()]).status().expect("kill starts").success());
    let start = Instant::now();
    let output = child.wait_with_output().expect("it ends");
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?} to end", start.elapsed());
    assert!(text(&output).contains("198.51.100.1: 4 machines are there"), "{}", text(&output));
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_next_run_sweeps_what_a_killed_one_left() {
    let mut child =
        demo("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the demonstration starts");
    let pid = child.id();
    wait_for_namespaces(pid);
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
    assert_eq!(namespaces_of(pid).len(), 3, "a killed run can't clean up");
    // Three seconds are too few to count machines; only the sweep matters here.
    let output = demo("3").output().expect("the demonstration starts");
    assert_eq!(namespaces_of(pid), Vec::<String>::new(), "{}", text(&output));
}
