//! Whole exchanges of which every byte is known: the RFCs' examples, and two computed with another
//! implementation of the hash functions.

use noctule_auth::{
    ScramChannelBinding, ScramClient, ScramCredentials, ScramMechanism, ScramNonce, ScramServer,
};

struct Exchange {
    mechanism: ScramMechanism,
    client_nonce: &'static str,
    server_nonce: &'static str,
    /// What the server keeps, behind the mechanism's name.
    credentials: &'static str,
    client_first: &'static str,
    server_first: &'static str,
    client_final: &'static str,
    server_final: &'static str,
}

impl Exchange {
    fn run(&self, client: ScramClient) {
        let mut client = client;
        let credentials = format!("{}${}", self.mechanism, self.credentials);
        let credentials = ScramCredentials::from_text(&credentials).unwrap();
        let mut server = ScramServer::new(self.mechanism);

        assert_eq!(text(client.start().unwrap()), self.client_first);
        server.on_client_first(self.client_first.as_bytes()).unwrap();
        let nonce = ScramNonce::from_text(self.server_nonce).unwrap();
        assert_eq!(text(server.challenge(&credentials, nonce).unwrap()), self.server_first);
        let client_final = client.on_server_first(self.server_first.as_bytes()).unwrap();
        assert_eq!(text(client_final), self.client_final);
        let accepted = server.on_client_final(self.client_final.as_bytes()).unwrap();
        assert_eq!(text(accepted.server_final), self.server_final);
        client.on_server_final(self.server_final.as_bytes()).unwrap();
        assert!(client.is_verified());
    }

    fn client(&self, username: &str, password: &str) -> ScramClient {
        let nonce = ScramNonce::from_text(self.client_nonce).unwrap();
        ScramClient::new(self.mechanism, username, password, nonce)
    }
}

fn text(message: Vec<u8>) -> String {
    String::from_utf8(message).unwrap()
}

#[test]
fn the_example_of_rfc_5802() {
    let exchange = Exchange {
        mechanism: ScramMechanism::Sha1,
        client_nonce: "fyko+d2lbbFgONRv9qkxdawL",
        server_nonce: "3rfcNHYJY1ZVvWVs7j",
        credentials: "4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:\
                      D+CSWLOshSulAsxiupA+qs2/fTE=",
        client_first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        client_final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                       p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        server_final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    };
    exchange.run(exchange.client("user", "pencil"));
}

#[test]
fn the_example_of_rfc_7677() {
    let exchange = Exchange {
        mechanism: ScramMechanism::Sha256,
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        credentials: "4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                      WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                      wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        server_final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    };
    exchange.run(exchange.client("user", "pencil"));
}

/// The same user with the longer hash. Computed with Python's hashlib and hmac by a program that
/// makes the two examples above, too.
#[test]
fn the_same_user_with_sha_512() {
    let exchange = Exchange {
        mechanism: ScramMechanism::Sha512,
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        credentials: "4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                      6AAub3065EYRmyFpM2RNwqK+eGnrkYuEWbXn19LsEmBqzu8QaCXNc1FwpnX9NhH2\
                      hK/60dzj9DoO5DvVkOHbvg==:\
                      jZHbYjC1aHh0/hKbxyBuGFjDrgjgKTT1esA7awWiKcRZ0o/0b1yWEebBeSVkkCFe\
                      wf91nLDfKF24mvD5nmE6rA==",
        client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC\
                       6wdp6dybEmDYXYTxwnYPJQ==",
        server_final: "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4\
                       +5ZxXnJq199RVG2rR7N7Zw==",
    };
    exchange.run(exchange.client("user", "pencil"));
}

/// A name with everything that needs care, typed with a soft hyphen and an accent of its own; a
/// password with a Roman numeral and a space that does not break; on somebody else's behalf.
/// Computed like the one above, from the prepared texts.
#[cfg(feature = "saslprep")]
#[test]
fn prepared_names_with_commas_on_behalf_of_another() {
    let exchange = Exchange {
        mechanism: ScramMechanism::Sha512,
        client_nonce: "0123456789abcdefghij",
        server_nonce: "ABCDEFGHIJ0123456789",
        credentials: "5000:AAECAwQFBgcICQoLDA0ODw==$\
                      iyyrvPBgQAB5FuAPr0XYXBoHQtPZ6+9h9jrI7pmHNF6kR8osB8egtEE4wrW7hFYh\
                      By4CdVwxhZUMgdc2bk7x/A==:\
                      eI3zXoza6qqC9FhhKdCpzrXjypg6DcmXWgpmMG7UCjlFO8jkaNU6J8ZmEQ+1qa5Q\
                      O5cf4uO2JsLQZlwbMTN2mg==",
        client_first: "y,a=plant=2C7=3D,n=IX=2C=3Dé,r=0123456789abcdefghij",
        server_first: "r=0123456789abcdefghijABCDEFGHIJ0123456789,\
                       s=AAECAwQFBgcICQoLDA0ODw==,i=5000",
        client_final: "c=eSxhPXBsYW50PTJDNz0zRCw=,r=0123456789abcdefghijABCDEFGHIJ0123456789,\
                       p=LBrXDNK28zekty7EZgt7Uw9THJhqAt/z3Ju8S9wfJsC/kWX9sJ582qSqDHANjPld\
                       Q1Gj8CsLeIRXJ2CPzU7/Iw==",
        server_final: "v=Mip7rcIdm1Yc2Ya6kRCaIQECItYdaLiHI+E7ic3Xa0kyN4Z3K7KAE+clIh4BJgGD\
                       QCrsywQm7s/LVolhzF97bw==",
    };
    let client = exchange
        .client("I\u{ad}X,=e\u{301}", "\u{2168}\u{a0}e\u{301}")
        .with_authorization_id("plant,7=")
        .with_channel_binding(ScramChannelBinding::NotOffered);
    exchange.run(client);
}
