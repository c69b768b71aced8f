//! The house rules, read off the sources: what no compiler checks.
//!
//! Each rule names every place that breaks it, in one message.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The longest line of a source file, in columns.
const MAX_COLUMNS: usize = 110;

/// The longest function, in lines, from `fn` to its closing brace.
const MAX_LINES: usize = 70;

/// Fewer source files than this are not the whole repository.
const FEWEST_FILES: usize = 150;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// The text of every file in the repository whose name ends in `suffix`, by path from the root. Where there
/// is no git (an unpacked archive), the folders are listed instead.
fn files(suffix: &str) -> BTreeMap<String, String> {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8(output.stdout).expect("paths in UTF-8"));
    let names: Vec<String> = match listed {
        Some(text) => text.lines().map(str::to_owned).collect(),
        None => walk(&root, &root),
    };
    let wanted = names.into_iter().filter(|name| name.ends_with(suffix));
    wanted.filter_map(|name| Some((name.clone(), fs::read_to_string(root.join(&name)).ok()?))).collect()
}

fn walk(folder: &Path, root: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let mut names = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && name != ".git" {
            names.extend(walk(&path, root));
        } else if path.is_file() {
            names.push(path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned());
        }
    }
    names
}

fn sources() -> BTreeMap<String, String> {
    let sources = files(".rs");
    assert!(sources.len() >= FEWEST_FILES, "only {} source files were found", sources.len());
    sources
}

fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn lines_fit_the_page() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            // Tables in documentation and addresses cannot be broken; strings are left to rustfmt.
            let code = line.trim_start();
            let is_fixed = code.starts_with("//! |") || code.contains("://") || code.contains('"');
            if line.chars().count() > MAX_COLUMNS && !is_fixed {
                broken.push(format!("{name}:{}", number + 1));
            }
        }
    }
    report(&format!("lines longer than {MAX_COLUMNS} columns"), &broken);
}

/// What may stand before `fn`, apart from a path as in `pub(in crate::engine)`.
const QUALIFIERS: [&str; 10] =
    ["pub", "in", "crate)", "super)", "const", "unsafe", "extern", "\"C\"", "async", ""];

#[test]
fn functions_fit_the_screen() {
    let mut broken = Vec::new();
    let mut functions = 0;
    for (name, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let words: Vec<&str> = code.split(['(', '<', ' ']).take_while(|word| *word != "fn").collect();
            let is_function = code.contains("fn ")
                && words.iter().all(|word| word.starts_with("crate::") || QUALIFIERS.contains(word));
            if !is_function || code.ends_with(';') {
                continue;
            }
            functions += 1;
            // rustfmt puts the closing brace under the first letter of the function.
            let closing = format!("{}}}", &line[..line.len() - code.len()]);
            let length = lines[at..].iter().position(|line| *line == closing).map_or(1, |last| last + 1);
            if length > MAX_LINES && !code.ends_with('}') {
                broken.push(format!("{name}:{}: {length} lines", at + 1));
            }
        }
    }
    assert!(functions > 1_000, "only {functions} functions were found");
    report(&format!("functions longer than {MAX_LINES} lines"), &broken);
}

/// The paths that a file imports from its own crate, each from the crate's root. Code for tests is left out.
fn imports(module: &[String], text: &str) -> Vec<Vec<String>> {
    let file = syn::parse_file(text).expect("Rust that compiles");
    let mut found = Vec::new();
    for item in &file.items {
        match item {
            syn::Item::Use(item) if !is_for_tests(&item.attrs) => {
                flatten(&item.tree, &mut Vec::new(), &mut found);
            }
            _ => {}
        }
    }
    found.into_iter().filter_map(|path| resolve(module, &path)).collect()
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

fn flatten(tree: &syn::UseTree, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut leaf = |name: Option<String>| {
        found.push(prefix.iter().cloned().chain(name).collect());
    };
    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, found);
            prefix.pop();
        }
        syn::UseTree::Name(name) => leaf(Some(name.ident.to_string()).filter(|name| name != "self")),
        syn::UseTree::Rename(rename) => leaf(Some(rename.ident.to_string()).filter(|name| name != "self")),
        syn::UseTree::Glob(_) => leaf(None),
        syn::UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, prefix, found));
        }
    }
}

