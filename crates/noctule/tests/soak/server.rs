//! `noctule serve`, for as long as the clients need it.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A broker in a process of its own.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_noctule"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--durability", "memory"]);
        command.stdin(Stdio::null());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it has ended");
            let Some((_, after)) = line.split_once("address") else { continue };
            let after = after.trim_start_matches(['=', '"', ':']);
            break after.split(['"', ' ', ',', '\n']).next().unwrap().parse().unwrap();
        };
        // Else it would wait some time until somebody reads what it says.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Self { child, address }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
