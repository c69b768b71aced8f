//! What the kernel's NAT does with source ports, as rules for nftables.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use clap::ValueEnum;

/// How the NAT chooses the port that a connection leaves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Nat {
    /// The machine's own port where it is free: the kernel's default.
    Kept,
    /// A random port (flag `random`).
    Random,
    /// A random port (flags `random,fully-random`), as kube-proxy asks for.
    FullyRandom,
    /// A port of a block that each machine has for itself, as a carrier's NAT gives.
    Blocks,
}

/// A machine's addresses before and behind the NAT. Both are of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    /// The machine's number, from 0.
    pub machine: usize,
    /// The machine's own address.
    pub private: IpAddr,
    /// Its address behind the NAT.
    pub public: IpAddr,
}

/// The source ports that [`Nat::Blocks`] gives to a machine.
pub(crate) fn block(machine: usize) -> RangeInclusive<u16> {
    let first = 20_000 + 1_000 * machine as u16;
    first..=first + 999
}

impl Nat {
    /// Its name, as it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Random => "random",
            Self::FullyRandom => "fully-random",
            Self::Blocks => "blocks",
        }
    }

    /// The ruleset for these machines.
    pub(crate) fn rules(self, mappings: &[Mapping]) -> String {
        let mut rules = String::new();
        for family in ["ip", "ip6"] {
            let ours = mappings.iter().filter(|mapping| mapping.private.is_ipv6() == (family == "ip6"));
            let lines: Vec<String> = ours.map(|mapping| self.rule(family, mapping)).collect();
            if !lines.is_empty() {
                let _ = write!(
                    rules,
                    "table {family} tmapx {{\nchain out {{\ntype nat hook postrouting priority srcnat;\n{}}}\n}}\n",
                    lines.concat()
                );
            }
        }
        rules
    }

    fn rule(self, family: &str, mapping: &Mapping) -> String {
        let Mapping { machine, private, public } = mapping;
        let target = match self {
            Self::Kept => public.to_string(),
            Self::Random => format!("{public} random"),
            Self::FullyRandom => format!("{public} random,fully-random"),
            Self::Blocks => {
                let (first, last) = block(*machine).into_inner();
                let host = if public.is_ipv6() { format!("[{public}]") } else { public.to_string() };
                format!("{host}:{first}-{last}")
            }
        };
        format!("{family} saddr {private} meta l4proto tcp snat to {target}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(machine: usize, private: &str, public: &str) -> Mapping {
        Mapping { machine, private: private.parse().unwrap(), public: public.parse().unwrap() }
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for nat in Nat::value_variants() {
            assert_eq!(Nat::from_str(nat.name(), false), Ok(*nat));
        }
    }

    #[test]
    fn each_way_has_its_rule() {
        let one = [mapping(3, "10.0.0.2", "198.51.100.1")];
        let rule = |nat: Nat| nat.rules(&one).lines().nth(3).unwrap().to_owned();
        let start = "ip saddr 10.0.0.2 meta l4proto tcp snat to 198.51.100.1";
        assert_eq!(rule(Nat::Kept), start);
        assert_eq!(rule(Nat::Random), format!("{start} random"));
        assert_eq!(rule(Nat::FullyRandom), format!("{start} random,fully-random"));
        assert_eq!(rule(Nat::Blocks), format!("{start}:23000-23999"));
    }

    #[test]
    fn a_family_without_machines_has_no_table() {
        let both = [mapping(0, "10.0.0.2", "198.51.100.1"), mapping(0, "fd78::2", "2001:db8::1")];
        let rules = Nat::Blocks.rules(&both);
        assert!(rules.contains("ip6 saddr fd78::2 meta l4proto tcp snat to [2001:db8::1]:20000-20999\n"));
        assert_eq!(rules.matches("table").count(), 2);
        assert!(!Nat::Kept.rules(&both[1..]).contains("table ip "));
    }

    #[test]
    fn blocks_of_sixteen_machines_fit() {
        assert_eq!(block(0), 20_000..=20_999);
        assert_eq!(block(15), 35_000..=35_999);
    }
}
