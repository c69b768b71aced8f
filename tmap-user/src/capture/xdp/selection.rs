//! Which interfaces are watched, and in which order. Pure: it decides on lists of interfaces.

use anyhow::{Result, bail};

use super::{carried::Carried, interface::Interface};

/// The word for all interfaces.
const ANY: &str = "any";

/// The kernel stacks interfaces no deeper than this (`MAX_NEST_DEV`).
const MAX_DEPTH: usize = 8;

/// What the user asked for.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    /// All interfaces that are up, each frame once.
    pub(super) any: bool,
    /// Interfaces by name.
    pub(super) names: Vec<String>,
    /// Whether tunnels are decapsulated.
    pub(super) decap: bool,
    /// Indices of the interfaces that are watched already.
    pub(super) watched: Vec<u32>,
}

impl Selection {
    /// Reads the names, of which one may be [`ANY`].
    pub(super) fn new(wanted: &[String], decap: bool) -> Self {
        let names = wanted.iter().filter(|name| *name != ANY).cloned().collect();
        Self { any: wanted.iter().any(|name| name == ANY), names, decap, watched: Vec::new() }
    }

    /// The interfaces to watch, lower ones first: the kernel refuses an XDP program on a port if the bridge
    /// above has one, but not the reverse.
    pub(super) fn choose<'a>(&self, all: &'a [Interface]) -> Vec<&'a Interface> {
        let mut chosen: Vec<&Interface> =
            all.iter().filter(|interface| self.asks_for(interface) || self.takes(interface, all)).collect();
        chosen.sort_by_key(|interface| {
            // In the order of the command line where nothing else decides.
            let place = self.names.iter().position(|name| interface.is_named(name));
            (depth(interface, all, MAX_DEPTH), place.unwrap_or(usize::MAX))
        });
        chosen
    }

    /// Whether the user named an interface.
    pub(super) fn asks_for(&self, interface: &Interface) -> bool {
        self.names.iter().any(|name| interface.is_named(name))
    }

    /// Whether `any` includes an interface. What others show already would show frames a second time.
    fn takes(&self, interface: &Interface, all: &[Interface]) -> bool {
        self.any
            && is_candidate(interface)
            && !self.is_unwrapped(interface)
            && self.shown_before(interface, all).is_none()
    }

    /// Whether the interfaces of this network namespace show what this one shows, as they carry it wrapped.
    fn is_unwrapped(&self, interface: &Interface) -> bool {
        self.decap && matches!(interface.carried, Carried::Wrapped | Carried::Unknown)
    }

    /// Whether what is watched is to be left out from now on, because others carry it wrapped for certain.
    pub(super) fn is_shown_wrapped(&self, interface: &Interface) -> bool {
        self.decap && interface.carried == Carried::Wrapped && !self.asks_for(interface)
    }

    /// Whether it matters which tunnels a relay hands over on the loopback: they are missed without a watch
    /// on their own interfaces.
    pub(super) fn asks_for_relays(&self, all: &[Interface]) -> bool {
        let is_loopback_watched = || all.iter().any(|other| other.is_loopback() && self.asks_for(other));
        self.any && self.decap && !is_loopback_watched()
    }

    /// The interface below this one that shows its frames already. One that is watched anyway does so even
    /// while it is down: when it comes up, it is to show them from the first one on, and alone.
    pub(super) fn shown_before<'a>(
        &self,
        interface: &'a Interface,
        all: &'a [Interface],
    ) -> Option<&'a Interface> {
        if interface.carried != Carried::Plainly {
            return None;
        }
        let is_watched = |lower: &Interface| self.watched.contains(&lower.index) || self.asks_for(lower);
        lower_than(interface, all).find(|lower| is_candidate(lower) || is_watched(lower))
    }

    /// The names for which there is no interface.
    pub(super) fn missing(&self, all: &[Interface]) -> Vec<&str> {
        let is_there = |name: &&String| all.iter().any(|interface| interface.is_named(name));
        self.names.iter().filter(|name| !is_there(name)).map(String::as_str).collect()
    }

    /// How many interfaces `any` leaves out because their names are no UTF-8. One that got its name while it
    /// was watched still is.
    pub(super) fn oddly_named(&self, all: &[Interface]) -> usize {
        let is_left_out = |interface: &&Interface| {
            interface.is_name_odd && is_usable(interface) && !self.watched.contains(&interface.index)
        };
        if self.any { all.iter().filter(is_left_out).count() } else { 0 }
    }

    /// Fails if an interface is missing, or if there is none to watch.
    pub(super) fn check(&self, all: &[Interface]) -> Result<()> {
        let names: Vec<_> = all.iter().map(|interface| interface.name.as_str()).collect();
        if let Some(name) = self.missing(all).first() {
            bail!("{name}: no such interface; there are: {} (--wait waits for it)", names.join(", "));
        }
        if !self.choose(all).is_empty() {
            return Ok(());
        }
        if self.oddly_named(all) > 0 {
            bail!("no interface is up but such whose names are not UTF-8; rename them");
        }
        if let Some(Interface { name, .. }) = all.iter().find(|interface| is_candidate(interface)) {
            bail!(
                "any leaves {name} out, because its frames come in by other interfaces, and none of those \
                 can be watched; watch it with -i {name}"
            );
        }
        let mut others = all.iter().filter(|interface| interface.is_up && !interface.is_loopback());
        if let Some(error) = others.find_map(|interface| interface.link().err()) {
            return Err(error);
        }
        bail!("no interface is up but the loopback; there are: {}", names.join(", "));
    }
}

