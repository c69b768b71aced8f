//! Signals, received by a thread of their own, so that they work while other threads are busy or stuck.

use std::{
    fmt, fs, io,
    process::exit,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::{SigSet, Signal};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXCPU, SIGXFSZ},
    flag, iterator,
};
use tokio::sync::Notify;

use crate::sandbox;

/// Requests to stop that come within this time are one: `timeout` of the coreutils sends its signal to the
/// process and then to its group, and a terminal and the shell may both pass one on.
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// Requests that came by signal.
#[derive(Debug, Default)]
pub struct Signals {
    stop: AtomicBool,
    summary: AtomicBool,
    changed: Notify,
    /// Whether a stop was requested again.
    stop_now: AtomicBool,
    /// Whether all that is known was reported.
    has_reported: AtomicBool,
    /// What hears of requests as they come.
    listener: OnceLock<Listener>,
    /// What is done as soon as a signal requests a stop.
    at_stop: OnceLock<fn()>,
}

/// A request, as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A summary.
    Summary,
    /// To stop, for the first time.
    Stop,
    /// To stop, again.
    StopNow,
}

/// Signals that are caught, and that nobody has heard of yet.
#[derive(Debug)]
pub struct Caught(iterator::Signals);

struct Listener(Box<dyn Fn(Asked) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Listener")
    }
}

/// The shell's exit code for a process that SIGINT ended.
pub const INTERRUPTED: u8 = 130;

/// Signals that request a stop however often they come: SIGHUP comes twice where a connection drops, from the
/// kernel and from the shell, and SIGXCPU after each further second of CPU time (setrlimit(2)).
const ONCE: [i32; 2] = [SIGHUP, SIGXCPU];

impl Caught {
    /// Catches signals from now on, for a listener to come: a thread must not start before the process gave
    /// up what it doesn't need, and until then no signal may end it.
    ///
    /// SIGHUP and SIGXCPU stay ignored where they were (`nohup`).
    ///
    /// # Errors
    /// If the system grants no signal handler.
    pub fn new() -> io::Result<Self> {
        let mut wanted = vec![SIGINT, SIGTERM, SIGUSR1];
        wanted.extend(ONCE.into_iter().filter(|&signal| !is_ignored(signal)));
        // Whoever started this process may have blocked them, and then they would never come.
        let unblocked: SigSet = wanted.iter().filter_map(|&signal| Signal::try_from(signal).ok()).collect();
        unblocked.thread_unblock()?;
        iterator::Signals::new(wanted).map(Self)
    }

    /// Starts listening. SIGINT and SIGTERM request a stop. A second one requests it at once, and ends the
    /// process where all that is known was reported; a third one ends it anyway. What comes within a second
    /// is one request, unless a report came in between. SIGHUP requests a stop, too:
    /// its terminal is gone, and what was found must not go with it. So does SIGXCPU, where the soft limit of
    /// CPU time is reached. SIGUSR1 requests a summary.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub fn listen(mut self) -> io::Result<Arc<Signals>> {
        let signals = Arc::new(Signals::default());
        let shared = Arc::clone(&signals);
        let mut stops = Stops::default();
        let mut take_in = move |signal| {
            if shared.take_in(signal, &mut stops, Instant::now()) == Then::End {
                exit(i32::from(INTERRUPTED));
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            sandbox::give_up();
            self.0.forever().for_each(&mut take_in);
        })?;
        Ok(signals)
    }
}

impl Signals {
    /// Sets what is done when a signal requests a stop, however busy other threads are. It may be done twice.
    pub fn at_stop(&self, tidy_up: fn()) {
        // The first one stays.
        let _ = self.at_stop.set(tidy_up);
    }

    /// Sets what hears of requests as they come, however busy other threads are.
    pub fn heed(&self, listener: impl Fn(Asked) + Send + Sync + 'static) {
        // The first one stays.
        let _ = self.listener.set(Listener(Box::new(listener)));
    }

    /// Requests a stop, as a signal does.
    pub fn request_stop(&self) {
        if !self.stop.swap(true, Ordering::Relaxed) {
            self.tell(Asked::Stop);
        }
        self.changed.notify_one();
    }

    /// Whether a stop was requested again, before all that is known was reported.
    pub fn stop_now(&self) -> bool {
        self.stop_now.load(Ordering::SeqCst)
    }

    /// All that is known was reported: from now on, a second request to stop ends the process.
    pub fn has_reported(&self) {
        self.has_reported.store(true, Ordering::SeqCst);
    }

    /// Whether a stop was requested.
    pub fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether a summary was requested since the last call.
    pub fn take_summary(&self) -> bool {
        self.summary.load(Ordering::Relaxed) && self.summary.swap(false, Ordering::Relaxed)
    }

    /// Waits until a signal has come since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes in a signal that came at this time.
    fn take_in(&self, signal: i32, stops: &mut Stops, now: Instant) -> Then {
        let mut then = Then::GoOn;
        if signal == SIGUSR1 {
            // First, or it may be told after the answer.
            self.tell(Asked::Summary);
            self.summary.store(true, Ordering::Relaxed);
        } else {
            then = self.take_stop(signal, stops, now);
        }
        self.changed.notify_one();
        then
    }

