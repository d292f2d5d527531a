//! P-30: servers that send their clients elsewhere, and what is said there.

use std::time::Duration;

use noctule_client::{AuthError, Authenticator, Client, ReconnectSettings, Redirect, Redirects};
use noctule_packet::ReasonCode;
use noctule_testkit::{OwnedConnack, OwnedConnect, Peer, Script};

use crate::house::soon;
use crate::start::connect;

/// A method whose only word must not come to the wrong ears.
struct Token;

impl Authenticator for Token {
    fn method(&self) -> &str {
        "TOKEN"
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(Some(b"secret".to_vec()))
    }

    fn challenge(&mut self, _: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        Err(AuthError::new("nothing more to say"))
    }

    fn verify(&mut self, _: Option<&[u8]>) -> Result<(), AuthError> {
        Ok(())
    }
}

fn redirecting(reference: String) -> Script {
    Script::run(move |mut peer: Peer| {
        let connect = peer.expect_connect();
        assert_eq!(connect.user_name.as_deref(), Some("anna"));
        assert_eq!(connect.authentication_data.as_deref(), Some(&b"secret"[..]));
        let mut connack = OwnedConnack::new(ReasonCode::UseAnotherServer);
        connack.server_reference = Some(reference);
        peer.send_connack(&connack);
    })
}

/// What the server says to whom a client was sent.
async fn said_elsewhere(credentials: Vec<Box<str>>) -> OwnedConnect {
    let (tell, told) = tokio::sync::oneshot::channel();
    let elsewhere = Script::run(move |mut peer: Peer| {
        let connect = peer.expect_connect();
        let mut connack = OwnedConnack::new(ReasonCode::Success);
        connack.authentication_method = connect.authentication_method.clone();
        peer.send_connack(&connack);
        drop(tell.send(connect));
        peer.expect_disconnect(ReasonCode::Success);
    });
    let home = redirecting(elsewhere.address().to_string());
    let redirect = Redirect { allowed: Redirects::Anywhere, credentials, ..Redirect::default() };
    let builder = Client::builder(format!("mqtt://{}", home.address()))
        .client_id("c")
        .credentials("anna", "secret")
        .authentication(Token)
        .reconnect(ReconnectSettings { redirect, ..ReconnectSettings::default() });
    let client = connect(builder).await.unwrap();
    let connect = soon(told).await.unwrap();
    soon(client.shutdown(Duration::ZERO)).await;
    home.finish();
    elsewhere.finish();
    connect
}

#[tokio::test]
async fn whoever_may_see_the_credentials_sees_them_and_nobody_else() {
    let friend = said_elsewhere(vec!["127.0.0.1".into()]).await;
    assert_eq!(friend.user_name.as_deref(), Some("anna"));
    assert_eq!(friend.password.as_deref(), Some(&b"secret"[..]));
    assert_eq!(friend.authentication_data.as_deref(), Some(&b"secret"[..]));
    let stranger = said_elsewhere(Vec::new()).await;
    assert_eq!((stranger.user_name, stranger.password), (None, None));
    assert_eq!((stranger.authentication_method, stranger.authentication_data), (None, None));
}

#[tokio::test]
async fn no_server_sends_its_clients_into_their_own_machine() {
    let home = redirecting("unix:///run/mqtt".to_owned());
    let redirect = Redirect { allowed: Redirects::Anywhere, ..Redirect::default() };
    let settings =
        ReconnectSettings { redirect, attempts_max: Some(2), ..ReconnectSettings::default() };
    let builder = Client::builder(format!("mqtt://{}", home.address()))
        .client_id("c")
        .credentials("anna", "secret")
        .authentication(Token)
        .reconnect(settings);
    let error = connect(builder).await.unwrap_err();
    assert!(error.to_string().contains("unix://"), "{error}");
    home.finish();
}
