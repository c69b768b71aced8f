//! Where the system refuses: no descriptor, no room, nobody who listens. Each is one line and an exit code.

use std::{
    fs::{self, File},
    io::{Write as _, pipe},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use nix::sys::resource::{UsageWho, getrusage};
use tempfile::TempDir;
use tmap_common::Flags;
use tmap_tests::{
    captures::{self, THREE},
    command::{binary, command, json_lines, of_type, tmap},
    simulate::{
        Scenario,
        conversation::{START_NS, acknowledgement, mail_cluster},
    },
    wire::capture::plain,
};

/// A command run by a shell that first sets a limit, as `ulimit` does.
fn limited(limit: &str, arguments: &[&Path]) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\"")).arg(binary()).args(arguments);
    shell.env("TZ", "Europe/Warsaw").stdin(Stdio::null());
    shell
}

/// A capture that is cut, which is a warning.
fn cut(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("cut.pcap.gz");
    let whole = fs::read(captures::path(THREE)).expect("read");
    fs::write(&path, &whole[..whole.len() - 10]).expect("written");
    path
}

/// A standard error that takes nothing: full, and a pipe whose reader has ended.
fn deaf() -> [Stdio; 2] {
    let full = File::options().write(true).open("/dev/full").expect("there is one");
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    [full.into(), writer.into()]
}

#[test]
fn warnings_that_nobody_hears_cost_no_report() {
    let folder = TempDir::new().expect("a folder");
    let cut = cut(&folder);
    let page = folder.path().join("page.html");
    for (words, lasting) in [
        (&["read"][..], "198.51.100.1 "),
        (&["rtt"], "198.51.100.1"),
        (&["plot", "phases"], "</svg>"),
        (&["report", "-o", "-"], "</html>"),
    ] {
        for stderr in deaf() {
            let output = command(words).arg(&cut).stderr(stderr).output().expect("tmap runs");
            let out = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.code() == Some(1) && out.contains(lasting), "{words:?}: {output:?}");
        }
    }
    for stderr in deaf() {
        let mut command = command(["report", "-o"]);
        let status = command.arg(&page).arg(&cut).stderr(stderr).status().expect("tmap runs");
        assert_eq!(status.code(), Some(1));
        assert!(fs::read_to_string(&page).expect("a page").trim_end().ends_with("</html>"));
        fs::remove_file(&page).expect("removed");
    }
}

#[test]
fn errors_that_nobody_hears_keep_their_exit_codes() {
    for (words, code) in [(["read", "/nothing.pcap"], 1), (["read", "--nonsense"], 2), (["bogus", "x"], 2)] {
        for stderr in deaf() {
            let status = command(words).stderr(stderr).status().expect("tmap runs");
            assert_eq!(status.code(), Some(code), "{words:?}");
        }
    }
}

/// The content as a stream that asks for a dictionary of 1 GiB. See section 3.1 of the format's description.
fn xz_of_a_gigabyte(content: &[u8]) -> Vec<u8> {
    let mut writer =
        lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).expect("an encoder");
    writer.write_all(content).expect("packed");
    let mut packed = writer.finish().expect("packed");
    // Behind the stream's header: size, flags (one filter), LZMA2, size of its properties, dictionary.
    assert_eq!(packed[12..16], [2, 0, 0x21, 1]);
    packed[16] = 36;
    let mut sum = flate2::Crc::new();
    sum.update(&packed[12..20]);
    packed[20..24].copy_from_slice(&sum.sum().to_le_bytes());
    packed
}

/// The content as a stream that asks for a window of 128 MiB. See section 3.1.1.1 of RFC 8878.
fn zstd_of_128_mib(content: &[u8]) -> Vec<u8> {
    let mut packed = zstd::encode_all(content, 1).expect("packed");
    assert_eq!(packed[4] & 0x20, 0, "it has a window");
    packed[5] = (27 - 10) << 3;
    packed
}

