//! The far side: a TCP server on the kernel's own stack.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::world::{PORTS, SERVER};
use crate::namespaces::Namespace;

/// A request is this long; the answer is longer, within one segment.
pub const REQUEST_BYTES: usize = 120;
/// The length of an answer.
pub const ANSWER_BYTES: usize = 700;
/// No thread outlives a silent peer for longer than this.
const PATIENCE: Duration = Duration::from_secs(5);
const STACK_BYTES: usize = 64 * 1024;

/// Listens inside `far` and answers until `stop`; the threads end by themselves after it.
///
/// # Errors
/// When the addresses cannot be bound.
pub fn start(far: &Namespace, stop: &Arc<AtomicBool>) -> Result<()> {
    for port in PORTS {
        let listener = std::thread::scope(|scope| {
            let bind = || -> Result<TcpListener> {
                far.enter()?;
                // A socket stays in the namespace in which it was made.
                TcpListener::bind(SocketAddr::from((SERVER, port))).context("the server cannot listen")
            };
            scope.spawn(bind).join().expect("the thread does not panic")
        })?;
        listener.set_nonblocking(true)?;
        let stop = Arc::clone(stop);
        std::thread::spawn(move || accept(&listener, &stop));
    }
    Ok(())
}

fn accept(listener: &TcpListener, stop: &Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                // Without a thread the stream is dropped, which the client sees as an end.
                let _ = thread.spawn(move || answer(stream));
            }
            // Nothing waits: the handshake is the kernel's, so a pause here delays no segment of it.
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Answers request by request until the client closes.
fn answer(mut stream: TcpStream) {
    let ready = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_nodelay(true))
        .and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    if ready.is_err() {
        return;
    }
    let (mut request, answer) = ([0; REQUEST_BYTES], [b'.'; ANSWER_BYTES]);
    while stream.read_exact(&mut request).is_ok() && stream.write_all(&answer).is_ok() {}
}