/// A path from the crate's root; `None` for one into another crate or to the module's own children.
fn resolve(module: &[String], path: &[String]) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => {
            let climbs = path.iter().take_while(|part| *part == "super").count();
            let base = &module[..module.len().checked_sub(climbs)?];
            Some([base, &path[climbs..]].concat())
        }
        _ => None,
    }
}

/// The modules of a crate by their path, with the name of the file.
fn modules(folder: &str, sources: &BTreeMap<String, String>) -> BTreeMap<Vec<String>, String> {
    let below = format!("{folder}/src/");
    let mut modules = BTreeMap::new();
    for name in sources.keys().filter_map(|name| name.strip_prefix(&below)) {
        let mut path: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        path.retain(|part| part != "mod");
        if path != ["lib"] && path != ["main"] && path.last().is_some_and(|last| last != "tests") {
            modules.insert(path, format!("{below}{name}"));
        }
    }
    modules
}

/// The rows of the table under a heading of `docs/ARCHITECTURE.md`: the names of the first and of the second
/// column.
fn rows(heading: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("no heading {heading}"));
    let rows =
        section.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
    let names =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let rows: Vec<_> = rows.map(|row| row.split('|').map(names).collect::<Vec<_>>()).collect();
    assert!(rows.len() > 5, "the table under {heading} was not found");
    rows.into_iter().map(|mut cells| (cells.swap_remove(1), cells.swap_remove(2))).collect()
}

/// A table of allowed imports: for each name of the first column, the second one's.
fn allowed(heading: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut table = BTreeMap::new();
    for (rooms, imports) in rows(heading) {
        table.extend(rooms.into_iter().map(|room| (room, imports.iter().cloned().collect())));
    }
    table
}

/// The room of a path: the longest name in the table that the path begins with. A file `mod.rs` whose
/// folder has rooms of its own is the room `FOLDER/mod`.
fn room(path: &[String], table: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let longest = (1..=path.len()).rev().map(|length| path[..length].join("/"));
    let own = path.first().map(|first| format!("{first}/mod"));
    longest.chain(own).find(|name| table.contains_key(name))
}

/// Whether a room may import another one.
fn may_import(from: &str, to: &str, table: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let allowed = &table[from];
    let is_outside = !from.starts_with("engine/");
    from == to
        || allowed.contains(to)
        || (is_outside && to.starts_with("engine/") && allowed.contains("engine"))
}

/// Names every import of a crate that its table does not allow.
fn hold_to_table(folder: &str, heading: &str) {
    let (sources, table) = (sources(), allowed(heading));
    let mut broken = Vec::new();
    let mut arrows = 0;
    for (module, file) in modules(folder, &sources) {
        let Some(from) = room(&module, &table) else {
            broken.push(format!("{file}: the table has no room for it"));
            continue;
        };
        for path in imports(&module, &sources[&file]) {
            // Items of the crate's root have no room.
            let Some(to) = room(&path, &table) else { continue };
            arrows += usize::from(from != to);
            if !may_import(&from, &to, &table) {
                broken.push(format!("{file}: {from} imports {}", path.join("::")));
            }
        }
    }
    assert!(arrows > 5, "only {arrows} imports between rooms were found");
    report("imports that docs/ARCHITECTURE.md does not allow", &broken);
}

#[test]
fn rooms_of_tmap_user_import_as_the_table_allows() {
    hold_to_table("tmap-user", "### Rooms of tmap-user");
}

#[test]
fn modules_of_tmap_ebpf_import_as_the_table_allows() {
    hold_to_table("tmap-ebpf", "### Modules of tmap-ebpf");
}

