//! The program inside a virtual machine: many short and medium TCP conversations with echo servers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Number of simultaneous conversations.
const TALKERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest request, in bytes; the server sends it back.
const MAX_REQUEST: usize = 400;

/// Arguments of `cargo xtask lab-guest`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Addresses of the servers.
    #[arg(long, value_delimiter = ',', required = true)]
    servers: Vec<Ipv4Addr>,
    /// Ports of the servers.
    #[arg(long, value_delimiter = ',', required = true)]
    ports: Vec<u16>,
    /// How long to talk, in seconds.
    #[arg(long)]
    seconds: u32,
}

/// Talks, then prints how many connections it opened.
pub(crate) fn verb(args: &Args) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(args.seconds.into());
    let opened = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..TALKERS {
            scope.spawn(|| {
                sleep_exponential(Duration::from_millis(700));
                while Instant::now() < end {
                    let server = args.servers[fastrand::usize(..args.servers.len())];
                    let port = args.ports[fastrand::usize(..args.ports.len())];
                    // A failed conversation is part of the traffic. The next one follows.
                    if let Err(error) = converse(SocketAddr::from((server, port)), end, &opened) {
                        println!("a conversation with {server}:{port} failed: {error}");
                    }
                    sleep_exponential(Duration::from_millis(800));
                }
            });
        }
    });
    let opened = opened.into_inner();
    println!("tmapx: opened {opened}");
    if opened == 0 { bail!("no connection could be opened") } else { Ok(()) }
}

/// One conversation: 4 to 250 exchanges (log-uniform, so that most are short) of random sizes, 80 ms
/// apart on average.
fn converse(server: SocketAddr, end: Instant, opened: &AtomicU64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    opened.fetch_add(1, Ordering::Relaxed);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let exchanges = (4.0 * (250.0_f64 / 4.0).powf(fastrand::f64())) as u32;
    let mut data = [b'.'; MAX_REQUEST];
    for _ in 0..exchanges {
        let request = &mut data[..fastrand::usize(20..MAX_REQUEST)];
        stream.write_all(request)?;
        stream.read_exact(request)?;
        sleep_exponential(Duration::from_millis(80));
        if Instant::now() > end {
            break;
        }
    }
    Ok(())
}

/// Sleeps for an exponentially distributed time, at most five times its mean.
fn sleep_exponential(mean: Duration) {
    let times = -(1.0 - fastrand::f64()).ln();
    std::thread::sleep(mean.mul_f64(times.min(5.0)));
}
