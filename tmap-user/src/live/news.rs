//! The thread that hears of changes of interfaces, for the control loop.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::sync::Notify;

use crate::{capture::xdp, sandbox};

/// The shortest time between two pieces of news: where hundreds of containers start, one check serves many.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);

/// What the control loop hears of interfaces.
#[derive(Debug)]
pub(super) struct News {
    changed: Arc<Notify>,
    is_heard: bool,
}

impl News {
    /// Starts a thread that listens, where there is news and the system grants a thread.
    pub(super) fn of(news: io::Result<xdp::News>) -> Self {
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        let listen = move |news: xdp::News| {
            sandbox::give_up();
            while news.wait().is_ok() {
                told.notify_one();
                thread::sleep(AT_MOST_EVERY);
            }
        };
        let started =
            news.and_then(|news| thread::Builder::new().name("news".to_owned()).spawn(move || listen(news)));
        Self { changed, is_heard: started.is_ok() }
    }

    /// Whether news comes.
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Waits until an interface changed since the last call; for ever where no news comes.
    pub(super) async fn come(&self) {
        self.changed.notified().await;
    }
}
