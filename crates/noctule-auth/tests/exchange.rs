//! Client and server against each other: whoever has the password gets in, and nobody else.

use noctule_auth::{
    ScramClient, ScramCredentials, ScramDecoy, ScramError, ScramMechanism, ScramNonce,
    ScramPreparation, ScramServer,
};
use proptest::prelude::*;

/// Runs an exchange to its end; `Ok` if both sides believe each other.
fn exchange(
    mut client: ScramClient,
    mut server: ScramServer,
    credentials: &ScramCredentials,
) -> Result<String, ScramError> {
    let claimed = server.on_client_first(&client.start()?)?;
    let nonce = ScramNonce::from_bytes(&[2; 18])?;
    let server_first = server.challenge(credentials, nonce)?;
    let accepted = server.on_client_final(&client.on_server_first(&server_first)?)?;
    client.on_server_final(&accepted.server_final)?;
    assert!(client.is_verified());
    assert_eq!(accepted.identity, claimed);
    Ok(claimed.username().to_owned())
}

fn client(mechanism: ScramMechanism, username: &str, password: &str) -> ScramClient {
    ScramClient::new(mechanism, username, password, ScramNonce::from_bytes(&[1; 18]).unwrap())
}

fn mechanism() -> impl Strategy<Value = ScramMechanism> {
    prop::sample::select(&ScramMechanism::ALL[..])
}

/// Anything at all but U+0000, with what the grammar uses itself more often than chance would.
fn any_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        prop::sample::select(&[',', '=', '2', 'C', '3', 'D', ' ', 'é', '🦇'][..]),
        any::<char>().prop_filter("no name contains it", |character| *character != '\0'),
    ];
    prop::collection::vec(character, 1..40).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_password_opens_and_another_does_not(
        mechanism in mechanism(),
        username in any_text(),
        password in any_text(),
        other in any_text(),
        authorization_id in prop::option::of(any_text()),
        salt in prop::collection::vec(any::<u8>(), 8..40),
    ) {
        let as_is = ScramPreparation::AsIs;
        let credentials =
            ScramCredentials::derive(mechanism, as_is, &password, &salt, 4096).unwrap();
        let credentials = ScramCredentials::from_text(&credentials.to_text()).unwrap();
        let server = || ScramServer::new(mechanism).with_preparation(as_is);
        let client = |password: &str| {
            let client = client(mechanism, &username, password).with_preparation(as_is);
            match &authorization_id {
                Some(name) => client.with_authorization_id(name),
                None => client,
            }
        };

        prop_assert_eq!(exchange(client(&password), server(), &credentials), Ok(username.clone()));
        prop_assume!(other != password);
        let refused = exchange(client(&other), server(), &credentials);
        prop_assert_eq!(refused, Err(ScramError::WrongProof));
    }

    /// Both sides prepare alike, and preparing what is prepared changes nothing.
    #[test]
    fn prepared_texts_meet(username in any_text(), password in any_text()) {
        let mechanism = ScramMechanism::Sha256;
        let sasl = ScramPreparation::SaslPrep;
        let prepared = sasl.prepare(&username).zip(sasl.prepare(&password));
        let credentials = ScramCredentials::derive(mechanism, sasl, &password, &[3; 16], 4096);
        let Some((name, secret)) = prepared else {
            prop_assert!(client(mechanism, &username, &password).start().is_err());
            return Ok(());
        };
        let credentials = credentials.unwrap();
        let server = || ScramServer::new(mechanism);
        let typed = exchange(client(mechanism, &username, &password), server(), &credentials);
        prop_assert_eq!(typed, Ok(name.clone()));
        let again = exchange(client(mechanism, &name, &secret), server(), &credentials);
        prop_assert_eq!(again.is_ok(), sasl.prepare(&secret) == Some(secret));
    }
}

#[test]
fn an_unknown_user_looks_like_a_wrong_password() {
    let decoy = ScramDecoy::new(&[9; 32], 4096).unwrap();
    for mechanism in ScramMechanism::ALL {
        let known = ScramCredentials::derive(
            mechanism,
            ScramPreparation::SaslPrep,
            "wonderland",
            &[4; 16],
            4096,
        )
        .unwrap();
        let mut seen = Vec::new();
        for (name, stored) in [("alice", Some(known)), ("mallory", None)] {
            let credentials = decoy.credentials_or(mechanism, name, stored);
            let (mut client, mut server) =
                (client(mechanism, name, "guess"), ScramServer::new(mechanism));
            server.on_client_first(&client.start().unwrap()).unwrap();
            let nonce = ScramNonce::from_bytes(&[2; 18]).unwrap();
            let server_first = server.challenge(&credentials, nonce).unwrap();
            let client_final = client.on_server_first(&server_first).unwrap();
            let error = server.on_client_final(&client_final).unwrap_err();
            seen.push((server_first.len(), error.to_server_final(), error));
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0].2, ScramError::WrongProof);
    }
}

