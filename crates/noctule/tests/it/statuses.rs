//! What a user is told whose wish cannot be fulfilled, and with which exit status.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use crate::broker::{Serving, noctule};
use crate::process::{Running, end_of};

#[test]
fn status_1_is_for_this_machine() {
    let ended = end_of(&["pub", "-t", "t", "-f", "/no/such/file"]);
    ended.failed(1, &["noctule pub:", "/no/such/file", "No such file"]);
    let ended = end_of(&["pub", "-t", "t", "-f", "/"]);
    ended.failed(1, &["cannot read /", "directory"]);
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let port = serving.address().port().to_string();
    end_of(&["pub", "-p", &port, "-t", "t", "-m", "x", "-r", "-q", "1"]).succeeded();
    for arguments in [&["sub", "-t", "t", "-C", "1"][..], &["pub", "-t", "t", "-m", "x", "--json"]]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = noctule(&[arguments, &["-p", &port]].concat());
        let output = command.stdout(full).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("cannot write the output"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn status_2_is_for_the_command_line() {
    let check = |arguments: &[&str], parts: &[&str]| end_of(arguments).failed(2, parts);
    check(&["pub", "--no-such-flag"], &["noctule pub:", "--no-such-flag", "--help"]);
    check(&["pub", "-t", "t"], &["no message", "-m, -f, -s, -l or -n"]);
    check(&["pub", "-m", "x"], &["--topic"]);
    check(&["pub", "-t", "a/#", "-m", "x"], &["-t \"a/#\"", "wildcard"]);
    check(&["pub", "-t", "", "-m", "x"], &["-t \"\""]);
    check(&["pub", "-t", "t", "-m", "x", "-n"], &["cannot be used with"]);
    check(&["pub", "-t", "t", "-m", "x", "-q", "3"], &["--qos", "expected 0, 1 or 2"]);
    check(&["pub", "-t", "t", "-m", "x", "-p", "0"], &["--port"]);
    check(&["pub", "-t", "t", "-m", "x", "-V", "4"], &["mqttv311"]);
    check(&["pub", "-t", "t", "-m", "x", "-c"], &["-c needs", "-i"]);
    check(&["pub", "-t", "t", "-m", "x", "-V", "311", "-x", "5"], &["MQTT 3.1.1 has no -x"]);
    check(&["pub", "-t", "t", "-m", "x", "--cafile", "/no/ca.pem"], &["/no/ca.pem", "No such"]);
    check(&["pub", "-t", "t", "-m", "x", "--capath", "/no/ca"], &["--capath /no/ca"]);
    check(&["pub", "-t", "t", "-m", "x", "--will-qos", "1"], &["--will-topic"]);
    check(&["pub", "-t", "t", "-m", "x", "-h", "a b"], &["-h a b", "character"]);
    check(&["pub", "-L", "http://host/t", "-m", "x"], &["-L", "scheme"]);
    check(&["pub", "-t", "t", "-m", "x", "--proxy", "ftp://p"], &["--proxy", "socks5"]);
    for flags in [&["--psk", "c0ffee", "--psk-identity", "me"][..], &["--psk", "00"]] {
        let arguments = [&["pub", "-t", "t", "-m", "x"], flags].concat();
        check(&arguments, &["--psk", "has no pre-shared keys", "--cafile", "--cert"]);
    }
    let data = ["-D", "connect", "authentication-data", "x"];
    check(&[&["sub", "-t", "t"], &data[..]].concat(), &["connect authentication-method"]);
    check(&["sub"], &["--topic"]);
    check(&["sub", "-t", "a/#/b"], &["topic filter \"a/#/b\""]);
    check(&["sub", "-t", "t", "-F", "%z"], &["there is no %z"]);
    check(&["sub", "-t", "t", "-W", "0"], &["above 0"]);
    check(&["sub", "-t", "t", "-D", "subscribe", "x", "y"], &["-D subscribe x y"]);
    check(&["rpc", "t", "-m", "x", "-V", "3.1.1"], &["MQTT 3.1.1 has no request and response"]);
    check(&["rpc", "-m", "x"], &["TOPIC"]);
}

#[test]
fn status_3_is_for_connections() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let ended = end_of(&["pub", "-h", "127.0.0.1", "-p", &free, "-t", "t", "-m", "x"]);
    ended.failed(3, &["cannot connect to 127.0.0.1", &free, "refused", "check -h and -p"]);
    let ended = end_of(&["sub", "-h", "no-such-host.invalid", "-t", "t"]);
    ended.failed(3, &["noctule sub:", "no-such-host.invalid", "check the name"]);
    let ended = end_of(&["sub", "--unix", "/no/such.sock", "-t", "t"]);
    ended.failed(3, &["/no/such.sock", "check --unix"]);
    // A server that speaks something else.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 16]);
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        }
    });
    let ended = end_of(&["pub", "-p", &port, "-h", "127.0.0.1", "-t", "t", "-m", "x"]);
    ended.failed(3, &["check that MQTT is spoken at this port"]);
    let arguments =
        ["pub", "-p", &port, "-h", "127.0.0.1", "-t", "t", "-m", "x", "--tls-use-os-certs"];
    let insecure = [&arguments[..9], &["--insecure"]].concat();
    end_of(&insecure).failed(3, &["does not speak TLS"]);
    server.join().unwrap();
}