#[test]
fn no_imports_run_in_a_circle() {
    let sources = sources();
    let mut broken = Vec::new();
    for folder in ["tmap-user", "tmap-ebpf"] {
        let modules = modules(folder, &sources);
        let mut arrows: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> = BTreeMap::new();
        for (module, file) in &modules {
            for path in imports(module, &sources[file]) {
                let to = (1..=path.len()).rev().find_map(|length| modules.get_key_value(&path[..length]));
                // A child may use what its parent holds, which is how Rust nests modules.
                let to = to.map(|(to, _)| to).filter(|to| *to != module && !module.starts_with(to));
                arrows.entry(module).or_default().extend(to);
            }
        }
        broken.extend(circles(&arrows).into_iter().map(|module| format!("{folder}: {}", module.join("::"))));
    }
    report("modules whose imports lead back to them", &broken);
}

/// The nodes from which a path leads back: what remains when nodes without an arrow out, or in, are removed.
fn circles<'a, T: Ord>(arrows: &BTreeMap<&'a T, BTreeSet<&'a T>>) -> Vec<&'a T> {
    let mut left: BTreeSet<&T> = arrows.keys().copied().collect();
    loop {
        let leads_on = |node: &&T| arrows[*node].iter().any(|to| left.contains(to));
        let is_reached = |node: &&T| left.iter().any(|from| arrows[*from].contains(*node));
        let next: BTreeSet<&T> = left.iter().copied().filter(|n| leads_on(n) && is_reached(n)).collect();
        if next.len() == left.len() {
            return left.into_iter().collect();
        }
        left = next;
    }
}

#[test]
fn a_circle_would_be_found() {
    let node = |name: &str| vec![name.to_owned()];
    let (a, b, c) = (node("a"), node("b"), node("c"));
    let straight =
        BTreeMap::from([(&a, BTreeSet::from([&b])), (&b, BTreeSet::from([&c])), (&c, BTreeSet::new())]);
    assert!(circles(&straight).is_empty());
    let round =
        BTreeMap::from([(&a, BTreeSet::from([&b])), (&b, BTreeSet::from([&a])), (&c, BTreeSet::from([&a]))]);
    assert_eq!(circles(&round), [&a, &b]);
}

#[test]
fn the_tables_of_imports_have_no_circle() {
    let mut broken = Vec::new();
    for heading in ["### Rooms of tmap-user", "### Modules of tmap-ebpf"] {
        let table = allowed(heading);
        let arrows = table.iter().map(|(room, imports)| (room, imports.iter().collect())).collect();
        broken.extend(circles(&arrows).into_iter().map(|room| format!("{heading}: {room}")));
    }
    report("rooms whose allowed imports lead back to them", &broken);
}

/// The heading of the list of the engine's rooms.
const ENGINE_ROOMS: &str = "The engine's rooms: the most basic first.";

#[test]
fn rooms_of_the_engine_import_only_earlier_ones() {
    let (table, places) = (allowed("### Rooms of tmap-user"), rows(ENGINE_ROOMS));
    let place = |room: &str| places.iter().position(|(names, _)| names.iter().any(|name| name == room));
    let mut broken = Vec::new();
    for (room, imports) in table.iter().filter(|(room, _)| room.starts_with("engine/")) {
        let Some(own) = place(room) else {
            broken.push(format!("{room} isn't listed"));
            continue;
        };
        let later = imports.iter().filter(|import| place(import).is_none_or(|place| place >= own));
        broken.extend(later.map(|import| format!("{room}: {import}")));
    }
    let listed = places.iter().flat_map(|(names, _)| names);
    broken.extend(listed.filter(|name| !table.contains_key(*name)).map(|name| format!("{name} has no row")));
    report("rooms that may import one that is listed after them", &broken);
}

/// Phrases that the glossary replaced (`docs/CONTRIBUTING.md`, "Words"), in lower case.
const REPLACED: [&str; 12] = [
    "short way",
    "long way",
    "let go of",
    "let goes of",
    "engines at once",
    "whoever asks",
    "who asks",
    "every second of its points",
    "every second of their points",
    "how-manieth",
    "loose offset",
    "frozen host",
];

#[test]
fn replaced_words_stay_away() {
    let mut broken = Vec::new();
    let documents = files(".md").into_iter().filter(|(name, _)| name != "docs/CONTRIBUTING.md");
    let code = sources().into_iter().filter(|(name, _)| !name.ends_with("/tidy.rs"));
    for (name, text) in documents.chain(code) {
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let words = REPLACED.iter().filter(|phrase| lower.contains(**phrase));
            broken.extend(words.map(|phrase| format!("{name}:{}: {phrase}", number + 1)));
        }
    }
    report("words that the glossary replaced", &broken);
}

