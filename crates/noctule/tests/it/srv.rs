//! `-S`: the server is what the SRV records of a domain say.

use noctule_packet::QoS;
use noctule_testkit::Peer;

use crate::broker::Serving;
use crate::name_server::name_server_with;
use crate::process::end_of;

#[test]
fn a_domain_leads_to_its_broker() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let address = serving.address();
    let names = name_server_with(&[(0, 0, address.port(), "localhost")]).to_string();
    let mut reader = Peer::v5(address, "reader");
    reader.subscribe(&[("t", QoS::AtLeastOnce)]);
    let rest = ["--srv-server", names.as_str(), "-q", "1", "-m"];
    let flags = ["pub", "-S", "-h", "plant.example", "-t", "t"];
    end_of(&[&flags[..], &rest, &["by flag"]].concat()).succeeded();
    assert_eq!(reader.receive().payload, b"by flag");
    let flags = ["pub", "-L", "mqtt+srv://plant.example/t"];
    end_of(&[&flags[..], &rest, &["by URL"]].concat()).succeeded();
    assert_eq!(reader.receive().payload, b"by URL");
}

#[test]
fn a_domain_without_mqtt_is_told() {
    let names = name_server_with(&[(0, 0, 0, ".")]).to_string();
    let flags = ["pub", "-S", "-h", "plant.example", "--srv-server", &names, "-t", "t", "-n"];
    end_of(&flags).failed(3, &["plant.example says that it has no MQTT server", "check -h"]);
}

#[test]
fn what_excludes_srv_is_named() {
    let flags = ["pub", "-S", "-h", "plant.example", "-t", "t", "-n"];
    for other in [&["-p", "1883"][..], &["--unix", "/run/x"], &["--ws"], &["--proxy", "http://p"]] {
        let ended = end_of(&[&flags[..], other].concat());
        assert_eq!(ended.status, Some(2), "{ended:?}");
        let text = ended.messages.join(" ");
        assert!(text.contains("-S") && text.contains(other[0]), "{text}");
    }
    let ended = end_of(&["pub", "-S", "-t", "t", "-n"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    end_of(&["pub", "-S", "-h", "127.0.0.1", "-t", "t", "-n"]).failed(2, &["-S -h 127.0.0.1"]);
}
