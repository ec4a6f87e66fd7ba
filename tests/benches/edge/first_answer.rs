//! How long a worker that has just begun to listen takes for its first answer.

use std::{
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{client::Client, figures::milliseconds, stack::Stack};

/// Starts.
const STARTS: usize = 4;
/// For one start: `up` waits a little longer before each.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_micros(500);

/// Kills a process of the stack again and again, which `up` then starts, and asks for this URL as soon as it listens. Milliseconds from
/// the first connection that is taken to the whole answer, its TLS handshake included: the least of several starts.
///
/// # Errors
/// When it does not come back.
pub(crate) fn lowest(stack: &Stack, role: &str, url: &str) -> Result<f64> {
    let port = url.strip_prefix("https://localhost:").and_then(|rest| rest.split('/').next());
    let port: u16 = port.with_context(|| format!("{url} is not on localhost"))?.parse()?;
    let mut least = f64::INFINITY;
    for _ in 0..STARTS {
        let client = Client::without_directory(&stack.report.ca)?;
        let killed = stack.kill(role)?;
        let deadline = Instant::now() + PATIENCE;
        until(deadline, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err())?;
        until(deadline, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
        let started = Instant::now();
        client.get(url)?.expect(200)?;
        least = least.min(milliseconds(started.elapsed()));
        until(deadline, || stack.processes().is_ok_and(|pids| pids.get(role).is_some_and(|pid| *pid != killed)))?;
    }
    Ok(least)
}

fn until(deadline: Instant, reached: impl Fn() -> bool) -> Result<()> {
    while !reached() {
        ensure!(Instant::now() < deadline, "a killed worker does not come back");
        thread::sleep(PAUSE);
    }
    Ok(())
}
