//! Unix sockets.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use noctule_transport::{DialerBuilder, TransportError, Url};

use crate::conversation::{on_both, refused_by_both};
use crate::server::echo;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("noctule-transport-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn bytes_go_there_and_back() {
    let folder = Folder::new("echo");
    let path = folder.0.join("my socket");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || echo(&mut stream));
        }
    });
    let url: Url = Url::unix(&path).to_string().parse().unwrap();
    on_both(&DialerBuilder::new(url), |outcome| {
        outcome.unwrap();
    });
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let folder = Folder::new("missing");
    let path = folder.0.join("socket");
    let text = refused_by_both(&DialerBuilder::new(Url::unix(&path)), |error| {
        assert!(matches!(error, TransportError::UnixSocket { .. }), "{error:?}");
    });
    assert!(text.starts_with(&format!("cannot connect to the Unix socket {path:?}: ")), "{text}");
}