/// Openings of a docstring that say nothing where an editor shows it alone.
const EMPTY_OPENINGS: [&str; 4] = ["The same", "See ", "The rest", "As above"];

#[test]
fn docstrings_say_what_a_thing_is() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        let mut before = "";
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            let opens = !before.starts_with("///");
            let says = code.strip_prefix("/// ").filter(|_| opens);
            if says.is_some_and(|says| EMPTY_OPENINGS.iter().any(|opening| says.starts_with(opening))) {
                broken.push(format!("{name}:{}", number + 1));
            }
            before = code;
        }
    }
    report("docstrings that begin with nothing", &broken);
}

/// The heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn links_in_documents_lead_somewhere() {
    let root = root();
    let mut broken = Vec::new();
    let mut links = 0;
    for (name, text) in files(".md") {
        let folder = root.join(&name).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root.join(&name) } else { folder.join(path) };
            let holds = |text: String| {
                text.lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches('#').trim()) == fragment)
            };
            let is_there =
                target.exists() && (fragment.is_empty() || fs::read_to_string(&target).is_ok_and(holds));
            if !is_there {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(links > 20, "only {links} links were found");
    report("links that lead nowhere", &broken);
}

/// Whether a test or a module of tests has this name.
fn is_a_test(name: &str, sources: &BTreeMap<String, String>) -> bool {
    let function = format!("fn {name}(");
    let module = format!("/{}.rs", name.replace("::", "/"));
    sources.iter().any(|(path, text)| path.ends_with(&module) || text.contains(&function))
}

#[test]
fn tests_that_hold_promises_exist() {
    let sources = sources();
    let trust = fs::read_to_string(root().join("docs/trust.md")).expect("docs/trust.md");
    let promises = trust.split("\n## ").find(|part| part.starts_with("Promises")).expect("the promises");
    let cells =
        promises.lines().filter(|line| line.starts_with("| ")).filter_map(|row| row.rsplit('|').nth(1));
    let held_by = cells.filter(|cell| *cell != " held by ");
    let mut broken = Vec::new();
    let mut names = 0;
    for cell in held_by {
        let found: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        names += found.len();
        broken.extend(found.iter().filter(|name| !is_a_test(name, &sources)).map(|name| (*name).to_owned()));
        broken.extend(found.is_empty().then(|| format!("a row without a test: {cell}")));
    }
    assert!(names > 100, "only {names} tests were found");
    report("promises in docs/trust.md that no test of this name holds", &broken);
}

#[test]
fn nothing_is_read_outside_the_repository() {
    let mut broken = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| !name.ends_with("/tidy.rs")) {
        for (number, line) in text.lines().enumerate() {
            // A manifest's folder is one below the root, but for the benchmarks' programs, two below.
            let most = if name.starts_with("tests/ebpf-bench/") { 2 } else { 1 };
            let climbs = line.split('"').skip(1).step_by(2).map(|text| text.matches("../").count()).max();
            if climbs.is_some_and(|climbs| climbs > most) && !line.contains("include_str!") {
                broken.push(format!("{name}:{}", number + 1));
            }
        }
    }
    report("paths that may lead outside the repository", &broken);
}

/// What the root of the repository holds besides files whose name begins with a dot.
const TOP_LEVEL: [&str; 12] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "docs",
    "rustfmt.toml",
    "tests",
    "tmap-common",
    "tmap-ebpf",
    "tmap-user",
    "xtask",
];

#[test]
fn the_top_level_stays_as_it_is() {
    let tops: BTreeSet<String> =
        files("").keys().filter_map(|name| name.split('/').next().map(str::to_owned)).collect();
    let more = tops.iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()));
    report("files that do not belong at the top", &more.cloned().collect::<Vec<_>>());
}

#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let lines = readme.lines().count();
    assert!((50..=150).contains(&lines), "README.md has {lines} lines; docs/ is the place for more");
}