/// A few bytes of a file would make unpacking take gigabytes.
#[test]
fn unpacking_takes_a_share_of_memory() {
    let folder = TempDir::new().expect("a folder");
    let content = plain(&mail_cluster());
    let (xz, zst) = (folder.path().join("a.xz"), folder.path().join("a.zst"));
    fs::write(&xz, xz_of_a_gigabyte(&content)).expect("written");
    fs::write(&zst, zstd_of_128_mib(&content)).expect("written");
    for (path, memory, refusal) in [
        (
            &xz,
            "128M",
            Some("needs more than 65 MiB to unpack; raise --memory, or use xz -dc FILE | tmap read -"),
        ),
        (&xz, "2G", Some("needs more than 512 MiB to unpack")),
        (
            &zst,
            "128M",
            Some("needs more than 64 MiB to unpack; raise --memory, or use zstd -dc --long=31 FILE"),
        ),
        (&zst, "2G", None),
    ] {
        let run = tmap(["read", "--memory", memory].map(Path::new).into_iter().chain([path.as_path()]));
        assert_eq!(run.code, i32::from(refusal.is_some()), "{memory}: {}", run.err);
        assert!(run.err.contains(refusal.unwrap_or_default()), "{memory}: {}", run.err);
        assert_eq!(run.err.lines().count(), usize::from(refusal.is_some()), "{memory}: {}", run.err);
    }
}

/// The most memory that any program run by this test has taken so far, in bytes.
fn most_memory_bytes() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("told");
    u64::try_from(usage.max_rss()).expect("not negative") * 1024
}

/// Buffers are small where many captures are open at once, and decompressors are what is left.
#[test]
fn many_captures_at_once_take_little_memory() {
    const FILES: usize = 300;
    let folder = TempDir::new().expect("a folder");
    // As much as large buffers would hold.
    let whole = Scenario::slow_to_analyse().capture();
    let content = &whole[..256 * 1024];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("packed");
    let packed = encoder.finish().expect("packed");
    let files: Vec<PathBuf> = (0..FILES).map(|number| folder.path().join(format!("{number}.gz"))).collect();
    files.iter().for_each(|path| fs::write(path, &packed).expect("written"));
    // Nothing is analysed, so that reading is what takes memory.
    let words = ["read", "--memory", "128M", "--filter", "src port 1"];
    let run = |files: &[PathBuf]| {
        tmap(words.map(Path::new).into_iter().chain(files.iter().map(PathBuf::as_path)));
        most_memory_bytes()
    };
    let (one, all) = (run(&files[..1]), run(&files));
    assert!(all - one < (FILES as u64) * 128 * 1024 + (16 << 20), "{one} {all}");
}

#[test]
fn too_few_descriptors_are_one_line() {
    let capture = captures::path(THREE);
    let mut refused = 0;
    // The loader of programs needs four for itself.
    for limit in 4..16 {
        let words = [Path::new("read"), &capture];
        let output = limited(&format!("-n {limit}"), &words).output().expect("tmap runs");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match output.status.code() {
            Some(0) => assert!(out.contains("198.51.100.1 ") && err.is_empty(), "{limit}: {err}"),
            Some(1) => {
                assert!(
                    err.starts_with("tmap: ") && err.ends_with("such as ulimit -n 256\n"),
                    "{limit}: {err}"
                );
                assert_eq!(err.lines().count(), 1, "{err}");
                refused += 1;
            }
            _ => panic!("{limit}: {output:?}"),
        }
    }
    assert!(refused > 0, "no limit was reached");
}

/// Copies of a small capture, all of which are open at once when they are read.
fn many_captures(folder: &TempDir) -> Vec<PathBuf> {
    const CAPTURES: usize = 300;
    let path = |number: usize| folder.path().join(format!("{number}.pcap.gz"));
    let files: Vec<PathBuf> = (0..CAPTURES).map(path).collect();
    for file in &files {
        fs::copy(captures::path(THREE), file).expect("copied");
    }
    files
}

/// Reads captures with a limit as the shell's `ulimit` takes it.
fn read_limited(limit: &str, files: &[PathBuf]) -> Output {
    let words: Vec<&Path> =
        [Path::new("read")].into_iter().chain(files.iter().map(PathBuf::as_path)).collect();
    limited(limit, &words).output().expect("tmap runs")
}

/// The number that is advised is enough, and more than what was too little.
#[test]
fn too_few_descriptors_for_many_captures_come_with_enough() {
    let folder = TempDir::new().expect("a folder");
    let files = many_captures(&folder);
    let output = read_limited("-n 260", &files);
    let err = String::from_utf8_lossy(&output.stderr);
    let (_, advised) = err.trim_end().rsplit_once("such as ulimit -n ").expect("advice");
    let advised: u64 = advised.parse().expect("a number");
    assert!(advised > 260, "{err}");
    let output = read_limited(&format!("-n {advised}"), &files);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.stdout.is_empty() && !err.contains("open files"), "{advised}: {err}");
}

