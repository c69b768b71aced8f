//! `tmap plot`, and `tmap read --plot`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use nix::pty::openpty;
use resvg::{
    tiny_skia::{Pixmap, Rect},
    usvg::{Group, Node, Options, Tree, fontdb::Database, roxmltree::Document},
};
use tmap_tests::{
    captures::{self, THREE, WITH_UNSTAMPED},
    command::{command, tmap},
    simulate::{Offsets, Scenario},
};

/// Every kind of picture.
const KINDS: [&str; 6] = ["offsets", "phases", "ports", "rtt", "load", "timeline"];

/// A capture of two machines, in a folder of its own.
fn capture() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("two.pcap");
    let scenario = Scenario { machines: 2, duration_s: 60.0, connections: 6, ..Scenario::default() };
    fs::write(&path, scenario.capture()).expect("written");
    (folder, path)
}

/// The picture of a kind on standard output.
fn plotted(kind: &str, file: &Path, more: &[&str]) -> String {
    let words = ["plot", kind].map(OsStr::new).into_iter().chain([file.as_os_str()]);
    let run = tmap(words.chain(more.iter().map(OsStr::new)));
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{kind}");
    run.out
}

/// Where each text of a picture is, measured with the font that pictures name.
fn texts(svg: &str) -> (Tree, Vec<(String, Rect)>) {
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    let options = Options { fontdb: Arc::new(fonts), ..Options::default() };
    let tree = Tree::from_str(svg, &options).expect("SVG");
    let mut found = Vec::new();
    walk(tree.root(), &mut found);
    (tree, found)
}

fn walk(group: &Group, found: &mut Vec<(String, Rect)>) {
    for node in group.children() {
        match node {
            Node::Group(group) => walk(group, found),
            Node::Text(text) => {
                let words = text.chunks().iter().map(|chunk| chunk.text()).collect();
                found.push((words, text.abs_bounding_box()));
            }
            Node::Path(_) | Node::Image(_) => {}
        }
    }
}

/// Asserts that all texts are inside the picture and that no two overlap.
fn assert_readable(svg: &str, what: &str) {
    let (tree, texts) = texts(svg);
    assert!(texts.len() > 8, "{what}: {} texts", texts.len());
    for (at, (words, place)) in texts.iter().enumerate() {
        let is_inside = place.left() >= 0.0
            && place.top() >= 0.0
            && place.right() <= tree.size().width()
            && place.bottom() <= tree.size().height();
        assert!(is_inside, "{what}: {words} at {place:?}");
        for (others, other) in &texts[at + 1..] {
            let is_apart = place.right() <= other.left()
                || other.right() <= place.left()
                || place.bottom() <= other.top()
                || other.bottom() <= place.top();
            assert!(is_apart, "{what}: {words} overlaps {others}");
        }
    }
}

/// The machines whose marks a picture has; asserts that each mark says whose it is, and what.
fn machines(svg: &str, what: &str) -> Vec<u32> {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{what}: {error}"));
    let areas = document.descendants().filter(|node| node.attribute("class") == Some("marks"));
    let marks: Vec<_> = areas.flat_map(|area| area.children()).filter(|node| node.is_element()).collect();
    assert!(!marks.is_empty(), "{what}");
    let mut machines = Vec::new();
    for mark in marks {
        let class = mark.attribute("class").expect("a class");
        let title = mark.children().find(|child| child.has_tag_name("title"));
        assert!(title.is_some_and(|title| title.text().is_some()), "{what}: no title in {mark:?}");
        match mark.attribute("data-machine") {
            Some(number) => {
                assert_eq!(class, format!("m m{number}"), "{what}");
                machines.push(number.parse().expect("a number"));
            }
            None => assert!(["m n", "m a"].contains(&class), "{what}: {class}"),
        }
    }
    machines.sort_unstable();
    machines.dedup();
    machines
}

#[test]
fn every_kind_shows_every_machine_in_readable_words() {
    for name in [THREE, WITH_UNSTAMPED] {
        for kind in KINDS {
            let what = format!("{kind} of {name}");
            let svg = plotted(kind, &captures::path(name), &["--address", "198.51.100.1"]);
            assert_eq!(machines(&svg, &what), [1, 2, 3], "{what}");
            assert_readable(&svg, &what);
            let all = plotted(kind, &captures::path(name), &["--dark"]);
            // The peers are servers, whose ports are not drawn.
            assert_eq!(all.contains(">203.0.113.5: "), kind != "ports", "{what}");
            assert_readable(&all, &what);
        }
    }
}

#[test]
fn crowded_pictures_stay_readable() {
    let scenario = Scenario {
        machines: 24,
        connections: 12,
        offsets: Offsets::Global,
        duration_s: 900.0,
        ..Scenario::default()
    };
    let (_folder, path) = capture();
    fs::write(&path, scenario.capture()).expect("written");
    for kind in KINDS.into_iter().filter(|kind| *kind != "rtt") {
        let svg = plotted(kind, &path, &[]);
        assert_readable(&svg, kind);
        assert!(svg.contains(" more</text>") && svg.len() < 1_000_000, "{kind}: {}", svg.len());
    }
}

