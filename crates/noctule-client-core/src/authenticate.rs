//! The exchange of AUTH packets: before CONNACK, and again when either side wants it.

use alloc::vec::Vec;
use core::fmt;

use noctule_packet::{Auth, Connack, Frame, ReasonCode, UserProperties};
use noctule_session::Timestamp;

use crate::auth::{AuthError, AuthenticationDone, AuthenticationStep, Part, Said, Task};
use crate::ended::Ended;
use crate::event::Event;
use crate::fault::{Fault, ProtocolError};
use crate::remarks::Remarks;
use crate::session::{ClientSession, Status};

/// Why a re-authentication cannot begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReauthenticateRefused {
    /// There is no connection.
    Offline,
    /// The connection was made without an authentication method.
    NoMethod,
    /// An exchange is under way.
    UnderWay,
}

impl fmt::Display for ReauthenticateRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offline => "there is no connection",
            Self::NoMethod => "the connection has no authentication method",
            Self::UnderWay => "an authentication is under way",
        })
    }
}

impl core::error::Error for ReauthenticateRefused {}

impl ClientSession {
    /// Has the driver fetch each step of an authentication ([`Self::take_authentication_step`]),
    /// take it, and give it back. Without this the user's method is asked at once, in the middle of
    /// whatever was called.
    pub fn defer_authentication(&mut self) {
        self.authentication.is_deferred = true;
    }

    /// What the user's method is to do now.
    pub fn take_authentication_step(&mut self) -> Option<AuthenticationStep> {
        self.authentication.step(self.epoch)
    }

    /// The user's method has done it.
    pub fn authenticated(&mut self, now: Timestamp, done: AuthenticationDone) {
        let AuthenticationDone { method, epoch, part, user_properties, result } = done;
        let is_current =
            epoch == self.epoch && matches!(self.status, Status::Connecting | Status::Online);
        if !self.authentication.give_back(method, is_current) {
            return;
        }
        match (part, result) {
            (Part::Connect, Ok(data)) => self.write_connect(data.as_deref()),
            (Part::Again, Ok(data)) => {
                self.send_auth(ReasonCode::ReAuthenticate, data.as_deref(), user_properties);
            }
            (Part::Challenge, Ok(data)) => {
                let reason = ReasonCode::ContinueAuthentication;
                self.send_auth(reason, data.as_deref(), user_properties);
            }
            (Part::VerifyConnack, Ok(_)) => self.authentication.is_verified = true,
            (Part::VerifyAgain, Ok(_)) => {
                self.authentication.is_under_way = false;
                self.clocks.authenticate(None);
                self.clocks.authenticate_again(now, self.settings.reauthenticate_every);
                self.events.push(Event::Reauthenticated);
            }
            (Part::Connect | Part::VerifyConnack, Err(error)) => {
                self.end(now, None, Ended::Authentication(error));
            }
            (_, Err(error)) => self.give_authentication_up(now, error),
        }
        self.pump(now);
    }

    /// Asks the user's method, now or when the driver comes for it.
    pub(crate) fn ask_method(&mut self, now: Timestamp, task: Task) {
        self.authentication.ask(task);
        if !self.authentication.is_deferred
            && let Some(step) = self.take_authentication_step()
        {
            self.authenticated(now, step.take());
        }
    }

    /// Authenticates again on the same connection. Its success is told by
    /// [`Event::Reauthenticated`](crate::Event::Reauthenticated); its failure ends the connection.
    ///
    /// # Errors
    ///
    /// If it cannot begin.
    // [MQTT5-4.12.1-1] [MQTT5-4.12.1-2] [MQTT5-4.12.0-7]
    pub fn reauthenticate(&mut self, now: Timestamp) -> Result<(), ReauthenticateRefused> {
        if self.status != Status::Online {
            return Err(ReauthenticateRefused::Offline);
        }
        if self.authentication.is_under_way {
            return Err(ReauthenticateRefused::UnderWay);
        }
        if self.authentication.name().is_none() {
            return Err(ReauthenticateRefused::NoMethod);
        }
        self.authentication_begins(now);
        self.ask_method(now, Task::Again);
        Ok(())
    }

    /// An exchange after CONNACK has its time, whoever has begun it.
    fn authentication_begins(&mut self, now: Timestamp) {
        self.authentication.is_under_way = true;
        self.clocks.authenticate(self.settings.connect_timeout.map(|timeout| now + timeout));
    }

    /// AUTH.
    // [MQTT5-4.12.0-3]
    pub(crate) fn on_auth(&mut self, now: Timestamp, frame: &Frame<'_>) -> Result<(), Fault> {
        let auth = Auth::decode(frame, self.version, self.settings.validation.text_rules())?;
        let Some(name) = self.authentication.name() else {
            return Err(ProtocolError::UnexpectedAuth.into());
        };
        // [MQTT5-4.12.0-5]
        if auth.authentication_method.is_some_and(|named| named != name) {
            return Err(ProtocolError::AuthenticationMethod.into());
        }
        let data = auth.authentication_data.map(Into::into);
        let remarks = Remarks::of(auth.reason_string, &auth.user_properties);
        let said = Said { data, remarks };
        match auth.reason_code {
            ReasonCode::ContinueAuthentication => {
                if self.status == Status::Online && !self.authentication.is_under_way {
                    self.authentication_begins(now);
                }
                self.ask_method(now, Task::Challenge(said));
                Ok(())
            }
            ReasonCode::Success if self.authentication.is_under_way => {
                self.ask_method(now, Task::VerifyAgain(said));
                Ok(())
            }
            _ => Err(ProtocolError::UnexpectedAuth.into()),
        }
    }

    /// CONNACK ends the first exchange. Whether what it says holds: if not, either the connection
    /// ends, or the CONNACK is to be looked at again when the method has been asked.
    pub(crate) fn verify(&mut self, now: Timestamp, connack: &Connack<'_>) -> Result<bool, Fault> {
        let named = connack.properties.authentication_method;
        let Some(name) = self.authentication.name() else {
            return match named {
                Some(_) => self.tolerate(ProtocolError::AuthenticationMethod).map(|()| true),
                None => Ok(true),
            };
        };
        // [MQTT5-4.12.0-5]
        if named.is_some_and(|named| named != name) {
            return Err(ProtocolError::AuthenticationMethod.into());
        }
        if !self.authentication.is_verified {
            let data = connack.properties.authentication_data.map(Into::into);
            self.ask_method(now, Task::VerifyConnack(data));
        }
        Ok(self.authentication.is_verified)
    }

    fn give_authentication_up(&mut self, now: Timestamp, error: AuthError) {
        self.end(now, Some(ReasonCode::NotAuthorized), Ended::Authentication(error));
    }

    fn send_auth(
        &mut self,
        reason_code: ReasonCode,
        data: Option<&[u8]>,
        user_properties: UserProperties<'static>,
    ) {
        let mut auth = Auth {
            reason_code,
            authentication_method: self.authentication.name(),
            authentication_data: data,
            user_properties,
            ..Auth::default()
        };
        let mut packet = Vec::new();
        let encoded = auth.encode(self.version, &mut packet);
        let maximum = self.server.maximum_packet_size;
        // [MQTT5-3.15.2-3]
        if encoded.is_err() || !u32::try_from(packet.len()).is_ok_and(|size| size <= maximum) {
            auth.user_properties = UserProperties::new();
            packet.clear();
            // A method's name and data fit, or the server ends the connection for want of an
            // answer.
            let _ = auth.encode(self.version, &mut packet);
        }
        self.outbound.push(&packet);
    }
}
