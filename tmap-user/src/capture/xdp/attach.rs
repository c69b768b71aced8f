//! Which program goes where, and the links that hold it there.

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
use rustix::io::Errno;
use tmap_common::Link;

use super::{
    Attachment, Config, Hook, XdpMode,
    interface::{self, Interface},
    load::{errno, explain},
};

/// All programs in the object.
pub(super) const PROGRAMS: [&str; 4] = ["tmap_xdp_eth", "tmap_xdp_ip", "tmap_tc_eth", "tmap_tc_ip"];

/// The first kernel with TCX links (commit e420bed02507).
const TCX_KERNEL: KernelVersion = KernelVersion::new(6, 6, 0);

/// One program to attach to one interface.
pub(super) struct Step {
    interface: Interface,
    link: Link,
    side: Side,
}

/// The receiving or the sending side of an interface.
#[derive(Clone, Copy)]
enum Side {
    Ingress(XdpMode),
    Egress { clsact: bool },
}

impl Step {
    /// The name of the program.
    pub(super) fn program(&self) -> &'static str {
        let [xdp_eth, xdp_ip, tc_eth, tc_ip] = PROGRAMS;
        match (self.side, self.link) {
            (Side::Ingress(_), Link::Ip) => xdp_ip,
            (Side::Ingress(_), _) => xdp_eth,
            (Side::Egress { .. }, Link::Ip) => tc_ip,
            (Side::Egress { .. }, _) => tc_eth,
        }
    }
}

/// What has to be attached; looks the interfaces up and changes nothing.
pub(super) fn plan(config: &Config) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for name in &config.interfaces {
        if steps.iter().any(|step| step.interface.name == *name) {
            continue;
        }
        let interface = interface::find(name)?;
        let link = interface.link()?;
        let clsact = config.clsact || KernelVersion::current().is_ok_and(|found| found < TCX_KERNEL);
        steps.push(Step { interface: interface.clone(), link, side: Side::Ingress(config.xdp_mode) });
        if config.egress {
            steps.push(Step { interface, link, side: Side::Egress { clsact } });
        }
    }
    Ok(steps)
}

/// What holds the programs in place; dropping it detaches them.
#[derive(Default)]
pub(super) struct Links {
    attachments: Vec<Attachment>,
    /// Index and name of each interface.
    interfaces: Vec<(u32, String)>,
    held: Vec<Held>,
}

/// One attachment's handle.
#[expect(dead_code, reason = "held for their drop")]
enum Held {
    /// A `bpf_link`: gone when its descriptor is closed, by whatever end of the process.
    Link(FdLink),
    /// A clsact filter: removed on drop only.
    Filter(SchedClassifierLink),
}

impl Links {
    pub(super) fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    pub(super) fn interface_gone(&self) -> Option<&str> {
        let names = interface::list().ok()?;
        let is_there = |index: u32| names.iter().any(|interface| interface.index == index);
        self.interfaces.iter().find(|(index, _)| !is_there(*index)).map(|(_, name)| name.as_str())
    }
}

/// Carries the plan out. On an error, what was attached so far is detached again.
pub(super) fn attach(ebpf: &mut Ebpf, plan: &[Step]) -> Result<Links> {
    let mut links = Links::default();
    for step in plan {
        let name = step.program();
        let program = ebpf.program_mut(name).context("program missing")?;
        let (hook, held, fallback) = match step.side {
            Side::Ingress(mode) => attach_xdp(program.try_into()?, &step.interface, mode)?,
            Side::Egress { clsact } => attach_egress(program.try_into()?, &step.interface, clsact)
                .with_context(|| format!("{}: can't watch the sending side", step.interface.name))?,
        };
        let Interface { name, index, .. } = &step.interface;
        links.attachments.push(Attachment { interface: name.clone(), hook, fallback });
        links.interfaces.push((*index, name.clone()));
        links.held.push(held);
    }
    Ok(links)
}

type Attached = (Hook, Held, Option<String>);

