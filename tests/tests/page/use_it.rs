//! What can be done with the page: by mouse, by keyboard, and without scripts.

use serde_json::json;
use tmap_tests::captures::{THREE, WITH_UNSTAMPED};

use crate::{browser::Browser, captures::Page};

/// The numbers of machines whose marks and rows are not faded, in the first section.
const SHOWN: &str = "[...new Set([...document.querySelectorAll(\
     'details.address[open] .picture [data-machine], details.address[open] tbody tr[data-machine]')]\
     .filter((mark) => Number(getComputedStyle(mark).opacity) > 0.3)\
     .map((mark) => mark.dataset.machine))].sort()";

#[test]
fn a_machine_that_is_clicked_stands_alone() {
    let page = Page::of_shipped(THREE);
    let browser = Browser::open(&page.path());
    assert_eq!(browser.texts(SHOWN), ["1", "2", "3"]);
    browser.click("button.pick[data-pick='2']");
    assert_eq!(browser.texts(SHOWN), ["2"]);
    let pressed = "document.querySelector(\"button.pick[data-pick='2']\").getAttribute('aria-pressed')";
    assert_eq!(browser.text(pressed), "true");
    browser.click("button.pick[data-pick='2']");
    assert_eq!(browser.texts(SHOWN), ["1", "2", "3"]);
    assert_eq!(browser.text(pressed), "false");
    // A point of a picture does the same, and a click on another machine's takes its place.
    for machine in ["3", "1"] {
        browser.click(&format!("figure.timeline svg.marks .m{machine}"));
        assert_eq!(browser.texts(SHOWN), [machine]);
    }
}

#[test]
fn a_heading_sorts_its_column() {
    let page = Page::of_shipped(THREE);
    let browser = Browser::open(&page.path());
    let column = "[...document.querySelectorAll('#list tbody tr')].map((row) => row.cells[4].textContent)";
    let order = "document.querySelector('#list th:nth-child(5)').getAttribute('aria-sort') ?? 'none'";
    let numbers = || -> Vec<u64> {
        browser.texts(column).iter().map(|text| text.replace(',', "").parse().expect("a number")).collect()
    };
    assert_eq!(browser.text(order), "none");
    let mut sorted = numbers();
    sorted.sort_unstable();
    assert!(sorted.len() > 4 && sorted.first() != sorted.last(), "{sorted:?}");
    browser.click("#list th:nth-child(5) button");
    let descending: Vec<u64> = sorted.iter().rev().copied().collect();
    assert_eq!((browser.text(order).as_str(), numbers()), ("descending", descending));
    browser.click("#list th:nth-child(5) button");
    assert_eq!((browser.text(order).as_str(), numbers()), ("ascending", sorted));
    let others = "document.querySelectorAll('#list th[aria-sort]').length";
    assert_eq!(browser.number(others), 1.0, "only one column is the sorted one");
    // Addresses are sorted as numbers, not as letters.
    browser.click("#list th:nth-child(1) button");
    let addresses =
        browser.texts("[...document.querySelectorAll('#list tbody th')].map((c) => c.textContent)");
    let mut by_number: Vec<std::net::IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    by_number.sort_unstable();
    assert_eq!(addresses, by_number.iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn a_search_leaves_what_fits() {
    let page = Page::of_shipped(THREE);
    let browser = Browser::open(&page.path());
    let shown = "[...document.querySelectorAll('#list tbody tr')].filter((row) => row.checkVisibility())\
         .map((row) => row.cells[0].textContent)";
    let sections = "[...document.querySelectorAll('details.address')].filter((one) => one.checkVisibility())\
         .map((one) => one.dataset.address)";
    let all = browser.texts(shown);
    assert!(all.len() > 4, "{all:?}");
    browser.click("#search");
    browser.type_in("203.0.113.4");
    assert_eq!(browser.texts(shown), ["203.0.113.4"]);
    assert_eq!(browser.texts(sections), ["203.0.113.4"]);
    assert_eq!(
        browser.text("document.querySelector('#found').textContent"),
        format!("1 of {} addresses", all.len())
    );
    browser.value("document.querySelector('#search').select()");
    browser.type_in("nowhere");
    assert!(browser.texts(shown).is_empty());
    browser.value("document.querySelector('#search').value = ''");
    browser.value(
        "(() => { const show = document.querySelector('#show'); show.value = 'shared'; \
         show.dispatchEvent(new Event('input', { bubbles: true })); })()",
    );
    assert_eq!(browser.texts(shown), ["198.51.100.1"]);
}

#[test]
fn a_point_tells_its_connection_to_mouse_and_keyboard() {
    let page = Page::of_shipped(WITH_UNSTAMPED);
    let browser = Browser::open(&page.path());
    let told = "document.querySelector('#tip').hidden ? '' : document.querySelector('#tip').textContent";
    assert_eq!(browser.text(told), "");
    browser.point_at("figure.ports svg.marks .m:has(> title)");
    let by_mouse = browser.text(told);
    assert!(by_mouse.contains(" to 203.0.113."), "{by_mouse}");
    browser.point_at("h1");
    assert_eq!(browser.text(told), "");
    // A page that scrolls hides what was told, at some moment after the focus moved.
    browser.value("document.querySelector('figure.ports svg').focus({ preventScroll: true })");
    let mut by_key = Vec::new();
    for _ in 0..3 {
        browser.press("ArrowRight");
        by_key.push(browser.text(told));
    }
    browser.press("ArrowLeft");
    assert!(by_key.iter().all(|text| text.contains(" to 203.0.113.")), "{by_key:?}");
    assert_ne!(by_key[1], by_key[2]);
    assert_eq!(browser.text(told), by_key[1]);
    browser.press("Escape");
    assert_eq!(browser.text(told), "");
}

#[test]
fn a_link_to_an_address_opens_its_section() {
    let page = Page::of_shipped(THREE);
    let browser = Browser::open(&page.path());
    let is_open = "document.querySelector(\"details[data-address='203.0.113.3']\").open";
    assert_eq!(browser.value(is_open), json!(false));
    browser.click("#list a[href='#a-203-0-113-3']");
    browser.wait_until(is_open);
}

#[test]
fn without_scripts_everything_can_be_read() {
    let page = Page::of_shipped(WITH_UNSTAMPED);
    let browser = Browser::start();
    browser.command("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    browser.go(&crate::browser::address(&page.path()));
    assert_eq!(browser.number("document.querySelectorAll('th button, button.pick').length"), 0.0);
    let visible = "[...document.querySelectorAll('button, input, select')].filter((one) => one.checkVisibility())\
         .length";
    assert_eq!(browser.number(visible), 0.0, "controls that do nothing are hidden");
    // The first address is open; a click opens others.
    browser.click("details.address:not([open]) > summary");
    assert_eq!(browser.number("document.querySelectorAll('details.address[open]').length"), 2.0);
    let text = browser.text("document.body.innerText");
    for says in [
        "In short",
        "tmap found at least",
        "Machines behind 198.51.100.1",
        "without timestamps: at least one more machine may be hidden here",
        "What became of the",
        "SHA-256",
        "one-without-timestamps.pcap.gz",
    ] {
        assert!(text.contains(says), "{says} is not in: {text}");
    }
    assert!(browser.number("document.querySelectorAll('.picture svg').length") >= 5.0);
}
