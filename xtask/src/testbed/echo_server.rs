//! An echo server on the kernel's TCP stack, in the namespace `far`.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::namespaces::Namespace;

/// A thread whose peer is silent for this long ends.
const PATIENCE: Duration = Duration::from_secs(30);
const STACK_BYTES: usize = 64 * 1024;

/// Listens inside `far` on every address and port, and echoes until `stop` is set. Then the threads end
/// by themselves.
///
/// # Errors
/// When an address cannot be bound.
pub(crate) fn start(
    far: &Namespace,
    addresses: &[IpAddr],
    ports: &[u16],
    stop: &Arc<AtomicBool>,
) -> Result<()> {
    for &address in addresses {
        for &port in ports {
            let listener = std::thread::scope(|scope| {
                let bind = || -> Result<TcpListener> {
                    far.enter()?;
                    // A socket stays in the namespace in which it was created.
                    let local = SocketAddr::from((address, port));
                    TcpListener::bind(local)
                        .with_context(|| format!("the echo server could not listen on {local}"))
                };
                scope.spawn(bind).join().expect("the thread does not panic")
            })?;
            listener.set_nonblocking(true)?;
            let stop = Arc::clone(stop);
            std::thread::spawn(move || accept(&listener, &stop));
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener, stop: &Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                // If there is no thread, the stream is dropped and the client sees a closed connection.
                let _ = thread.spawn(move || echo(stream));
            }
            // No connection is waiting. The kernel does the handshake, so this pause delays no segment.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Sends everything back until the client closes the connection.
fn echo(mut stream: TcpStream) {
    let ready = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_nodelay(true))
        .and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    if ready.is_err() {
        return;
    }
    let mut data = [0; 1400];
    while let Ok(length @ 1..) = stream.read(&mut data) {
        if stream.write_all(&data[..length]).is_err() {
            return;
        }
    }
}
