//! Authentication as computation: what goes over the wire and what is compared, for both sides.
//!
//! Nothing here knows a socket, a clock, a source of randomness or a packet. What has to be random
//! is an argument, and what a peer sent is bytes with a bound.
//!
//! For now this is SCRAM (RFC 5802 and RFC 7677) with SHA-1, SHA-256 and SHA-512:
//! [`ScramClient`] proves that it knows a password without sending it, [`ScramServer`] checks the
//! proof without knowing the password, and proves in turn that it knew the credentials.
//!
//! ```
//! use noctule_auth::{
//!     ScramClient, ScramCredentials, ScramMechanism, ScramNonce, ScramPreparation, ScramServer,
//! };
//!
//! // Once, where the user is created: the server keeps this and forgets the password.
//! let salt = [7; 16]; // from the operating system's random numbers
//! let credentials = ScramCredentials::derive(
//!     ScramMechanism::Sha256,
//!     ScramPreparation::SaslPrep,
//!     "wonderland",
//!     &salt,
//!     4096,
//! )?;
//!
//! // Every time: two messages in each direction.
//! let nonce = ScramNonce::from_bytes(&[1; 18])?; // random, too
//! let mut client = ScramClient::new(ScramMechanism::Sha256, "alice", "wonderland", nonce);
//! let mut server = ScramServer::new(ScramMechanism::Sha256);
//!
//! let claimed = server.on_client_first(&client.start()?)?;
//! assert_eq!(claimed.username(), "alice"); // whose credentials are to be looked up
//! let server_first = server.challenge(&credentials, ScramNonce::from_bytes(&[2; 18])?)?;
//! let accepted = server.on_client_final(&client.on_server_first(&server_first)?)?;
//! client.on_server_final(&accepted.server_final)?;
//! assert!(client.is_verified());
//! assert_eq!(accepted.identity.username(), "alice");
//! # Ok::<(), noctule_auth::ScramError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod scram;

pub use scram::client::ScramClient;
pub use scram::credentials::{ScramCredentials, ScramCredentialsError};
pub use scram::decoy::ScramDecoy;
pub use scram::error::{ScramError, ScramServerError};
pub use scram::limits::ScramLimits;
pub use scram::mechanism::ScramMechanism;
pub use scram::message::ScramChannelBinding;
pub use scram::nonce::ScramNonce;
pub use scram::preparation::ScramPreparation;
pub use scram::server::{ScramAccepted, ScramIdentity, ScramServer};
