//! Attachment: which program goes to which side of an interface, and the handle that holds it there.

use std::error::Error;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp,
        links::FdLink,
        loaded_programs,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions},
        xdp,
    },
    util::KernelVersion,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpfOption, TcMessage, TcOption},
};
use rustix::io::Errno;
use tmap_common::Link;

use super::{
    Config, Hook, XdpMode,
    holder::{self, HeldLink, Holder},
    interface::{self, Interface},
    load::{self, errno, explain},
    netlink,
    selection::upper_than,
};
use crate::without_error_codes;

/// All programs in the object: for XDP, for TC on the receiving and on the sending side.
pub(super) const PROGRAMS: [&str; 6] =
    ["tmap_xdp_eth", "tmap_xdp_ip", "tmap_tcin_eth", "tmap_tcin_ip", "tmap_tc_eth", "tmap_tc_ip"];

/// The first kernel with TCX links (commit e420bed02507).
const TCX_KERNEL: KernelVersion = KernelVersion::new(6, 6, 0);

/// The parent of filters on the receiving and on the sending side of a clsact qdisc (`TC_H_MIN_INGRESS`,
/// `TC_H_MIN_EGRESS`).
const CLSACT_SIDES: [u32; 2] = [0xffff_fff2, 0xffff_fff3];

/// A side of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Ingress,
    Egress,
}

/// A program in its place. Dropping it detaches the program.
pub(super) struct Held {
    pub(super) side: Side,
    pub(super) hook: Hook,
    /// Why it isn't native XDP.
    pub(super) reason: Option<String>,
    handle: Handle,
    /// The program's id.
    program: u32,
}

/// What holds a program.
enum Handle {
    /// A `bpf_link`: gone when its descriptor is closed, however the process ends.
    Link(FdLink),
    /// A clsact filter on the interface of this index: removed on drop only.
    Filter(u32, SchedClassifierLink),
}

/// What is attached where a program was.
struct Found {
    /// Index of the interface.
    interface: u32,
    /// Id of the program there; `None` where the kernel doesn't tell.
    program: Option<u32>,
}

impl Held {
    /// The index of the interface that the program is attached to now; `None` where somebody detached it, or
    /// the interface is gone. `links` are those that this process holds.
    pub(super) fn interface(&self, links: &[HeldLink]) -> Option<u32> {
        self.found(links).map(|found| found.interface)
    }

    /// Whether somebody put another program in the place of this one: it is attached, but not this one.
    pub(super) fn is_replaced(&self, links: &[HeldLink]) -> bool {
        let program = self.found(links).and_then(|found| found.program);
        program.is_some_and(|program| program != self.program)
    }

    /// The id of the program.
    pub(super) fn program(&self) -> u32 {
        self.program
    }

    fn found(&self, links: &[HeldLink]) -> Option<Found> {
        match &self.handle {
            Handle::Link(link) => {
                let id = link.info().ok()?.id();
                let HeldLink { interface, program, .. } = *links.iter().find(|link| link.id == id)?;
                (interface != 0).then_some(Found { interface, program: Some(program) })
            }
            Handle::Filter(interface, filter) => find_filter(*interface, self.side, filter),
        }
    }
}

/// A filter that is still there. Where the kernel doesn't answer, nobody knows better.
fn find_filter(interface: u32, side: Side, filter: &SchedClassifierLink) -> Option<Found> {
    let unknown = Some(Found { interface, program: None });
    let mut request = TcMessage::with_index(interface.cast_signed());
    request.header.parent = CLSACT_SIDES[side as usize].into();
    let Ok(found) = netlink::dump(RouteNetlinkMessage::GetTrafficFilter(request)) else { return unknown };
    let (Ok(priority), Ok(handle)) = (filter.priority(), filter.handle()) else { return unknown };
    found.replies.iter().find_map(|reply| match reply {
        RouteNetlinkMessage::NewTrafficFilter(found)
            if found.header.info >> 16 == u32::from(priority)
                && u32::from(found.header.handle) == u32::from(handle) =>
        {
            Some(Found { interface, program: program_of(found) })
        }
        _ => None,
    })
}

/// The id of the program that a filter runs.
fn program_of(filter: &TcMessage) -> Option<u32> {
    let options = filter.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    options.flatten().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
        _ => None,
    })
}

