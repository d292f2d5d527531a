//! TCP connections to whichever address of a host answers first.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::error::{Attempts, TransportError};
use crate::race::{ATTEMPT_DELAY, interleave};
use crate::socket::SocketOptions;
use crate::stage::{Progress, Stage};
use crate::url::authority;

/// The host's addresses that the options allow, in the order in which they are to be tried.
pub(super) async fn resolve(
    host: &str,
    port: u16,
    progress: &Progress,
) -> Result<VecDeque<SocketAddr>, TransportError> {
    progress.enter(Stage::Resolving);
    let found = lookup_host((host, port)).await;
    let found =
        found.map_err(|source| TransportError::Resolve { host: host.to_owned(), source })?;
    Ok(interleave(found))
}

pub(super) async fn connect(
    host: &str,
    port: u16,
    options: &SocketOptions,
    progress: &Progress,
) -> Result<TcpStream, TransportError> {
    let mut addresses = resolve(host, port, progress).await?;
    addresses.retain(|address| options.allows(address));
    if addresses.is_empty() {
        return Err(TransportError::NoAddress { host: host.to_owned() });
    }
    progress.enter(Stage::Connecting);
    let attempt = async |address| {
        let stream: std::net::TcpStream = options.open(address)?.into();
        TcpSocket::from_std_stream(stream).connect(address).await
    };
    let connected = race(addresses, |address| Box::pin(attempt(address))).await;
    connected
        .map_err(|attempts| TransportError::Connect { authority: authority(host, port), attempts })
}

/// Tries the addresses in order, each some time after the one before it or as soon as that has
/// failed, and returns the first connection. The others are given up.
async fn race<T, F>(
    mut waiting: VecDeque<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T, Attempts>
where
    F: Future<Output = io::Result<T>> + Unpin,
{
    let mut running = Vec::new();
    let mut failed = Attempts::default();
    loop {
        if let Some(address) = waiting.pop_front() {
            running.push((address, attempt(address)));
        }
        if running.is_empty() {
            return Err(failed);
        }
        let ended = if waiting.is_empty() {
            first(&mut running).await
        } else {
            match tokio::time::timeout(ATTEMPT_DELAY, first(&mut running)).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        match ended {
            (_, Ok(connected)) => return Ok(connected),
            (address, Err(error)) => failed.0.push((address, error)),
        }
    }
}

/// Waits for the first attempt to end, well or not, and takes it out.
async fn first<T, F>(running: &mut Vec<(SocketAddr, F)>) -> (SocketAddr, io::Result<T>)
where
    F: Future<Output = io::Result<T>> + Unpin,
{
    poll_fn(|context| {
        for index in 0..running.len() {
            if let Poll::Ready(result) = Pin::new(&mut running[index].1).poll(context) {
                let (address, _) = running.remove(index);
                return Poll::Ready((address, result));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// How long each attempt takes, in milliseconds, and whether it succeeds.
    type Plan = [(u64, bool)];

    /// Races by the plan; the winner with the time that it took, and when each attempt began.
    async fn run(plan: &Plan) -> (Result<u16, Vec<u16>>, u128, Vec<u128>) {
        let start = Instant::now();
        let starts = Mutex::new(Vec::new());
        let addresses = (0..plan.len())
            .map(|index| SocketAddr::from(([10, 0, 0, 1], u16::try_from(index).unwrap())));
        let attempt = async |address: SocketAddr| {
            starts.lock().unwrap().push(start.elapsed().as_millis());
            let (milliseconds, is_good) = plan[usize::from(address.port())];
            sleep(Duration::from_millis(milliseconds)).await;
            if is_good { Ok(address.port()) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
        };
        let result = race(addresses.collect(), |address| Box::pin(attempt(address))).await;
        let ports = |failed: Attempts| failed.0.iter().map(|(address, _)| address.port()).collect();
        let starts = starts.lock().unwrap().clone();
        (result.map_err(ports), start.elapsed().as_millis(), starts)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_address_wins_if_it_answers_in_time() {
        assert_eq!(run(&[(100, true), (0, true)]).await, (Ok(0), 100, vec![0]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_hangs_holds_nobody_up() {
        let (result, elapsed, starts) = run(&[(1 << 40, true), (50, true), (0, true)]).await;
        assert_eq!((result, elapsed, starts), (Ok(1), 300, vec![0, 250]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_can_still_win() {
        let plan = [(300, true), (100, true)];
        assert_eq!(run(&plan).await, (Ok(0), 300, vec![0, 250]));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_next_is_tried_at_once() {
        let plan = [(10, false), (10, false), (10, true)];
        assert_eq!(run(&plan).await, (Ok(2), 30, vec![0, 10, 20]));
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_told() {
        let plan = [(400, false), (10, false), (10, false)];
        let (result, elapsed, starts) = run(&plan).await;
        assert_eq!((result, elapsed, starts), (Err(vec![1, 2, 0]), 400, vec![0, 250, 260]));
        assert_eq!(run(&[]).await.0, Err(vec![]));
    }
}
