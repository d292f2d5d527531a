//! `-D connect authentication-method`: enhanced authentication with the data that the command line
//! says.

use noctule_client::{AuthError, Authenticator};

/// What is said of enhanced authentication, if anything is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authentication {
    pub(crate) method: Option<String>,
    /// What CONNECT carries.
    pub(crate) data: Option<Vec<u8>>,
    /// What the server's challenge is answered with.
    pub(crate) answer: Option<Vec<u8>>,
}

impl Authentication {
    /// What is wrong with what was said, if anything is.
    pub(crate) const fn problem(&self) -> Option<&'static str> {
        match (&self.method, &self.data, &self.answer) {
            (None, Some(_), _) | (None, _, Some(_)) => {
                Some("authentication-data needs -D connect authentication-method")
            }
            _ => None,
        }
    }

    /// The method, if there is one.
    pub(crate) fn method(&self) -> Option<Fixed> {
        let (data, answer) = (self.data.clone(), self.answer.clone());
        self.method.clone().map(|method| Fixed { method, data, answer, was_asked: false })
    }
}

/// A method that says the same each time.
pub(crate) struct Fixed {
    method: String,
    data: Option<Vec<u8>>,
    answer: Option<Vec<u8>>,
    was_asked: bool,
}

impl Authenticator for Fixed {
    fn method(&self) -> &str {
        &self.method
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        self.was_asked = false;
        Ok(self.data.clone())
    }

    fn challenge(&mut self, _: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        match &self.answer {
            _ if std::mem::replace(&mut self.was_asked, true) => {
                Err(AuthError::new("the server asks more than once"))
            }
            Some(answer) => Ok(Some(answer.clone())),
            None => Err(AuthError::new(
                "the server asks for more: answer with -D auth authentication-data DATA",
            )),
        }
    }

    fn verify(&mut self, _: Option<&[u8]>) -> Result<(), AuthError> {
        Ok(())
    }
}