/// Attaches to the sides of an interface that `config` wants. `all` are the interfaces of this namespace.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    config: &Config,
    interface: &Interface,
    all: &[Interface],
) -> Result<Vec<Held>> {
    let mut ingress = attach_side(ebpf, config, Side::Ingress, interface, all)?;
    if !config.egress {
        return Ok(vec![ingress]);
    }
    if interface.is_loopback() {
        let text = "no --egress here, because a loopback receives what it sends, and would show it twice";
        let before = ingress.reason.map_or(String::new(), |reason| format!("{reason}; "));
        ingress.reason = Some(format!("{before}{text}"));
        return Ok(vec![ingress]);
    }
    Ok(vec![ingress, attach_side(ebpf, config, Side::Egress, interface, all)?])
}

/// Attaches to one side of an interface.
pub(super) fn attach_side(
    ebpf: &mut Ebpf,
    config: &Config,
    side: Side,
    interface: &Interface,
    all: &[Interface],
) -> Result<Held> {
    let mut place = Place { ebpf, config, interface, all };
    match side {
        Side::Ingress => place.attach_ingress(),
        Side::Egress => place
            .attach_tc(Side::Egress, None)
            .with_context(|| format!("{}: cannot watch outgoing segments", interface.name)),
    }
}

/// Whether a program that is attached, as its link says, is on this very interface: links tell only an index,
/// which an interface in another network namespace may have, too. Where the kernel doesn't answer, nobody
/// knows better.
pub(super) fn is_on(
    ebpf: &mut Ebpf,
    config: &Config,
    held: &Held,
    interface: &Interface,
    all: &[Interface],
) -> bool {
    match held.hook {
        Hook::XdpNative | Hook::XdpGeneric => interface.xdp_programs.contains(&held.program),
        // Programs of TCX are listed only for CAP_SYS_ADMIN, but nobody gets one attached to the same side a
        // second time. Where that works it was on another interface; dropping it detaches it at once.
        Hook::IngressTcx | Hook::EgressTcx => {
            Place { ebpf, config, interface, all }.attach_tc(held.side, None).is_err()
        }
        // A filter is looked for on the interface itself.
        Hook::IngressClsact | Hook::EgressClsact => true,
    }
}

/// An interface to attach to.
struct Place<'a> {
    ebpf: &'a mut Ebpf,
    config: &'a Config,
    interface: &'a Interface,
    all: &'a [Interface],
}

