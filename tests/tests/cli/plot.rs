//! `tmap read --plot`.

use std::ffi::OsStr;

use tmap_tests::{command::tmap, simulate::Scenario};

/// A capture of two machines, in a folder of its own.
fn capture() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("two.pcap");
    let scenario = Scenario { machines: 2, duration_s: 60.0, connections: 6, ..Scenario::default() };
    std::fs::write(&path, scenario.capture()).expect("written");
    (folder, path)
}

#[test]
fn reading_with_plot_writes_the_picture_beside_the_report() {
    let (folder, path) = capture();
    let picture = folder.path().join("phases.svg");
    let arguments = |more: [&'static str; 1]| {
        let mut all = vec![OsStr::new("read"), path.as_os_str(), OsStr::new("--plot"), picture.as_os_str()];
        all.extend(more.map(OsStr::new));
        all
    };
    let run = tmap(arguments(["--json"]));
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(!run.out.contains("\"type\":\"connection\""), "connections weren't asked for: {}", run.out);
    let drawn = std::fs::read_to_string(&picture).expect("written");
    assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n") && drawn.contains("198.51.100.1"));
    let nothing = tmap(arguments(["--filter=port 1"]));
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("the plot is empty"), "{}", nothing.err);
}

#[test]
fn a_picture_that_can_t_be_written_is_said_before_anything_is_read() {
    let (_folder, path) = capture();
    let run = tmap([OsStr::new("read"), path.as_os_str(), OsStr::new("--plot=/nowhere/phases.svg")]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("can't write the plot to /nowhere/phases.svg"), "{}", run.err);
}
