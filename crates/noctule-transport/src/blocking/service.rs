//! The servers that a domain's SRV records name, one after the other.

use super::attempt::Attempt;
use super::{BoxedTransport, aside, dial};
use crate::builder::Settings;
use crate::error::TransportError;
use crate::info::ConnectionInfo;
use crate::srv::Service;
use crate::stage::Stage;

/// The first server that takes the connection, and passes the TLS handshake if there is one.
pub(super) fn reach(
    service: &Service,
    settings: &Settings,
    attempt: &mut Attempt<'_>,
    info: &mut ConnectionInfo,
) -> Result<BoxedTransport, TransportError> {
    attempt.enter(Stage::Srv);
    let (asked, deadline) = (service.clone(), attempt.deadline());
    let found = aside::ask(attempt, move || asked.targets(deadline))??;
    if found.is_err() {
        attempt.check()?;
    }
    let mut targets = found?.into_iter();
    let mut failures = Vec::new();
    while let Some(target) = targets.next() {
        let result = attempt.with_share(targets.len(), |attempt| {
            let stream = dial::reach_tcp(&target.host, target.port, settings, attempt, info)?;
            dial::protect(stream, settings, attempt, info)
        });
        match result {
            Ok(stream) => return Ok(stream),
            Err(error @ TransportError::Cancelled { .. }) => return Err(error),
            // The last one has what is left of the whole attempt.
            Err(error @ TransportError::TimedOut { .. }) if targets.len() == 0 => {
                return Err(error);
            }
            Err(error) => failures.push((target, error)),
        }
    }
    Err(service.unreached(failures))
}
