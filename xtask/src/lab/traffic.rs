//! What a machine talks: conversations with the echo servers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::notes;

const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest request holds a note of the clock.
const MIN_REQUEST: usize = 32;
/// The longest request, in bytes; the server sends it back.
const MAX_REQUEST: usize = 400;
/// Number of simultaneous conversations, but in bursts.
const TALKERS: usize = 3;

/// How long conversations are, and how many there are at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Traffic {
    /// Three conversations at a time, of 0.3 to 20 s.
    Mixed,
    /// As a browser: three to eight conversations of about 0.2 s with at most three services, then a pause.
    Bursts,
    /// Three conversations at a time, of 20 to 300 s.
    Long,
}

impl Traffic {
    /// Its name, as it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Bursts => "bursts",
            Self::Long => "long",
        }
    }
}

/// One machine's talk.
#[derive(Debug)]
pub(super) struct Talk {
    /// The services: addresses and ports of servers.
    pub services: Vec<SocketAddr>,
    /// When it ends.
    pub end: Instant,
    /// The mean time between two bursts.
    pub pause: Duration,
    /// The number of connections that were opened.
    pub opened: AtomicU64,
}

/// How one conversation goes.
#[derive(Clone, Copy, Debug)]
struct Length {
    exchanges: u32,
    /// The mean time between two exchanges.
    gap: Duration,
}

impl Talk {
    /// Talks until the end.
    pub(super) fn run(&self, traffic: Traffic) {
        match traffic {
            Traffic::Bursts => self.bursts(),
            Traffic::Mixed => self.talkers(|| Length {
                exchanges: log_uniform(4.0, 250.0) as u32,
                gap: Duration::from_millis(80),
            }),
            Traffic::Long => self.talkers(|| {
                let gap = Duration::from_millis(fastrand::u64(200..1000));
                Length { exchanges: (log_uniform(20.0, 300.0) / gap.as_secs_f64()) as u32, gap }
            }),
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Several conversations at a time, each followed by another one.
    fn talkers(&self, length: impl Fn() -> Length + Sync) {
        std::thread::scope(|scope| {
            for _ in 0..TALKERS {
                scope.spawn(|| {
                    sleep_exponential(Duration::from_millis(700));
                    while !self.is_over() {
                        self.converse(*any(&self.services), length());
                        sleep_exponential(Duration::from_millis(800));
                    }
                });
            }
        });
    }

    fn bursts(&self) {
        sleep_exponential(self.pause);
        while !self.is_over() {
            let services: Vec<SocketAddr> =
                (0..fastrand::usize(1..=3)).map(|_| *any(&self.services)).collect();
            std::thread::scope(|scope| {
                for _ in 0..fastrand::usize(3..=8) {
                    let service = *any(&services);
                    scope.spawn(move || {
                        std::thread::sleep(Duration::from_millis(fastrand::u64(..80)));
                        let exchanges = fastrand::u32(3..=5);
                        self.converse(service, Length { exchanges, gap: Duration::from_millis(50) });
                    });
                }
            });
            sleep_exponential(self.pause);
        }
    }

    /// One conversation. If it fails, that is a part of the traffic: the next one follows.
    fn converse(&self, service: SocketAddr, length: Length) {
        if let Err(error) = self.try_converse(service, length) {
            println!("a conversation with {service} failed: {error}");
        }
    }

    fn try_converse(&self, service: SocketAddr, length: Length) -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&service, PATIENCE)?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut data = [b'.'; MAX_REQUEST];
        for _ in 0..length.exchanges {
            let request = &mut data[..fastrand::usize(MIN_REQUEST..MAX_REQUEST)];
            notes::write(request);
            stream.write_all(request)?;
            stream.read_exact(request)?;
            sleep_exponential(length.gap);
            if self.is_over() {
                break;
            }
        }
        Ok(())
    }
}

fn any<T>(items: &[T]) -> &T {
    &items[fastrand::usize(..items.len())]
}

/// A number whose logarithm is uniform.
fn log_uniform(low: f64, high: f64) -> f64 {
    low * (high / low).powf(fastrand::f64())
}

/// Sleeps for an exponentially distributed time, at most five times its mean.
fn sleep_exponential(mean: Duration) {
    let times = -(1.0 - fastrand::f64()).ln();
    std::thread::sleep(mean.mul_f64(times.min(5.0)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for traffic in Traffic::value_variants() {
            assert_eq!(Traffic::from_str(traffic.name(), false), Ok(*traffic));
        }
    }
}
