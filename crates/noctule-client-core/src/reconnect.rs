//! When to connect again, and where: a plan without a clock and without a socket.
//!
//! ```text
//!  first ──▶ connect ──▶ connected ──▶ disconnected ──▶ what does the policy say?
//!               ▲                                         │      │      │
//!               ├── the next endpoint, at once ◀──────────┘      │      └──▶ stop
//!               ├── the server that was named, if allowed ◀──────┤
//!               └── all endpoints were tried: after a while ◀────┘
//! ```

mod backoff;
mod policy;
mod redirect;

use alloc::boxed::Box;

use noctule_packet::ReasonCode;
use noctule_session::Timestamp;

pub use backoff::{Backoff, Jitter};
pub use policy::{Failure, Reaction, ReconnectPolicy};
pub use redirect::{Redirect, RedirectRefused, Redirects};

use crate::ended::Ended;
use crate::reconnect::redirect::Trail;

/// What is decided about reconnecting before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct ReconnectSettings {
    /// How long to wait.
    pub backoff: Backoff,
    /// How many connections in a row may fail; unlimited without. One that lasted as long as
    /// [`Backoff::stable_after`] begins a new row.
    pub attempts_max: Option<u32>,
    /// Whether a client that was never connected tries again.
    pub includes_first: bool,
    /// What to do after which failure.
    pub policy: ReconnectPolicy,
    /// Whether to go where a server sends us.
    pub redirect: Redirect,
}

impl Default for ReconnectSettings {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            attempts_max: None,
            includes_first: true,
            policy: ReconnectPolicy::default(),
            redirect: Redirect::default(),
        }
    }
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One of the user's endpoints, by its place in the list.
    Endpoint(usize),
    /// A server that another one has named.
    Redirected {
        /// What it was called, with a port or without.
        reference: Box<str>,
        /// Whether it may see the credentials that were meant for another.
        with_credentials: bool,
    },
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connect.
    Connect {
        /// Not before this moment.
        at: Timestamp,
        /// Where to.
        target: Target,
        /// How many connections have failed in a row.
        failures: u32,
    },
    /// Connect no more.
    Stop(StopCause),
}

/// Why not to connect any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The user ended the connection.
    ByUser,
    /// The policy forbids to try again after this.
    Forbidden(Failure),
    /// Too many connections have failed in a row.
    AttemptsExhausted {
        /// How many.
        attempts: u32,
    },
    /// The first connection failed, and only later ones are tried again.
    FirstFailed(Failure),
    /// The server has moved for good, to where we may not follow.
    RedirectRefused(RedirectRefused),
    /// There is no endpoint.
    NoEndpoint,
}

/// The plan of one client.
#[derive(Clone, Debug)]
pub struct ReconnectPlan {
    settings: ReconnectSettings,
    endpoints: usize,
    /// The endpoint in use.
    current: usize,
    /// How many endpoints have failed since the last wait.
    tried: usize,
    /// Connections that have failed in a row, and rounds over all endpoints.
    failures: u32,
    rounds: u32,
    connected_at: Option<Timestamp>,
    was_ever_connected: bool,
    /// CONNECT packets that were given up and may still arrive.
    unanswered: u32,
    trail: Trail,
    random: u64,
}

impl ReconnectPlan {
    /// A plan for so many endpoints; the same seed makes the same plan.
    pub const fn new(settings: ReconnectSettings, endpoints: usize, seed: u64) -> Self {
        Self {
            settings,
            endpoints,
            current: 0,
            tried: 0,
            failures: 0,
            rounds: 0,
            connected_at: None,
            was_ever_connected: false,
            unanswered: 0,
            trail: Trail::new(),
            random: seed,
        }
    }

    /// Where to connect to first.
    pub fn first(&mut self, now: Timestamp) -> Step {
        if self.endpoints == 0 {
            return Step::Stop(StopCause::NoEndpoint);
        }
        self.connect_at(now)
    }

    /// Connects because the user wants it: what has failed before counts no more.
    pub fn restart(&mut self, now: Timestamp) -> Step {
        (self.failures, self.rounds, self.tried) = (0, 0, 0);
        self.connected_at = None;
        self.trail.forget();
        self.first(now)
    }