/// Whether `any` includes an interface, unless another one shows its frames.
fn is_candidate(interface: &Interface) -> bool {
    is_usable(interface) && !interface.is_name_odd
}

/// Whether `any` would include an interface, whatever its name is.
fn is_usable(interface: &Interface) -> bool {
    interface.is_up && !interface.is_loopback() && interface.link().is_ok()
}

/// The interfaces directly below: the ports of a bridge or bond, the parent of a VLAN or macvlan, what a
/// tunnel is bound to.
fn lower_than<'a>(interface: &'a Interface, all: &'a [Interface]) -> impl Iterator<Item = &'a Interface> {
    all.iter().filter(move |other| {
        let is_parent = interface.parent == Some(other.index);
        // The ends of a veth pair name each other.
        let is_peer = is_parent && (other.parent == Some(interface.index) || interface.is_veth());
        other.master == Some(interface.index) || is_parent && !is_peer
    })
}

/// The interfaces directly above.
pub(super) fn upper_than<'a>(
    interface: &'a Interface,
    all: &'a [Interface],
) -> impl Iterator<Item = &'a Interface> {
    all.iter().filter(move |other| lower_than(other, all).any(|lower| lower.index == interface.index))
}

/// How many interfaces are stacked below.
fn depth(interface: &Interface, all: &[Interface], most: usize) -> usize {
    if most == 0 {
        return 0;
    }
    lower_than(interface, all).map(|lower| 1 + depth(lower, all, most - 1)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::LinkLayerType;

    use super::*;
    use crate::capture::xdp::interface::fake;

    fn chosen(wanted: &[&str], all: &[Interface]) -> Vec<String> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        Selection::new(&wanted, true).choose(all).iter().map(|interface| interface.name.clone()).collect()
    }

    /// A bridge with a port, a VLAN on the bridge, one end of a veth pair with its peer, a tunnel.
    fn machine() -> Vec<Interface> {
        vec![
            Interface { master: Some(2), ..fake("p1", 5) },
            Interface { kind: "bridge".to_owned(), ..fake("br0", 2) },
            Interface { kind: "vlan".to_owned(), parent: Some(2), ..fake("br0.7", 3) },
            Interface { kind: "veth".to_owned(), parent: Some(8), ..fake("va", 7) },
            Interface { kind: "veth".to_owned(), parent: Some(7), ..fake("vb", 8) },
            Interface { kind: "vxlan".to_owned(), carried: Carried::Wrapped, ..fake("vx0", 9) },
            Interface { is_up: false, ..fake("eth1", 10) },
        ]
    }

    #[test]
    fn lower_interfaces_come_first() {
        let all = machine();
        assert_eq!(chosen(&["br0.7", "br0", "p1"], &all), ["p1", "br0", "br0.7"]);
        assert_eq!(chosen(&["vb", "va"], &all), ["vb", "va"], "neither is below the other");
        assert_eq!(chosen(&["p1", "p1"], &all), ["p1"]);
    }

    /// The slaves come first, since a program on the bond keeps programs off them. Every frame of the bond
    /// came in by one of them.
    #[test]
    fn a_bond_comes_after_its_slaves() {
        let all = [
            Interface { kind: "bond".to_owned(), ..fake("bond0", 2) },
            Interface { master: Some(2), ..fake("eth0", 3) },
            Interface { master: Some(2), ..fake("eth1", 4) },
            Interface { kind: "vlan".to_owned(), parent: Some(2), ..fake("bond0.7", 5) },
        ];
        assert_eq!(chosen(&["bond0", "eth1", "eth0"], &all), ["eth1", "eth0", "bond0"]);
        assert_eq!(chosen(&["any"], &all), ["eth0", "eth1"]);
    }

    #[test]
    fn any_shows_each_frame_once() {
        let all = machine();
        assert_eq!(chosen(&["any"], &all), ["p1", "va", "vb"]);
        assert_eq!(chosen(&["any", "br0"], &all), ["p1", "va", "vb", "br0"]);
    }

    /// One that the interface it is bound to can't show, one that it can, and a bridge above both.
    #[test]
    fn any_takes_a_tunnel_where_nothing_else_shows_its_frames() {
        let tunnel = |name, index, carried| {
            let (kind, parent, master) = ("vxlan".to_owned(), Some(2), Some(6));
            Interface { kind, parent, master, carried, ..fake(name, index) }
        };
        let all = [
            tunnel("hidden", 4, Carried::Hidden),
            tunnel("wrapped", 5, Carried::Wrapped),
            Interface { kind: "bridge".to_owned(), ..fake("br0", 6) },
            fake("eth0", 2),
        ];
        assert_eq!(chosen(&["any"], &all), ["eth0", "hidden"], "the kernel wants the lower one first");
        let any = Selection::new(&["any".to_owned()], false);
        let names: Vec<&str> = any.choose(&all).iter().map(|interface| &interface.name[..]).collect();
        assert_eq!(names, ["eth0", "hidden", "wrapped"], "without decapsulation");
        assert!(any.check(&all[..1]).is_ok());
    }

    #[test]
    fn an_alternative_name_is_a_name() {
        let alternative_names = vec!["enp3s0".to_owned(), "uplink".to_owned()];
        let all = [fake("eth1", 3), Interface { alternative_names, ..fake("eth0", 2) }];
        assert_eq!(chosen(&["uplink", "eth1", "enp3s0"], &all), ["eth0", "eth1"]);
        let selection = Selection::new(&["uplink".to_owned(), "wan".to_owned()], true);
        assert_eq!(selection.missing(&all), ["wan"]);
        let odd = Interface { is_name_odd: true, ..all[1].clone() };
        assert_eq!(selection.missing(&[odd]), ["uplink", "wan"]);
    }

    #[test]
    fn an_error_does_not_hide_what_is_up() {
        let any = Selection::new(&["any".to_owned()], true);
        let error = |all: &[Interface]| any.check(all).expect_err("none can be watched").to_string();
        let lo = Interface { link_type: LinkLayerType::Loopback, ..fake("lo", 1) };
        let tunnel = Interface { carried: Carried::Wrapped, ..fake("vx0", 9) };
        let text = error(&[lo.clone(), tunnel]);
        assert!(text.starts_with("any leaves vx0 out") && text.ends_with("watch it with -i vx0"), "{text}");
        let text = error(&[lo.clone(), Interface { link_type: LinkLayerType::Can, ..fake("can0", 4) }]);
        assert!(text.starts_with("can0: interfaces of type Can are not supported"), "{text}");
        assert_eq!(error(&[lo]), "no interface is up but the loopback; there are: lo");
    }

    /// Its ports are down. It is watched where none of them is.
    #[test]
    fn a_bridge_stays_out_while_a_port_is_watched() {
        let down = |name, index| Interface { master: Some(2), is_up: false, ..fake(name, index) };
        let all = [fake("br0", 2), down("p1", 5), down("p2", 6)];
        assert_eq!(chosen(&["any"], &all), ["br0"]);
        assert_eq!(chosen(&["any", "p2"], &all), ["p2"]);
        let selection = Selection { watched: vec![5], ..Selection::new(&["any".to_owned()], true) };
        assert!(selection.choose(&all).is_empty());
        assert_eq!(selection.shown_before(&all[0], &all).map(|lower| &lower.name[..]), Some("p1"));
        assert!(selection.shown_before(&all[1], &all).is_none());
    }

    #[test]
    fn names_that_are_no_utf_8_are_nobodys() {
        let odd = |name, index| Interface { is_name_odd: true, ..fake(name, index) };
        let down = Interface { is_up: false, ..odd("x\u{fffd}", 4) };
        let all = [fake("p1", 2), odd("odd\u{fffd}", 3), down];
        assert_eq!(chosen(&["any", "odd\u{fffd}"], &all), ["p1"]);
        let any = Selection::new(&["any".to_owned()], true);
        assert_eq!(any.oddly_named(&all), 1);
        assert_eq!(Selection { watched: vec![3], ..any.clone() }.oddly_named(&all), 0);
        assert_eq!(Selection::new(&["p1".to_owned()], true).oddly_named(&all), 0);
        let error = any.check(&all[1..]).expect_err("there is none").to_string();
        assert!(error.contains("not UTF-8"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let all = machine();
        let selection = Selection::new(&["p1".to_owned(), "ppp0".to_owned()], true);
        assert_eq!(selection.missing(&all), ["ppp0"]);
        let error = selection.check(&all).expect_err("it is missing").to_string();
        assert!(error.contains("ppp0: no such interface; there are: p1, br0"), "{error}");
        assert!(Selection::new(&["any".to_owned()], true).check(&all[6..]).is_err());
    }
}
