//! The program's own method of authentication, whose panics are failures of the authentication and
//! nobody else's.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use noctule_client_core::{AuthError, Authenticator, Remarks};
use noctule_packet::UserProperties;

/// A method whose panics go no further: it is asked by whoever drives the client.
pub(crate) struct Guarded<M>(pub(crate) M);

impl<M: Authenticator> Guarded<M> {
    fn ask<T>(&mut self, ask: impl FnOnce(&mut M) -> Result<T, AuthError>) -> Result<T, AuthError> {
        let asked = catch_unwind(AssertUnwindSafe(|| ask(&mut self.0)));
        asked.unwrap_or_else(|payload| {
            let what = text(&*payload).unwrap_or("it does not say why");
            Err(AuthError::new(format!("the method has panicked: {what}")))
        })
    }
}

/// What somebody has panicked with, if it is a text.
fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied())
}

impl<M: Authenticator> Authenticator for Guarded<M> {
    fn method(&self) -> &str {
        self.0.method()
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        self.ask(M::start)
    }

    fn challenge(&mut self, data: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        self.ask(|method| method.challenge(data))
    }

    fn verify(&mut self, data: Option<&[u8]>) -> Result<(), AuthError> {
        self.ask(|method| method.verify(data))
    }

    fn remarks(&mut self, remarks: &Remarks) {
        let _ = self.ask(|method| {
            method.remarks(remarks);
            Ok(())
        });
    }

    fn user_properties(&mut self) -> UserProperties<'static> {
        self.ask(|method| Ok(method.user_properties())).unwrap_or_default()
    }
}