#[test]
fn status_4_is_for_clients_that_the_server_does_not_want() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--client-id-bytes-max", "23"]);
    let port = serving.address().port().to_string();
    let id = "x".repeat(24);
    let ended = end_of(&["pub", "-p", &port, "-i", &id, "-t", "t", "-m", "x"]);
    ended.failed(4, &["the server refused", "identifier", "-i"]);
    let ended = end_of(&["sub", "-p", &port, "-i", &id, "-t", "t", "--quiet"]);
    assert_eq!((ended.status, ended.messages.len()), (Some(4), 0), "{ended:?}");
}

#[test]
fn status_5_is_for_topics_that_the_server_does_not_want() {
    let serving = Serving::start(&[
        "--listen",
        "127.0.0.1:0",
        "--subscriptions-max",
        "1",
        "--shared-subscription-available=false",
        "--retain-available=false",
    ]);
    let port = serving.address().port().to_string();
    let check = |arguments: &[&str], parts: &[&str]| {
        end_of(&[arguments, &["-p", &port]].concat()).failed(5, parts);
    };
    check(&["pub", "-t", "$SYS/x", "-m", "x", "-q", "1"], &["not authorized", "check the topic"]);
    check(&["pub", "-t", "t", "-m", "x", "-r"], &["cannot publish to \"t\"", "retain"]);
    check(&["sub", "-t", "a", "-t", "b"], &["quota exceeded", "subscriptions_max", "check the"]);
    check(&["sub", "-t", "$share/g/a"], &["shared"]);
    // Before 5.0 there is no other way to refuse.
    let ended = end_of(&["sub", "-t", "a", "-t", "b", "-V", "3.1", "-p", &port]);
    assert_eq!(ended.status, Some(5), "{ended:?}");
    let last = ended.messages.last().unwrap();
    assert!(last.contains("the server grants nothing"), "{ended:?}");
}

#[test]
fn status_6_is_for_time() {
    // A server that never says anything.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let to = ["-h", "127.0.0.1", "-p", &port, "-W", "0.3"];
    end_of(&[&["pub", "-t", "t", "-m", "x"], &to[..]].concat())
        .failed(6, &["not done within 300ms"]);
    end_of(&[&["sub", "-t", "t"], &to[..]].concat()).failed(6, &["had not granted everything"]);
    end_of(&[&["rpc", "t", "-m", "x"], &to[..]].concat()).failed(6, &["no response within 300ms"]);
}

/// A server that accepts a client, and does something when the first PUBLISH has come.
fn server(act: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).unwrap();
        // CONNACK of 5.0 without properties.
        stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
        // The topic says that a PUBLISH is there.
        let mut seen = Vec::new();
        while !seen.ends_with(b"the-topic") {
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        act(stream);
    });
    port
}

#[test]
fn status_7_is_for_what_was_not_delivered() {
    // DISCONNECT: the session was taken over, after which nobody connects again.
    let port = server(|mut stream| {
        stream.write_all(&[0xE0, 1, 0x8E]).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let arguments =
        ["pub", "-h", "127.0.0.1", "-p", &port, "-t", "the-topic", "-q", "1", "-i", "x", "-l"];
    // It does not wait for the next line either.
    let (running, mut input) = Running::with_input(&arguments);
    input.write_all(b"one\n").unwrap();
    let ended = running.end();
    assert_eq!(ended.status, Some(7), "{ended:?}");
    let last = ended.messages.last().unwrap();
    assert!(last.contains("the message was not delivered"), "{ended:?}");
}

#[test]
fn an_interrupt_drains_for_a_while_and_tells_what_is_missing() {
    // It never acknowledges, and listens until the client has left.
    let (sender, published) = mpsc::channel();
    let port = server(move |mut stream| {
        sender.send(()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let arguments = [
        "pub",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-t",
        "the-topic",
        "-q",
        "1",
        "-i",
        "x",
        "-l",
        "-d",
    ];
    let (running, mut input) = Running::with_input(&arguments);
    running.line_with("connected");
    input.write_all(b"one\ntwo\nthree, which has no end").unwrap();
    published.recv().unwrap();
    running.signal(rustix::process::Signal::INT);
    let line = running.line_with("interrupted");
    assert!(line.contains("not delivered"), "{line}");
    assert_eq!(running.end().status, Some(130));
}

#[test]
fn statuses_130_and_143_are_for_signals_before_there_is_a_connection_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for (signal, status) in
        [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143)]
    {
        let to = ["pub", "-h", "127.0.0.1", "-p", &port, "-t", "t", "-m", "x"];
        let running = Running::start(&to);
        // It is connecting, so it listens to signals.
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        running.signal(signal);
        running.end().failed(status, &["interrupted", "0 messages were delivered"]);
    }
}

#[test]
fn the_help_names_every_status() {
    for command in ["pub", "sub", "rpc"] {
        let ended = end_of(&[command, "--help"]);
        let help = ended.succeeded();
        for part in ["-h, --host", "--help", "Exit status:", "  7  Not everything", "130, 143"] {
            assert!(help.contains(part), "{part} is missing in:\n{help}");
        }
    }
}
