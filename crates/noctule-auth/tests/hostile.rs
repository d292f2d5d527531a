//! Peers that alter, cut, lengthen and invent messages: refused by name, and never a panic.

use noctule_auth::{
    ScramClient, ScramCredentials, ScramCredentialsError, ScramDecoy, ScramError, ScramLimits,
    ScramMechanism, ScramNonce, ScramPreparation, ScramServer, ScramServerError,
};
use proptest::prelude::*;

const MECHANISM: ScramMechanism = ScramMechanism::Sha256;
/// The user of RFC 7677's example, whose password is `pencil`.
const CREDENTIALS: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                           WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                           wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";

fn client() -> ScramClient {
    let limits = ScramLimits { max_iterations: 10_000, ..ScramLimits::default() };
    let nonce = ScramNonce::from_text(CLIENT_NONCE).unwrap();
    ScramClient::new(MECHANISM, "user", "pencil", nonce).with_limits(limits)
}

fn credentials(name: &str) -> ScramCredentials {
    match name {
        "user" => ScramCredentials::from_text(CREDENTIALS).unwrap(),
        _ => ScramDecoy::new(&[9; 32], 4096).unwrap().credentials(MECHANISM, name),
    }
}

fn server_nonce() -> ScramNonce {
    ScramNonce::from_text("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").unwrap()
}

/// Who believed whom at the end of an exchange, and what was said.
#[derive(Default)]
struct Ending {
    messages: Vec<Vec<u8>>,
    is_accepted: bool,
    is_verified: bool,
}

/// Runs an exchange in which somebody between the two may replace messages by their number.
fn exchange(underway: impl Fn(usize, Vec<u8>) -> Vec<u8>) -> Ending {
    let mut ending = Ending::default();
    let (mut client, mut server) = (client(), ScramServer::new(MECHANISM));
    let mut run = || -> Result<(), ScramError> {
        let mut send = |message: Vec<u8>| {
            ending.messages.push(message.clone());
            underway(ending.messages.len() - 1, message)
        };
        let claimed = server.on_client_first(&send(client.start()?))?;
        let credentials = credentials(claimed.username());
        let server_first = send(server.challenge(&credentials, server_nonce())?);
        let client_final = send(client.on_server_first(&server_first)?);
        let accepted = server.on_client_final(&client_final)?;
        ending.is_accepted = true;
        client.on_server_final(&send(accepted.server_final))
    };
    // Where it fails is not asked for: who believes whom is.
    let _ = run();
    ending.is_verified = client.is_verified();
    ending
}

/// A byte's replacements: each bit turned, what the grammar uses, and what UTF-8 forbids.
fn replacements(byte: u8) -> impl Iterator<Item = u8> {
    let turned = (0..8).map(move |bit| byte ^ (1 << bit));
    turned
        .chain([b',', b'=', b'm', b'a', b'A', b'0', 0, 0x80, 0xff])
        .filter(move |new| *new != byte)
}

#[test]
fn each_altered_byte_is_noticed() {
    let untouched = exchange(|_, message| message);
    assert!(untouched.is_accepted && untouched.is_verified);
    let mut altered = 0;
    for (number, message) in untouched.messages.iter().enumerate() {
        for index in 0..message.len() {
            for new in replacements(message[index]) {
                let ending = exchange(|at, mut message| {
                    if at == number {
                        message[index] = new;
                    }
                    message
                });
                let context = format!("message {number}, byte {index}, {new:#04x}");
                // The last message comes after the server's decision.
                assert_eq!(ending.is_accepted, number == 3, "{context}");
                assert!(!ending.is_verified, "{context}");
                altered += 1;
            }
        }
    }
    assert!(altered > 3000, "{altered}");
}

#[test]
fn each_byte_too_few_or_too_many_is_noticed() {
    let untouched = exchange(|_, message| message);
    for (number, message) in untouched.messages.iter().enumerate() {
        for index in 0..=message.len() {
            for change in ["remove", "cut", "a", ",", "=", ",x=1", ",m=1"] {
                let edit = |mut message: Vec<u8>| {
                    match change {
                        "remove" if index < message.len() => drop(message.remove(index)),
                        "remove" => {}
                        "cut" => message.truncate(index),
                        added => drop(message.splice(index..index, added.bytes())),
                    }
                    message
                };
                let edited = edit(message.clone());
                // An optional extension behind the signature means nothing, and harms nobody.
                let is_harmless =
                    edited == *message || number == 3 && index == message.len() && change == ",x=1";
                let ending =
                    exchange(|at, message| if at == number { edit(message) } else { message });
                let context = format!("message {number}, byte {index}, {change}");
                assert_eq!(ending.is_accepted, is_harmless || number == 3, "{context}");
                assert_eq!(ending.is_verified, is_harmless, "{context}");
            }
        }
    }
}

