//! Against Debian's mosquitto: passwords, TLS, WebSocket and a proxy.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::process::{LONG, end_of};
use crate::relay::{self, Link};

/// A running mosquitto with its files; both are gone afterwards.
struct Mosquitto {
    child: Child,
    folder: PathBuf,
    port: u16,
}

/// The names of its listeners' files.
const CA: &str = "ca.pem";
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";
const CLIENT_CERTIFICATE: &str = "client.pem";
const CLIENT_KEY: &str = "client.key";

impl Mosquitto {
    /// Starts one whose only listener has these settings; `FOLDER` stands for where its files are.
    fn start(name: &str, settings: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("noctule-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        write_certificates(&folder);
        // `me` with the password `sesame`.
        let passwords = folder.join("passwords");
        fs::write(&passwords, "me:sesame\n").unwrap();
        let hashed = program("mosquitto_passwd").arg("-U").arg(&passwords).status().unwrap();
        assert!(hashed.success());
        // Nobody else takes it in the meantime, as the system gives ports in turn.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = settings.replace("FOLDER", folder.to_str().unwrap());
        // As root it would change to a user who must not read the files of a test.
        // It has a second listener, since it does not start with one for WebSocket alone.
        let text = format!(
            "user root\nlistener 0 {}\nlistener {port} 127.0.0.1\n{settings}\n",
            folder.join("other").display()
        );
        let configuration = folder.join("mosquitto.conf");
        fs::write(&configuration, text).unwrap();
        let child = program("mosquitto")
            .arg("-c")
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed: ./test does that");
        let started = Self { child, folder, port };
        started.wait_until_it_listens();
        started
    }

    fn wait_until_it_listens(&self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let end = Instant::now() + LONG;
        let (_never, pause) = mpsc::channel::<()>();
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "mosquitto does not listen");
            let _ = pause.recv_timeout(Duration::from_millis(20));
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Publishes a retained message and reads it back, with these flags.
    #[track_caller]
    fn works_with(&self, flags: &[&str]) {
        let port = self.port.to_string();
        let common = [&["-h", "localhost", "-p", &port, "-t", "t", "-q", "1"], flags].concat();
        end_of(&[&["pub", "-m", "x", "-r"], &common[..]].concat()).succeeded();
        let ended = end_of(&[&["sub", "-C", "1", "-W", "30"], &common[..]].concat());
        assert_eq!(ended.succeeded(), "x\n");
    }

    #[track_caller]
    fn fails_with(&self, flags: &[&str], status: i32, parts: &[&str]) {
        let port = self.port.to_string();
        let common = ["-p", &port, "-t", "t"];
        let host: &[&str] = if flags.contains(&"-h") { &[] } else { &["-h", "localhost"] };
        for arguments in [&["pub", "-m", "x"][..], &["sub"]] {
            end_of(&[arguments, &common, host, flags].concat()).failed(status, parts);
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A program of Debian's packages, which may stand where only root looks.
fn program(name: &str) -> Command {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders.iter().map(|folder| PathBuf::from(folder).join(name));
    let found = found.into_iter().find(|path| path.exists());
    Command::new(found.unwrap_or_else(|| name.into()))
}

fn write_certificates(folder: &std::path::Path) {
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    fs::write(folder.join(CA), root.pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    for (name, certificate, key) in
        [("localhost", CERTIFICATE, KEY), ("client", CLIENT_CERTIFICATE, CLIENT_KEY)]
    {
        let own_key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // Whoever has the name of the authority would count as signed by itself.
        parameters.distinguished_name.push(DnType::CommonName, name);
        let signed = parameters.signed_by(&own_key, &issuer).unwrap();
        fs::write(folder.join(certificate), signed.pem()).unwrap();
        fs::write(folder.join(key), own_key.serialize_pem()).unwrap();
    }
}

#[test]
fn passwords_are_checked() {
    let server =
        Mosquitto::start("passwords", "allow_anonymous false\npassword_file FOLDER/passwords");
    for version in ["5", "3.1.1", "3.1"] {
        server.works_with(&["-u", "me", "-P", "sesame", "-V", version]);
        server.fails_with(
            &["-u", "me", "-P", "wrong", "-V", version],
            4,
            &["the server refused", "check -u and -P"],
        );
    }
    server.fails_with(&[], 4, &["check -u and -P"]);
    let url = format!("mqtt://me:sesame@localhost:{}/t", server.port);
    end_of(&["pub", "-L", &url, "-m", "x", "-q", "2"]).succeeded();
    // Through a proxy.
    let proxy = relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Link::Proxy);
    server.works_with(&["-u", "me", "-P", "sesame", "--proxy", &format!("http://{proxy}")]);
}

#[test]
fn servers_are_trusted_as_they_were_told_to_be() {
    let settings = "allow_anonymous true\ncafile FOLDER/ca.pem\ncertfile FOLDER/server.pem\n\
                    keyfile FOLDER/server.key";
    let server = Mosquitto::start("tls", settings);
    let (ca, other) = (server.file(CA), server.file(CLIENT_CERTIFICATE));
    server.works_with(&["--cafile", &ca]);
    server.works_with(&["--cafile", &ca, "--tls-version", "tlsv1.3"]);
    server.works_with(&["--insecure"]);
    server.works_with(&["--insecure", "--cafile", &other]);
    let folder = server.folder.join("authorities");
    fs::create_dir(&folder).unwrap();
    fs::copy(&ca, folder.join("ca.pem")).unwrap();
    server.works_with(&["--capath", folder.to_str().unwrap()]);
    server.fails_with(&["--tls-use-os-certs"], 3, &["signed by no authority", "--cafile"]);
    server.fails_with(&["--cafile", &ca, "-h", "127.0.0.1"], 3, &["not for 127.0.0.1"]);
    server.fails_with(&[], 3, &["check that MQTT is spoken", "--cafile"]);
    server.fails_with(&["--cafile", &server.file(KEY)], 2, &[KEY, "trusted roots"]);
}

#[test]
fn clients_show_their_certificate() {
    let settings = "allow_anonymous true\ncafile FOLDER/ca.pem\ncertfile FOLDER/server.pem\n\
                    keyfile FOLDER/server.key\nrequire_certificate true";
    let server = Mosquitto::start("mtls", settings);
    let [ca, certificate, key] = [CA, CLIENT_CERTIFICATE, CLIENT_KEY].map(|it| server.file(it));
    server.works_with(&["--cafile", &ca, "--cert", &certificate, "--key", &key]);
    server.fails_with(&["--cafile", &ca], 3, &["--cert"]);
}

#[test]
fn websocket_is_spoken() {
    let server = Mosquitto::start("ws", "protocol websockets\nallow_anonymous true");
    server.works_with(&["--ws"]);
    server.works_with(&["--ws=/any"]);
    let url = format!("ws://localhost:{}/mqtt", server.port);
    end_of(&["pub", "-L", &url, "-t", "t", "-m", "x", "-q", "1"]).succeeded();
}
