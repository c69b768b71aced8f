//! A program that is measured from outside, and stopped where it takes too long.

use std::{
    io::Read as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};

/// How often it is asked whether the program has ended.
const POLL: Duration = Duration::from_millis(1);

/// What a run took, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// From its beginning to its end.
    pub elapsed_s: f64,
    /// On all cores, in the program and in the kernel.
    pub cpu_s: f64,
    /// The most memory that any program so far took, in MiB: right for one that takes more than those before.
    pub most_mib: f64,
}

/// Runs a program to its end; `None` where it hadn't ended within `limit` and was stopped.
///
/// # Errors
/// Where it doesn't start, or fails.
pub fn run(command: &mut Command, limit: Duration) -> Result<Option<Taken>> {
    let (began, cpu_before_s) = (Instant::now(), of_children_s()?);
    let mut child = command.spawn().with_context(|| format!("{command:?} doesn't start"))?;
    loop {
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                bail!("{command:?} failed: {status}");
            }
            let elapsed_s = began.elapsed().as_secs_f64();
            let most_mib = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss() as f64 / 1024.0;
            return Ok(Some(Taken { elapsed_s, cpu_s: of_children_s()? - cpu_before_s, most_mib }));
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Runs a program to its end, and returns what it wrote, which must be short; `None` where it hadn't ended
/// within `limit` and was stopped.
///
/// # Errors
/// Where it doesn't start, or fails.
pub fn output(command: &mut Command, limit: Duration) -> Result<Option<String>> {
    let (mut reader, writer) = std::io::pipe()?;
    let ended = run(command.stdin(Stdio::null()).stdout(writer), limit)?;
    // The command holds the other end of the pipe, and reading ends only when nobody does.
    command.stdout(Stdio::null());
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    Ok(ended.map(|_| text))
}

/// CPU time of all programs that this one started and that have ended.
fn of_children_s() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_stopped() {
        let short = run(Command::new("true").env_clear(), Duration::from_secs(60)).unwrap();
        assert!(short.is_some_and(|taken| taken.elapsed_s < 60.0));
        let long = run(Command::new("sleep").arg("60"), Duration::from_millis(20)).unwrap();
        assert!(long.is_none());
        assert!(run(&mut Command::new("false"), Duration::from_secs(60)).is_err());
        let said = output(Command::new("echo").arg("7"), Duration::from_secs(60)).unwrap();
        assert_eq!(said.as_deref(), Some("7\n"));
    }
}
