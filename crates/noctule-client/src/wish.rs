//! What the user wants of the connection, against what the plan would do: none, another one, or one
//! again. The calls leave the wish, and the driver looks at it wherever it waits.

use std::future::poll_fn;
use std::task::Poll;

use noctule_client_core::{DisconnectOptions, DisconnectRefused, Status, Timestamp, enlist};

use crate::shared::{Inner, Shared};
use crate::state::State;

/// What the user wants of the connection.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// There is to be none.
    pub(crate) is_offline: bool,
    /// The driver has not looked since that was said.
    is_new: bool,
}

impl Wish {
    /// Whether the driver is to do something else than what it does.
    pub(crate) const fn is_new(&self) -> bool {
        self.is_new
    }

    /// The driver does what is wanted from here on. Whether that was something else.
    pub(crate) const fn take(&mut self) -> bool {
        std::mem::replace(&mut self.is_new, false)
    }

    /// Whether somebody who follows the wish gets into this state.
    pub(crate) const fn allows(&self, state: &State) -> bool {
        let is_online =
            matches!(state, State::Connecting | State::Connected(_) | State::Waiting(_));
        !(self.is_offline && is_online)
    }
}

impl Inner {
    fn wish(&mut self, is_offline: bool) {
        self.wish = Wish { is_offline, is_new: true };
        self.hub.ring();
    }

    /// Ends the connection, if there is one: what the user has asked for before goes first.
    fn leave(
        &mut self,
        now: Timestamp,
        options: &DisconnectOptions<'_>,
    ) -> Result<(), DisconnectRefused> {
        let is_up = matches!(self.hub.session().status(), Status::Connecting | Status::Online);
        self.hub.session_mut().disconnect(now, options)?;
        if is_up {
            self.state = State::Disconnecting;
        }
        Ok(())
    }

    /// A transport has come up although the user wants something else by now.
    pub(crate) fn leave_if_unwanted(&mut self, now: Timestamp) {
        if self.wish.is_new {
            // Nothing is said before CONNACK, so nothing can be refused.
            let _ = self.leave(now, &DisconnectOptions::default());
        }
    }

    /// Whether nothing can be wanted any more.
    const fn has_ended(&self) -> bool {
        self.unfinished.is_some() || matches!(self.state, State::Stopped(_))
    }
}

impl Shared {
    /// The user wants no connection.
    fn go_offline(&self, options: &DisconnectOptions<'_>) -> Result<(), DisconnectRefused> {
        let now = self.now();
        self.with(|inner| {
            if inner.has_ended() || inner.wish.is_offline {
                return Ok(());
            }
            inner.leave(now, options)?;
            if !matches!(inner.state, State::Offline) {
                inner.state = State::Disconnecting;
            }
            inner.wish(true);
            Ok(())
        })
    }

    /// The user wants no connection, and waits until there is none.
    pub(crate) async fn disconnect(
        &self,
        options: &DisconnectOptions<'_>,
    ) -> Result<(), DisconnectRefused> {
        self.go_offline(options)?;
        poll_fn(|context| {
            self.with(|inner| {
                let is_over = matches!(inner.state, State::Offline | State::Stopped(_));
                if is_over || !inner.wish.is_offline {
                    return Poll::Ready(());
                }
                enlist(&mut inner.watchers, context.waker());
                Poll::Pending
            })
        })
        .await;
        Ok(())
    }

    /// The user wants a connection after all.
    pub(crate) fn go_online(&self) {
        self.want(|inner, _| {
            let is_news = inner.wish.is_offline;
            if is_news {
                inner.wish(false);
            }
        });
    }

    /// The user wants another connection than there is.
    pub(crate) fn reconnect(&self) {
        self.want(|inner, now| {
            // It says nothing that could be refused.
            let _ = inner.leave(now, &DisconnectOptions::default());
            inner.wish(false);
        });
    }

    /// Somebody wants a connection: nobody waits for its end any more.
    fn want(&self, act: impl FnOnce(&mut Inner, Timestamp)) {
        let now = self.now();
        let watchers = self.with(|inner| {
            if inner.has_ended() {
                return Vec::new();
            }
            act(inner, now);
            if matches!(inner.state, State::Offline) {
                inner.state = State::Connecting;
            }
            std::mem::take(&mut inner.watchers)
        });
        for watcher in watchers {
            watcher.wake();
        }
    }
}
