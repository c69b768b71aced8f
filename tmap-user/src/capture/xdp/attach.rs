//! Attachment: which program goes to which interface, and the links that hold it there.

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
use crate::without_error_codes;

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

/// Plans what to attach: looks the interfaces up and changes nothing.
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

/// The links that hold the programs in place; dropping them detaches the programs.
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
    /// A `bpf_link`: gone when its descriptor is closed, however the process ends.
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
                .with_context(|| format!("{}: cannot watch outgoing segments", step.interface.name))?,
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
    let reason = format!("native mode is not possible: {}", root_cause(&error));
    let link = link_xdp(program, interface, xdp::XdpMode::Skb)
        .map_err(|error| refusal(interface, XdpMode::Generic, &error))?;
    Ok((Hook::XdpGeneric, link, Some(reason)))
}

/// Attaches by a `bpf_link`, and insists on one.
fn link_xdp(program: &mut Xdp, interface: &Interface, mode: xdp::XdpMode) -> Result<Held> {
    let id = program.attach_to_if_index(interface.index, mode)?;
    // On EINVAL aya tries netlink, whose attachments survive the process. Then the conversion fails and
    // drops the attachment.
    let link = FdLink::try_from(program.take_link(id)?).context("the kernel gave no bpf_link for XDP")?;
    Ok(Held::Link(link))
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

/// The error for an interface that takes no XDP program: why, and what to do.
fn refusal(interface: &Interface, mode: XdpMode, error: &anyhow::Error) -> anyhow::Error {
    let name = &interface.name;
    match errno(error.as_ref()) {
        Some(Errno::BUSY | Errno::EXIST) => {
            match &others_on(interface)[..] {
                // The kernel refuses a port if its bridge has a program, but not the reverse.
                [] => anyhow!(
                    "{name}: an interface above it, such as its bridge or bond, has an XDP program; give \
                     -i {name} before that interface, or stop the owner of the program"
                ),
                others => anyhow!(
                    "{name}: another XDP program is attached ({}); stop its owner if nothing depends \
                     on it, or watch another interface",
                    others.join(", ")
                ),
            }
        }
        Some(Errno::PERM) => explain(error),
        Some(Errno::NODEV) => anyhow!("{name}: the interface is gone; start tmap again when it is back"),
        _ if mode == XdpMode::Native => {
            anyhow!(
                "{name}: the driver cannot run XDP in native mode ({}); use --xdp-mode auto or generic",
                root_cause(error)
            )
        }
        _ => anyhow!("{name}: cannot attach XDP in {mode} mode: {}", root_cause(error)),
    }
}

/// The XDP programs of an interface, each as `id 12 "name"`.
fn others_on(interface: &Interface) -> Vec<String> {
    let fresh = interface::find(&interface.name).unwrap_or_else(|_| interface.clone());
    let name_of = |id| {
        let info = loaded_programs().flatten().find(|info| info.id() == id)?;
        Some(format!(" {:?}", info.name_as_str()?))
    };
    fresh.xdp_programs.iter().map(|&id| format!("id {id}{}", name_of(id).unwrap_or_default())).collect()
}

/// Attaches to the sending side, ahead of other programs, which may end the processing of a frame.
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
        bail!("cannot add a clsact qdisc: {error}");
    }
    let options = TcAttachOptions::Netlink(NlOptions { priority: 1, ..NlOptions::default() });
    let id = program
        .attach_with_options(name, TcAttachType::Egress, options)
        .map_err(|error: ProgramError| anyhow!("cannot add a clsact filter: {error}"))?;
    Ok((Hook::EgressClsact, Held::Filter(program.take_link(id)?), None))
}