#[track_caller]
fn client_first_fails(message: &str, error: &ScramError) {
    let found = ScramServer::new(MECHANISM).on_client_first(message.as_bytes());
    assert_eq!(found.as_ref(), Err(error), "{message}");
}

fn is_malformed<T>(found: &Result<T, ScramError>) -> bool {
    matches!(found, Err(ScramError::Malformed { .. }))
}

#[test]
fn a_client_first_message_is_refused_by_name() {
    client_first_fails("p=tls-exporter,,n=user,r=abc", &ScramError::ChannelBindingUnsupported);
    client_first_fails("n,,m=1,n=user,r=abc", &ScramError::ExtensionsUnsupported);
    client_first_fails("n,,n=user,r=abc,m=1", &ScramError::ExtensionsUnsupported);
    for name in ["=", "a=2", "a=2c", "=3d", "a=", "=2C=", "\u{7}"] {
        client_first_fails(&format!("n,,n={name},r=abc"), &ScramError::InvalidUsername);
    }
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=user,r=abc",
        "N,,n=user,r=abc",
        "n,b=c,n=user,r=abc",
        "n,a=,n=user,r=abc",
        "n,,n=,r=abc",
        "n,,n=user",
        "n,,n=user,r=",
        "n,,r=abc,n=user",
        "n,,n=user,r=a c",
        "n,,n=user,r=é",
        "n,,n=user,r=abc,",
        "n,,n=user,r=abc,x",
        "n,,n=user,r=abc,x=",
        "n,,n=user,r=abc,r=abc",
        "n,,n=user,r=abc,xy=1",
        "n,,n=\0,r=abc",
        "p,,n=user,r=abc",
        "nn,,n=user,r=abc",
    ] {
        let found = ScramServer::new(MECHANISM).on_client_first(message.as_bytes());
        assert!(is_malformed(&found), "{message}: {found:?}");
    }
    let ill_formed = ScramServer::new(MECHANISM).on_client_first(b"n,,n=\xff,r=abc");
    assert_eq!(ill_formed, Err(ScramError::IllFormedUtf8));
    assert!(ScramServer::new(MECHANISM).on_client_first(b"n,,n=user,r=abc,x=a=b,Y=2").is_ok());
}

#[track_caller]
fn server_first_fails(message: &str, error: ScramError) {
    let mut client = client();
    client.start().unwrap();
    assert_eq!(client.on_server_first(message.as_bytes()), Err(error), "{message}");
    // What failed has ended.
    assert_eq!(client.on_server_first(message.as_bytes()), Err(ScramError::OutOfOrder));
}

#[test]
fn a_server_first_message_is_refused_by_name() {
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    let n = CLIENT_NONCE;
    let few = |offered| ScramError::TooFewIterations { offered, minimum: 4096 };
    let many = |offered| ScramError::TooManyIterations { offered, maximum: 10_000 };
    server_first_fails(&format!("r={n}x,s={SALT},i=4095"), few(4095));
    server_first_fails(&format!("r={n}x,s={SALT},i=10001"), many(10_001));
    server_first_fails(&format!("r={n}x,s={SALT},i=99999999999999999999"), many(u32::MAX));
    server_first_fails(&format!("r={n},s={SALT},i=4096"), ScramError::NonceMismatch);
    server_first_fails(&format!("r=x{n},s={SALT},i=4096"), ScramError::NonceMismatch);
    server_first_fails(&format!("r=x,s={SALT},i=4096"), ScramError::NonceMismatch);
    let extension = ScramError::ExtensionsUnsupported;
    server_first_fails(&format!("m=x,r={n}x,s={SALT},i=4096"), extension.clone());
    server_first_fails(&format!("r={n}x,s={SALT},i=4096,m=x"), extension);
    let refused = ScramError::RefusedByServer(ScramServerError::UnknownUser);
    server_first_fails("e=unknown-user", refused);
    for message in [
        format!("r={n}x,s={SALT}"),
        format!("r={n}x,i=4096"),
        format!("s={SALT},i=4096"),
        format!("r={n}x,s=,i=4096"),
        format!("r={n}x,s=W22,i=4096"),
        format!("r={n}x,s=W22ZaJ0SNY7soEsUEjb6gR==,i=4096"),
        format!("r={n}x,s={SALT},i=04096"),
        format!("r={n}x,s={SALT},i=+4096"),
        format!("r={n}x,s={SALT},i=-1"),
        format!("r={n}x,s={SALT},i=4096.0"),
        format!("r={n}x,s={SALT},i="),
        format!("r={n}x,s={SALT},i=4096,i=4096"),
        format!("r={n}\u{7f},s={SALT},i=4096"),
    ] {
        let mut client = client();
        client.start().unwrap();
        let found = client.on_server_first(message.as_bytes());
        assert!(is_malformed(&found), "{message}: {found:?}");
    }
}

