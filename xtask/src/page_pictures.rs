//! `cargo xtask page-pictures`: the pictures of `docs/report-page.md`, of a page that tmap makes of a capture
//! that is shipped with the tests. The browser takes them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::setup::{self, Group};
use crate::{build, shell};

/// Arguments of `cargo xtask page-pictures`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tmap program that makes the page [default: one that is built now].
    #[arg(long)]
    tmap: Option<PathBuf>,
}

/// The capture: three machines with fixed offsets, a fourth without time stamps, and their servers.
const CAPTURE: &str = "tests/captures/one-without-timestamps.pcap.gz";

/// The folder of the pictures.
const FOLDER: &str = "tests/pictures";

/// A picture: its name, the size of the window, what the page shows, and numbers at what the text explains.
struct View {
    name: &'static str,
    width: u32,
    height: u32,
    /// More style, which leaves only a part of the page.
    style: &'static str,
    /// The selectors that get the numbers 1, 2, ...
    marks: &'static [&'static str],
}

const VIEWS: [View; 5] = [
    View {
        name: "page-overview",
        width: 1280,
        height: 760,
        style: "#each, #events, #accounting, #made, #reading { display: none; }",
        marks: &[".lead", ".tiles", "#filter", "#addresses .scroll", ".tools"],
    },
    View {
        name: "page-address",
        width: 1440,
        height: 720,
        style: "body > header, nav, #short, #addresses, #events, #accounting, #made, #reading, .figures, \
                details:not([open]), .inside > h3, .events, #each > h3, #each > p, #each > ul \
                { display: none !important; }",
        marks: &[
            "details[open] summary",
            ".words > div:nth-child(1)",
            ".words > div:nth-child(2)",
            ".words > div:nth-child(3)",
            ".inside > .scroll",
        ],
    },
    View {
        name: "page-pictures",
        width: 1320,
        height: 1480,
        style: "body > header, nav, #short, #addresses, #events, #accounting, #made, #reading, .words, \
                .inside > .scroll, summary, details:not([open]), .inside > h3, .events, #each > h2, \
                #each > h3, #each > p, #each > ul { display: none !important; }",
        marks: &[
            "details[open] figure.offsets",
            "details[open] figure.phases",
            "details[open] figure.ports",
            "details[open] figure.load",
            "details[open] figure.rtt",
            "details[open] figure.timeline",
        ],
    },
    View {
        name: "page-accounting",
        width: 1180,
        height: 900,
        style: "body > header, nav, #short, #addresses, #each, #reading { display: none; }",
        marks: &[
            "#events .scroll",
            "#accounting .scroll",
            "#accounting .plain",
            "#made .pairs",
            "#made .scroll",
        ],
    },
    View {
        name: "page-phone",
        width: 500,
        height: 900,
        style: ":root { color-scheme: dark !important; }",
        marks: &[],
    },
];

/// Runs the verb.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let tmap = match &args.tmap {
        Some(tmap) => tmap.clone(),
        None => built()?,
    };
    setup::ensure(&[Group::Browser])?;
    let scratch = build::target_folder()?.join("page-pictures");
    fs::create_dir_all(&scratch)?;
    let name = Path::new(CAPTURE).file_name().context("the capture has no name")?;
    fs::copy(CAPTURE, scratch.join(name))?;
    let mut command = Command::new(fs::canonicalize(tmap)?);
    // The command line is on the page, so it is what a user would type.
    command.arg0("tmap").arg("report").arg(name).args(["-o", "report.html"]);
    shell::run(command.env("TZ", "UTC").current_dir(&scratch))?;
    let html = fs::read_to_string(scratch.join("report.html"))?;
    for view in VIEWS {
        take(&view, &html, &scratch)?;
    }
    Ok(())
}

/// Builds tmap.
fn built() -> Result<PathBuf> {
    let toolchain =
        setup::ensure(&[Group::Bpf])?.context("setup found no compiler for the kernel program")?;
    let mut command = build::cargo(&toolchain)?;
    command.args(["build", "--quiet", "--package", "tmap", "--target-dir"]).arg(build::target_folder()?);
    shell::run(&mut command).context("tmap could not be built")?;
    Ok(build::target_folder()?.join("debug/tmap"))
}

/// Takes one picture.
fn take(view: &View, html: &str, scratch: &Path) -> Result<()> {
    let (head, rest) = html.split_once("</head>").context("the page has no head")?;
    let page = scratch.join(format!("{}.html", view.name));
    fs::write(&page, format!("{head}<style>{}{}</style></head>{rest}", view.style, numbers(view.marks)))?;
    let picture = Path::new(FOLDER).join(format!("{}.png", view.name));
    let mut command = Command::new("chromium");
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.arg(format!("--window-size={},{}", view.width, view.height));
    command.arg(format!("--user-data-dir={}", scratch.join("profile").display()));
    command.arg(format!("--screenshot={}", std::env::current_dir()?.join(&picture).display()));
    command.arg(format!("file://{}", page.display()));
    // It complains of a desktop that isn't there.
    shell::run(command.stderr(Stdio::null()))?;
    let bytes = fs::metadata(&picture).context("the browser took no picture")?.len();
    ensure!(bytes < 200_000, "{} has {bytes} bytes, which is too many for a document", picture.display());
    println!("{}: {bytes} bytes", picture.display());
    Ok(())
}

/// Style that puts numbers at elements.
fn numbers(selectors: &[&str]) -> String {
    let mark = |(number, selector): (usize, &&str)| {
        format!(
            "{selector}{{position:relative}}{selector}::after{{content:'{}';position:absolute;\
             right:.4rem;top:.3rem;width:1.6rem;height:1.6rem;border-radius:50%;background:#c2185b;\
             color:#fff;font:700 .95rem/1.6rem system-ui,sans-serif;text-align:center;z-index:9}}",
            number + 1
        )
    };
    selectors.iter().enumerate().map(mark).collect()
}
