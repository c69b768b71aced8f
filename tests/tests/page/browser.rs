//! A headless Chromium, driven by chromedriver.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};
use tokio::runtime::{Builder, Runtime};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longer than a few frames.
const FRAMES: Duration = Duration::from_millis(80);

/// What to do where a program is missing.
const SETUP: &str = "run: cargo xtask setup browser";

/// The program that lets this test drive a browser. Dropping it ends it and the browser.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A browser with one page open.
pub(crate) struct Browser {
    web: WebDriver,
    runtime: Runtime,
    /// Dropped last, because the browser is closed by it.
    _driver: Driver,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser that doesn't close ends with its driver.
        let _ = self.runtime.block_on(self.web.clone().quit());
    }
}

impl Browser {
    /// A browser with a window of 1280 by 900 pixels.
    pub(crate) fn start() -> Self {
        let (driver, port) = start_driver();
        let mut wanted = DesiredCapabilities::chrome();
        for argument in [
            "--headless=new",
            // The page is our own, and containers have no namespaces for the browser's sandbox.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
            "--force-prefers-reduced-motion",
        ] {
            wanted.add_arg(argument).expect("an argument");
        }
        wanted.set_binary(&chromium().to_string_lossy()).expect("a path");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let web = runtime
            .block_on(WebDriver::new(format!("http://127.0.0.1:{port}"), wanted))
            .unwrap_or_else(|error| panic!("the browser doesn't start; {SETUP}: {error}"));
        Self { web, runtime, _driver: driver }
    }

    /// A browser that shows a file.
    pub(crate) fn open(page: &Path) -> Self {
        let browser = Self::start();
        browser.go(&address(page));
        browser
    }

    /// Goes to an address and waits until it is loaded.
    pub(crate) fn go(&self, address: &str) {
        self.runtime.block_on(self.web.goto(address)).expect("the page opens");
    }

    /// A command of the browser's developer tools.
    pub(crate) fn command(&self, name: &str, parameters: Value) -> Value {
        let sent = self.runtime.block_on(self.web.cdp().send_raw(name, parameters));
        sent.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The value of an expression in the page, once it is there. Also works where scripts are off.
    pub(crate) fn value(&self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true,
        });
        let outcome = self.command("Runtime.evaluate", parameters);
        assert!(outcome["exceptionDetails"].is_null(), "{expression}: {outcome}");
        outcome["result"]["value"].clone()
    }

    /// A text in the page.
    pub(crate) fn text(&self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).to_owned()
    }

    /// A number in the page.
    pub(crate) fn number(&self, expression: &str) -> f64 {
        let value = self.value(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}"))
    }

    /// A list of texts in the page.
    pub(crate) fn texts(&self, expression: &str) -> Vec<String> {
        let value = self.value(expression);
        let list = value.as_array().unwrap_or_else(|| panic!("{expression} is {value}"));
        list.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_until(&self, expression: &str) {
        let began = Instant::now();
        while self.value(expression) != json!(true) {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {expression}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Clicks with the mouse on the middle of an element, as a user would: what lies above it gets the click.
    pub(crate) fn click(&self, selector: &str) {
        let (x, y) = self.place(selector);
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let pressed = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({ "type": kind, "x": x, "y": y, "button": pressed, "clickCount": 1 });
            self.command("Input.dispatchMouseEvent", event);
        }
    }

    /// Moves the mouse to the middle of an element.
    pub(crate) fn point_at(&self, selector: &str) {
        let (x, y) = self.place(selector);
        self.command("Input.dispatchMouseEvent", json!({ "type": "mouseMoved", "x": x, "y": y }));
    }

    /// Scrolls to an element; its middle in the window.
    fn place(&self, selector: &str) -> (f64, f64) {
        let found = self.value(&format!(
            "(() => {{ const element = document.querySelector({selector:?}); if (!element) return null; \
             element.scrollIntoView({{ block: 'center' }}); const box = element.getBoundingClientRect(); \
             return [box.left + box.width / 2, box.top + box.height / 2]; }})()"
        ));
        // A scroll takes effect with the next frame; only then is the place right for the mouse. A promise
        // of a frame would never be kept where scripts are off.
        std::thread::sleep(FRAMES);
        let at = |index: usize| {
            found[index].as_f64().unwrap_or_else(|| panic!("{selector} is nowhere on the page"))
        };
        (at(0), at(1))
    }

    /// Presses and releases a key, such as `ArrowRight`.
    pub(crate) fn press(&self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.command("Input.dispatchKeyEvent", json!({ "type": kind, "key": key, "code": key }));
        }
    }

    /// Types into what has the focus.
    pub(crate) fn type_in(&self, text: &str) {
        self.command("Input.insertText", json!({ "text": text }));
    }

    /// Pretends that the system wants `light` or `dark` pages.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Pretends to be a phone of this width in pixels.
    pub(crate) fn be_a_phone(&self, width: u32) {
        let metrics = json!({ "width": width, "height": 844, "deviceScaleFactor": 2, "mobile": true });
        self.command("Emulation.setDeviceMetricsOverride", metrics);
    }
}

/// The address of a file.
pub(crate) fn address(page: &Path) -> String {
    format!("file://{}", page.display())
}

/// The browser's program.
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.find(|program| program.is_file()).unwrap_or_else(|| panic!("there is no chromium; {SETUP}"))
}

/// Starts chromedriver on a free port, and says which.
fn start_driver() -> (Driver, u16) {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().unwrap_or_else(|error| panic!("chromedriver: {error}; {SETUP}"));
    let mut driver = Driver(child);
    let out = driver.0.stdout.take().expect("piped");
    for line in BufReader::new(out).lines() {
        // `ChromeDriver was started successfully on port 40123.`
        let line = line.expect("text");
        if let Some((_, port)) = line.split_once("successfully on port ") {
            return (driver, port.trim_end_matches('.').parse().expect("a port"));
        }
    }
    panic!("chromedriver ended; {SETUP}");
}
