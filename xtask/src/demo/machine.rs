//! One simulated machine: a user-space TCP stack (smoltcp) on a TUN device, with a clock of its own.
//!
//! The stack reads the clock for TSval while it writes a segment, and gives the segment to the kernel at
//! once. TSval is therefore the time at which the segment leaves, as in a kernel's stack.

use std::net::Ipv4Addr;
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
use super::owners::Owners;
use super::scenario::{self, MachineSpec, Offsets};
use crate::testbed::namespaces::Namespace;

const MS: i64 = 1_000_000;
/// A closed socket is kept this long, so that its last acknowledgement leaves.
const LINGER_NS: i64 = 300 * MS;
/// The longest sleep. Then the machine checks whether the run has ended.
const NAP_NS: i64 = 50 * MS;
/// The number of a machine's conversations that last for the whole run.
const LONG_SLOTS: usize = 2;
const FIRST_PORT: u16 = 33_000;
/// The longest request. The server sends it back.
const MAX_REQUEST_BYTES: usize = 700;

/// The number of connections that a machine opened to each of the server's addresses.
pub(super) type Opened = [AtomicU64; scenario::SERVERS.len()];

/// What all machines share.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Set when the run must end.
    pub stop: Arc<AtomicBool>,
    /// The start of the run, to which clocks refer, in nanoseconds of CLOCK_MONOTONIC.
    pub start_ns: i64,
    /// When conversations end, in nanoseconds of CLOCK_MONOTONIC.
    pub end_ns: i64,
    /// Which machine opened which connection.
    pub owners: Arc<Owners>,
}

/// The state of a slot's conversation. Times are in nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
enum State {
    /// No conversation until `until_ns`.
    Idle { until_ns: i64 },
    /// Connected or connecting. `left` exchanges remain, the next at `next_ns`; `awaited` bytes of the
    /// present exchange have not come back yet.
    Talking { left: u32, next_ns: i64, awaited: usize },
    /// Our FIN was sent.
    Closing { since_ns: i64 },
}

struct Slot {
    state: State,
    handle: Option<SocketHandle>,
}

struct Machine {
    index: usize,
    spec: MachineSpec,
    device: TunTapInterface,
    interface: Interface,
    sockets: SocketSet<'static>,
    slots: Vec<Slot>,
    next_port: u16,
    opened: Arc<Opened>,
    owners: Arc<Owners>,
}

/// Runs machine `index` inside `nat` until the run ends. `opened` counts its connections.
///
/// # Errors
/// When the TUN device cannot be opened.
pub(super) fn run(index: usize, nat: &Namespace, run: &Run, opened: Arc<Opened>) -> Result<()> {
    nat.enter()?;
    let mut machine = Machine::new(index, run, opened)?;
    while !run.stop.load(Ordering::Relaxed) {
        let now_ns = monotonic_ns();
        let mut wake_ns = now_ns + NAP_NS;
        for slot in 0..SLOTS {
            wake_ns = wake_ns.min(machine.step(slot, now_ns, run.end_ns));
        }
        machine.exchange(wake_ns)?;
        if now_ns > run.end_ns && machine.slots.iter().all(|slot| slot.handle.is_none()) {
            break;
        }
    }
    Ok(())
}

