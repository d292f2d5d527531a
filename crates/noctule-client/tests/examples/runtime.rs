//! What only a client that is awaited can do.

use crate::example::check;
use crate::messages::broker;

#[test]
fn any_runtime() {
    let (_broker, url) = broker();
    check("any_runtime", &[&url], &["published: delivered", "received: none needed"]);
}