#[test]
fn a_decoys_salt_depends_on_name_mechanism_and_secret_only() {
    let decoy = ScramDecoy::new(&[9; 32], 4096).unwrap();
    let salt = |decoy: &ScramDecoy, mechanism, name: &str| {
        let text = decoy.credentials(mechanism, name).to_text();
        text.split('$').nth(1).unwrap().to_owned()
    };
    let sha256 = ScramMechanism::Sha256;
    let first = salt(&decoy, sha256, "mallory");
    assert_eq!(first, salt(&ScramDecoy::new(&[9; 32], 4096).unwrap(), sha256, "mallory"));
    assert_ne!(first, salt(&decoy, sha256, "mallorx"));
    assert_ne!(first, salt(&decoy, ScramMechanism::Sha512, "mallory"));
    assert_ne!(first, salt(&ScramDecoy::new(&[8; 32], 4096).unwrap(), sha256, "mallory"));
}

/// A server that knows only the salt can recite the challenge, but not sign.
#[test]
fn a_server_without_the_credentials_is_found_out() {
    let mut client = client(ScramMechanism::Sha256, "alice", "wonderland");
    let mut server = ScramServer::new(ScramMechanism::Sha256);
    server.on_client_first(&client.start().unwrap()).unwrap();
    let decoy = ScramDecoy::new(&[9; 32], 4096).unwrap();
    let credentials = decoy.credentials(ScramMechanism::Sha256, "alice");
    let nonce = ScramNonce::from_bytes(&[2; 18]).unwrap();
    let server_first = server.challenge(&credentials, nonce).unwrap();
    client.on_server_first(&server_first).unwrap();
    let signature = format!("v={}A=", "A".repeat(42));
    let error = client.on_server_final(signature.as_bytes());
    assert_eq!(error, Err(ScramError::WrongServerSignature));
    assert!(!client.is_verified());
}

#[test]
fn no_step_can_be_repeated_or_left_out() {
    let out_of_order = || Err(ScramError::OutOfOrder);
    let new_client = || client(ScramMechanism::Sha256, "alice", "wonderland");
    assert_eq!(new_client().on_server_first(b"r=a,s=YQ==,i=4096"), out_of_order());
    assert_eq!(new_client().on_server_final(b"v=YQ==").map(|()| Vec::new()), out_of_order());
    let mut client = new_client();
    client.start().unwrap();
    assert_eq!(client.start(), out_of_order());

    let mechanism = ScramMechanism::Sha256;
    let credentials = ScramDecoy::new(&[9; 32], 4096).unwrap().credentials(mechanism, "alice");
    let nonce = || ScramNonce::from_bytes(&[2; 18]).unwrap();
    let mut server = ScramServer::new(mechanism);
    assert_eq!(server.challenge(&credentials, nonce()), out_of_order());
    assert_eq!(server.on_client_first(b"n,,n=a,r=b").unwrap_err(), ScramError::OutOfOrder);
    let mut server = ScramServer::new(mechanism);
    server.on_client_first(b"n,,n=a,r=b").unwrap();
    assert_eq!(server.on_client_final(b"c=biws,r=b,p=YQ==").unwrap_err(), ScramError::OutOfOrder);
}

#[test]
fn credentials_for_another_mechanism_are_refused() {
    let (expected, found) = (ScramMechanism::Sha512, ScramMechanism::Sha256);
    let credentials = ScramDecoy::new(&[9; 32], 4096).unwrap().credentials(found, "alice");
    let mut server = ScramServer::new(expected);
    server.on_client_first(b"n,,n=a,r=b").unwrap();
    let refused = server.challenge(&credentials, ScramNonce::from_bytes(&[2; 18]).unwrap());
    assert_eq!(refused, Err(ScramError::MechanismMismatch { expected, found }));
}

#[test]
fn a_user_of_another_mechanism_only_is_as_good_as_unknown() {
    let decoy = ScramDecoy::new(&[9; 32], 4096).unwrap();
    let (mechanism, other) = (ScramMechanism::Sha512, ScramMechanism::Sha256);
    let stored =
        ScramCredentials::derive(other, ScramPreparation::AsIs, "wonderland", &[4; 16], 4096);
    let stored = Some(stored.unwrap());
    let found = decoy.credentials_or(other, "alice", stored.clone());
    assert!(found.is_password(ScramPreparation::AsIs, "wonderland"));
    let made_up = decoy.credentials_or(mechanism, "alice", stored);
    assert_eq!(made_up.to_text(), decoy.credentials(mechanism, "alice").to_text());
}

#[test]
fn nothing_secret_is_shown() {
    let (mechanism, preparation) = (ScramMechanism::Sha256, ScramPreparation::SaslPrep);
    let salt = b"saltsaltsaltsalt";
    let credentials =
        ScramCredentials::derive(mechanism, preparation, "wonderland", salt, 4096).unwrap();
    assert_eq!(
        format!("{credentials:?}"),
        "ScramCredentials { mechanism: Sha256, iterations: 4096, .. }"
    );
    let mut client = client(mechanism, "alice", "wonderland");
    let mut server = ScramServer::new(mechanism);
    let mut shown = format!("{client:?}");
    server.on_client_first(&client.start().unwrap()).unwrap();
    shown += &format!("{client:?}{server:?}");
    let nonce = ScramNonce::from_bytes(&[2; 18]).unwrap();
    let server_first = server.challenge(&credentials, nonce).unwrap();
    client.on_server_first(&server_first).unwrap();
    shown += &format!("{client:?}{server:?}{:?}", ScramDecoy::new(salt, 4096).unwrap());
    for secret in ["wonderland", "salt\"", "115, 97", "[1"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
