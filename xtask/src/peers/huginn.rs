//! Runs huginn-net's TCP analysis on an interface until SIGINT. `cargo xtask bench versus` builds this
//! program. It prints every result, as huginn-net's own example does.

use huginn_net_db::{SharedTcpSignatureMatcher, TcpDatabase};
use huginn_net_tcp::{HuginnNetTcp, SharedTcpMatcher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

fn main() {
    let interface = std::env::args().nth(1).expect("an interface");
    let database = Arc::new(TcpDatabase::load_default().expect("the database is built in"));
    let matcher: SharedTcpMatcher = Arc::new(SharedTcpSignatureMatcher::new(database));
    let mut analyzer = HuginnNetTcp::new(20_000).with_matcher(matcher);
    let (sender, receiver) = mpsc::channel();
    let cancel = Arc::new(AtomicBool::new(false));
    let stop = cancel.clone();
    ctrlc::set_handler(move || stop.store(true, Ordering::Relaxed)).expect("a handler");
    let seen = cancel.clone();
    std::thread::spawn(move || {
        if let Err(error) = analyzer.analyze_network(&interface, sender, Some(cancel)) {
            eprintln!("{error}");
        }
    });
    let mut counts = [0_u64; 4];
    while !seen.load(Ordering::Relaxed) {
        let Ok(result) = receiver.recv_timeout(std::time::Duration::from_millis(100)) else { continue };
        let found = [
            result.syn.map(|found| found.to_string()),
            result.syn_ack.map(|found| found.to_string()),
            result.client_uptime.map(|found| found.to_string()),
            result.server_uptime.map(|found| found.to_string()),
        ];
        for (count, found) in counts.iter_mut().zip(found) {
            if let Some(text) = found {
                *count += 1;
                println!("{text}");
            }
        }
    }
    let [syns, answers, clients, servers] = counts;
    eprintln!("SYN {syns}, SYN-ACK {answers}, uptimes of clients {clients}, of servers {servers}");
}