    /// The server has accepted the connection.
    pub fn connected(&mut self, now: Timestamp) {
        self.connected_at = Some(now);
        self.was_ever_connected = true;
        self.tried = 0;
    }

    /// How many connections have failed in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The connection has ended, or did not come about.
    pub fn disconnected(&mut self, now: Timestamp, ended: &Ended) -> Step {
        let was_connected = self.connected_at.take();
        let stable_after = self.settings.backoff.stable_after;
        if was_connected.is_some_and(|since| now.since(since) >= stable_after) {
            (self.failures, self.rounds, self.unanswered) = (0, 0, 0);
            self.trail.forget();
        }
        if *ended == Ended::ByUser {
            return Step::Stop(StopCause::ByUser);
        }
        // Nothing has failed: the server only speaks another version.
        if let Ended::Downgraded { .. } = ended {
            return self.connect_at(now);
        }
        self.failures = self.failures.saturating_add(1);
        let failure = Failure::of(ended);
        let policy = &self.settings.policy;
        let (said, default) = (policy.said(failure), policy.reaction(failure));
        let default = if self.is_own_doing(failure) { Reaction::Retry } else { default };
        let reaction = said.unwrap_or(default);
        if reaction == Reaction::Stop {
            return Step::Stop(StopCause::Forbidden(failure));
        }
        if !self.was_ever_connected && !self.settings.includes_first {
            return Step::Stop(StopCause::FirstFailed(failure));
        }
        if let Some(maximum) = self.settings.attempts_max
            && self.failures >= maximum
        {
            return Step::Stop(StopCause::AttemptsExhausted { attempts: self.failures });
        }
        match self.follow(now, ended) {
            Some(step) => step,
            None => self.retry(now, reaction, was_connected.is_some()),
        }
    }

    /// Whether the session may have been taken over by a CONNECT of ours that was given up, such as
    /// one that a network kept for a while. Each can do that once.
    fn is_own_doing(&mut self, failure: Failure) -> bool {
        match failure {
            Failure::ConnectTimeout => self.unanswered = self.unanswered.saturating_add(1),
            Failure::ByServer(ReasonCode::SessionTakenOver) if self.unanswered > 0 => {
                self.unanswered -= 1;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Goes where the server sends us. `None` if it sends us nowhere, or we go home instead.
    fn follow(&mut self, now: Timestamp, ended: &Ended) -> Option<Step> {
        let reason = ended.server_reason()?;
        let is_permanent = match reason.code {
            ReasonCode::UseAnotherServer => false,
            ReasonCode::ServerMoved => true,
            _ => return None,
        };
        let reference = reason.server_reference.as_deref();
        match self.trail.follow(&self.settings.redirect, reference, is_permanent) {
            Ok(()) => {
                self.tried = 0;
                Some(self.connect_at(now))
            }
            // Another server is asked for, and this one stays as it is.
            Err(_) if !is_permanent => None,
            Err(_) if self.endpoints > 1 => None,
            Err(refused) => Some(Step::Stop(StopCause::RedirectRefused(refused))),
        }
    }

    fn retry(&mut self, now: Timestamp, reaction: Reaction, was_connected: bool) -> Step {
        let was_redirected = self.trail.leave();
        self.tried += 1;
        // An endpoint that worked is asked again first.
        if !was_connected && !was_redirected {
            self.current = (self.current + 1) % self.endpoints.max(1);
            if self.tried < self.endpoints && reaction == Reaction::Retry {
                return self.connect_at(now);
            }
        }
        self.tried = 0;
        let backoff = self.settings.backoff;
        let mut delay = backoff.delay(self.rounds, &mut self.random);
        self.rounds = self.rounds.saturating_add(1);
        if reaction == Reaction::RetryLater {
            delay = delay.saturating_add(backoff.busy_delay);
        }
        self.connect_at(now + delay)
    }

    /// Connects at this moment, whatever the settings say, to where it is the turn of.
    pub fn connect_at(&self, at: Timestamp) -> Step {
        let target = match self.trail.target(&self.settings.redirect) {
            Some(target) => target,
            None => Target::Endpoint(self.current),
        };
        Step::Connect { at, target, failures: self.failures }
    }
}

#[cfg(test)]
#[path = "reconnect_tests.rs"]
mod tests;
