//! `noctule rpc`: one request, one response.

use noctule_packet::QoS;
use noctule_testkit::{OwnedPublish, Peer};
use std::thread;

use crate::broker::Serving;
use crate::process::end_of;

#[test]
fn the_response_to_the_request_is_written() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let address = serving.address();
    let mut service = Peer::v5(address, "service");
    service.subscribe(&[("double", QoS::AtLeastOnce)]);
    let answering = thread::spawn(move || {
        for _ in 0..3 {
            let request = service.receive();
            let number: u32 = request.text().parse().unwrap();
            let to = request.response_topic.clone().unwrap();
            // Somebody else's response comes first.
            let mut other = OwnedPublish::new(&to, "0", QoS::AtMostOnce);
            other.correlation_data = Some(b"other".to_vec());
            service.send_publish(&other);
            let text = (2 * number).to_string();
            let mut response = OwnedPublish::new(&to, text.as_str(), QoS::AtMostOnce);
            response.correlation_data = request.correlation_data.clone();
            service.send_publish(&response);
        }
    });
    let port = address.port().to_string();
    let ended = end_of(&["rpc", "double", "-m", "21", "-p", &port]);
    assert_eq!(ended.succeeded(), "42\n");
    let flags = ["-e", "answers/here", "-v", "-D", "publish", "correlation-data", "mine"];
    let ended = end_of(&[&["rpc", "-t", "double", "-m", "4", "-p", &port], &flags[..]].concat());
    assert_eq!(ended.succeeded(), "answers/here 8\n");
    let ended = end_of(&["rpc", "double", "-m", "1", "-p", &port, "--json"]);
    let line: serde_json::Value = serde_json::from_str(ended.succeeded()).unwrap();
    assert_eq!(line["payload"], "2");
    answering.join().unwrap();
}

#[test]
fn a_request_that_nobody_hears_is_told_at_once() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let port = serving.address().port().to_string();
    let ended = end_of(&["rpc", "nobody/here", "-m", "x", "-p", &port]);
    ended.failed(7, &["nobody subscribes to \"nobody/here\""]);
    let ended = end_of(&["rpc", "$SYS/x", "-m", "x", "-p", &port]);
    ended.failed(5, &["rejected", "$SYS/x"]);
}
