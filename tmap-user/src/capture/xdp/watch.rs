//! The watched interfaces over time: gone and back, down and up, renamed, moved, and who detached what.
//!
//! Interfaces are listed anew at each check. The kernel's own messages about changes ([`super::News`]) could
//! be lost, and don't tell of programs.

use std::{
    collections::BTreeSet,
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::Result;
use aya::Ebpf;
use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};

use super::{
    Attachment, Change, ChangeKind, Config,
    attach::{self, Held},
    holder::{HeldLink, OwnLinks},
    interface::{self, Interface},
    outage::{Downtime, Outage},
    promiscuous::{Membership, PacketSocket, Promiscuous},
    relays,
    selection::Selection,
};
use crate::{with_advice, without_error_codes};

/// How long to wait after a failure before an interface is tried again: attaching can reset a card.
const RETRY: Duration = Duration::from_secs(30);

/// The time after which a check attaches to nothing more, and leaves the rest to the next one: each interface
/// takes milliseconds, hundreds may come at once, and whoever checks has signals to answer.
const CHECK_FOR: Duration = Duration::from_millis(100);

/// A program that was detached this often within [`RETRY`] isn't attached again before [`RETRY`] is over.
const MAX_DETACHED: u32 = 3;

/// Checks what can be checked before anything is loaded.
///
/// # Errors
/// If an interface is missing, or of a type that can't be watched.
pub(super) fn check(config: &Config) -> Result<()> {
    let selection = Selection::new(&config.interfaces, config.decap);
    let all = list(&selection)?;
    if !config.wait {
        selection.check(&all)?;
    }
    selection.choose(&all).iter().try_for_each(|interface| interface.link().map(drop))
}

/// The interfaces of this network namespace, with what `selection` needs to know of them.
fn list(selection: &Selection) -> Result<Vec<Interface>> {
    let mut all = interface::list()?;
    if selection.asks_for_relays(&all) {
        relays::mark(&mut all)?;
    }
    Ok(all)
}

/// The watched interfaces. Dropping them detaches everything.
#[derive(Default)]
pub(super) struct Watch {
    interfaces: Vec<Watched>,
    attachments: Vec<Attachment>,
    handles: Handles,
    /// A descriptor for checks; `None` where there is none left.
    reserve: Option<OwnedFd>,
    /// Whether the last check left something to the next one, for lack of time.
    is_unfinished: bool,
    /// Whether interfaces couldn't be listed at the last check.
    is_unchecked: bool,
    /// Whether it was said that `any` leaves out interfaces whose names are no UTF-8.
    is_odd_told: bool,
}

/// What stays open from one check to the next.
#[derive(Default)]
struct Handles {
    packet_socket: PacketSocket,
    own_links: OwnLinks,
}

/// A descriptor that does nothing.
///
/// # Errors
/// If no more may be open.
fn reserve() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC)?)
}

/// An error in words, with what raises the limit that is its cause.
fn in_words(error: &anyhow::Error) -> String {
    with_advice(without_error_codes(&format!("{error:#}")), 0)
}

/// A watched interface.
struct Watched {
    /// Its name, by which it is found again.
    name: String,
    /// Whether the user named it, rather than `any` included it.
    is_named: bool,
    state: State,
    is_up: bool,
    downtime: Downtime,
    mtu: u32,
    held: Vec<Held>,
    /// XDP programs of others on it.
    others: Vec<u32>,
    promiscuous: Option<Membership>,
    /// How often a program was detached since `detached_since`.
    detached: u32,
    detached_since: Option<Instant>,
}

/// Where a watched interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Here, with this index.
    Here(u32),
    /// In another network namespace, with its programs.
    Elsewhere,
    /// Gone, or not there yet.
    Gone,
    /// Here, with this index, but it can't be watched before this time. Another one of its name can.
    Failed(u32, Instant),
}

