//! Real TCP conversations over a [`Wire`], in step: a side speaks only when it was answered, so that
//! nothing on the way merges segments.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::net::namespaces::Wire;

/// Both addresses of the far end, with port 8080.
pub const SERVERS: [&str; 2] = ["192.0.2.2:8080", "[2001:db8::2]:8080"];

/// A conversation of `exchanges` questions and answers of up to a thousand bytes, from the near end
/// to `server` at the far one. Every byte is checked.
///
/// # Panics
/// Where anything goes wrong.
pub fn in_step(wire: &Wire, server: &str, exchanges: usize) {
    let server: SocketAddr = server.parse().expect("an address");
    let listener = wire.far.run(|| listen(server));
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("set");
        for turn in 0..exchanges {
            receive(&mut stream, turn);
            stream.write_all(&message(turn + 1)).expect("answered");
        }
        // The client ends first.
        assert_eq!(stream.read(&mut [0; 1]).expect("an end"), 0);
    });
    let mut stream = wire.near.run(|| TcpStream::connect(server).expect("connected"));
    stream.set_nodelay(true).expect("set");
    for turn in 0..exchanges {
        stream.write_all(&message(turn)).expect("sent");
        receive(&mut stream, turn + 1);
    }
    // Both sides are done before this returns, but for the last acknowledgement.
    stream.shutdown(Shutdown::Write).expect("ended");
    assert_eq!(stream.read(&mut [0; 1]).expect("an end"), 0);
    answering.join().expect("served");
}

/// Sends `bytes` bytes from the near end to the far one at once, and checks them there.
///
/// # Panics
/// Where anything goes wrong.
pub fn in_bulk(wire: &Wire, bytes: usize) {
    let server: SocketAddr = SERVERS[0].parse().expect("an address");
    let listener = wire.far.run(|| listen(server));
    let sent: Vec<u8> = (0..bytes).map(|index| (index * 31 % 251) as u8).collect();
    thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            let mut received = Vec::new();
            listener.accept().expect("a client").0.read_to_end(&mut received).expect("received");
            received
        });
        let mut stream = wire.near.run(|| TcpStream::connect(server).expect("connected"));
        stream.write_all(&sent).expect("sent");
        drop(stream);
        assert!(receiving.join().expect("served") == sent, "what arrived isn't what was sent");
    });
}

/// Listens. A process that another test is just starting has a copy of the last listener's socket until it
/// is on its own; meanwhile the address is in use.
fn listen(server: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match TcpListener::bind(server) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result.expect("bound"),
        }
    }
}

fn message(turn: usize) -> Vec<u8> {
    vec![turn as u8; 1 + turn * 37 % 1000]
}

fn receive(stream: &mut TcpStream, turn: usize) {
    let expected = message(turn);
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).expect("received");
    assert_eq!(bytes, expected);
}
