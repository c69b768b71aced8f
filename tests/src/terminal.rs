//! Runs the `tmap` command in a terminal: a pseudo-terminal on one side, an interpreter of what terminals
//! understand on the other.

use std::{
    io::{Read as _, Write as _},
    num::NonZero,
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::{
        signal::Signal,
        termios::{Termios, tcgetattr},
    },
};
use pty_process::{
    Size,
    blocking::{Command, Pty, open},
};
use vt100::{Color, Parser};

use crate::{
    command::{PATIENCE, binary, end_of, signal_child},
    net::namespaces::Namespace,
};

/// What a program wrote, interpreted and as it came.
struct Shown {
    parser: Parser,
    raw: Vec<u8>,
}

/// A `tmap` in a terminal. Dropping it kills it.
pub struct Terminal {
    /// `None` once it vanished.
    pty: Option<Arc<Pty>>,
    /// Another handle of the terminal, so that it outlives the program.
    slave: OwnedFd,
    child: Child,
    shown: Arc<Mutex<Shown>>,
    is_gone: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// Takes in what the program writes, until it has ended or the terminal vanishes.
fn read(pty: &Pty, shown: &Mutex<Shown>, is_gone: &AtomicBool) {
    let mut bytes = [0; 1 << 14];
    while !is_gone.load(Ordering::Relaxed) {
        let mut polled = [PollFd::new(pty.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, 50_u8) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        let mut pty = pty;
        let Ok(count @ 1..) = pty.read(&mut bytes) else { return };
        let mut shown = shown.lock().expect("no other thread panics");
        shown.parser.process(&bytes[..count]);
        shown.raw.extend_from_slice(&bytes[..count]);
    }
}

fn non_zero(value: u16) -> NonZero<u16> {
    NonZero::new(value).expect("a terminal has rows and columns")
}

impl Terminal {
    /// Starts `tmap` with these arguments and variables in a terminal of so many columns and rows.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn start(arguments: &[&str], variables: &[(&str, &str)], size: (u16, u16)) -> Self {
        let command = Command::new(binary()).arg0("tmap").args(arguments);
        Self::spawn(command, variables, size)
    }

    /// Starts `tmap` in this folder.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn start_at(folder: &str, arguments: &[&str], size: (u16, u16)) -> Self {
        let command = Command::new(binary()).arg0("tmap").args(arguments).current_dir(folder);
        Self::spawn(command, &[], size)
    }

    /// Starts `tmap` in a namespace.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn start_in(namespace: &Namespace, arguments: &[&str], size: (u16, u16)) -> Self {
        Self::start_program(namespace, &binary().to_string_lossy(), arguments, size)
    }

    /// Starts what a shell makes of this line.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn start_shell(line: &str, size: (u16, u16)) -> Self {
        Self::spawn(Command::new("sh").args(["-c", line]), &[], size)
    }

    /// Starts this program in a namespace.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn start_program(namespace: &Namespace, program: &str, arguments: &[&str], size: (u16, u16)) -> Self {
        let command = Command::new("ip").args(["netns", "exec", namespace.name(), program]);
        Self::spawn(command.args(arguments), &[], size)
    }

    fn spawn(command: Command, variables: &[(&str, &str)], (columns, rows): (u16, u16)) -> Self {
        let (pty, slave) = open().expect("a pseudo-terminal");
        pty.resize(Size::new(rows, columns)).expect("a size");
        let command = command.env("TZ", "Europe/Warsaw").env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let mut command = command.envs(variables.iter().copied()).env_remove("RUST_BACKTRACE");
        let child = command.spawn_borrowed(&slave).expect("tmap runs");
        let slave = slave.as_fd().try_clone_to_owned().expect("a handle");
        let parser = Parser::new(non_zero(rows), non_zero(columns), 1_000);
        let shown = Arc::new(Mutex::new(Shown { parser, raw: Vec::new() }));
        let pty = Arc::new(pty);
        let is_gone = Arc::new(AtomicBool::new(false));
        let (own, sink, stop) = (Arc::clone(&pty), Arc::clone(&shown), Arc::clone(&is_gone));
        let reader = Some(thread::spawn(move || read(&own, &sink, &stop)));
        Self { pty: Some(pty), slave, child, shown, is_gone, reader }
    }

    fn pty(&self) -> &Pty {
        self.pty.as_deref().expect("the terminal is there")
    }

    /// Takes the terminal away, as where a connection drops.
    ///
    /// # Panics
    /// Where the reading thread failed.
    pub fn vanish(&mut self) {
        self.is_gone.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read");
        }
        self.pty = None;
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().expect("no other thread panics")
    }

    /// Types keys, as a terminal sends them.
    ///
    /// # Panics
    /// Where the terminal is gone.
    pub fn press(&self, keys: &str) {
        self.press_bytes(keys.as_bytes());
    }

    /// Types these bytes, which may be no whole key.
    ///
    /// # Panics
    /// Where the terminal is gone.
    pub fn press_bytes(&self, bytes: &[u8]) {
        let mut pty = self.pty();
        pty.write_all(bytes).expect("the terminal takes keys");
    }

    /// Gives the terminal another size.
    ///
    /// # Panics
    /// Where the terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.shown().parser.set_size(non_zero(rows), non_zero(columns));
        self.pty().resize(Size::new(rows, columns)).expect("a size");
    }

    /// What is on the screen, row by row.
    pub fn text(&self) -> String {
        self.shown().parser.screen().contents()
    }

    /// All bytes that came.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.shown().raw).into_owned()
    }

    /// Waits until the screen contains a text, and returns all of it.
    ///
    /// # Panics
    /// Where it never does.
    pub fn wait_for(&self, text: &str) -> String {
        let began = Instant::now();
        while !self.text().contains(text) {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {text:?}:\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
        self.text()
    }

    /// Whether the alternate screen is shown, and whether the cursor is hidden.
    pub fn is_taken(&self) -> (bool, bool) {
        let shown = self.shown();
        let screen = shown.parser.screen();
        (screen.alternate_screen(), screen.hide_cursor())
    }

    /// The settings of the terminal.
    ///
    /// # Panics
    /// Where the terminal is gone.
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.slave).expect("settings")
    }

    /// The colours on the screen.
    pub fn colours(&self) -> Vec<Color> {
        let shown = self.shown();
        let screen = shown.parser.screen();
        let (rows, columns) = screen.size();
        let cells = (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
        let all = cells.filter_map(|(row, column)| screen.cell(row, column));
        let mut colours: Vec<Color> = all.flat_map(|cell| [cell.fgcolor(), cell.bgcolor()]).collect();
        colours.dedup();
        colours
    }

    /// The screen as codes that draw it in another terminal.
    pub fn formatted(&self) -> String {
        self.shown().parser.screen().contents_formatted()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// Where it is gone.
    pub fn send(&self, signal: Signal) {
        signal_child(&self.child, signal);
    }

    /// Waits for its end, and for all that it wrote.
    ///
    /// # Panics
    /// Where it doesn't end.
    pub fn end(&mut self) -> ExitStatus {
        let status = end_of(&mut self.child);
        thread::sleep(Duration::from_millis(100));
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Already gone where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