/// What the interfaces are attached with.
struct Tools<'a> {
    ebpf: &'a mut Ebpf,
    config: &'a Config,
    all: &'a [Interface],
    handles: &'a mut Handles,
    /// When this check is to leave the rest to the next one; `None` where it has all the time.
    until: Option<Instant>,
    /// Whether this check attached, or tried to: each one does something.
    has_attached: bool,
    /// The indices of the interfaces that others than the one in hand hold, by a program that is there. None
    /// is watched twice: each frame would count twice.
    taken: BTreeSet<u32>,
    /// The indices of the interfaces with addresses of their own, once this check asked for them; `None`
    /// within where the kernel doesn't tell.
    with_addresses: Option<Option<Vec<u32>>>,
}

impl<'a> Tools<'a> {
    fn new(
        ebpf: &'a mut Ebpf,
        config: &'a Config,
        all: &'a [Interface],
        handles: &'a mut Handles,
        until: Option<Instant>,
    ) -> Self {
        let (taken, with_addresses) = (BTreeSet::new(), None);
        Self { ebpf, config, all, handles, until, has_attached: false, taken, with_addresses }
    }

    /// Whether the rest is for the next check.
    fn is_time_up(&self) -> bool {
        self.has_attached && self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// The listed interface of this name.
    fn named(&self, name: &str) -> Option<&'a Interface> {
        self.all.iter().find(|interface| interface.is_named(name))
    }

    /// The listed interface of this name, unless it is watched already, by the name that it had before.
    fn free(&self, name: &str) -> Option<&'a Interface> {
        self.named(name).filter(|interface| !self.taken.contains(&interface.index))
    }

    /// Whether an interface has an address of its own; `None` where the kernel doesn't tell.
    fn has_address(&mut self, interface: &Interface) -> Option<bool> {
        let indices = self.with_addresses.get_or_insert_with(|| interface::with_addresses().ok());
        Some(indices.as_ref()?.contains(&interface.index))
    }

    /// Attaches to an interface.
    fn attach(&mut self, interface: &Interface) -> Result<Watched> {
        self.has_attached = true;
        // The last descriptor is for the next check.
        let _reserve = reserve()?;
        let held = attach::attach(self.ebpf, self.config, interface, self.all)?;
        let (state, is_up, mtu) = (State::Here(interface.index), interface.is_up, interface.mtu);
        let others = interface.xdp_programs.clone();
        Ok(Watched { state, is_up, mtu, held, others, ..Watched::missing(&interface.name) })
    }

    /// Attaches to one side of an interface.
    fn attach_side(&mut self, side: attach::Side, interface: &Interface) -> Result<Held> {
        self.has_attached = true;
        let _reserve = reserve()?;
        attach::attach_side(self.ebpf, self.config, side, interface, self.all)
    }

    /// The listed interface that this attached program is on, whatever its name; `None` where that is in
    /// another network namespace, or watched already.
    fn with(&mut self, held: &Held, links: &[HeldLink]) -> Option<&'a Interface> {
        let index = held.interface(links).filter(|index| !self.taken.contains(index))?;
        let interface = self.all.iter().find(|interface| interface.index == index)?;
        self.is_on(held, interface).then_some(interface)
    }

    /// Whether this attached program is on this interface.
    fn is_on(&mut self, held: &Held, interface: &Interface) -> bool {
        attach::is_on(self.ebpf, self.config, held, interface, self.all)
    }
}

