//! The four messages, each read into its parts.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::attribute::{Attributes, bytes, escape, iterations, nonce, unescape};
use super::error::{ScramError, ScramServerError};

/// What a client says about channel binding, which it does not use in either case.
///
/// ```
/// use noctule_auth::{ScramChannelBinding, ScramClient, ScramMechanism, ScramNonce};
///
/// let nonce = ScramNonce::from_text("rOprNGfwEbeRWgbNEkqO")?;
/// let mut client = ScramClient::new(ScramMechanism::Sha256, "user", "pencil", nonce)
///     .with_channel_binding(ScramChannelBinding::NotOffered);
/// assert_eq!(client.start()?, b"y,,n=user,r=rOprNGfwEbeRWgbNEkqO");
/// # Ok::<(), noctule_auth::ScramError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScramChannelBinding {
    /// `n`: the client cannot bind channels.
    #[default]
    Unsupported,
    /// `y`: the client could, but the server did not offer it. A server that did offer it knows by
    /// this that somebody has removed the offer.
    NotOffered,
}

/// `gs2-header`: what a client says about channels and on whose behalf it acts.
pub(crate) fn gs2_header(binding: ScramChannelBinding, authorization_id: Option<&str>) -> String {
    let flag = match binding {
        ScramChannelBinding::Unsupported => 'n',
        ScramChannelBinding::NotOffered => 'y',
    };
    match authorization_id {
        Some(name) => format!("{flag},a={},", escape(name)),
        None => format!("{flag},,"),
    }
}

/// `client-first-message`.
pub(crate) struct ClientFirst<'a> {
    pub(crate) gs2_header: &'a str,
    /// What is behind the header, which goes into the proofs.
    pub(crate) bare: &'a str,
    pub(crate) authorization_id: Option<String>,
    pub(crate) username: String,
    pub(crate) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(crate) fn read(message: &'a str) -> Result<Self, ScramError> {
        let malformed = ScramError::Malformed { expected: "the first message starts with `n,,`" };
        let Some((flag, rest)) = message.split_once(',') else { return Err(malformed) };
        match flag {
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(ScramError::ChannelBindingUnsupported),
            _ => return Err(malformed),
        }
        let Some((authorization_id, bare)) = rest.split_once(',') else { return Err(malformed) };
        let authorization_id = match authorization_id {
            "" => None,
            _ => Some(Attributes::new(authorization_id).take('a', "the header's name is `a=`")?),
        };
        let header_len = message.len() - bare.len();
        let Some(gs2_header) = message.get(..header_len) else { return Err(malformed) };

        let mut attributes = Attributes::new(bare);
        let username = attributes.take('n', "the user name `n=` is missing")?;
        let nonce = nonce(attributes.take('r', "the nonce `r=` is missing")?)?;
        attributes.finish()?;
        Ok(Self {
            gs2_header,
            bare,
            authorization_id: authorization_id.map(unescape).transpose()?,
            username: unescape(username)?,
            nonce,
        })
    }
}

/// `server-first-message`.
pub(crate) struct ServerFirst<'a> {
    pub(crate) nonce: &'a str,
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
}

impl<'a> ServerFirst<'a> {
    pub(crate) fn read(message: &'a str) -> Result<Self, ScramError> {
        let mut attributes = Attributes::new(message);
        if attributes.peek() == Some('e') {
            // Only the last message can say this by the grammar, but servers that know after the
            // first one say so at once.
            return Err(refusal(attributes.take('e', "the error `e=` is missing")?));
        }
        let nonce = nonce(attributes.take('r', "the nonce `r=` is missing")?)?;
        let salt = bytes(attributes.take('s', "the salt `s=` is missing")?)?;
        let iterations = iterations(attributes.take('i', "the iterations `i=` are missing")?)?;
        attributes.finish()?;
        Ok(Self { nonce, salt, iterations })
    }
}

fn refusal(value: &str) -> ScramError {
    ScramError::RefusedByServer(ScramServerError::from_value(value))
}

/// `client-final-message`.
pub(crate) struct ClientFinal<'a> {
    /// What is before the proof, and goes into it.
    pub(crate) without_proof: &'a str,
    /// The channel binding, still in base64.
    pub(crate) binding: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    pub(crate) fn read(message: &'a str) -> Result<Self, ScramError> {
        let expected = "the proof `p=` is the last attribute";
        let Some((without_proof, proof)) = message.rsplit_once(",p=") else {
            return Err(ScramError::Malformed { expected });
        };
        let mut attributes = Attributes::new(without_proof);
        let binding = attributes.take('c', "the channel binding `c=` is missing")?;
        let nonce = nonce(attributes.take('r', "the nonce `r=` is missing")?)?;
        attributes.finish()?;
        Ok(Self { without_proof, binding, nonce, proof: bytes(proof)? })
    }
}

/// The signature in a `server-final-message`.
pub(crate) fn server_final(message: &str) -> Result<Vec<u8>, ScramError> {
    let mut attributes = Attributes::new(message);
    if attributes.peek() == Some('e') {
        return Err(refusal(attributes.take('e', "the error `e=` is missing")?));
    }
    let signature = bytes(attributes.take('v', "the signature `v=` is missing")?)?;
    attributes.finish()?;
    Ok(signature)
}

/// What both sides sign: everything that was said but the proofs.
#[derive(Debug)]
pub(crate) struct AuthMessage(String);

impl AuthMessage {
    pub(crate) fn new(client_first_bare: &str, server_first: &str) -> Self {
        Self(format!("{client_first_bare},{server_first},"))
    }

    pub(crate) fn finish(mut self, client_final_without_proof: &str) -> Vec<u8> {
        self.0.push_str(client_final_without_proof);
        self.0.into_bytes()
    }
}
