//! SCRAM as a method of enhanced authentication.

use std::fmt;

use noctule_auth::{ScramClient, ScramMechanism, ScramNonce};
use noctule_client_core::{AuthError, Authenticator};

/// Proves by SCRAM that we know a password, without sending it, and that the server does.
///
/// ```no_run
/// use noctule_client::{Client, Scram, ScramMechanism};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let scram = Scram::new(ScramMechanism::Sha256, "alice", "wonderland");
/// let client = Client::builder("mqtts://broker.example").authentication(scram).connect().await?;
/// # Ok(())
/// # }
/// ```
pub struct Scram {
    mechanism: ScramMechanism,
    user_name: String,
    password: String,
    exchange: Option<ScramClient>,
}

impl fmt::Debug for Scram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Scram")
            .field("mechanism", &self.mechanism)
            .field("user_name", &self.user_name)
            .field("password", &"hidden")
            .finish_non_exhaustive()
    }
}

impl Scram {
    /// A user and a password.
    pub fn new(
        mechanism: ScramMechanism,
        user_name: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        let (user_name, password) = (user_name.into(), password.into());
        Self { mechanism, user_name, password, exchange: None }
    }

    fn exchange(&mut self) -> Result<&mut ScramClient, AuthError> {
        self.exchange.as_mut().ok_or_else(|| AuthError::new("the exchange has not begun"))
    }
}

fn failed(error: impl fmt::Display) -> AuthError {
    AuthError::new(error.to_string())
}

impl Authenticator for Scram {
    fn method(&self) -> &str {
        self.mechanism.name()
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        let mut random = [0; 18];
        getrandom::fill(&mut random).map_err(failed)?;
        let nonce = ScramNonce::from_bytes(&random).map_err(failed)?;
        let exchange = ScramClient::new(self.mechanism, &self.user_name, &self.password, nonce);
        self.exchange.insert(exchange).start().map(Some).map_err(failed)
    }

    fn challenge(&mut self, data: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        let answer = self.exchange()?.on_server_first(data.unwrap_or_default());
        answer.map(Some).map_err(failed)
    }

    fn verify(&mut self, data: Option<&[u8]>) -> Result<(), AuthError> {
        self.exchange()?.on_server_final(data.unwrap_or_default()).map_err(failed)
    }
}