impl Watch {
    /// Attaches to all interfaces wanted that are there. On an error, what was attached so far is detached
    /// again.
    pub(super) fn open(ebpf: &mut Ebpf, config: &Config) -> Result<(Self, Vec<Change>)> {
        let selection = Selection::new(&config.interfaces, config.decap);
        let all = list(&selection)?;
        let packet_socket = PacketSocket::open(config.promiscuous);
        let mut handles = Handles { packet_socket, ..Handles::default() };
        let mut tools = Tools::new(ebpf, config, &all, &mut handles, None);
        let mut watch = Self::default();
        let mut changes = Vec::new();
        for interface in selection.choose(&all) {
            let mut watched = tools.attach(interface)?;
            watched.is_named = selection.asks_for(interface);
            watched.downtime.note(interface.is_up, Instant::now());
            watched.join_promiscuous(&mut tools, interface, &mut changes);
            if !interface.is_up {
                changes.push(change(interface, ChangeKind::Down, "is down".to_owned()));
            }
            watch.interfaces.push(watched);
        }
        for name in selection.missing(&all) {
            let text = format!("interface {name} is not there yet; waiting for it");
            changes.push(Change { interface: name.to_owned(), kind: ChangeKind::Waiting, text });
            watch.interfaces.push(Watched { is_named: true, ..Watched::missing(name) });
        }
        watch.tell_odd(&selection, &all, &mut changes);
        watch.list_attachments();
        watch.handles = handles;
        watch.reserve = Some(reserve()?);
        Ok((watch, changes))
    }

    /// All attachments.
    pub(super) fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// The names of the interfaces that are watched now (true) or not (false).
    pub(super) fn names(&self, watched: bool) -> Vec<&str> {
        // What waits for a name that a watched one took isn't missed.
        let is_taken =
            |name: &str| self.interfaces.iter().any(|other| other.is_watched() && other.name == name);
        let wanted = |interface: &&Watched| {
            interface.is_watched() == watched && (watched || !is_taken(&interface.name))
        };
        self.interfaces.iter().filter(wanted).map(|interface| interface.name.as_str()).collect()
    }

    /// The interfaces that were down at times, until `now`.
    pub(super) fn outages(&self, now: Instant) -> Vec<Outage> {
        let told = |watched: &Watched| watched.downtime.told(&watched.name, now);
        let mut outages: Vec<Outage> = self.interfaces.iter().filter_map(told).collect();
        outages.sort_by(|a, b| a.interface.cmp(&b.interface));
        outages
    }

    /// Whether the last check left something to the next one.
    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// Compares what is watched with what is there, and attaches where something came back, for a bounded
    /// time.
    pub(super) fn check(&mut self, ebpf: &mut Ebpf, config: &Config, now: Instant) -> Vec<Change> {
        // A check takes one descriptor at a time, also where there are no more: those of interfaces that are
        // gone are only released by it.
        self.reserve = None;
        // Links before interfaces: one that was deleted in between is missing from the interfaces.
        let selection = Selection::new(&config.interfaces, config.decap);
        let links = self.handles.own_links.look().map_err(unreadable);
        let (links, all) = match links.and_then(|links| Ok((links, list(&selection)?))) {
            Ok(both) => both,
            Err(error) => return self.cannot_check(&error),
        };
        self.is_unchecked = false;
        let mut handles = std::mem::take(&mut self.handles);
        let mut tools = Tools::new(ebpf, config, &all, &mut handles, Some(now + CHECK_FOR));
        tools.taken = self.interfaces.iter().filter_map(|watched| watched.held_index(&links)).collect();
        let mut changes = Vec::new();
        // Those that are elsewhere first: what comes back is theirs, whatever its name is by now.
        self.interfaces.sort_by_key(|watched| watched.state != State::Elsewhere);
        let mut checked = 0;
        for watched in &mut self.interfaces {
            if tools.is_time_up() {
                break;
            }
            if let Some(own) = watched.held_index(&links) {
                tools.taken.remove(&own);
            }
            watched.check(&mut tools, &links, now, &mut changes);
            tools.taken.extend(watched.index());
            checked += 1;
        }
        self.is_unfinished = checked < self.interfaces.len();
        // Those that are left come first the next time.
        self.interfaces.rotate_left(checked);
        self.follow_any(&mut tools, now, &mut changes);
        self.handles = handles;
        self.reserve = reserve().ok();
        if !changes.is_empty() {
            // There may be new links: all descriptors are looked at the next time.
            self.handles.own_links = OwnLinks::default();
            self.list_attachments();
        }
        changes
    }

