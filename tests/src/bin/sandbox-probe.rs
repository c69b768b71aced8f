//! Tries from inside of a sandbox what must fail there, and what must not. Tests run it and read what it
//! says: a line for each act, with `ok` or the error.
//!
//! ```text
//! sandbox-probe reader FOLDER     as a command that reads captures: FOLDER/capture, and writes into FOLDER
//! sandbox-probe sensor FOLDER     as a sensor's control loop
//! sandbox-probe thread FOLDER     as a sensor's other threads
//! sandbox-probe clsact INTERFACE  attaches clsact filters, enters, and detaches them
//! ```

use std::{env, path::Path, thread};

use anyhow::{Context as _, Result, bail};
use tmap::{
    capture::xdp::{Config, Sensor, XdpMode},
    sandbox::{self, Needs, Role},
};
use tmap_tests::sandbox::acts;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, role, place] = &arguments[..] else { bail!("name a role and a place") };
    if role == "clsact" {
        return detach_clsact(place);
    }
    let folder = Path::new(place);
    let needs = Needs {
        role: if role == "reader" { Role::Reader } else { Role::Sensor },
        reads: vec![folder.join("capture")],
        writes: vec![folder.to_owned()],
    };
    sandbox::enter(&needs).iter().for_each(|note| println!("note: {note}"));
    sandbox::settle();
    if role == "thread" {
        let inside = thread::spawn({
            let folder = folder.to_owned();
            move || {
                sandbox::give_up();
                try_all(&folder);
            }
        });
        return inside.join().ok().context("the thread is lost");
    }
    try_all(folder);
    Ok(())
}

fn try_all(folder: &Path) {
    for (name, act) in [acts::PERMITTED, acts::FORBIDDEN, acts::CONTROL].concat() {
        match act(folder) {
            Ok(()) => println!("{name}: ok"),
            Err(error) => println!("{name}: {:?}", error.kind()),
        }
    }
}

/// Detaches filters after the privileges are gone.
fn detach_clsact(interface: &str) -> Result<()> {
    let config = Config {
        interfaces: vec![interface.to_owned()],
        xdp_mode: XdpMode::Tc,
        egress: true,
        clsact: true,
        ..Config::default()
    };
    let (mut sensor, _rings) = Sensor::open(&config)?;
    let needs = Needs { role: Role::Sensor, reads: Vec::new(), writes: Vec::new() };
    sandbox::enter(&needs).iter().for_each(|note| println!("note: {note}"));
    sandbox::settle();
    for attachment in sensor.attachments() {
        println!("{attachment}");
    }
    sensor.detach();
    Ok(())
}
