//! `tmap report`: where the page goes, and what is refused.

use std::{ffi::OsStr, fs, path::Path};

use tmap_common::Link;
use tmap_tests::{
    captures::{self, THREE},
    command::{Run, tmap, tmap_with_input},
    simulate::conversation::mail_cluster,
    wire::capture::{Order, PcapNg, packets},
};

fn report(words: &[&OsStr]) -> Run {
    tmap([OsStr::new("report")].iter().chain(words))
}

#[test]
fn a_page_goes_to_its_file_and_nothing_to_standard_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let (capture, page) = (captures::path(THREE), folder.path().join("report.html"));
    fs::write(&page, "<!doctype html>an old page, which is replaced").expect("written");
    let run = report(&[capture.as_os_str(), OsStr::new("-o"), page.as_os_str()]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
    let html = fs::read_to_string(&page).expect("a page");
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
    assert!(!html.contains("<!doctype html>an old page"));
    // What a page loads would have an address.
    let addresses = html.matches("://").count();
    assert_eq!(addresses, html.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    // Everybody can tell whether it is the same capture.
    let sum = std::process::Command::new("sha256sum").arg(&capture).output().expect("sha256sum runs");
    let sum = String::from_utf8(sum.stdout).expect("text");
    assert!(html.contains(sum.split(' ').next().expect("a sum")), "{sum}");
}

#[test]
fn standard_output_takes_a_page_unless_it_is_a_terminal() {
    let capture = captures::path(THREE);
    for words in [&[capture.as_os_str()][..], &[capture.as_os_str(), OsStr::new("-o"), OsStr::new("-")]] {
        let run = report(words);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        assert!(run.out.starts_with("<!doctype html>") && run.out.contains("198.51.100.1"));
    }
    let bytes = fs::read(&capture).expect("a capture");
    let run = tmap_with_input(["report", "-"], &bytes);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("a stream can be read only once") && run.out.contains("198.51.100.1"));
}

#[test]
fn a_page_never_overwrites_a_capture() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("a.pcap.gz");
    fs::copy(captures::path(THREE), &capture).expect("copied");
    let before = fs::read(&capture).expect("a capture");
    let run = report(&[capture.as_os_str(), OsStr::new("-o"), capture.as_os_str()]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("would overwrite the capture") && run.err.lines().count() == 1, "{}", run.err);
    assert!(fs::read(&capture).expect("a capture") == before);
}

#[test]
fn a_page_tells_what_was_dropped_while_capturing() {
    let folder = tempfile::tempdir().expect("a folder");
    let page_of = |dropped: Option<u64>| {
        let mut capture = PcapNg::new(Order::Little);
        capture.interface(1, 9, 0);
        let frames = packets(&mail_cluster(), Link::Ethernet);
        frames.iter().for_each(|packet| capture.packet(0, packet.time_ns, &packet.bytes));
        dropped.into_iter().for_each(|dropped| capture.statistics(0, &[(5, dropped)]));
        let file = folder.path().join("a.pcapng");
        fs::write(&file, capture.into_bytes()).expect("written");
        let run = report(&[file.as_os_str()]);
        assert_eq!(run.code, i32::from(dropped.is_some_and(|dropped| dropped > 0)), "{}", run.err);
        assert!(!run.out.contains("nothing was lost") && !run.out.contains("records lost"), "{}", run.out);
        assert!(run.out.contains("dropped while capturing<"), "{}", run.out);
        run.out
    };
    let dropped = page_of(Some(900));
    assert!(dropped.contains("; 900 packets were dropped while capturing"), "{dropped}");
    assert!(dropped.contains("its writer dropped 900 packets"), "{dropped}");
    let told = page_of(Some(0));
    assert!(
        told.contains("and no packet was dropped while capturing, as interface statistics tell."),
        "{told}"
    );
    let not_told = page_of(None);
    assert!(not_told.contains("; whether packets were lost while capturing is not told."), "{not_told}");
}

#[test]
fn what_cannot_be_written_or_read_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (capture, page) = (captures::path(THREE), folder.path().join("report.html"));
    let nowhere = Path::new("/nowhere/report.html");
    let run = report(&[capture.as_os_str(), OsStr::new("-o"), nowhere.as_os_str()]);
    assert_eq!((run.code, run.out.as_str(), run.err.lines().count()), (1, "", 1));
    assert!(run.err.contains("cannot write the page to /nowhere/report.html"), "{}", run.err);
    let run = report(&[OsStr::new("/nowhere/a.pcap"), OsStr::new("-o"), page.as_os_str()]);
    assert_eq!((run.code, run.err.lines().count()), (1, 1));
    assert!(!page.exists(), "a failed run leaves no empty page");
    // Where nothing could be read, an old page stays.
    let text = folder.path().join("text.pcap");
    fs::write(&text, "no capture").expect("written");
    fs::write(&page, "<!doctype html>an old page").expect("written");
    let run = report(&[text.as_os_str(), OsStr::new("-o"), page.as_os_str()]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("is not a capture"), "{}", run.err);
    assert_eq!(fs::read_to_string(&page).expect("there"), "<!doctype html>an old page");
    // Beside a capture, it is a warning on the page.
    let both = [capture.as_os_str(), text.as_os_str(), OsStr::new("-o"), page.as_os_str()];
    assert_eq!(report(&both).code, 1);
    let html = fs::read_to_string(&page).expect("a page");
    assert!(html.contains("is not a capture") && html.contains("198.51.100.1"), "{html}");
}