    fn take_stop(&self, signal: i32, stops: &mut Stops, now: Instant) -> Then {
        // A screen and the end of its process may have asked, too.
        let is_second = self.stop.swap(true, Ordering::Relaxed);
        if let Some(tidy_up) = self.at_stop.get() {
            tidy_up();
        }
        let has_reported = self.has_reported.load(Ordering::SeqCst);
        let is_new = stops.is_new(now, has_reported);
        if !is_second {
            self.tell(Asked::Stop);
        } else if !ONCE.contains(&signal) && is_new {
            if self.stop_now.swap(true, Ordering::SeqCst) || has_reported {
                return Then::End;
            }
            self.tell(Asked::StopNow);
        }
        Then::GoOn
    }

    fn tell(&self, asked: Asked) {
        if let Some(Listener(listener)) = self.listener.get() {
            listener(asked);
        }
    }
}

/// What follows a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    /// The process ends.
    End,
}

/// Which signals are requests to stop of their own.
#[derive(Debug, Default)]
struct Stops {
    /// When the last one came that was.
    last: Option<Instant>,
    /// Whether a report had come before it.
    had_report: bool,
}

impl Stops {
    /// Whether a signal to stop is a request of its own, and not the echo of the one before.
    fn is_new(&mut self, now: Instant, has_reported: bool) -> bool {
        // After the report, the user was told what another one does.
        let knows_more = has_reported && !self.had_report;
        let is_new = knows_more || self.last.is_none_or(|last| now.duration_since(last) >= ONE_REQUEST);
        if is_new {
            (self.last, self.had_report) = (Some(now), has_reported);
        }
        is_new
    }
}

/// Makes a write beyond the limit of file sizes fail, where SIGXFSZ would end the process (setrlimit(2)).
///
/// # Errors
/// If the system grants no signal handler.
pub fn survive_file_limit() -> io::Result<()> {
    // A signal that is handled doesn't end the process. Nobody asks whether it came: the write has failed.
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// What requests a stop, for a thread that has no signal to send.
pub fn quit(signals: &Arc<Signals>) -> impl FnOnce() + Send + use<> {
    let signals = Arc::clone(signals);
    move || signals.request_stop()
}

/// Whether the process was started with this signal ignored.
fn is_ignored(signal: i32) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

/// Whether the mask `SigIgn` of a `/proc/PID/status` has the signal: bit 0 is signal 1.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows signals that come at these times, in milliseconds.
    fn taken(signals: &Signals, sent: &[(i32, u64)]) -> Vec<Then> {
        let (began, mut stops) = (Instant::now(), Stops::default());
        let at = |after_ms| began + Duration::from_millis(after_ms);
        sent.iter().map(|&(signal, after_ms)| signals.take_in(signal, &mut stops, at(after_ms))).collect()
    }

    #[test]
    fn signals_within_a_second_are_one_request() {
        let signals = Signals::default();
        let sent =
            [(SIGTERM, 0), (SIGTERM, 0), (SIGTERM, 10), (SIGINT, 999), (SIGHUP, 5_000), (SIGXCPU, 9_000)];
        assert!(taken(&signals, &sent).iter().all(|then| *then == Then::GoOn));
        assert!(signals.stop() && !signals.stop_now());
    }

    #[test]
    fn a_second_request_wants_what_is_known_and_a_third_one_the_end() {
        let signals = Signals::default();
        assert_eq!(taken(&signals, &[(SIGINT, 0), (SIGINT, 1_000)]), [Then::GoOn, Then::GoOn]);
        assert!(signals.stop_now());
        let signals = Signals::default();
        let sent = [(SIGINT, 0), (SIGINT, 1_000), (SIGINT, 1_500), (SIGINT, 2_000)];
        assert_eq!(taken(&signals, &sent), [Then::GoOn, Then::GoOn, Then::GoOn, Then::End]);
    }

    #[test]
    fn after_a_report_the_next_request_ends_at_once() {
        let (signals, mut stops, began) = (Signals::default(), Stops::default(), Instant::now());
        let at = |after_ms| began + Duration::from_millis(after_ms);
        assert_eq!(signals.take_in(SIGINT, &mut stops, at(0)), Then::GoOn);
        assert_eq!(signals.take_in(SIGINT, &mut stops, at(10)), Then::GoOn);
        signals.has_reported();
        assert_eq!(signals.take_in(SIGINT, &mut stops, at(800)), Then::End);
    }

    #[test]
    fn what_a_screen_asks_counts_too() {
        let signals = Signals::default();
        signals.request_stop();
        assert_eq!(taken(&signals, &[(SIGINT, 0)]), [Then::GoOn]);
        assert!(signals.stop_now());
    }

    #[test]
    fn ignored_signals_are_read_off_the_mask() {
        let status = "Name:\ttmap\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n";
        assert!(ignores(status, 13) && !ignores(status, SIGHUP));
        assert!(ignores("SigIgn:\t0000000000000001\n", SIGHUP));
        assert!(!ignores("Name:\ttmap\n", SIGHUP));
    }
}