impl Machine {
    fn new(index: usize, run: &Run, opened: Arc<Opened>) -> Result<Self> {
        let spec = scenario::MACHINES[index];
        clock::install(spec.clock(run.start_ns));
        let name = scenario::device(index);
        let mut device = TunTapInterface::new(&name, Medium::Ip)
            .with_context(|| format!("could not open the TUN device {name}: does /dev/net/tun exist?"))?;
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = fastrand::u64(..);
        let mut interface = Interface::new(config, &mut device, stack_time(monotonic_ns()));
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(scenario::private(index).into(), 24)).expect("room for one address");
        });
        interface.routes_mut().add_default_ipv4_route(scenario::private(index)).expect("room for one route");
        let start = |_| Slot {
            state: State::Idle { until_ns: run.start_ns + fastrand::i64(0..1500 * MS) },
            handle: None,
        };
        let slots = (0..SLOTS).map(start).collect();
        let sockets = SocketSet::new(Vec::new());
        let next_port = FIRST_PORT + fastrand::u16(0..10_000);
        let owners = Arc::clone(&run.owners);
        Ok(Self { index, spec, device, interface, sockets, slots, next_port, opened, owners })
    }

    /// Advances one conversation. Returns when it must be advanced again.
    fn step(&mut self, slot: usize, now_ns: i64, end_ns: i64) -> i64 {
        match (self.slots[slot].state, self.slots[slot].handle) {
            (State::Idle { until_ns }, None) => {
                if now_ns < until_ns || now_ns >= end_ns {
                    return until_ns.max(now_ns + MS);
                }
                self.open(slot, now_ns);
                now_ns
            }
            (State::Talking { left, next_ns, awaited }, Some(handle)) => {
                self.talk(slot, handle, (left, next_ns, awaited), now_ns, end_ns)
            }
            (State::Closing { since_ns }, Some(handle)) => {
                let socket = self.sockets.get::<tcp::Socket>(handle);
                let done = matches!(socket.state(), tcp::State::TimeWait | tcp::State::Closed);
                if now_ns < since_ns + LINGER_NS || (!done && now_ns < since_ns + 10 * LINGER_NS) {
                    return (since_ns + LINGER_NS).max(now_ns + MS);
                }
                self.sockets.remove(handle);
                let pause_ns = fastrand::i64(50 * MS..600 * MS);
                self.slots[slot] = Slot { state: State::Idle { until_ns: now_ns + pause_ns }, handle: None };
                now_ns + pause_ns
            }
            (state, handle) => unreachable!("{state:?} with {handle:?}"),
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
        let server = fastrand::usize(..scenario::SERVERS.len());
        let port = scenario::PORTS[fastrand::usize(..scenario::PORTS.len())];
        let service = (scenario::SERVERS[server], port);
        self.choose_port(service);
        socket
            .connect(self.interface.context(), service, self.next_port)
            .expect("a fresh socket with a valid port connects");
        self.opened[server].fetch_add(1, Ordering::Relaxed);
        let left = if slot < LONG_SLOTS { u32::MAX } else { fastrand::u32(25..80) };
        self.slots[slot] = Slot {
            state: State::Talking { left, next_ns: now_ns, awaited: 0 },
            handle: Some(self.sockets.add(socket)),
        };
    }

    /// Counts `next_port` up, over ports on which another machine of this address has used the service.
    fn choose_port(&mut self, (server, port): (Ipv4Addr, u16)) {
        loop {
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            let source = (self.spec.public.into(), self.next_port);
            if self.owners.take(source, (server.into(), port), self.index) {
                return;
            }
        }
    }

    /// Reads answers, sends the next request when it is due, and closes the connection after the last one.
    /// Returns when the conversation must be advanced again.
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
            // After a read error the socket is not active; see below.
            awaited -= socket.recv(|data| (data.len(), data.len())).unwrap_or(awaited);
        }
        let lost = !socket.is_active() || socket.state() == tcp::State::CloseWait;
        if lost || (awaited == 0 && (left == 0 || now_ns >= end_ns)) {
            socket.close();
            self.slots[slot].state = State::Closing { since_ns: now_ns };
            return now_ns;
        }
        if awaited == 0 && now_ns >= next_ns && socket.can_send() {
            // The request fits, because the buffer is empty and larger than a request.
            awaited = fastrand::usize(20..MAX_REQUEST_BYTES);
            let _ = socket.send_slice(&[b'.'; MAX_REQUEST_BYTES][..awaited]);
            left = left.saturating_sub(u32::from(left != u32::MAX));
            next_ns = now_ns + fastrand::i64(40 * MS..180 * MS);
        }
        self.slots[slot].state = State::Talking { left, next_ns, awaited };
        if awaited > 0 { now_ns + NAP_NS } else { next_ns }
    }

    /// Receives and sends segments, then sleeps until `wake_ns` or until the next segment.
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

/// Sleeps until the device has a frame, at most `sleep_ns`. The last millisecond is slept with nanosecond
/// resolution. With whole milliseconds, the times of sending would correlate with the ticks.
fn wait_readable(device: &TunTapInterface, sleep_ns: i64) -> Result<()> {
    if sleep_ns < MS {
        std::thread::sleep(Duration::from_nanos(sleep_ns.unsigned_abs()));
        return Ok(());
    }
    let whole = smoltcp::time::Duration::from_millis((sleep_ns / MS).unsigned_abs());
    match phy::wait(device.as_raw_fd(), Some(whole)) {
        Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
            Err(error).context("could not wait for the TUN device")
        }
        _ => Ok(()),
    }
}

/// The time that the stack uses for its timers. TSval does not depend on it.
fn stack_time(now_ns: i64) -> Instant {
    Instant::from_micros(now_ns / 1000)
}