/// Where the limit may be raised, nobody has to.
#[test]
fn a_limit_that_may_be_raised_is() {
    let folder = TempDir::new().expect("a folder");
    let output = read_limited("-Sn 100", &many_captures(&folder));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.stdout.is_empty() && !err.contains("open files"), "{err}");
}

#[test]
fn a_limit_of_file_sizes_is_one_line_and_leaves_the_old_file() {
    let folder = TempDir::new().expect("a folder");
    let (capture, page, report) =
        (captures::path(THREE), folder.path().join("page.html"), folder.path().join("report.jsonl"));
    fs::write(&page, "<!doctype html>the old page").expect("written");
    let name = |word: &'static str| Path::new(word);
    let output = limited("-f 1", &[name("report"), &capture, name("-o"), &page]).output().expect("tmap runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        err,
        "tmap: cannot write the page: File too large; raise the limit of file sizes: ulimit -f unlimited\n"
    );
    assert_eq!(fs::read_to_string(&page).expect("still there"), "<!doctype html>the old page");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no draft is left");

    let mut tmap = limited("-f 1", &[name("read"), name("--json"), name("--connections"), &capture]);
    let output = tmap.stdout(File::create(&report).expect("created")).output().expect("tmap runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(err.starts_with("tmap: cannot write the report: File too large; raise"), "{err}");
}

#[test]
fn a_signature_file_without_an_end_is_refused() {
    let capture = captures::path(THREE);
    let words = ["read", "--p0f", "/dev/zero"].map(Path::new);
    // 1 GB: far less than a run would take that reads on.
    let output = limited("-v 1000000", &[&words[..], &[&capture]].concat()).output().expect("tmap runs");
    assert_eq!(output.status.code(), Some(2));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        err.starts_with("error: --p0f /dev/zero: is larger than 16 MiB, so it is no signature file\n"),
        "{err}"
    );
}

#[test]
fn names_of_files_steer_no_terminal() {
    let folder = TempDir::new().expect("a folder");
    let named = folder.path().join("\u{1b}[31mred.pcap");
    fs::rename(cut(&folder), &named).expect("renamed");
    let output = command(["read"]).arg(&named).output().expect("tmap runs");
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(stream);
        assert!(
            text.contains(r"\u{1b}[31mred.pcap: the compressed file is truncated")
                && !text.contains('\u{1b}'),
            "{text}"
        );
    }
    let output = command(["read"]).arg(folder.path().join("\u{1b}[31mgone")).output().expect("tmap runs");
    assert!(!output.stderr.contains(&0x1b), "{output:?}");
}

#[test]
fn addresses_for_which_there_was_no_room_are_a_warning() {
    let words = ["read", "--json", "--max-addresses", "3"];
    let output = command(words).arg(captures::path(THREE)).output().expect("tmap runs");
    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&String::from_utf8_lossy(&output.stdout));
    let warning = of_type(&lines, "summary")[0]["warnings"][0].as_str().expect("a warning").to_owned();
    assert!(warning.contains(" that showed something made room for others; raise --memory"), "{warning}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("tmap: {warning}\n"));
}

/// A machine's round trips are summed up in a histogram, which takes memory: one at a time.
#[test]
fn many_machines_take_no_more_memory_than_few_histograms() {
    let mut records = Vec::new();
    for number in 0..16_000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let ends = [([11, 0, high, low], 40_000), ([20, 0, high, low], 80)];
        let began_ns = START_NS + u64::from(number) * 100_000;
        // Long round trips make the histograms large.
        for (after_ns, from, tsval, tsecr) in
            [(0, 0, 1_000, 500_000), (9_000_000_000, 1, 500_005, 1_000), (17_900_000_000, 0, 1_050, 500_005)]
        {
            let mut record = acknowledgement(began_ns + after_ns, (ends[from], ends[1 - from]), tsval, tsecr);
            record.segment.flags = Flags::ACK | Flags::PSH;
            record.segment.has_payload = true;
            records.push(record);
        }
    }
    records.sort_by_key(|record| record.time_ns);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("many.pcap");
    fs::write(&path, plain(&records)).expect("written");
    // With all histograms at once it takes 628 MB, and without them a quarter.
    let words = ["rtt", "--json"].map(Path::new);
    let output = limited("-v 450000", &[&words[..], &[&path]].concat()).output().expect("tmap runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let lines = json_lines(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(of_type(&lines, "rtt_machine").len(), 32_000);
}
