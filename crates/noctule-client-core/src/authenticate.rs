//! The exchange of AUTH packets: before CONNACK, and again when either side wants it.

use alloc::vec::Vec;

use noctule_packet::{Auth, Connack, Frame, ReasonCode};
use noctule_session::Timestamp;

use crate::auth::AuthError;
use crate::ended::Ended;
use crate::event::Event;
use crate::fault::{Fault, ProtocolError};
use crate::session::{ClientSession, Status};

/// Why a re-authentication cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReauthenticateRefused {
    /// There is no connection.
    #[error("there is no connection")]
    Offline,
    /// The connection was made without an authentication method.
    #[error("the connection has no authentication method")]
    NoMethod,
    /// An exchange is under way.
    #[error("an authentication is under way")]
    UnderWay,
    /// The method cannot begin.
    #[error(transparent)]
    Authentication(#[from] AuthError),
}

impl ClientSession {
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
        let Some(method) = &mut self.authentication.method else {
            return Err(ReauthenticateRefused::NoMethod);
        };
        let data = method.start()?;
        self.authentication.is_under_way = true;
        self.clocks.authenticate(self.settings.connect_timeout.map(|timeout| now + timeout));
        self.send_auth(ReasonCode::ReAuthenticate, data);
        Ok(())
    }

    /// AUTH.
    // [MQTT5-4.12.0-3]
    pub(crate) fn on_auth(&mut self, now: Timestamp, frame: &Frame<'_>) -> Result<(), Fault> {
        let auth = Auth::decode(frame, self.version, self.settings.validation.text_rules())?;
        let Some(method) = &mut self.authentication.method else {
            return Err(ProtocolError::UnexpectedAuth.into());
        };
        // [MQTT5-4.12.0-5]
        if auth.authentication_method.is_some_and(|name| name != method.method()) {
            return Err(ProtocolError::AuthenticationMethod.into());
        }
        match auth.reason_code {
            ReasonCode::ContinueAuthentication => {
                match method.challenge(auth.authentication_data) {
                    Ok(data) => {
                        self.authentication.is_under_way = self.status == Status::Online;
                        self.send_auth(ReasonCode::ContinueAuthentication, data);
                    }
                    Err(error) => self.give_authentication_up(now, error),
                }
                Ok(())
            }
            ReasonCode::Success if self.authentication.is_under_way => {
                let verified = method.verify(auth.authentication_data);
                self.authentication.is_under_way = false;
                self.clocks.authenticate(None);
                match verified {
                    Ok(()) => self.events.push(Event::Reauthenticated),
                    Err(error) => self.give_authentication_up(now, error),
                }
                Ok(())
            }
            _ => Err(ProtocolError::UnexpectedAuth.into()),
        }
    }

    /// CONNACK ends the first exchange.
    pub(crate) fn verify(&mut self, connack: &Connack<'_>) -> Result<(), Fault> {
        let named = connack.properties.authentication_method;
        let Some(method) = &mut self.authentication.method else {
            return match named {
                Some(_) => self.tolerate(ProtocolError::AuthenticationMethod),
                None => Ok(()),
            };
        };
        // [MQTT5-4.12.0-5]
        if named.is_some_and(|name| name != method.method()) {
            return Err(ProtocolError::AuthenticationMethod.into());
        }
        if let Err(error) = method.verify(connack.properties.authentication_data) {
            self.end(Timestamp::default(), None, Ended::Authentication(error));
        }
        Ok(())
    }

    fn give_authentication_up(&mut self, now: Timestamp, error: AuthError) {
        self.end(now, Some(ReasonCode::NotAuthorized), Ended::Authentication(error));
    }

    fn send_auth(&mut self, reason_code: ReasonCode, data: Option<Vec<u8>>) {
        let Some(method) = &self.authentication.method else { return };
        let auth = Auth {
            reason_code,
            authentication_method: Some(method.method()),
            authentication_data: data.as_deref(),
            ..Auth::default()
        };
        // A method's name and data fit, or the server ends the connection for want of an answer.
        let _ = auth.encode(self.version, self.outbound.bytes_mut());
    }
}
