//! Connecting, and telling people what happens to the connection.

use std::sync::Arc;
use std::time::Duration;

use noctule_client::{Client, ClientBuilder, ClientEvent, Ended, Events, QoS};

use super::connect_flags::ConnectFlags;
use super::failure::{Failure, say};
use super::property::DisconnectProperties;

/// How long a client that is to end waits for what is under way.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// Starts a client. From here on a task tells people what happens.
pub(crate) fn start(
    builder: ClientBuilder,
    flags: &ConnectFlags,
    program: &'static str,
) -> Result<Client, Failure> {
    let client = builder.start().map_err(|error| Failure::usage(error.to_string()))?;
    if !flags.quiet {
        let mut teller = Teller {
            program,
            tells_all: flags.debug,
            was_connected: false,
            lost: None,
            is_down: false,
        };
        let mut events = client.events();
        tokio::spawn(async move { teller.tell_all(&mut events).await });
    }
    Ok(client)
}

/// Says DISCONNECT, if the connection takes it within this time. What is still under way then is
/// given up.
pub(crate) async fn end(
    client: &Client,
    program: &str,
    said: &DisconnectProperties,
    patience: Duration,
) {
    if let Some(options) = said.options() {
        match client.shutdown_with(patience, options).await {
            Ok(_) => return,
            Err(error) => say(program, error),
        }
    }
    client.shutdown(patience).await;
}

/// What people are told about a subscription that was granted.
pub(crate) fn granted(filter: &str, qos: QoS) -> String {
    format!("subscribed to {filter} (QoS {})", qos as u8)
}

struct Teller {
    program: &'static str,
    tells_all: bool,
    was_connected: bool,
    /// How the connection ended, until it is clear that there is another attempt.
    lost: Option<Arc<Ended>>,
    is_down: bool,
}

impl Teller {
    async fn tell_all(&mut self, events: &mut Events) {
        while let Some(event) = events.recv().await {
            if let Some(line) = self.line(&event) {
                say(self.program, line);
            }
        }
    }

    /// What to tell. Why there is no first connection is told when the program ends.
    fn line(&mut self, event: &ClientEvent) -> Option<String> {
        match event {
            ClientEvent::Connected(negotiated) => {
                let is_news = self.tells_all || self.is_down;
                (self.was_connected, self.is_down) = (true, false);
                let (version, id) = (negotiated.version, &negotiated.client_id);
                is_news.then(|| format!("connected (MQTT {version}, client identifier {id:?})"))
            }
            ClientEvent::Disconnected { was_connected: true, ended } => {
                if **ended == Ended::ByUser {
                    return self.tells_all.then(|| ended.to_string());
                }
                (self.lost, self.is_down) = (Some(Arc::clone(ended)), true);
                None
            }
            ClientEvent::Waiting { .. } | ClientEvent::Connecting { .. } if self.lost.is_some() => {
                self.lost.take().map(|ended| format!("{ended}; connecting again"))
            }
            ClientEvent::Connecting { endpoint, .. } if self.tells_all => {
                Some(format!("connecting to {endpoint}"))
            }
            ClientEvent::ConnectFailed { error } if self.tells_all && self.was_connected => {
                Some(error.to_string())
            }
            ClientEvent::Disconnected { ended, .. } if self.tells_all && self.was_connected => {
                Some(ended.to_string())
            }
            ClientEvent::SessionLost if self.tells_all => {
                Some("the server had forgotten the session".to_owned())
            }
            ClientEvent::Resubscribed { filter, code, .. }
                if code.is_none_or(noctule_client::ReasonCode::is_error) =>
            {
                Some(format!("the server does not grant {filter} any more"))
            }
            ClientEvent::Resubscribed { filter, .. } if self.tells_all => {
                Some(format!("subscribed again to {filter}"))
            }
            _ => None,
        }
    }
}
