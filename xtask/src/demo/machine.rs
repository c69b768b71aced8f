//! One host: a user-space TCP stack (smoltcp) on a TUN device, with a clock of its own.
//!
//! The stack asks the clock for TSval while it writes the segment, and hands the segment to the
//! kernel at once, so TSval is the time of leaving, as in a kernel's own stack.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Medium, TunTapInterface};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::clock::{self, GENERATORS, SLOTS, monotonic_ns};
use super::world::{self, Host, Offsets};
use crate::namespaces::Namespace;

const MS: i64 = 1_000_000;
/// A closed socket stays this long, so that its last acknowledgement leaves.
const LINGER_NS: i64 = 300 * MS;
/// The longest sleep, so that a stop is seen.
const NAP_NS: i64 = 50 * MS;
/// So many of a host's conversations last for the whole run.
const LONG_SLOTS: usize = 2;
const FIRST_PORT: u16 = 33_000;
/// The longest request; the server sends back what it gets.
const MAX_REQUEST_BYTES: usize = 700;

/// Connections that a host opened, to each of the servers' addresses.
pub type Opened = [AtomicU64; world::SERVERS.len()];

/// What all hosts share.
#[derive(Clone, Debug)]
pub struct Run {
    /// Set when everything ends.
    pub stop: Arc<AtomicBool>,
    /// The start on CLOCK_MONOTONIC, in nanoseconds: clocks refer to it.
    pub start_ns: i64,
    /// When conversations wind up, on CLOCK_MONOTONIC, in nanoseconds.
    pub end_ns: i64,
}

/// Where a slot's conversation stands. Times are on CLOCK_MONOTONIC, in nanoseconds.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// No conversation until then.
    Idle { until_ns: i64 },
    /// Connected or connecting: `left` exchanges to go, the next one at `next_ns`.
    Talking { left: u32, next_ns: i64, awaited: usize },
    /// Our FIN is out.
    Closing { since_ns: i64 },
}

struct Slot {
    stage: Stage,
    handle: Option<SocketHandle>,
}

struct Player {
    spec: Host,
    device: TunTapInterface,
    interface: Interface,
    sockets: SocketSet<'static>,
    slots: Vec<Slot>,
    next_port: u16,
    opened: Arc<Opened>,
}

/// Plays host `index` inside `nat` until the run ends; `opened` counts its connections.
///
/// # Errors
/// When the TUN device cannot be opened.
pub fn play(index: usize, nat: &Namespace, run: &Run, opened: Arc<Opened>) -> Result<()> {
    nat.enter()?;
    let mut player = Player::new(index, run, opened)?;
    while !run.stop.load(Ordering::Relaxed) {
        let now_ns = monotonic_ns();
        let mut wake_ns = now_ns + NAP_NS;
        for slot in 0..SLOTS {
            wake_ns = wake_ns.min(player.step(slot, now_ns, run.end_ns));
        }
        player.exchange(wake_ns)?;
        if now_ns > run.end_ns && player.slots.iter().all(|slot| slot.handle.is_none()) {
            break;
        }
    }
    Ok(())
}

