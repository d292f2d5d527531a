//! Mosquitto with a listener of its own for each test.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::authority::Identity;
use crate::program::{Folder, Running, find, free_address};

const START_LIMIT: Duration = Duration::from_secs(20);
/// The user of [`with_password`].
pub(crate) const USER: &str = "berta";
/// Her password.
pub(crate) const PASSWORD: &str = "hush / @ 100%";

/// A server that runs until it is dropped.
pub(crate) struct Mosquitto {
    pub(crate) address: SocketAddr,
    pub(crate) folder: Folder,
    _running: Running,
}

impl Mosquitto {
    /// Starts one, if it is installed, with these lines in its configuration. Files are in its
    /// folder.
    pub(crate) fn start(folder: Folder, options: &str) -> Option<Self> {
        let program = find("mosquitto")?;
        let address = free_address();
        // It has a second listener, since 2.0.11 does not start with one for WebSocket alone.
        let config = format!(
            "user root\npersistence false\nlistener 0 {}\nlistener {} {}\n{options}\n",
            folder.path().join("other").display(),
            address.port(),
            address.ip()
        );
        let config = folder.write("mosquitto.conf", &config);
        let mut command = Command::new(program);
        command.arg("-v").arg("-c").arg(config).current_dir(folder.path());
        let running = Running::start(&mut command, &[address], START_LIMIT);
        Some(Self { address, folder, _running: running })
    }

    /// One that lets everybody in, and speaks as `options` say.
    pub(crate) fn open(options: &str) -> Option<Self> {
        Self::start(Folder::new(), &format!("{options}\nallow_anonymous true"))
    }

    /// One that only lets [`USER`] in.
    pub(crate) fn with_password(options: &str) -> Option<Self> {
        let (program, folder) = (find("mosquitto_passwd")?, Folder::new());
        let file = folder.path().join("passwords");
        let mut command = Command::new(program);
        command.args(["-b", "-c"]).arg(file).args([USER, PASSWORD]);
        assert!(command.status().unwrap().success());
        Self::start(folder, &format!("{options}\nallow_anonymous false\npassword_file passwords"))
    }

    /// One that lets everybody in through TLS.
    pub(crate) fn with_tls(identity: &Identity, options: &str) -> Option<Self> {
        let folder = Folder::new();
        folder.write("server.pem", &identity.certificate);
        folder.write("server.key", &identity.key);
        let tls = "certfile server.pem\nkeyfile server.key\nallow_anonymous true";
        Self::start(folder, &format!("{options}\n{tls}"))
    }

    /// Its URL, with a name in place of the address, since certificates have names.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.address.port())
    }
}
