//! TLS, and with a certificate mutual TLS:
//! `cargo run --example tls [URL [--ca CA.pem] [--cert CERT.pem --key KEY.pem]]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client::Client;
use noctule_client::transport::TlsClient;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let url = arguments.first().map_or("mqtts://localhost", String::as_str);

    // Without roots of your own, those of the system are trusted.
    let mut tls = TlsClient::builder();
    if let Some(authority) = option("--ca") {
        tls = tls.roots_file(authority);
    }
    if let (Some(certificate), Some(key)) = (option("--cert"), option("--key")) {
        tls = tls.client_certificate_files(certificate, key);
        println!("this side has a certificate, too");
    }

    let client = Client::builder(url).tls(tls.build()?).connect().await?;
    println!("connected by TLS");
    println!("published: {}", client.publish("noctule/tls", "sealed").send()?.await);
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