impl Player {
    fn new(index: usize, run: &Run, opened: Arc<Opened>) -> Result<Self> {
        let spec = world::HOSTS[index];
        clock::install(spec.clock(run.start_ns));
        let name = world::device(index);
        let mut device = TunTapInterface::new(&name, Medium::Ip)
            .with_context(|| format!("TUN device {name} cannot be opened: is /dev/net/tun there?"))?;
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = fastrand::u64(..);
        let mut interface = Interface::new(config, &mut device, stack_time(monotonic_ns()));
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(world::private(index).into(), 24)).expect("room for one address");
        });
        interface.routes_mut().add_default_ipv4_route(world::private(index)).expect("room for one route");
        let start = |_| Slot {
            stage: Stage::Idle { until_ns: run.start_ns + fastrand::i64(0..1500 * MS) },
            handle: None,
        };
        let slots = (0..SLOTS).map(start).collect();
        let sockets = SocketSet::new(Vec::new());
        let next_port = FIRST_PORT + fastrand::u16(0..10_000);
        Ok(Self { spec, device, interface, sockets, slots, next_port, opened })
    }

    /// Moves one conversation on; returns when it wants to be looked at again.
    fn step(&mut self, slot: usize, now_ns: i64, end_ns: i64) -> i64 {
        match (self.slots[slot].stage, self.slots[slot].handle) {
            (Stage::Idle { until_ns }, None) => {
                if now_ns < until_ns || now_ns >= end_ns {
                    return until_ns.max(now_ns + MS);
                }
                self.open(slot, now_ns);
                now_ns
            }
            (Stage::Talking { left, next_ns, awaited }, Some(handle)) => {
                self.talk(slot, handle, (left, next_ns, awaited), now_ns, end_ns)
            }
            (Stage::Closing { since_ns }, Some(handle)) => {
                let state = self.sockets.get::<tcp::Socket>(handle).state();
                let done = matches!(state, tcp::State::TimeWait | tcp::State::Closed);
                if now_ns < since_ns + LINGER_NS || (!done && now_ns < since_ns + 10 * LINGER_NS) {
                    return (since_ns + LINGER_NS).max(now_ns + MS);
                }
                self.sockets.remove(handle);
                let pause_ns = fastrand::i64(50 * MS..600 * MS);
                self.slots[slot] = Slot { stage: Stage::Idle { until_ns: now_ns + pause_ns }, handle: None };
                now_ns + pause_ns
            }
            (stage, handle) => unreachable!("{stage:?} with {handle:?}"),
        }
    }

    /// Starts a conversation in a free slot.
    fn open(&mut self, slot: usize, now_ns: i64) {
        let offset = match self.spec.offsets {
            Offsets::Boot => 0,
            Offsets::Random => fastrand::u32(..),
        };
        clock::set_offset(slot, offset);
        let buffer = || tcp::SocketBuffer::new(vec![0; 4096]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_tsval_generator(Some(GENERATORS[slot]));
        socket.set_nagle_enabled(false);
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        let server = fastrand::usize(..world::SERVERS.len());
        let port = world::PORTS[fastrand::usize(..world::PORTS.len())];
        socket
            .connect(self.interface.context(), (world::SERVERS[server], port), self.next_port)
            .expect("a fresh socket with a valid port connects");
        self.opened[server].fetch_add(1, Ordering::Relaxed);
        let left = if slot < LONG_SLOTS { u32::MAX } else { fastrand::u32(25..80) };
        self.slots[slot] = Slot {
            stage: Stage::Talking { left, next_ns: now_ns, awaited: 0 },
            handle: Some(self.sockets.add(socket)),
        };
    }

    /// Reads what came, sends the next request when its time has come, closes after the last.
    fn talk(
        &mut self,
        slot: usize,
        handle: SocketHandle,
        (mut left, mut next_ns, mut awaited): (u32, i64, usize),
        now_ns: i64,
        end_ns: i64,
    ) -> i64 {
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        if matches!(socket.state(), tcp::State::SynSent) {
            return now_ns + NAP_NS;
        }
        if left != u32::MAX && now_ns >= end_ns {
            left = 0;
        }
        while socket.can_recv() && awaited > 0 {
            // A reading error shows as a closed state below.
            awaited -= socket.recv(|data| (data.len(), data.len())).unwrap_or(awaited);
        }
        let lost = !socket.is_active() || socket.state() == tcp::State::CloseWait;
        if lost || (awaited == 0 && (left == 0 || now_ns >= end_ns)) {
            socket.close();
            self.slots[slot].stage = Stage::Closing { since_ns: now_ns };
            return now_ns;
        }
        if awaited == 0 && now_ns >= next_ns && socket.can_send() {
            // The buffer is empty and larger than a request.
            awaited = fastrand::usize(20..MAX_REQUEST_BYTES);
            let _ = socket.send_slice(&[b'.'; MAX_REQUEST_BYTES][..awaited]);
            left = left.saturating_sub(u32::from(left != u32::MAX));
            next_ns = now_ns + fastrand::i64(40 * MS..180 * MS);
        }
        self.slots[slot].stage = Stage::Talking { left, next_ns, awaited };
        if awaited > 0 { now_ns + NAP_NS } else { next_ns }
    }

    /// Lets segments in and out, then sleeps until the next is due or has come.
    fn exchange(&mut self, wake_ns: i64) -> Result<()> {
        let now = stack_time(monotonic_ns());
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        let mut sleep_ns = wake_ns - monotonic_ns();
        if let Some(delay) = self.interface.poll_delay(now, &self.sockets) {
            sleep_ns = sleep_ns.min(delay.total_micros() as i64 * 1000);
        }
        if sleep_ns <= 0 {
            return Ok(());
        }
        wait_readable(&self.device, sleep_ns)
    }
}

/// Sleeps until the device has a frame, at most `sleep_ns`. The last millisecond is slept to the
/// nanosecond: sleeping whole milliseconds only would tie the times of sending to the ticks.
fn wait_readable(device: &TunTapInterface, sleep_ns: i64) -> Result<()> {
    if sleep_ns < MS {
        std::thread::sleep(Duration::from_nanos(sleep_ns.unsigned_abs()));
        return Ok(());
    }
    let whole = smoltcp::time::Duration::from_millis((sleep_ns / MS).unsigned_abs());
    match phy::wait(device.as_raw_fd(), Some(whole)) {
        Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
            Err(error).context("waiting for the TUN device failed")
        }
        _ => Ok(()),
    }
}

/// The stack's own time (for its timers, not for TSval).
fn stack_time(now_ns: i64) -> Instant {
    Instant::from_micros(now_ns / 1000)
}