impl Place<'_> {
    /// Attaches to the receiving side, in the mode wanted; in mode `auto` where the kernel lets us in.
    fn attach_ingress(&mut self) -> Result<Held> {
        match self.config.xdp_mode {
            XdpMode::Tc => self.attach_tc_ingress(None),
            XdpMode::Auto if self.interface.is_veth() => self.attach_to_veth(),
            XdpMode::Auto => self.attach_xdp_or_beside(),
            XdpMode::Native => {
                self.link_xdp(Hook::XdpNative, None).map_err(|error| self.refusal(XdpMode::Native, &error))
            }
            XdpMode::Generic => {
                self.link_xdp(Hook::XdpGeneric, None).map_err(|error| self.refusal(XdpMode::Generic, &error))
            }
        }
    }

    /// Attaches to a veth, where native XDP has its price. Without TCX generic XDP is preferred to a clsact
    /// filter, which SIGKILL would leave behind.
    fn attach_to_veth(&mut self) -> Result<Held> {
        if !self.interface.xdp_programs.is_empty() {
            return self.attach_beside();
        }
        let reason = "native XDP on a veth switches segmentation offload off, which slows bulk TCP down; \
                      --xdp-mode native forces it"
            .to_owned();
        if !self.has_tcx() {
            match self.link_xdp(Hook::XdpGeneric, Some(reason.clone())) {
                Err(error) if matches!(errno(error.as_ref()), Some(Errno::BUSY | Errno::EXIST)) => {
                    return self.attach_beside();
                }
                other => return other.map_err(|error| self.refusal(XdpMode::Generic, &error)),
            }
        }
        self.attach_tc_ingress(Some(reason))
    }

    /// Attaches XDP: native, or generic where the driver can't, or TC beside another program.
    fn attach_xdp_or_beside(&mut self) -> Result<Held> {
        let native = match self.link_xdp(Hook::XdpNative, None) {
            Ok(held) => return Ok(held),
            Err(error) => error,
        };
        let mut error = native;
        if is_drivers_limit(&error) {
            let reason = format!("native mode is not possible: {}", root_cause(&error));
            match self.link_xdp(Hook::XdpGeneric, Some(reason)) {
                Ok(held) => return Ok(held),
                Err(generic) => error = generic,
            }
        }
        match errno(error.as_ref()) {
            Some(Errno::PERM | Errno::NODEV) => Err(self.refusal(XdpMode::Auto, &error)),
            Some(Errno::BUSY | Errno::EXIST) => self.attach_beside(),
            _ => {
                let reason = format!("XDP is not possible: {}", root_cause(&error));
                self.attach_tc_ingress(Some(reason))
            }
        }
    }

    /// Attaches TC beside another XDP program, which it names.
    fn attach_beside(&mut self) -> Result<Held> {
        let others = self.others();
        let all = others.all().join(" and ");
        let reason = match (others.own.is_empty(), others.above.is_empty()) {
            (true, true) => "another XDP program is in the way".to_owned(),
            // Frames are seen here before they get to an interface above.
            (true, false) => format!("beside {all}"),
            _ => format!("beside {all}; frames that it drops or redirects are not seen"),
        };
        self.attach_tc_ingress(Some(reason))
    }

    /// Whether TC programs are attached by TCX.
    fn has_tcx(&self) -> bool {
        !self.config.clsact && KernelVersion::current().is_ok_and(|found| found >= TCX_KERNEL)
    }

    fn attach_tc_ingress(&mut self, reason: Option<String>) -> Result<Held> {
        self.attach_tc(Side::Ingress, reason)
            .with_context(|| format!("{}: cannot watch by TC", self.interface.name))
    }

    /// The program for a hook, loaded into the kernel.
    fn program(&mut self, hook: Hook) -> Result<&mut aya::programs::Program> {
        let [xdp_eth, xdp_ip, in_eth, in_ip, out_eth, out_ip] = PROGRAMS;
        let [eth, ip] = match hook {
            Hook::XdpNative | Hook::XdpGeneric => [xdp_eth, xdp_ip],
            Hook::IngressTcx | Hook::IngressClsact => [in_eth, in_ip],
            Hook::EgressTcx | Hook::EgressClsact => [out_eth, out_ip],
        };
        let name = if self.interface.link()? == Link::Ip { ip } else { eth };
        load::verify(self.ebpf, &[name])?;
        self.ebpf.program_mut(name).context("program missing")
    }

    /// Attaches XDP by a `bpf_link`, and insists on one.
    fn link_xdp(&mut self, hook: Hook, reason: Option<String>) -> Result<Held> {
        let mode = if hook == Hook::XdpNative { xdp::XdpMode::Driver } else { xdp::XdpMode::Skb };
        let index = self.interface.index;
        let program: &mut Xdp = self.program(hook)?.try_into()?;
        let own = program.info()?.id();
        let id = program.attach_to_if_index(index, mode)?;
        // On EINVAL aya tries netlink, whose attachments survive the process. Then the conversion fails and
        // drops the attachment.
        let link = FdLink::try_from(program.take_link(id)?).context("the kernel gave no bpf_link for XDP")?;
        Ok(Held { side: Side::Ingress, hook, reason, handle: Handle::Link(link), program: own })
    }

    /// Attaches a TC program, ahead of others, which may end the processing of a frame.
    fn attach_tc(&mut self, side: Side, reason: Option<String>) -> Result<Held> {
        let clsact = !self.has_tcx();
        let hook = match (side, clsact) {
            (Side::Ingress, false) => Hook::IngressTcx,
            (Side::Ingress, true) => Hook::IngressClsact,
            (Side::Egress, false) => Hook::EgressTcx,
            (Side::Egress, true) => Hook::EgressClsact,
        };
        let kind = if side == Side::Ingress { TcAttachType::Ingress } else { TcAttachType::Egress };
        let Interface { name, index, .. } = self.interface;
        let program: &mut SchedClassifier = self.program(hook)?.try_into()?;
        let own = program.info()?.id();
        // The index is looked up by the name, through a socket. Where there is no room for one, the C library
        // says that there is no such interface.
        drop(netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE)?);
        let handle = if clsact {
            Handle::Filter(*index, attach_clsact(program, name, kind)?)
        } else {
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            let id = program.attach_with_options(name, kind, options)?;
            let link = FdLink::try_from(program.take_link(id)?);
            Handle::Link(link.context("the kernel gave no bpf_link for TCX")?)
        };
        Ok(Held { side, hook, reason, handle, program: own })
    }

    /// The error for an interface that takes no program: why, and what to do.
    fn refusal(&self, mode: XdpMode, error: &anyhow::Error) -> anyhow::Error {
        let name = &self.interface.name;
        match errno(error.as_ref()) {
            Some(Errno::BUSY | Errno::EXIST) => anyhow!(
                "{name}: no room for XDP in {mode} mode beside {}; --xdp-mode auto goes beside it by TC",
                match &self.others().all()[..] {
                    [] => "another XDP program".to_owned(),
                    others => others.join(" and "),
                }
            ),
            Some(Errno::PERM) => explain(error),
            Some(Errno::NODEV) => anyhow!("{name}: the interface is gone; start tmap again when it is back"),
            _ if mode == XdpMode::Native => anyhow!(
                "{name}: the driver cannot run XDP in native mode ({}); use --xdp-mode auto or generic",
                root_cause(error)
            ),
            _ => anyhow!("{name}: cannot attach XDP in {mode} mode: {}", root_cause(error)),
        }
    }

    /// The XDP programs in the way.
    fn others(&self) -> Others {
        // Attached after the interfaces were listed, perhaps.
        let fresh = interface::list().ok();
        let all = fresh.as_deref().unwrap_or(self.all);
        let same = |other: &&Interface| other.index == self.interface.index;
        let own = all.iter().find(same).unwrap_or(self.interface);
        let on_own = own.xdp_programs.iter().map(|&id| describe(id));
        let above = upper_than(own, all).flat_map(|upper| {
            upper.xdp_programs.iter().map(|&id| format!("{} on {}", describe(id), upper.name))
        });
        Others { own: on_own.collect(), above: above.collect() }
    }
}

