//! How the page looks: light and dark, on paper, on a phone.

use serde_json::json;
use tmap_tests::captures::THREE;

use crate::{browser::Browser, captures::Page};

/// The colours of the page's ground, of its text and of a machine's point.
const COLOURS: &str = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, \
     getComputedStyle(document.querySelector('figure.ports svg.marks .m2')).fill]";

/// How bright a colour such as `rgb(246, 247, 249)` is, 0 to 255.
fn brightness(colour: &str) -> f64 {
    let numbers =
        colour.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|text| text.parse().ok());
    let numbers: Vec<f64> = numbers.take(3).collect();
    assert_eq!(numbers.len(), 3, "{colour}");
    numbers.iter().sum::<f64>() / 3.0
}

#[test]
fn dark_follows_the_system_and_the_button() {
    let page = Page::of_shipped(THREE);
    let browser = Browser::open(&page.path());
    browser.prefer("light");
    let light = browser.texts(COLOURS);
    assert!(brightness(&light[0]) > 200.0 && brightness(&light[1]) < 80.0, "{light:?}");
    browser.prefer("dark");
    let dark = browser.texts(COLOURS);
    assert!(brightness(&dark[0]) < 60.0 && brightness(&dark[1]) > 200.0, "{dark:?}");
    assert_ne!(light[2], dark[2], "a machine's colour suits the ground");
    browser.click("#theme");
    assert_eq!(browser.texts(COLOURS), light);
    browser.click("#theme");
    assert_eq!(browser.texts(COLOURS), dark);
    assert_eq!(browser.text("document.querySelector('#theme').getAttribute('aria-pressed')"), "true");
}

#[test]
fn it_can_be_printed() {
    let page = Page::of_shipped(THREE);
    let browser = Browser::open(&page.path());
    browser.prefer("dark");
    let printed = browser.command("Page.printToPDF", json!({ "printBackground": true }));
    let pdf = printed["data"].as_str().expect("base64");
    // `%PDF-` in base64.
    assert!(pdf.starts_with("JVBERi0") && pdf.len() > 50_000, "{} characters", pdf.len());
    // Paper is white, has no controls, and shows what is closed on the screen.
    browser.command("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    let ground = browser.text("getComputedStyle(document.body).backgroundColor");
    assert!(brightness(&ground) > 250.0, "{ground}");
    let controls =
        "[...document.querySelectorAll('nav, .tools, #filter')].filter((e) => e.checkVisibility()).length";
    assert_eq!(browser.number(controls), 0.0);
    browser.value("dispatchEvent(new Event('beforeprint'))");
    let closed = "document.querySelectorAll('details.address:not([open])').length";
    assert_eq!(browser.number(closed), 0.0);
    browser.value("dispatchEvent(new Event('afterprint'))");
    assert!(browser.number(closed) > 0.0);
}

#[test]
fn it_fits_a_phone() {
    let page = Page::of_shipped(THREE);
    let browser = Browser::start();
    browser.be_a_phone(390);
    browser.go(&crate::browser::address(&page.path()));
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
    let wide = "[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > 391 \
         && !one.closest('.scroll, .picture, nav')).map((one) => one.outerHTML.slice(0, 80))";
    assert_eq!(browser.texts(wide), [""; 0], "wider than the screen");
    assert_eq!(browser.number("innerWidth"), 390.0);
    assert_eq!(browser.number("document.scrollingElement.scrollWidth"), 390.0, "the page scrolls sideways");
}
