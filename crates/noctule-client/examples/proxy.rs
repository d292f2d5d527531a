//! Through a proxy: `cargo run --example proxy PROXY [URL]`, where the proxy is for example
//! `http://user:password@proxy:3128` or `socks5h://proxy`. Every kind of URL works through both.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client::Client;
use noctule_client::transport::Proxy;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let proxy = env::args().nth(1).ok_or("say which proxy, for example socks5h://localhost")?;
    let url = env::args().nth(2).unwrap_or_else(|| "mqtt://localhost".to_owned());

    let proxy: Proxy = proxy.parse()?;
    println!("going through {proxy}"); // It hides the password.
    let client = Client::builder(url).proxy(proxy).connect().await?;
    println!("published: {}", client.publish("noctule/proxy", "a detour").send()?.await);
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