/// XDP programs in the way, in words.
struct Others {
    /// On the interface itself.
    own: Vec<String>,
    /// On interfaces above it.
    above: Vec<String>,
}

impl Others {
    fn all(&self) -> Vec<String> {
        [&self.own[..], &self.above].concat()
    }
}

/// `XDP program 344 "pass_all", held by PID 12 (loader)`.
fn describe(program: u32) -> String {
    let info = loaded_programs().flatten().find(|info| info.id() == program);
    let name = info.and_then(|info| Some(format!(" {:?}", info.name_as_str()?)));
    let holder = match holder::of_program(program) {
        Holder::Process(process) => format!("held by {process}"),
        Holder::Nobody => "which no process holds".to_owned(),
        Holder::Hidden => "whose holder is hidden from this user".to_owned(),
    };
    format!("XDP program {program}{} ({holder})", name.unwrap_or_default())
}

/// Whether native mode failed because the driver cannot do it; then generic mode may work.
fn is_drivers_limit(error: &anyhow::Error) -> bool {
    let others = [Errno::BUSY, Errno::EXIST, Errno::PERM, Errno::NODEV];
    !errno(error.as_ref()).is_some_and(|code| others.contains(&code))
}

/// The last error of the chain, which names what the kernel said.
fn root_cause(error: &anyhow::Error) -> String {
    let mut cause: &dyn Error = error.as_ref();
    while let Some(source) = cause.source() {
        cause = source;
    }
    without_error_codes(&cause.to_string())
}

/// Attaches a filter to a clsact qdisc, which it adds where there is none.
fn attach_clsact(
    program: &mut SchedClassifier,
    interface: &str,
    kind: TcAttachType,
) -> Result<SchedClassifierLink> {
    if let Err(error) = tc::qdisc_add_clsact(interface)
        && errno(&error) != Some(Errno::EXIST)
        && !matches!(error, tc::TcError::AlreadyAttached)
    {
        bail!("cannot add a clsact qdisc: {error}");
    }
    let options = TcAttachOptions::Netlink(NlOptions { priority: 1, ..NlOptions::default() });
    let id = program
        .attach_with_options(interface, kind, options)
        .map_err(|error: ProgramError| anyhow!("cannot add a clsact filter: {error}"))?;
    Ok(program.take_link(id)?)
}
