//! The experiments of 2006 come out exactly: machines, connections, load shares, boot times, from a
//! capture file by way of `tmap read --json`.

use serde_json::Value;
use tmap_tests::{
    command::{json_lines, tmap_with_input},
    simulate::published::{Cluster, HTTP, Length, Network, SMTP, traffic},
    wire::capture::plain,
};

const NETWORKS: [Network; 3] = [
    Network { delay_s: 0.02, jitter_s: 0.002, loss: 0.01, duration_s: 3600.0, clients: 1, seed: 1 },
    Network { delay_s: 0.05, jitter_s: 0.01, loss: 0.05, duration_s: 1800.0, clients: 20, seed: 2 },
    Network { delay_s: 0.01, jitter_s: 0.0005, loss: 0.0, duration_s: 900.0, clients: 3, seed: 3 },
];

/// The `address` lines of `tmap read --json` on the clusters' traffic.
fn addresses(clusters: &[Cluster], network: &Network, length: Length) -> Vec<Value> {
    let run = tmap_with_input(["read", "--json", "-"], &plain(&traffic(clusters, network, length)));
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let mut lines = json_lines(&run.out);
    lines.retain(|line| line["type"] == "address");
    lines
}

fn check(cluster: &Cluster, reports: &[Value]) {
    let [a, b, c, d] = cluster.address;
    let address = format!("{a}.{b}.{c}.{d}");
    let report = reports.iter().find(|report| report["address"] == address).expect("the address is there");
    let total: u32 = cluster.machines.iter().map(|machine| machine.connections).sum();
    assert_eq!(report["machines"], cluster.machines.len(), "machines behind {address}");
    assert_eq!(report["connections"], total, "connections of {address}");
    let mut free: Vec<&Value> = report["machine_list"].as_array().expect("a list").iter().collect();
    for machine in cluster.machines {
        let truth_s = machine.boot_s(cluster.tick_hz);
        let error_s = |found: &Value| (boot_s(found) - truth_s).abs();
        let nearest = (0..free.len()).min_by(|&a, &b| error_s(free[a]).total_cmp(&error_s(free[b]))).unwrap();
        let found = free.swap_remove(nearest);
        assert!(error_s(found) <= 1.0, "boot of {machine:?} behind {address}: {found}, truth {truth_s}");
        assert_eq!(found["tick_hz"], cluster.tick_hz);
        assert_eq!(found["connections"], f64::from(machine.connections), "{machine:?} behind {address}");
        let load = 100.0 * f64::from(machine.connections) / f64::from(total);
        let found_load = found["load_percent"].as_f64().expect("a share");
        assert!((found_load - load).abs() < 0.005, "{machine:?}: {found_load} against {load}");
        let ports = found["ports"].as_array().expect("a list");
        assert_eq!((ports.len(), &ports[0]["port"]), (1, &Value::from(cluster.port)));
    }
}

/// A machine's boot time, Unix time in seconds.
fn boot_s(machine: &Value) -> f64 {
    let text = machine["up_since"].as_str().expect("a boot time");
    let time: jiff::Timestamp = text.parse().expect("RFC 3339");
    time.as_nanosecond() as f64 * 1e-9
}

/// Checks an experiment's clusters on each network.
fn check_all(clusters: &[Cluster], length: Length) {
    for network in &NETWORKS {
        let reports = addresses(clusters, network, length);
        for cluster in clusters {
            check(cluster, &reports);
        }
    }
}

#[test]
fn the_smtp_cluster_of_2006() {
    check_all(&[SMTP], Length::Minutes);
}

#[test]
fn the_http_clusters_of_2006() {
    check_all(&HTTP, Length::Minutes);
}

/// A fifth of a second, eight segments a side.
#[test]
fn short_conversations_are_short() {
    for network in &NETWORKS {
        let records = traffic(&[SMTP], &Network { loss: 0.0, ..*network }, Length::Short);
        let connections: u32 = SMTP.machines.iter().map(|machine| machine.connections).sum();
        assert_eq!(records.len() as u32, connections * 2 * 8);
        let port = records[0].segment.src_port;
        let own: Vec<_> = records.iter().filter(|record| record.segment.src_port == port).collect();
        let length_ns = own[own.len() - 1].time_ns - own[0].time_ns;
        assert!((150_000_000..300_000_000).contains(&length_ns), "{length_ns}");
    }
}

#[test]
fn the_smtp_cluster_of_2006_in_short_conversations() {
    check_all(&[SMTP], Length::Short);
}

#[test]
fn the_http_clusters_of_2006_in_short_conversations() {
    check_all(&HTTP, Length::Short);
}
