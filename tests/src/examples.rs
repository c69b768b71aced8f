//! Examples in documents: pictures, and blocks of output, made by the command itself.
//!
//! A block of output follows a line such as `<!-- made by: tmap read capture.pcap.gz | lines 1-11 -->`, which
//! no reader sees. The ranges of lines are optional; what they leave out is `...` in the block.

use std::{
    fs,
    io::Write as _,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    captures::{THREE, WITH_UNSTAMPED},
    simulate::{SHARED, Scenario},
};

/// The repository.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The folder of pictures, from the root.
const PICTURES: &str = "tests/pictures";

/// Documents with blocks of output, from the root.
const DOCUMENTS: [&str; 3] = ["README.md", "docs/output.md", "docs/pictures.md"];

/// How a line begins that says what makes the block after it.
const MARK: &str = "<!-- made by: ";

/// A file of the repository that a program makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its path, from the root.
    pub path: PathBuf,
    /// What it should hold.
    pub content: Vec<u8>,
}

impl Made {
    /// Whether the repository has something else.
    pub fn is_stale(&self) -> bool {
        fs::read(Path::new(ROOT).join(&self.path)).ok().as_ref() != Some(&self.content)
    }

    /// Puts it into the repository.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self) -> Result<()> {
        let path = Path::new(ROOT).join(&self.path);
        fs::write(&path, &self.content).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Everything that is made by the program `tmap`.
///
/// # Errors
/// If the program fails, or a mark in a document can't be understood.
pub fn all(tmap: &Path) -> Result<Vec<Made>> {
    let mut made = pictures(tmap)?;
    for name in DOCUMENTS {
        let text = fs::read_to_string(Path::new(ROOT).join(name)).with_context(|| name.to_owned())?;
        let content = document(tmap, &text).with_context(|| format!("in {name}"))?.into_bytes();
        made.push(Made { path: name.into(), content });
    }
    Ok(made)
}

/// One picture of each kind, of the address that several machines share.
fn pictures(tmap: &Path) -> Result<Vec<Made>> {
    let crowd = Scenario { machines: 5, connections: 50, duration_s: 120.0, seed: 11, ..Scenario::default() };
    let crowd = crowd.capture();
    let [three, mixed] = [THREE, WITH_UNSTAMPED].map(|name| format!("tests/captures/{name}"));
    let sources: [(&str, &str, &[u8]); 6] = [
        ("offsets", &mixed, &[]),
        ("phases", "-", &crowd),
        ("ports", &three, &[]),
        ("rtt", &mixed, &[]),
        ("load", "-", &crowd),
        ("timeline", &mixed, &[]),
    ];
    let make = |(kind, file, input): (&str, &str, &[u8])| {
        let address = SHARED.to_string();
        let content = output(tmap, &["plot", kind, file, "--address", &address], input)?;
        Ok(Made { path: Path::new(PICTURES).join(format!("{kind}.svg")), content })
    };
    sources.into_iter().map(make).collect()
}

/// What the program prints, in the root and in UTC.
fn output(tmap: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut command = Command::new(tmap);
    command.args(arguments).current_dir(ROOT).env("TZ", "UTC").env("NO_COLOR", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", tmap.display()))?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let done = child.wait_with_output()?;
    // A program that didn't read all of its input says why.
    let _ = writer.join();
    let words = arguments.join(" ");
    ensure!(done.status.success(), "tmap {words}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(done.stdout)
}

/// A document with each marked block made anew.
fn document(tmap: &Path, text: &str) -> Result<String> {
    let mut lines = text.lines();
    let mut made = String::new();
    while let Some(line) = lines.next() {
        made += &format!("{line}\n");
        let Some(mark) = line.strip_prefix(MARK) else { continue };
        let mark = mark.strip_suffix("-->").with_context(|| format!("no end of {line}"))?.trim();
        ensure!(lines.next() == Some("```"), "no block follows {line}");
        let old: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let (command, ranges) = mark.split_once(" | lines ").unwrap_or((mark, ""));
        let words: Vec<&str> = command.split_whitespace().collect();
        let ["tmap", arguments @ ..] = &words[..] else { bail!("{line} does not run tmap") };
        let printed = String::from_utf8(output(tmap, arguments, &[])?)?;
        made += "```\n";
        if old.first().is_some_and(|first| first.starts_with("$ ")) {
            made += &format!("$ {command}\n");
        }
        made += &excerpt(&printed, &parsed(ranges)?)?;
        made += "```\n";
    }
    Ok(made)
}

/// Ranges of lines, counted from 1: `1-8, 12-14`.
fn parsed(ranges: &str) -> Result<Vec<RangeInclusive<usize>>> {
    let one = |range: &str| {
        let (first, last) = range.trim().split_once('-').with_context(|| format!("no range: {range}"))?;
        Ok(first.parse()?..=last.parse()?)
    };
    ranges.split(',').filter(|range| !range.trim().is_empty()).map(one).collect()
}

/// The lines in these ranges, with `...` for what lies between and after them; all without a range.
fn excerpt(text: &str, ranges: &[RangeInclusive<usize>]) -> Result<String> {
    if ranges.is_empty() {
        return Ok(text.to_owned());
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    let mut next = None;
    for range in ranges {
        ensure!(*range.start() >= 1 && *range.end() <= lines.len(), "{range:?} of {} lines", lines.len());
        if next.is_some_and(|next| next < *range.start()) {
            out += "...\n";
        }
        for line in &lines[range.start() - 1..*range.end()] {
            out += &format!("{line}\n");
        }
        next = Some(range.end() + 1);
    }
    if next.is_some_and(|next| next <= lines.len()) {
        out += "...\n";
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_says_what_it_leaves_out() {
        let of = |ranges: &str| excerpt("a\nb\nc\nd\n", &parsed(ranges).expect("ranges"));
        assert_eq!(of("").expect("all"), "a\nb\nc\nd\n");
        assert_eq!(of("1-1, 3-3").expect("some"), "a\n...\nc\n...\n");
        assert_eq!(of("2-4").expect("the end"), "b\nc\nd\n");
        assert!(of("3-5").is_err() && parsed("3").is_err());
    }
}
