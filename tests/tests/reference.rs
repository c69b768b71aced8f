//! The experiments of 2006 come out exactly: machines, connections, load shares, boot times.

use tmap::engine::{Engine, Options, Snapshot, Wanted, snapshot::AddressReport};
use tmap_common::Address;
use tmap_tests::reference::{Cluster, HTTP, Network, SMTP, traffic};

const NETWORKS: [Network; 3] = [
    Network { delay_s: 0.02, jitter_s: 0.002, loss: 0.01, duration_s: 3600.0, clients: 1, seed: 1 },
    Network { delay_s: 0.05, jitter_s: 0.01, loss: 0.05, duration_s: 1800.0, clients: 20, seed: 2 },
    Network { delay_s: 0.01, jitter_s: 0.0005, loss: 0.0, duration_s: 7200.0, clients: 3, seed: 3 },
];

fn run(clusters: &[Cluster], network: &Network) -> Snapshot {
    let mut engine = Engine::new(Options::default());
    let mut reviewed_ns = 0;
    let mut now_ns = 0;
    for record in traffic(clusters, network) {
        engine.observe(&record);
        now_ns = record.time_ns;
        if now_ns > reviewed_ns + 1_000_000_000 {
            reviewed_ns = now_ns;
            engine.review(now_ns);
        }
    }
    engine.snapshot(now_ns, Wanted::default())
}

fn check(cluster: &Cluster, report: &AddressReport) {
    let address = report.address;
    let total: u32 = cluster.machines.iter().map(|machine| machine.connections).sum();
    assert_eq!(report.machines, Some(cluster.machines.len() as u32), "machines behind {address}");
    assert_eq!(report.connections, u64::from(total), "connections of {address}");
    let mut free: Vec<_> = report.machine_list.iter().collect();
    for machine in cluster.machines {
        let truth_s = machine.boot_s(cluster.tick_hz);
        let error_s = |found: &tmap::engine::snapshot::MachineReport| {
            found.boot.map_or(f64::MAX, |boot| (boot.engine_s.value - truth_s).abs())
        };
        let nearest = (0..free.len()).min_by(|&a, &b| error_s(free[a]).total_cmp(&error_s(free[b]))).unwrap();
        let found = free.swap_remove(nearest);
        assert!(
            error_s(found) <= 1.0,
            "boot of {machine:?} behind {address}: {:?}, truth {truth_s}",
            found.boot
        );
        assert_eq!(found.tick_hz, cluster.tick_hz);
        assert_eq!(found.connections, f64::from(machine.connections), "{machine:?} behind {address}");
        let load = 100.0 * f64::from(machine.connections) / f64::from(total);
        assert!(
            (found.load_percent - load).abs() < 0.005,
            "{machine:?}: {} against {load}",
            found.load_percent
        );
        assert_eq!(found.ports.len(), 1);
        assert_eq!(found.ports[0].port, cluster.port);
    }
}

#[test]
fn the_smtp_cluster_of_2006() {
    for network in &NETWORKS {
        let snapshot = run(&[SMTP], network);
        check(&SMTP, report(&snapshot, &SMTP));
    }
}

#[test]
fn the_http_clusters_of_2006() {
    for network in &NETWORKS {
        let snapshot = run(&HTTP, network);
        for cluster in &HTTP {
            check(cluster, report(&snapshot, cluster));
        }
    }
}

fn report<'a>(snapshot: &'a Snapshot, cluster: &Cluster) -> &'a AddressReport {
    let address = Address::from_ip4(cluster.address);
    snapshot.addresses.iter().find(|report| report.address == address).unwrap()
}
