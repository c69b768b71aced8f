//! The page loads nothing, and runs nothing but its own script.

use std::{io::Read, net::TcpListener, thread, time::Duration};

use serde_json::json;
use tmap_tests::{captures, captures::THREE};

use crate::{browser::Browser, captures::Page};

/// What was asked for, a line for each request.
fn requests(listener: &TcpListener) -> Vec<String> {
    // What was sent before is there by now, or soon.
    thread::sleep(Duration::from_millis(300));
    let mut lines = Vec::new();
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        let mut bytes = [0; 200];
        // A browser may open a connection ahead of a request that its policy then refuses.
        let length = stream.read(&mut bytes).unwrap_or(0);
        lines.extend(String::from_utf8_lossy(&bytes[..length]).lines().next().map(str::to_owned));
    }
    lines
}

/// Tries to reach a port in every way that a page has, and waits until all have ended.
fn reach_out(port: u16) -> String {
    format!(
        "(async () => {{ const to = 'http://127.0.0.1:{port}/'; const add = (name, key) => new Promise((done) => {{ \
         const one = document.createElement(name); one.onload = one.onerror = done; one[key] = to; \
         document.body.append(one); setTimeout(done, 500); }}); \
         document.body.style.backgroundImage = `url(${{to}}b.png)`; navigator.sendBeacon(to); \
         await Promise.all([fetch(to, {{ signal: AbortSignal.timeout(500) }}).catch(() => 0), \
         add('img', 'src'), add('script', 'src'), add('iframe', 'src')]); return true; }})()"
    )
}

#[test]
fn no_request_leaves_the_page() {
    let page = Page::of_shipped(THREE);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("an address").port();
    let browser = Browser::open(&page.path());
    let loaded = "performance.getEntriesByType('resource').map((one) => one.name)";
    assert_eq!(browser.texts(loaded), [""; 0]);
    assert_eq!(browser.value(&reach_out(port)), json!(true));
    assert_eq!(requests(&listener), [""; 0], "the page's policy let requests out");
    // Without the policy the same attempts arrive.
    let policy = page.html();
    let start = policy.find("<meta http-equiv=\"Content-Security-Policy\"").expect("a policy");
    let end = start + policy[start..].find('>').expect("its end") + 1;
    let open = Page::with(&format!("{}{}", &policy[..start], &policy[end..]));
    browser.go(&crate::browser::address(&open.path()));
    assert_eq!(browser.value(&reach_out(port)), json!(true));
    assert!(!requests(&listener).is_empty(), "the attempts are no attempts");
}

#[test]
fn names_are_no_markup() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">.pcap.gz";
    // A slash would be another folder.
    let capture = folder.path().join(name.replace('/', "\u{2215}"));
    std::fs::copy(captures::path(THREE), &capture).expect("copied");
    let page = Page::of(&capture, ["--filter", "src net 198.51.100.0/24 and (port 1 or not port 2)"]);
    let browser = Browser::open(&page.path());
    assert!(browser.text("document.title").starts_with("tmap: "), "a name was run");
    assert_eq!(browser.number("document.querySelectorAll('script').length"), 1.0);
    assert_eq!(browser.number("document.querySelectorAll('img').length"), 0.0);
    let shown = browser.text("document.querySelector('#made').innerText");
    assert!(shown.contains("<script>document.title='run'") && shown.contains("onerror="), "{shown}");
    assert!(shown.contains("src net 198.51.100.0/24 and (port 1 or not port 2)"), "{shown}");
    // An inline script that isn't the page's own is refused, even if one got in.
    let own = page.html();
    let (head, body) = own.split_once("<main>").expect("a body");
    let infected = Page::with(&format!("{head}<script>document.title='run'</script><main>{body}"));
    browser.go(&crate::browser::address(&infected.path()));
    assert!(browser.text("document.title").starts_with("tmap: "), "an injected script was run");
}
