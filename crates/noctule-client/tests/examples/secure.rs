//! TLS, WebSocket and proxies, with the programs of others on the other side.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::authority::Authority;
use crate::example::{Example, check};
use crate::messages::broker;
use crate::mosquitto::Mosquitto;
use crate::program::{Folder, Running, find, free_address};

const START_LIMIT: Duration = Duration::from_secs(20);
const PUBLISHED: &str = "published: delivered";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn roots(authority: &Authority, folder: &Folder) -> PathBuf {
    folder.write("authority.pem", &authority.pem())
}

#[test]
fn tls() {
    let authority = Authority::new("Plant");
    let Some(server) = Mosquitto::with_tls(&authority.server("localhost"), "") else { return };
    let roots = roots(&authority, &server.folder);
    let url = server.url("mqtts");
    check("tls", &[&url, "--ca", text(&roots)], &["connected by TLS", PUBLISHED]);
}

#[test]
fn tls_with_a_certificate_on_both_sides() {
    let (authority, folder) = (Authority::new("Plant"), Folder::new());
    let (identity, device) = (authority.server("localhost"), authority.client("device-7"));
    folder.write("server.pem", &identity.certificate);
    folder.write("server.key", &identity.key);
    let roots = roots(&authority, &folder);
    let certificate = folder.write("device.pem", &device.certificate);
    let key = folder.write("device.key", &device.key);
    let options = "certfile server.pem\nkeyfile server.key\ncafile authority.pem\n\
        require_certificate true\nuse_identity_as_username true";
    let Some(server) = Mosquitto::start(folder, options) else { return };
    let url = server.url("mqtts");
    let arguments =
        [&*url, "--ca", text(&roots), "--cert", text(&certificate), "--key", text(&key)];
    let lines = ["this side has a certificate, too", "connected by TLS", PUBLISHED];
    check("tls", &arguments, &lines);
}

#[test]
fn websocket() {
    let Some(server) = Mosquitto::open("protocol websockets") else { return };
    check("websocket", &[&server.url("ws")], &["connected by WebSocket", PUBLISHED]);
    let authority = Authority::new("Plant");
    let identity = authority.server("localhost");
    let Some(server) = Mosquitto::with_tls(&identity, "protocol websockets") else { return };
    let roots = roots(&authority, &server.folder);
    let lines = ["connected by WebSocket", PUBLISHED];
    check("websocket", &[&server.url("wss"), text(&roots)], &lines);
}

#[test]
fn proxy_of_http() {
    let (Some(program), folder, address) = (find("tinyproxy"), Folder::new(), free_address())
    else {
        return;
    };
    let config = format!(
        "Port {}\nListen 127.0.0.1\nBasicAuth me secret\nMaxClients 50\nTimeout 60\n",
        address.port()
    );
    let config = folder.write("tinyproxy.conf", &config);
    let mut command = Command::new(program);
    command.arg("-d").arg("-c").arg(config).current_dir(folder.path());
    let _proxy = Running::start(&mut command, &[address], START_LIMIT);
    through(&format!("http://me:secret@{address}"));
}

#[test]
fn proxy_of_socks() {
    let (Some(program), folder, address) = (find("microsocks"), Folder::new(), free_address())
    else {
        return;
    };
    let mut command = Command::new(program);
    command.args(["-i", "127.0.0.1", "-p", &address.port().to_string()]);
    command.args(["-u", "me", "-P", "secret"]).current_dir(folder.path());
    let _proxy = Running::start(&mut command, &[address], START_LIMIT);
    through(&format!("socks5h://me:secret@{address}"));
}

fn through(proxy: &str) {
    let (_broker, url) = broker();
    let example = Example::start("proxy", &[proxy, &url]);
    let line = example.line().unwrap();
    assert!(line.starts_with("going through ") && !line.contains("secret"), "{line}");
    example.prints(&[PUBLISHED]);
    assert_eq!(example.ends(), Some(0));
}
