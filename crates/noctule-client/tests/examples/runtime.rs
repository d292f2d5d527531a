//! What only a client that is awaited can do.

use crate::example::check;
use crate::messages::broker;

#[test]
fn any_runtime() {
    let (_broker, url) = broker();
    let lines = ["published: delivered", "received: yours", "clean: true"];
    check("any_runtime", &[&url], &lines);
}

#[test]
fn own_thread() {
    let (_broker, url) = broker();
    check("own_thread", &[&url], &["published: delivered", "received: no runtime"]);
}
