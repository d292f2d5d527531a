//! The servers that a domain's SRV records name, one after the other.

use std::io;
use std::time::{Duration, Instant};

use super::{BoxedStream, dial};
use crate::builder::Settings;
use crate::error::TransportError;
use crate::info::ConnectionInfo;
use crate::srv::{Service, Target};
use crate::stage::{Progress, Stage};

/// The first server that takes the connection, and passes the TLS handshake if there is one.
pub(super) async fn reach(
    service: &Service,
    settings: &Settings,
    progress: &Progress,
    info: &mut ConnectionInfo,
) -> Result<BoxedStream, TransportError> {
    progress.enter(Stage::Srv);
    let deadline = Instant::now().checked_add(settings.connect_timeout);
    let asked = service.clone();
    // If the attempt is given up, this goes on for a while and nobody listens.
    let found = tokio::task::spawn_blocking(move || asked.targets(deadline)).await;
    let found = found.map_err(io::Error::from)?;
    if found.is_err() && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return Err(TransportError::TimedOut {
            stage: Stage::Srv,
            after: settings.connect_timeout,
        });
    }
    let mut targets = found?.into_iter();
    let mut failures = Vec::new();
    while let Some(target) = targets.next() {
        let result = match share(deadline, targets.len()) {
            // The last one has what is left of the whole attempt.
            None => reach_target(&target, settings, progress, info).await,
            Some(after) => {
                let attempt = reach_target(&target, settings, progress, info);
                match tokio::time::timeout(after, attempt).await {
                    Ok(result) => result,
                    Err(_) => Err(TransportError::TimedOut { stage: progress.stage(), after }),
                }
            }
        };
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) => failures.push((target, error)),
        }
    }
    Err(service.unreached(failures))
}

/// The time for a server, which leaves as much for each of those that come after it.
fn share(deadline: Option<Instant>, after_it: usize) -> Option<Duration> {
    let left = deadline?.saturating_duration_since(Instant::now());
    let parts = u32::try_from(after_it).ok()?.checked_add(1)?;
    (after_it > 0).then(|| left / parts)
}

async fn reach_target(
    target: &Target,
    settings: &Settings,
    progress: &Progress,
    info: &mut ConnectionInfo,
) -> Result<BoxedStream, TransportError> {
    let stream = dial::reach_tcp(&target.host, target.port, settings, progress, info).await?;
    dial::protect(stream, settings, progress, info).await
}