/// Attaches to the receiving side, in the mode wanted.
fn attach_xdp(program: &mut Xdp, interface: &Interface, mode: XdpMode) -> Result<Attached> {
    if mode == XdpMode::Generic {
        let link = link_xdp(program, interface, xdp::XdpMode::Skb)
            .map_err(|error| refusal(interface, mode, &error))?;
        return Ok((Hook::XdpGeneric, link, None));
    }
    let error = match link_xdp(program, interface, xdp::XdpMode::Driver) {
        Ok(link) => return Ok((Hook::XdpNative, link, None)),
        Err(error) => error,
    };
    if mode == XdpMode::Native || !is_drivers_limit(&error) {
        return Err(refusal(interface, XdpMode::Native, &error));
    }
    let reason = format!("native mode isn't possible: {}", root_cause(&error));
    let link = link_xdp(program, interface, xdp::XdpMode::Skb)
        .map_err(|error| refusal(interface, XdpMode::Generic, &error))?;
    Ok((Hook::XdpGeneric, link, Some(reason)))
}

/// Attaches by a `bpf_link`, and insists on one.
fn link_xdp(program: &mut Xdp, interface: &Interface, mode: xdp::XdpMode) -> Result<Held> {
    let id = program.attach_to_if_index(interface.index, mode)?;
    // On EINVAL aya tries netlink, whose attachments survive the process. If that is what this is,
    // the conversion fails and drops it.
    let link = FdLink::try_from(program.take_link(id)?).context("the kernel gave no bpf_link for XDP")?;
    Ok(Held::Link(link))
}

/// Whether native mode failed for want of the driver's ability: generic mode may do then.
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
    cause.to_string()
}

/// Says why an interface takes no XDP program, and what to do.
fn refusal(interface: &Interface, mode: XdpMode, error: &anyhow::Error) -> anyhow::Error {
    let name = &interface.name;
    match errno(error.as_ref()) {
        Some(Errno::BUSY | Errno::EXIST) => {
            let others = others_on(interface);
            anyhow!(
                "{name}: another XDP program is attached already{others}; remove it (`ip link set dev {name} xdp off`, or stop its owner) and try again"
            )
        }
        Some(Errno::PERM) => explain(error),
        Some(Errno::NODEV) => anyhow!("{name}: the interface has gone"),
        _ if mode == XdpMode::Native => {
            anyhow!(
                "{name}: the driver can't run XDP in native mode ({}); use --xdp-mode auto or generic",
                root_cause(error)
            )
        }
        _ => anyhow!("{name}: can't attach XDP in {mode} mode: {}", root_cause(error)),
    }
}

/// The XDP programs that an interface has, as ` (id 12 "name")`.
fn others_on(interface: &Interface) -> String {
    let fresh = interface::find(&interface.name).unwrap_or_else(|_| interface.clone());
    let names: Vec<_> = loaded_programs()
        .flatten()
        .filter(|info| fresh.xdp_programs.contains(&info.id()))
        .map(|info| format!("id {} {:?}", info.id(), info.name_as_str().unwrap_or("?")))
        .collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

/// Attaches to the sending side, ahead of other programs: they may end the walk.
fn attach_egress(program: &mut SchedClassifier, interface: &Interface, clsact: bool) -> Result<Attached> {
    let name = &interface.name;
    if !clsact {
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = program.attach_with_options(name, TcAttachType::Egress, options)?;
        let link = FdLink::try_from(program.take_link(id)?).context("the kernel gave no bpf_link for TCX")?;
        return Ok((Hook::EgressTcx, Held::Link(link), None));
    }
    if let Err(error) = tc::qdisc_add_clsact(name)
        && errno(&error) != Some(Errno::EXIST)
        && !matches!(error, tc::TcError::AlreadyAttached)
    {
        bail!("can't add a clsact qdisc: {error}");
    }
    let options = TcAttachOptions::Netlink(NlOptions { priority: 1, ..NlOptions::default() });
    let id = program
        .attach_with_options(name, TcAttachType::Egress, options)
        .map_err(|error: ProgramError| anyhow!("can't add a clsact filter: {error}"))?;
    Ok((Hook::EgressClsact, Held::Filter(program.take_link(id)?), None))
}
