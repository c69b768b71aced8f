//! What commands that read captures may do, and what they do all the same.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    process::Stdio,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;
use tmap_tests::{
    command::{command, tmap, wait_for},
    sandbox::{probe, status},
    simulate::Scenario,
};

fn folder_with_capture() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.pcap"), Scenario::default().capture()).expect("written");
    folder
}

#[test]
fn what_is_forbidden_fails_inside() {
    let folder = TempDir::new().expect("a folder");
    probe("reader", folder.path()).assert_confined(false);
}

/// A capture that comes slowly, so that there is time to look.
#[test]
fn a_reader_has_no_rights_while_it_reads() {
    let folder = folder_with_capture();
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("made");
    for words in [&["read"][..], &["rtt"], &["report"], &["plot", "phases"]] {
        let mut command = command(words);
        command.arg(&pipe).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("tmap runs");
        let mut writer = OpenOptions::new().write(true).open(&pipe).expect("somebody reads");
        let tasks = format!("/proc/{}/task", child.id());
        let is_reading = || fs::read_dir(&tasks).expect("it runs").count() > 2;
        wait_for("threads", is_reading);
        for task in fs::read_dir(&tasks).expect("it runs").flatten() {
            let of = status(&task.path());
            assert_eq!((of.effective, of.permitted, of.ambient), (0, 0, 0), "{words:?}: {of:?}");
            assert_eq!((of.no_new_privs, of.seccomp), (1, 2), "{words:?}: {of:?}");
        }
        writer.write_all(&fs::read(folder.path().join("a.pcap")).expect("a capture")).expect("taken");
        drop(writer);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success() && !output.stdout.is_empty(), "{words:?}: {output:?}");
    }
}

#[test]
fn without_a_sandbox_nothing_is_filtered() {
    let folder = folder_with_capture();
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("made");
    let mut command = command(["read", "--no-sandbox"]);
    command.arg(&pipe).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("tmap runs");
    let writer = OpenOptions::new().write(true).open(&pipe).expect("somebody reads");
    let of = status(Path::new(&format!("/proc/{}", child.id())));
    assert_eq!((of.no_new_privs, of.seccomp), (0, 0), "{of:?}");
    drop(writer);
    child.wait().expect("it ends");
}

/// Pages and plots in other folders, over old ones, and through links; nothing else is left there.
#[test]
fn outputs_are_written() {
    let folder = folder_with_capture();
    let at = |name: &str| folder.path().join(name).to_str().expect("a name").to_owned();
    fs::create_dir(at("out")).expect("made");
    fs::create_dir(at("links")).expect("made");
    std::os::unix::fs::symlink(at("out/linked.svg"), at("links/plot.svg")).expect("made");
    for _ in 0..2 {
        for words in [
            vec!["report", &at("a.pcap"), "-o", &at("out/page.html")],
            vec!["read", "--plot", &at("out/read.png"), &at("a.pcap")],
            vec!["plot", "phases", &at("a.pcap"), "-o", &at("links/plot.svg")],
        ] {
            let run = tmap(&words);
            assert_eq!((run.code, &run.err[..]), (0, ""), "{words:?}");
        }
    }
    let mut names: Vec<_> = fs::read_dir(at("out")).expect("a folder").flatten().collect();
    names.sort_by_key(fs::DirEntry::file_name);
    let sizes: Vec<_> =
        names.iter().map(|file| (file.file_name(), file.metadata().expect("there").len() > 1000)).collect();
    let wanted = ["linked.svg", "page.html", "read.png"].map(|name| (name.into(), true));
    assert_eq!(sizes, wanted);
    assert!(fs::symlink_metadata(at("links/plot.svg")).expect("there").is_symlink());
}