#[test]
fn a_png_shows_what_the_svg_shows_at_twice_the_size() {
    let (folder, path) = capture();
    let picture = folder.path().join("load.PNG");
    let words = ["plot", "load", "-o"].map(OsStr::new).into_iter();
    let run = tmap(words.chain([picture.as_os_str(), path.as_os_str()]));
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
    let pixels = Pixmap::decode_png(&fs::read(picture).expect("written")).expect("PNG");
    let (tree, _) = texts(&plotted("load", &path, &[]));
    let size = tree.size().to_int_size();
    assert_eq!((pixels.width(), pixels.height()), (2 * size.width(), 2 * size.height()));
    let of_colour = |wanted: [u8; 3]| {
        let is_close = |pixel: [u8; 3]| pixel.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 48);
        pixels.pixels().iter().filter(|p| is_close([p.red(), p.green(), p.blue()])).count()
    };
    let all = pixels.pixels().len();
    // The colours of machines 1 and 2, words, and paper.
    assert!(of_colour([0x00, 0x72, 0xb2]) > all / 20 && of_colour([0xd5, 0x5e, 0x00]) > all / 20);
    assert!(of_colour([0x1f, 0x23, 0x28]) > 1_000 && of_colour([0xff, 0xff, 0xff]) > all / 4);
}

#[test]
fn reading_with_plot_writes_the_picture_beside_the_report() {
    let (folder, path) = capture();
    for name in ["phases.svg", "phases.png"] {
        let picture = folder.path().join(name);
        let arguments = |more: [&'static str; 1]| {
            let mut all =
                vec![OsStr::new("read"), path.as_os_str(), OsStr::new("--plot"), picture.as_os_str()];
            all.extend(more.map(OsStr::new));
            all
        };
        let run = tmap(arguments(["--json"]));
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        assert!(!run.out.contains("\"type\":\"connection\""), "connections weren't asked for: {}", run.out);
        let drawn = fs::read(&picture).expect("written");
        if name.ends_with("svg") {
            let drawn = String::from_utf8(drawn).expect("text");
            assert_eq!(machines(&drawn, name), [1, 2]);
            assert!(drawn.contains("198.51.100.1"));
        } else {
            assert!(Pixmap::decode_png(&drawn).is_ok());
        }
        let nothing = tmap(arguments(["--filter=port 1"]));
        assert_eq!(nothing.code, 1);
        assert!(nothing.err.contains("there is no plot"), "{}", nothing.err);
    }
}

#[test]
fn a_picture_that_can_t_be_written_is_said_before_anything_is_read() {
    let (_folder, path) = capture();
    let path = path.as_os_str();
    for words in [
        [OsStr::new("read"), path, OsStr::new("--plot=/nowhere/phases.svg")].to_vec(),
        [OsStr::new("plot"), OsStr::new("rtt"), path, OsStr::new("-o/nowhere/phases.svg")].to_vec(),
    ] {
        let run = tmap(words);
        assert_eq!((run.code, run.out.as_str()), (1, ""));
        assert!(run.err.contains("cannot write the plot to /nowhere/phases.svg"), "{}", run.err);
    }
}

#[test]
fn an_empty_picture_is_a_warning() {
    let (_folder, path) = capture();
    let run = tmap([OsStr::new("plot"), OsStr::new("rtt"), path.as_os_str()]);
    assert_eq!(run.code, 1);
    assert_eq!(run.err, "tmap: there is no plot, because there is no round trip\n");
    let run = tmap(["plot", "load", &path.display().to_string(), "--address", "2001:db8::1"].map(OsStr::new));
    assert_eq!(run.code, 1);
    assert_eq!(run.err, "tmap: there is no plot, because 2001:db8::1 sent no segment with timestamps\n");
    assert_eq!(run.out, "");
    let run = tmap(["plot", "load", "/nowhere/a.pcap"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("/nowhere/a.pcap") && run.err.contains("check the name"), "{}", run.err);
}

#[test]
fn captures_and_old_pictures_are_never_lost() {
    let (folder, path) = capture();
    let content = fs::read(&path).expect("there");
    let (link, old) = (folder.path().join("link.svg"), folder.path().join("old.svg"));
    symlink(&path, &link).expect("linked");
    fs::write(&old, "<svg>an old picture</svg>").expect("written");
    let plot = |capture: &OsStr, out: &Path| {
        tmap([OsStr::new("plot"), OsStr::new("phases"), capture, OsStr::new("-o"), out.as_os_str()])
    };
    let run = plot(path.as_os_str(), &link);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("the plot would overwrite the capture"), "{}", run.err);
    assert_eq!(fs::read(&path).expect("there"), content);
    assert_eq!(plot(OsStr::new("/nowhere/a.pcap"), &old).code, 1);
    // The reason why nothing could be read is the only one.
    let run = plot(old.as_os_str(), &folder.path().join("new.svg"));
    assert_eq!((run.code, run.err.lines().count()), (1, 1));
    assert!(run.err.contains("is not a capture"), "{}", run.err);
    assert_eq!(fs::read_to_string(&old).expect("there"), "<svg>an old picture</svg>");
    assert_eq!(plot(path.as_os_str(), &old).code, 0);
    assert!(fs::read_to_string(&old).expect("there").starts_with("<svg "));
}

#[test]
fn a_terminal_gets_no_picture() {
    let (_folder, path) = capture();
    let terminal = openpty(None, None).expect("a terminal");
    let words = ["plot", "phases"].map(OsStr::new).into_iter().chain([path.as_os_str()]);
    let mut command = command(words);
    let child = command.stdin(Stdio::null()).stdout(Stdio::from(terminal.slave)).stderr(Stdio::piped());
    let done = child.spawn().expect("tmap runs").wait_with_output().expect("tmap ends");
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8(done.stderr).expect("text");
    assert!(said.lines().count() == 1 && said.contains("-o plot.svg"), "{said}");
}