    /// Says once that interfaces or links can't be listed, and what that means.
    fn cannot_check(&mut self, error: &anyhow::Error) -> Vec<Change> {
        self.reserve = reserve().ok();
        if std::mem::replace(&mut self.is_unchecked, true) {
            return Vec::new();
        }
        let (interface, kind) = ("any".to_owned(), ChangeKind::Unchecked);
        let text =
            format!("interfaces cannot be checked, so changes of them stay unseen: {}", in_words(error));
        vec![Change { interface, kind, text }]
    }

    /// Says once that `any` leaves out interfaces whose names are no UTF-8.
    fn tell_odd(&mut self, selection: &Selection, all: &[Interface], changes: &mut Vec<Change>) {
        let number = selection.oddly_named(all);
        if number == 0 || std::mem::replace(&mut self.is_odd_told, true) {
            return;
        }
        let (what, whose) = if number == 1 {
            ("interface that is up, because its name is", "it")
        } else {
            ("interfaces that are up, because their names are", "them")
        };
        let text = format!("any cannot watch {number} {what} not UTF-8 (rename {whose})");
        changes.push(Change { interface: "any".to_owned(), kind: ChangeKind::Failed, text });
    }

    /// Lets go of interfaces that `any` doesn't include any more, and attaches to those that came up since.
    fn follow_any(&mut self, tools: &mut Tools<'_>, now: Instant, changes: &mut Vec<Change>) {
        let mut selection = Selection::new(&tools.config.interfaces, tools.config.decap);
        if !selection.any {
            return;
        }
        selection.watched = self.interfaces.iter().filter_map(Watched::index).collect();
        // First: the kernel refuses XDP on a port if the bridge above has it.
        self.interfaces.retain(|watched| match watched.shown_elsewhere(&selection, tools.all) {
            Some(text) => {
                changes.push(watched.change(ChangeKind::LeftOut, text));
                false
            }
            None => true,
        });
        self.take_in_new(&selection, tools, now, changes);
        self.tell_odd(&selection, tools.all, changes);
        // Names that come and go, as those of containers do, must not pile up.
        self.interfaces.retain(|watched| watched.state != State::Gone || watched.is_named);
    }

    /// Attaches to interfaces that `any` includes and that came up since.
    fn take_in_new(
        &mut self,
        selection: &Selection,
        tools: &mut Tools<'_>,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        let all = tools.all;
        for interface in selection.choose(all) {
            let is_known = self.interfaces.iter().any(|watched| watched.name == interface.name);
            if is_known || tools.taken.contains(&interface.index) {
                continue;
            }
            if tools.is_time_up() {
                self.is_unfinished = true;
                return;
            }
            let is_named = selection.asks_for(interface);
            let mut watched = Watched { is_named, ..Watched::missing(&interface.name) };
            watched.attach_again(tools, interface, now, changes);
            tools.taken.extend(watched.index());
            self.interfaces.push(watched);
        }
    }

    fn list_attachments(&mut self) {
        self.attachments = self.interfaces.iter().flat_map(Watched::attachments).collect();
    }
}