#[test]
fn iterations_are_accepted_up_to_both_limits() {
    for iterations in [4096, 10_000] {
        let mut client = client();
        client.start().unwrap();
        let message = format!("r={CLIENT_NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={iterations}");
        assert!(client.on_server_first(message.as_bytes()).is_ok(), "{iterations}");
    }
}

#[test]
fn a_server_final_message_says_why() {
    let last = |message: &[u8]| {
        let mut client = client();
        client.start().unwrap();
        let server_first = format!("r={CLIENT_NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        client.on_server_first(server_first.as_bytes()).unwrap();
        client.on_server_final(message)
    };
    let refused = |reason| Err(ScramError::RefusedByServer(reason));
    assert_eq!(last(b"e=invalid-proof"), refused(ScramServerError::InvalidProof));
    assert_eq!(last(b"e=no-resources,x=y"), refused(ScramServerError::NoResources));
    let unlisted = ScramServerError::Unlisted("\u{1b}[31m".to_owned() + &"a".repeat(59));
    let long = format!("e=\u{1b}[31m{}", "a".repeat(1000));
    assert_eq!(last(long.as_bytes()), refused(unlisted.clone()));
    assert!(unlisted.to_string().starts_with(r#""\u{1b}[31m"#), "{unlisted}");
    assert_eq!(
        last(b"v="),
        Err(ScramError::Malformed { expected: "attributes are `letter=value`" })
    );
    assert_eq!(last(b"v=YQ=="), Err(ScramError::WrongServerSignature));
    let too_long = last(&[b'v'; 5000]);
    assert_eq!(too_long, Err(ScramError::MessageTooLong { size: 5000, maximum: 4096 }));
}

/// Somebody between the two changes what the client says about channel binding, by which the server
/// would have known that its offer had been removed.
#[test]
fn an_altered_header_is_noticed() {
    for (from, to) in [("n,,", "y,,"), ("n,,", "n,a=root,")] {
        let altered = CLIENT_FIRST.replacen(from, to, 1);
        let ending = exchange(|at, message| match at {
            0 => altered.clone().into_bytes(),
            _ => message,
        });
        assert_eq!(ending.messages.len(), 3, "{to}");
        assert!(!ending.is_accepted && !ending.is_verified, "{to}");

        let mut server = ScramServer::new(MECHANISM);
        server.on_client_first(altered.as_bytes()).unwrap();
        server.challenge(&credentials("user"), server_nonce()).unwrap();
        let error = server.on_client_final(&ending.messages[2]).unwrap_err();
        assert_eq!(error, ScramError::ChannelBindingMismatch, "{to}");
    }
}

/// The same bytes at another time, with all that was recorded.
#[test]
fn a_recorded_proof_does_not_fit_again() {
    let recorded = exchange(|_, message| message).messages;
    let mut server = ScramServer::new(MECHANISM);
    server.on_client_first(&recorded[0]).unwrap();
    let fresh = ScramNonce::from_text("another-nonce-of-the-server").unwrap();
    server.challenge(&credentials("user"), fresh).unwrap();
    assert_eq!(server.on_client_final(&recorded[2]).unwrap_err(), ScramError::NonceMismatch);
}

#[test]
fn names_and_passwords_have_to_be_usable() {
    let start = |name: &str, password: &str, preparation| {
        let nonce = ScramNonce::from_text(CLIENT_NONCE).unwrap();
        ScramClient::new(MECHANISM, name, password, nonce).with_preparation(preparation).start()
    };
    for preparation in [ScramPreparation::SaslPrep, ScramPreparation::AsIs] {
        for text in ["", "\0", "a\0"] {
            assert_eq!(start(text, "pencil", preparation), Err(ScramError::InvalidUsername));
            assert_eq!(start("user", text, preparation), Err(ScramError::InvalidPassword));
        }
        let long = "=".repeat(2000);
        let too_long = Err(ScramError::MessageTooLong { size: 6028, maximum: 4096 });
        assert_eq!(start(&long, "pencil", preparation), too_long);
    }
    let sasl = ScramPreparation::SaslPrep;
    for text in ["🦇", "\u{7f}", "\u{627}1", "\u{627}a", "\u{fff9}"] {
        assert_eq!(start("user", text, sasl), Err(ScramError::InvalidPassword), "{text:?}");
    }
    let nonce = ScramNonce::from_text(CLIENT_NONCE).unwrap();
    let nobody = ScramClient::new(MECHANISM, "user", "pencil", nonce).with_authorization_id("");
    assert_eq!({ nobody }.start(), Err(ScramError::InvalidUsername));
}

/// Without its tables SASLprep is left to who has none of the characters that need it.
#[cfg(not(feature = "saslprep"))]
#[test]
fn only_ascii_is_prepared_without_tables() {
    assert_eq!(ScramPreparation::SaslPrep.prepare("é"), None);
    assert_eq!(ScramPreparation::SaslPrep.prepare("a b~").as_deref(), Some("a b~"));
}

#[test]
fn stored_credentials_are_refused_by_part() {
    use ScramCredentialsError as Error;

    let replace = |from: &str, to: &str| {
        assert!(CREDENTIALS.contains(from));
        ScramCredentials::from_text(&CREDENTIALS.replacen(from, to, 1)).err()
    };
    for (from, to, error) in [
        ("SCRAM-SHA-256", "SCRAM-SHA-224", Error::Mechanism),
        ("SCRAM-SHA-256", "scram-sha-256", Error::Mechanism),
        ("SCRAM-SHA-256", "SCRAM-SHA-512", Error::Key),
        ("4096", "4095", Error::Iterations),
        ("4096", "", Error::Iterations),
        ("4096", "+4096", Error::Iterations),
        ("4096", "4294967296", Error::Iterations),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEsUEjb6gR==", Error::Salt),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "", Error::Salt),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0=", Error::Salt),
        ("4qY=:", "4qY=", Error::Shape),
        ("4qY=:", "4qY=::", Error::Key),
        ("4qY=", "4q==", Error::Key),
        ("$WG5", "WG5", Error::Shape),
        ("$WG5", "$$WG5", Error::Shape),
        ("$4096:", "$4096", Error::Shape),
    ] {
        assert_eq!(replace(from, to), Some(error), "{from} {to}");
    }
    for end in 0..CREDENTIALS.len() {
        assert!(ScramCredentials::from_text(&CREDENTIALS[..end]).is_err(), "{end}");
    }
    assert_eq!(ScramCredentials::from_text(CREDENTIALS).unwrap().to_text(), CREDENTIALS);
}

/// Another program has stored the empty password, which nobody can mean here.
#[test]
fn a_password_that_cannot_be_prepared_is_never_the_right_one() {
    let empty = ScramCredentials::from_text(
        "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$\
         nJ7NIpEhGWYJgkXlH8+EU0un6/m20+gSgCnEi8kapIM=:\
         s24L6krFXWqocZ+wwtUc/8hxenyJ5AnMUHAahlBS4uY=",
    )
    .unwrap();
    for password in ["", "\0", "pencil"] {
        assert!(!empty.is_password(ScramPreparation::SaslPrep, password), "{password:?}");
    }
    assert!(credentials("user").is_password(ScramPreparation::SaslPrep, "pencil"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_sent_is_answered_by_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "[nypacrsivme]?[=,]?[nypacrsivme=,0-9+/é\u{0}]{0,60}",
    ) {
        for message in [&bytes[..], text.as_bytes()] {
            let mut server = ScramServer::new(MECHANISM);
            // This one may succeed: a short text can be a first message.
            let _ = server.on_client_first(message);
            let mut server = ScramServer::new(MECHANISM);
            server.on_client_first(CLIENT_FIRST.as_bytes()).unwrap();
            server.challenge(&credentials("user"), server_nonce()).unwrap();
            prop_assert!(server.on_client_final(message).is_err());
            let mut client = client();
            client.start().unwrap();
            prop_assert!(client.on_server_first(message).is_err());
        }
        prop_assert!(ScramCredentials::from_text(&text).is_err());
    }

    /// A name is what was meant by it, or refused.
    #[test]
    fn first_messages_of_odd_names_are_read_or_refused(
        name in "\\PC{0,50}",
        nonce in "[!-+\\--~]{1,30}",
    ) {
        let escaped = name.replace('=', "=3D").replace(',', "=2C");
        let message = format!("n,,n={escaped},r={nonce}");
        for preparation in [ScramPreparation::SaslPrep, ScramPreparation::AsIs] {
            let mut server = ScramServer::new(MECHANISM).with_preparation(preparation);
            let expected = preparation.prepare(&name);
            let found = server.on_client_first(message.as_bytes()).ok();
            prop_assert_eq!(found.map(|claimed| claimed.username().to_owned()), expected);
        }
    }
}
