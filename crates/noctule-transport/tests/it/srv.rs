//! SRV records: which server they lead to, and what name servers may answer, honest or not.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use noctule_transport::{DialerBuilder, SrvError, Stage, TlsClient, TlsError, TransportError, Url};

use crate::authority::Authority;
use crate::conversation::{on_both, refused_by_both};
use crate::name_server::{answer, asked_name, name_server, name_server_with, refusal, truncated};
use crate::server::{echo_server, silent_server, tls_echo_server};

fn dialer(url: &str, server: SocketAddr) -> DialerBuilder {
    DialerBuilder::new(url.parse::<Url>().unwrap()).name_servers([server])
}

/// Where nobody listens.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[track_caller]
fn leads_to(builder: &DialerBuilder, server: SocketAddr) {
    on_both(builder, |outcome| assert_eq!(outcome.unwrap().peer_address, Some(server)));
}

#[test]
fn the_first_server_in_order_that_is_there_is_taken() {
    let (first, second) = (echo_server(), echo_server());
    let [gone, first_port, second_port] = [closed(), first, second].map(|place| place.port());
    let names = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&names);
    let records = [(7, 0, second_port, "localhost"), (3, 0, first_port, "localhost")];
    let server = name_server(move |query, _| {
        noted.lock().unwrap().push(asked_name(query));
        vec![answer(query, &records)]
    });
    leads_to(&dialer("mqtt+srv://plant.example", server), first);
    assert_eq!(*names.lock().unwrap(), ["_mqtt._tcp.plant.example"; 2]);
    let records = [(7, 0, second_port, "localhost"), (3, 0, gone, "localhost")];
    leads_to(&dialer("mqtt+srv://plant.example", name_server_with(&records)), second);
}

#[test]
fn a_server_that_says_nothing_leaves_time_for_the_next() {
    let authority = Authority::new();
    let identity = authority.sign(&["plant.example"], |_| {});
    let good = tls_echo_server(identity.server().build().unwrap());
    let silent = silent_server().port();
    let records = [(0, 0, silent, "localhost"), (1, 0, good.port(), "localhost")];
    let tls = TlsClient::builder().roots_pem(authority.pem()).build().unwrap();
    let builder = dialer("mqtts+srv://plant.example", name_server_with(&records)).tls(tls);
    leads_to(&builder.connect_timeout(Duration::from_secs(4)), good);
}

#[test]
fn the_certificate_is_for_the_domain_and_not_for_the_target() {
    let authority = Authority::new();
    let tls = TlsClient::builder().roots_pem(authority.pem()).build().unwrap();
    let reach = |name: &str| {
        let identity = authority.sign(&[name], |_| {});
        let server = tls_echo_server(identity.server().build().unwrap());
        let records = [(0, 0, server.port(), "localhost")];
        let names = name_server_with(&records);
        (dialer("mqtts+srv://plant.example", names).tls(tls.clone()), server)
    };
    let (builder, server) = reach("plant.example");
    leads_to(&builder, server);
    refused_by_both(&reach("localhost").0, |error| {
        let is_certificate = matches!(error, TransportError::Tls(TlsError::Certificate { .. }));
        assert!(is_certificate, "{error:?}");
    });
}

#[test]
fn without_records_the_domain_itself_is_the_server() {
    // NXDOMAIN, and an answer that has no records.
    for code in [3, 0] {
        let server = name_server(move |query, _| vec![refusal(query, code)]);
        let text = refused_by_both(&dialer("mqtt+srv://plant.invalid", server), |error| {
            assert!(matches!(error, TransportError::Resolve { .. }), "{error:?}");
        });
        assert!(text.contains("\"plant.invalid\""), "{text}");
    }
}

#[test]
fn a_domain_can_say_that_it_has_no_server() {
    let server = name_server_with(&[(0, 0, 0, ".")]);
    let text = refused_by_both(&dialer("mqtts+srv://plant.example", server), |error| {
        let is_it = matches!(error, TransportError::Srv(SrvError::NoService { .. }));
        assert!(is_it, "{error:?}");
    });
    assert_eq!(
        text,
        "plant.example says that it has no MQTT server: the only target of \
         _secure-mqtt._tcp.plant.example is \".\""
    );
}

#[test]
fn every_server_that_was_tried_is_told() {
    let [first, second] = [closed().port(), closed().port()];
    let records = [(0, 0, first, "localhost"), (1, 0, second, "localhost")];
    let server = name_server_with(&records);
    let text = refused_by_both(&dialer("mqtt+srv://plant.example", server), |error| {
        let TransportError::Srv(SrvError::Unreached { failures, .. }) = error else {
            panic!("{error:?}")
        };
        assert_eq!(failures.len(), 2);
    });
    let start = format!("no server of plant.example can be reached: localhost:{first}: cannot ");
    assert!(text.starts_with(&start), "{text}");
    assert!(text.contains(&format!("; localhost:{second}: cannot ")), "{text}");
}

