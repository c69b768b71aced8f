//! axe-core finds nothing serious: the page serves keyboards and screen readers.

use std::path::PathBuf;

use tmap_tests::captures::THREE;

use crate::{browser::Browser, captures::Page};

/// axe-core, as `cargo xtask setup` installed it.
fn axe() -> String {
    let test = std::env::current_exe().expect("a test knows itself");
    // target/PROFILE/deps/this-test
    let target = test.ancestors().nth(3).map(PathBuf::from).expect("tests lie in target/PROFILE/deps");
    let script = target.join("axe-core/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&script)
        .unwrap_or_else(|error| panic!("{}: {error}; run: cargo xtask setup browser", script.display()))
}

/// What axe finds that is serious or critical, a line each.
fn faults(browser: &Browser) -> Vec<String> {
    browser.texts(
        "axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations\
         .filter((one) => ['serious', 'critical'].includes(one.impact))\
         .map((one) => `${one.impact} ${one.id}: ${one.nodes.length} times, such as ${one.nodes[0].html}: \
         ${one.nodes[0].failureSummary}`))",
    )
}

#[test]
fn nothing_keeps_people_from_using_it() {
    let page = Page::of_shipped(THREE);
    let browser = Browser::open(&page.path());
    browser.value(&format!("{}; 0", axe()));
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        assert_eq!(faults(&browser), [""; 0], "{scheme}");
    }
    // A fault would be found.
    browser
        .value("document.querySelector('#search').labels[0].replaceWith(document.querySelector('#search'))");
    browser.value("document.querySelector('#search').removeAttribute('placeholder')");
    assert!(faults(&browser).iter().any(|fault| fault.contains("label")), "{:?}", faults(&browser));
}
