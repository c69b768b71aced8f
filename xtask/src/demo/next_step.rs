//! What to type next, after the demonstration.

use std::{fs, path::Path};

/// Prints the command that watches the user's own traffic with the program at `tmap`.
pub(super) fn print(tmap: &Path) {
    let read = |name: &str| fs::read_to_string(Path::new("/proc/net").join(name)).unwrap_or_default();
    println!("\n{}", line(&shown(tmap), &read("route"), &read("ipv6_route")));
}

/// The command in words. `ip4` and `ip6` are the kernel's routes, as in `/proc/net/route` and
/// `/proc/net/ipv6_route`: traffic on the interface of a default route is most likely what the user wants to
/// see.
fn line(tmap: &str, ip4: &str, ip6: &str) -> String {
    match default_of_ip4(ip4).or_else(|| default_of_ip6(ip6)) {
        Some(interface) => format!("Now your own traffic: sudo {tmap} -i {interface}"),
        None => format!(
            "Now your own traffic: sudo {tmap} -i any\n(No default route names an interface here; `any` \
             watches all that are up.)"
        ),
    }
}

/// The program as it can be typed here.
fn shown(tmap: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| tmap.strip_prefix(here).ok());
    below.unwrap_or(tmap).display().to_string()
}

/// The route is used (`RTF_UP` in Linux' `route.h`).
const UP: u32 = 0x1;
/// The route leads nowhere (`RTF_REJECT`).
const REJECT: u32 = 0x200;

/// The interface of IPv4's default route: interface, destination, gateway, flags, three numbers and the mask
/// in each line.
fn default_of_ip4(routes: &str) -> Option<&str> {
    routes.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [interface, "00000000", _, flags, _, _, _, "00000000", ..] = words[..] else { return None };
        leads_somewhere(flags).then_some(interface)
    })
}

/// The interface of IPv6's default route: destination and its prefix length, source and its, next hop, three
/// numbers, flags and interface in each line.
fn default_of_ip6(routes: &str) -> Option<&str> {
    routes.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [destination, "00", _, _, _, _, _, _, flags, interface] = words[..] else { return None };
        (destination.bytes().all(|byte| byte == b'0') && leads_somewhere(flags)).then_some(interface)
    })
}

fn leads_somewhere(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & (UP | REJECT) == UP)
}

#[cfg(test)]
mod tests {
    use super::line;

    const IP4: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        br0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    const IP4_DEFAULT: &str = "wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n";
    const NONE: &str = "00000000000000000000000000000000";

    #[test]
    fn the_default_route_names_the_interface() {
        let half = "tun0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n";
        let nowhere = "*\t00000000\t00000000\t0200\t0\t0\t0\t00000000\t0\t0\t0\n";
        let routes = [IP4, half, nowhere, IP4_DEFAULT].concat();
        assert_eq!(line("tmap", &routes, ""), "Now your own traffic: sudo tmap -i wlan0");
    }

    #[test]
    fn so_does_that_of_ip6_alone() {
        let own = "fe800000000000000000000000000000";
        let routes = format!(
            "{own} 40 {NONE} 00 {NONE} 00000100 00000001 00000000 00000001 eth1\n\
             {NONE} 00 {NONE} 00 {NONE} ffffffff 00000001 00000000 00200200       lo\n\
             {NONE} 00 {NONE} 00 {own} 00000400 00000002 00000000 00000003 eth1\n"
        );
        assert_eq!(line("tmap", IP4, &routes), "Now your own traffic: sudo tmap -i eth1");
    }

    #[test]
    fn without_a_default_route_all_interfaces_are_offered() {
        let text = line("tmap", IP4, &format!("{NONE} 00 {NONE} 00 {NONE} ffffffff 1 0 00200200 lo\n"));
        assert!(text.starts_with("Now your own traffic: sudo tmap -i any\n"), "{text}");
        assert_eq!(line("tmap", "", ""), text);
    }
}