impl Watched {
    /// An interface that isn't there.
    fn missing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_named: false,
            state: State::Gone,
            is_up: true,
            downtime: Downtime::default(),
            mtu: 0,
            held: Vec::new(),
            others: Vec::new(),
            promiscuous: None,
            detached: 0,
            detached_since: None,
        }
    }

    fn is_watched(&self) -> bool {
        matches!(self.state, State::Here(_) | State::Elsewhere)
    }

    /// Its index, while it is here and watched.
    fn index(&self) -> Option<u32> {
        if let State::Here(index) = self.state { Some(index) } else { None }
    }

    /// Its index, while a program holds it there. Otherwise somebody detached that, or the interface is gone,
    /// and another one may have its index by now.
    fn held_index(&self, links: &[HeldLink]) -> Option<u32> {
        let index = self.index()?;
        self.held.iter().any(|held| held.interface(links) == Some(index)).then_some(index)
    }

    /// Why `any` leaves it out, where it does: each frame is to be seen once.
    fn shown_elsewhere(&self, selection: &Selection, all: &[Interface]) -> Option<String> {
        let is_own = |interface: &&Interface| match self.state {
            State::Here(index) => interface.index == index,
            State::Failed(..) => interface.name == self.name,
            State::Elsewhere | State::Gone => false,
        };
        let interface = all.iter().find(is_own).filter(|_| !self.is_named)?;
        if selection.is_shown_wrapped(interface) {
            let name = &self.name;
            return Some(format!(
                "interface {name} is not watched any more, because its frames come in by other interfaces"
            ));
        }
        let lower = selection.shown_before(interface, all)?;
        let (name, lower) = (&self.name, &lower.name);
        Some(format!("interface {name} shows the frames of {lower}, and is not watched any more"))
    }

    fn attachments(&self) -> impl Iterator<Item = Attachment> {
        self.held.iter().map(|held| Attachment {
            interface: self.name.clone(),
            hook: held.hook,
            reason: held.reason.clone(),
        })
    }

    fn change(&self, kind: ChangeKind, text: String) -> Change {
        Change { interface: self.name.clone(), kind, text }
    }

    fn check(&mut self, tools: &mut Tools<'_>, links: &[HeldLink], now: Instant, changes: &mut Vec<Change>) {
        let all = tools.all;
        match self.state {
            State::Here(index) => match all.iter().find(|interface| interface.index == index) {
                Some(interface) if !self.is_another(tools, interface, links) => {
                    let has_come_up = self.check_properties(interface, now, changes);
                    self.check_promiscuous(tools, interface, has_come_up, changes);
                    self.check_programs(tools, interface, links, now, changes);
                    self.check_others(interface, changes);
                }
                _ => self.leave(tools, now, changes),
            },
            State::Elsewhere => self.check_elsewhere(tools, links, now, changes),
            State::Gone => match (tools.named(&self.name), tools.free(&self.name)) {
                (_, Some(interface)) => self.attach_again(tools, interface, now, changes),
                // An alternative name of one that is watched: it is awaited no more.
                (Some(interface), None) => self.name.clone_from(&interface.name),
                (None, None) => {}
            },
            State::Failed(index, until) => match (tools.named(&self.name), tools.free(&self.name)) {
                (None, _) => self.go(now, changes),
                (_, Some(interface)) if now >= until || interface.index != index => {
                    self.attach_again(tools, interface, now, changes);
                }
                _ => {}
            },
        }
    }

    /// Whether a listed interface is not the watched one, which is gone or went to another network namespace,
    /// although it has the same index.
    fn is_another(&self, tools: &mut Tools<'_>, interface: &Interface, links: &[HeldLink]) -> bool {
        // It came back from another network namespace, where it was watched.
        if tools.taken.contains(&interface.index) {
            return true;
        }
        // One that somebody detached or replaced tells nothing.
        let is_attached =
            |held: &Held, links: &[HeldLink]| held.interface(links).is_some() && !held.is_replaced(links);
        let Some(held) = self.held.iter().find(|held| is_attached(held, links)) else { return false };
        // Listed anew: it may have been detached in between.
        !tools.is_on(held, interface)
            && is_attached(held, &tools.handles.own_links.look().unwrap_or_default())
    }

    /// Notes down what became of a listed interface. Returns whether it came up.
    fn check_properties(&mut self, interface: &Interface, now: Instant, changes: &mut Vec<Change>) -> bool {
        let has_come_up = interface.is_up && !self.is_up;
        if interface.name != self.name {
            let text = format!("interface {} is named {} now, and still watched", self.name, interface.name);
            self.name.clone_from(&interface.name);
            changes.push(self.change(ChangeKind::Renamed, text));
        }
        if interface.is_up != self.is_up {
            self.is_up = interface.is_up;
            self.downtime.note(self.is_up, now);
            let (kind, word) = if self.is_up { (ChangeKind::Up, "up") } else { (ChangeKind::Down, "down") };
            changes.push(change(interface, kind, format!("is {word}")));
        }
        if interface.mtu != self.mtu {
            let text = format!("has an MTU of {} now; it was {}", interface.mtu, self.mtu);
            self.mtu = interface.mtu;
            changes.push(change(interface, ChangeKind::Mtu, text));
        }
        has_come_up
    }

    /// Sets promiscuous mode where it is wanted from now on, and where it was lost: whether an interface is a
    /// mirror port shows when it is up. Ends it where it isn't wanted any more.
    fn check_promiscuous(
        &mut self,
        tools: &mut Tools<'_>,
        interface: &Interface,
        has_come_up: bool,
        changes: &mut Vec<Change>,
    ) {
        if self.promiscuous.is_none() {
            if has_come_up {
                self.join_promiscuous(tools, interface, changes);
            }
        } else if tools.config.promiscuous == Promiscuous::MirrorPorts
            && tools.has_address(interface) == Some(true)
        {
            self.promiscuous = None;
            let text = "is not in promiscuous mode any more, because it has an address of its own (--promisc \
                        keeps it)";
            changes.push(change(interface, ChangeKind::Promiscuous, text.to_owned()));
        } else if interface.promiscuity == 0 {
            // It was in another network namespace since the last check.
            self.stay_promiscuous(tools, interface);
        }
    }

    /// Notes down XDP programs that others attached since. They see frames before TC does, and before or
    /// after another XDP program.
    fn check_others(&mut self, interface: &Interface, changes: &mut Vec<Change>) {
        let own = |program: &u32| self.held.iter().any(|held| held.program() == *program);
        let others: Vec<u32> = interface.xdp_programs.iter().copied().filter(|id| !own(id)).collect();
        for program in others.iter().filter(|program| !self.others.contains(program)) {
            let text = format!(
                "has the XDP program {program} of somebody else now; frames that it drops or redirects may \
                 stay unseen"
            );
            changes.push(change(interface, ChangeKind::Beside, text));
        }
        self.others = others;
    }

    /// Attaches programs again that somebody detached or replaced.
    fn check_programs(
        &mut self,
        tools: &mut Tools<'_>,
        interface: &Interface,
        links: &[HeldLink],
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        let (kept, lost): (Vec<Held>, Vec<Held>) =
            self.held.drain(..).partition(|held| held.interface(links).is_some() && !held.is_replaced(links));
        self.held = kept;
        for lost in lost {
            let (side, hook) = (lost.side, lost.hook);
            let what = if lost.is_replaced(links) { "replaced tmap's program" } else { "detached tmap" };
            // A filter of which only the record is left must go before the next one comes.
            drop(lost);
            let is_often = self.count_detached(now);
            let name = &self.name;
            let before = format!("interface {name}: somebody {what} ({})", hook.name());
            let again = if is_often {
                Err(anyhow::anyhow!("this happened {MAX_DETACHED} times within {} s", RETRY.as_secs()))
            } else {
                tools.attach_side(side, interface)
            };
            match again {
                Ok(held) => {
                    let text = format!("{before}; attached again ({})", held.in_words());
                    changes.push(self.change(ChangeKind::Detached, text));
                    self.held.push(held);
                    self.stay_promiscuous(tools, interface);
                }
                Err(error) => {
                    self.fail(interface.index, now, &before, &error, changes);
                    return;
                }
            }
        }
    }

    /// Counts a detached program; true where it happens too often.
    fn count_detached(&mut self, now: Instant) -> bool {
        if self.detached_since.is_none_or(|since| now.saturating_duration_since(since) > RETRY) {
            (self.detached, self.detached_since) = (0, Some(now));
        }
        self.detached += 1;
        self.detached > MAX_DETACHED
    }

    /// Gives the interface of this index up until [`RETRY`] is over.
    fn fail(
        &mut self,
        index: u32,
        now: Instant,
        what: &str,
        error: &anyhow::Error,
        changes: &mut Vec<Change>,
    ) {
        self.held.clear();
        self.promiscuous = None;
        self.state = State::Failed(index, now + RETRY);
        let text = format!("{what}; not watched now: {}", in_words(error));
        changes.push(self.change(ChangeKind::Failed, text));
    }

    /// Notes down that the interface isn't listed any more: deleted, or in another network namespace, where
    /// its links go on.
    fn leave(&mut self, tools: &mut Tools<'_>, now: Instant, changes: &mut Vec<Change>) {
        // Where nothing is known of the links, the next check knows more.
        let Ok(links) = tools.handles.own_links.look() else { return };
        let is_link =
            |held: &Held| !matches!(held.hook, super::Hook::EgressClsact | super::Hook::IngressClsact);
        self.held.retain(|held| is_link(held) && held.interface(&links).is_some());
        self.promiscuous = None;
        if self.held.is_empty() {
            self.go(now, changes);
        } else if let Some(interface) = tools.free(&self.name) {
            self.watch_another(tools, interface, now, changes);
        } else {
            self.state = State::Elsewhere;
            let text =
                format!("interface {} went to another network namespace, and is still watched", self.name);
            changes.push(self.change(ChangeKind::Moved, text));
        }
    }

    /// Follows an interface that is in another network namespace.
    fn check_elsewhere(
        &mut self,
        tools: &mut Tools<'_>,
        links: &[HeldLink],
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        let Some(held) = self.held.iter().find(|held| held.interface(links).is_some()) else {
            return self.go(now, changes);
        };
        if let Some(interface) = tools.with(held, links) {
            self.come_back(tools, interface, now, changes);
        } else if let Some(interface) = tools.free(&self.name) {
            self.watch_another(tools, interface, now, changes);
        }
    }

    /// Notes down that an interface is back from another network namespace, perhaps under another name.
    fn come_back(
        &mut self,
        tools: &mut Tools<'_>,
        interface: &Interface,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        self.state = State::Here(interface.index);
        let text = if interface.is_named(&self.name) {
            "came back from the other network namespace".to_owned()
        } else {
            format!("is {}, which came back from the other network namespace", self.name)
        };
        changes.push(change(interface, ChangeKind::Back, text));
        self.name.clone_from(&interface.name);
        // It is down, as the kernel moves interfaces: only when it comes up it may be a mirror port.
        self.check_properties(interface, now, changes);
        self.join_promiscuous(tools, interface, changes);
    }

    /// Attaches to another interface, which has the name of one that went to another network namespace.
    fn watch_another(
        &mut self,
        tools: &mut Tools<'_>,
        interface: &Interface,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        let before = format!(
            "interface {} went to another network namespace, and another one has its name",
            self.name
        );
        match self.renew(tools, interface, now) {
            Ok(hooks) => {
                let text = format!("{before}, which is watched instead ({hooks})");
                changes.push(self.change(ChangeKind::Detached, text));
                self.join_promiscuous(tools, interface, changes);
            }
            Err(error) => self.fail(interface.index, now, &before, &error, changes),
        }
    }

    /// Notes down that the interface is gone.
    fn go(&mut self, now: Instant, changes: &mut Vec<Change>) {
        self.held.clear();
        self.downtime.end(now);
        self.state = State::Gone;
        changes.push(self.change(ChangeKind::Gone, format!("interface {} is gone", self.name)));
    }

    /// Attaches to an interface that is here again.
    fn attach_again(
        &mut self,
        tools: &mut Tools<'_>,
        interface: &Interface,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        match self.renew(tools, interface, now) {
            Ok(hooks) => {
                changes.push(change(interface, ChangeKind::Back, format!("is watched ({hooks})")));
                self.join_promiscuous(tools, interface, changes);
            }
            Err(error) => {
                let what = format!("interface {} cannot be watched", self.name);
                self.fail(interface.index, now, &what, &error, changes);
            }
        }
    }

    /// Attaches to an interface instead of what was watched. Returns the hooks in words.
    fn renew(&mut self, tools: &mut Tools<'_>, interface: &Interface, now: Instant) -> Result<String> {
        // What is left of before must end first, because it may have the same index.
        self.held.clear();
        self.promiscuous = None;
        let attached = tools.attach(interface)?;
        let downtime = std::mem::take(&mut self.downtime);
        *self = Watched { is_named: self.is_named, downtime, ..attached };
        self.downtime.note(self.is_up, now);
        let hooks: Vec<String> = self.held.iter().map(Held::in_words).collect();
        Ok(hooks.join(", "))
    }

    /// Sets promiscuous mode again where it was set: an interface that was deleted and made again with the
    /// same index looks like one of which only the programs are gone.
    fn stay_promiscuous(&mut self, tools: &Tools<'_>, interface: &Interface) {
        // The old membership must end first, because it has the same index.
        if self.promiscuous.take().is_some() {
            self.promiscuous = tools.handles.packet_socket.join(interface.index).ok();
        }
    }

    /// Sets promiscuous mode where it is wanted, and says so.
    fn join_promiscuous(&mut self, tools: &mut Tools<'_>, interface: &Interface, changes: &mut Vec<Change>) {
        let is_wanted = match tools.config.promiscuous {
            Promiscuous::All => interface.is_ethernet(),
            Promiscuous::Off => false,
            Promiscuous::MirrorPorts => {
                is_mirror_port(interface, tools.all) && tools.has_address(interface) == Some(false)
            }
        };
        if !is_wanted {
            return;
        }
        let text = match tools.handles.packet_socket.join(interface.index) {
            Ok(membership) => {
                self.promiscuous = Some(membership);
                "is in promiscuous mode while tmap runs (--no-promisc leaves it off)".to_owned()
            }
            Err(error) => format!(
                "is not in promiscuous mode: {error:#}; frames for other machines may be missing \
                 (--no-promisc if that is right)"
            ),
        };
        changes.push(change(interface, ChangeKind::Promiscuous, text));
    }
}

impl Held {
    /// `XDP in native mode`, with the reason where it is something else.
    fn in_words(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}, {reason}", self.hook.name()),
            None => self.hook.name().to_owned(),
        }
    }
}

/// Why nothing is known of this process's links, and what to do.
fn unreadable(error: io::Error) -> anyhow::Error {
    let is_short = matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE));
    let advice = if is_short { "" } else { " (mount /proc where tmap runs)" };
    anyhow::Error::new(error).context(format!("cannot read /proc/self/fd{advice}"))
}

/// A change of a listed interface.
fn change(interface: &Interface, kind: ChangeKind, what: String) -> Change {
    let name = interface.name.clone();
    Change { text: format!("interface {name} {what}"), interface: name, kind }
}

/// Whether an interface looks like a mirror port, unless it has an address: nothing but listening can be its
/// purpose.
fn is_mirror_port(interface: &Interface, all: &[Interface]) -> bool {
    let is_part = interface.master.is_some()
        || all.iter().any(|other| other.parent == Some(interface.index) && !other.is_veth());
    let is_bridge = all.iter().any(|other| other.master == Some(interface.index));
    interface.is_ethernet() && interface.is_up && !is_part && !is_bridge
}
