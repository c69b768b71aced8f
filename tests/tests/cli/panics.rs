//! A thread of tmap that panics costs its share and not the report. The command under test panics where a
//! variable names it; the product knows no such variable.

use serde_json::Value;
use tmap_tests::{
    captures::{self, THREE},
    command::{Run, command, json_lines, of_type},
};

/// Reads the capture of three machines while something panics.
fn read(what: &str, arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    let output = command.arg(captures::path(THREE)).env("TMAP_TEST_PANIC", what).output().expect("tmap runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("no signal");
    Run { out: text(output.stdout), err: text(output.stderr), code }
}

fn addresses(lines: &[Value]) -> Vec<&Value> {
    of_type(lines, "address").into_iter().map(|line| &line["address"]).collect()
}

#[test]
fn an_address_whose_analysis_panics_costs_no_other() {
    let whole = read("nothing", &["read", "--json"]);
    assert_eq!((whole.code, whole.err.as_str()), (0, ""));
    for shards in ["1", "3"] {
        let run = read("198.51.100.1", &["read", "--json", "--shards", shards]);
        assert_eq!(run.code, 1);
        let (lines, all) = (json_lines(&run.out), json_lines(&whole.out));
        let others: Vec<_> =
            addresses(&all).into_iter().filter(|address| *address != "198.51.100.1").collect();
        assert_eq!(addresses(&lines), others);
        let warning = of_type(&lines, "summary")[0]["warnings"][0].as_str().expect("a warning").to_owned();
        assert!(warning.starts_with("the analysis of 198.51.100.1 failed, so it is missing"), "{warning}");
        assert_eq!(run.err.matches(&format!("tmap: {warning}\n")).count(), 1, "{}", run.err);
    }
}

#[test]
fn a_thread_that_cannot_take_records_in_ends_with_what_is_known() {
    for (what, arguments) in [
        ("intake", &["read", "--json", "--shards", "2"][..]),
        ("task", &["read", "--json"]),
        ("intake", &["rtt", "--json"]),
    ] {
        let run = read(what, arguments);
        assert_eq!(run.code, 1, "{}", run.err);
        let lines = json_lines(&run.out);
        let summary = lines.last().expect("a summary");
        let seen = summary["packets"]["seen"].as_u64().or(summary["packets_seen"].as_u64());
        assert!(seen.is_some_and(|seen| seen > 1_000), "{summary}");
        let warning = summary["warnings"][0].as_str().expect("a warning");
        assert!(
            warning.starts_with("a part of tmap failed, so addresses and segments are missing"),
            "{warning}"
        );
    }
}

#[test]
fn a_page_and_a_picture_come_all_the_same() {
    for (arguments, end) in [(&["report", "-o", "-"][..], "</html>"), (&["plot", "load"], "</svg>")] {
        let run = read("198.51.100.1", arguments);
        assert!(run.code == 1 && run.out.trim_end().ends_with(end), "{}", run.err);
        assert!(run.err.contains("the analysis of 198.51.100.1 failed"), "{}", run.err);
    }
}
