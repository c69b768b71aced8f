//! What to type next, after the demonstration.

use std::path::Path;

/// Prints the command that watches the user's own traffic with the program at `tmap`.
pub(super) fn print(tmap: &Path) {
    println!("\nNow your own traffic: sudo {} -i {}", shown(tmap), default_interface());
}

/// The program as it can be typed here.
fn shown(tmap: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| tmap.strip_prefix(here).ok());
    below.unwrap_or(tmap).display().to_string()
}

/// The interface of the default route, whose traffic the user most likely wants to see.
fn default_interface() -> String {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    interface_of(&routes).unwrap_or("eth0").to_owned()
}

/// The interface of the default route in the format of `/proc/net/route`: interface, destination, and more.
fn interface_of(routes: &str) -> Option<&str> {
    routes.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (interface, destination) = (words.next()?, words.next()?);
        (destination == "00000000").then_some(interface)
    })
}

#[cfg(test)]
mod tests {
    use super::interface_of;

    #[test]
    fn the_default_route_names_the_interface() {
        let routes = "Iface\tDestination\tGateway\nbr0\t0000A8C0\t0\nwlan0\t00000000\t0100A8C0\n";
        assert_eq!(interface_of(routes), Some("wlan0"));
        assert_eq!(interface_of("Iface\tDestination\n"), None);
    }
}