#[test]
fn what_does_not_fit_is_asked_for_over_tcp() {
    let (server, over_tcp) = (echo_server(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&over_tcp);
    let records: Vec<_> = (0..60).map(|_| (0, 0, server.port(), "localhost")).collect();
    let names = name_server(move |query, is_tcp| {
        count.fetch_add(is_tcp.into(), SeqCst);
        vec![if is_tcp { answer(query, &records) } else { truncated(query) }]
    });
    leads_to(&dialer("mqtt+srv://plant.example", names), server);
    assert_eq!(over_tcp.load(SeqCst), 2);
}

#[test]
fn what_does_not_belong_to_the_question_changes_nothing() {
    let (server, wrong) = (echo_server(), closed().port());
    let names = name_server(move |query, _| {
        let forged = answer(query, &[(0, 0, wrong, "localhost")]);
        let (mut id, mut question, mut kind) = (forged.clone(), forged.clone(), forged.clone());
        id[1] ^= 1;
        question[13] ^= 1;
        kind[2] &= 0x7f;
        let right = answer(query, &[(0, 0, server.port(), "localhost")]);
        vec![vec![], vec![0; 5], id, question, kind, right]
    });
    leads_to(&dialer("mqtt+srv://plant.example", names), server);
}

/// Answers that lie, each about something else.
fn hostile(query: &[u8], which: usize) -> Vec<u8> {
    let mut message = answer(query, &[(0, 0, 1, "localhost")]);
    let record = query.len();
    match which {
        // Names that point at themselves, forwards, and at each other.
        0 => message[12..14].copy_from_slice(&[0xc0, 12]),
        1 => message[record..record + 2].copy_from_slice(&(0xc000 | 300_u16).to_be_bytes()),
        2 => {
            let own = u16::try_from(record).unwrap() | 0xc000;
            message[record..record + 2].copy_from_slice(&own.to_be_bytes());
        }
        // More questions, more records, and more bytes than there are.
        3 => message[4..6].copy_from_slice(&[0xff; 2]),
        4 => message[6..12].copy_from_slice(&[0xff; 6]),
        5 => message[record + 10..record + 12].copy_from_slice(&[0xff; 2]),
        // Fewer bytes than the record needs, and a message that ends early.
        6 => message[record + 10..record + 12].copy_from_slice(&[0, 3]),
        7 => message.truncate(record + 15),
        // A label that is longer than labels are.
        8 => message[record + 18] = 0x80,
        _ => message[12] = 0x40,
    }
    message
}

#[test]
fn an_answer_that_lies_is_none() {
    for which in 0..10 {
        let names = name_server(move |query, is_tcp| {
            vec![if is_tcp { hostile(query, which) } else { truncated(query) }]
        });
        let text = refused_by_both(&dialer("mqtt+srv://plant.example", names), |error| {
            let is_it = matches!(error, TransportError::Srv(SrvError::Lookup { .. }));
            assert!(is_it, "{which}: {error:?}");
        });
        assert!(text.contains("does not fit the question"), "{text}");
        // Over UDP the right answer may still come.
        let server = echo_server();
        let names = name_server(move |query, _| {
            vec![hostile(query, which), answer(query, &[(0, 0, server.port(), "localhost")])]
        });
        leads_to(&dialer("mqtt+srv://plant.example", names), server);
    }
}

#[test]
fn a_name_server_that_says_nothing_takes_no_more_than_the_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let limit = Duration::from_millis(100);
    let server = silent.local_addr().unwrap();
    let builder = dialer("mqtt+srv://plant.example", server).connect_timeout(limit);
    let text = refused_by_both(&builder, |error| {
        let TransportError::TimedOut { stage, after } = error else { panic!("{error:?}") };
        assert_eq!((*stage, *after), (Stage::Srv, limit));
    });
    assert!(text.ends_with("still looking up the domain's SRV records"), "{text}");
}

#[test]
fn no_name_server_is_an_error_and_another_one_is_asked() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failing = name_server(|query, _| vec![refusal(query, 2)]);
    let builder = dialer("mqtt+srv://plant.example", gone);
    let text = refused_by_both(&builder.clone().name_servers([gone, failing]), |error| {
        let TransportError::Srv(SrvError::Lookup { attempts, .. }) = error else {
            panic!("{error:?}")
        };
        let asked: Vec<_> = attempts.0.iter().map(|(server, _)| *server).collect();
        assert_eq!(asked, [gone, failing]);
    });
    assert!(text.contains("the name server answers ServerFailure"), "{text}");
    let server = echo_server();
    let good = name_server_with(&[(0, 0, server.port(), "localhost")]);
    leads_to(&builder.name_servers([gone, failing, good]), server);
}

#[test]
fn a_domain_that_is_too_long_for_dns_is_told() {
    let url = format!("mqtt+srv://{}.example", "x".repeat(64));
    refused_by_both(&dialer(&url, closed()), |error| {
        assert!(matches!(error, TransportError::Srv(SrvError::Name { .. })), "{error:?}");
    });
}
