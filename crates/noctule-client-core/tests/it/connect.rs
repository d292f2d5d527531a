//! What CONNECT says, and which settings cannot work.

use noctule_client_core::{ClientSession, Settings, SettingsError, WillOptions};
use noctule_packet::{Connect, Framing, QoS, TextRules, Version, spec, split};

use crate::world::{VERSIONS, World, brief, lasting};

/// The error of the default settings after a change.
fn check(change: impl FnOnce(&mut Settings), expected: SettingsError) {
    let mut settings = brief(Version::V5_0);
    change(&mut settings);
    assert_eq!(ClientSession::new(settings).err(), Some(expected));
}

#[test]
fn connect_says_what_the_options_say() {
    spec!("MQTT5-3.1.0-1", "MQTT311-3.1.0-1");
    for version in VERSIONS {
        let mut settings = lasting(version);
        let will = WillOptions {
            topic: "w".into(),
            payload: b"gone"[..].into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            delay_interval: version.is_v5().then_some(5),
            ..WillOptions::default()
        };
        settings.connect.will = Some(will);
        settings.connect.user_name = Some("user".into());
        settings.connect.password = Some(b"secret".to_vec());
        let shown = format!("{settings:?}");
        assert!(!shown.contains("115, 101, 99") && !shown.contains("secret"), "{shown}");
        let mut world = World::new(settings);
        world.up();
        let bytes = world.bytes();
        let Ok(Framing::Complete(frame)) = split(&bytes, u32::MAX) else { panic!("{bytes:x?}") };
        let connect = Connect::decode(&frame, TextRules::Strict).unwrap();
        assert_eq!(
            (connect.version, connect.client_id, connect.keep_alive),
            (version, "client", 60)
        );
        assert_eq!(connect.password, Some(&b"secret"[..]));
        let will = connect.will.unwrap();
        assert_eq!((will.topic.as_str(), will.qos, will.retain), ("w", QoS::AtLeastOnce, true));
        let asked = connect.properties.session_expiry_interval;
        assert_eq!(asked, version.is_v5().then_some(3_600));
        assert_eq!(connect.clean_start, version.is_v5());
    }
}

/// C-01, P-24: nothing that was asked for is left out in silence.
#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let not_in = |option, version| SettingsError::NotInVersion { option, version };
    let both = |option, other| SettingsError::Contradiction { option, other };
    let invalid = |option| SettingsError::InvalidValue { option };
    check(|it| it.version = Version::V3_1, both("lowest_version", "version"));
    check(|it| it.limits.outbound_bytes_max = 0, invalid("limits.outbound_bytes_max"));
    check(|it| it.connect.receive_maximum = 0, invalid("receive_maximum"));
    check(|it| it.connect.client_id = "a\0".into(), invalid("client_id"));
    check(|it| it.connect.will = Some(WillOptions::default()), invalid("will.topic"));
    let older = |it: &mut Settings| it.lowest_version = Version::V3_1_1;
    let version = Version::V3_1_1;
    check(
        |it| {
            older(it);
            it.connect.request_response_information = true;
        },
        not_in("request_response_information", version),
    );
    check(
        |it| {
            older(it);
            let topic = "w".into();
            let will = WillOptions { topic, delay_interval: Some(1), ..WillOptions::default() };
            it.connect.will = Some(will);
        },
        not_in("will.delay_interval", version),
    );
    check(
        |it| {
            older(it);
            it.connect.password = Some(Vec::new());
        },
        both("password", "no user_name"),
    );
    check(
        |it| {
            older(it);
            it.connect.client_id.clear();
            it.connect.session_expiry_interval = 1;
        },
        both("session_expiry_interval", "no client_id"),
    );
}

/// P-25: what CONNECT says can change with each connection.
#[test]
fn credentials_can_be_new_on_each_connection() {
    let mut world = World::new(brief(Version::V5_0));
    for password in ["first", "second"] {
        let mut options = world.session.settings().connect.clone();
        options.user_name = Some("user".into());
        options.password = Some(password.as_bytes().to_vec());
        assert_eq!(world.session.set_connect_options(options), Ok(()));
        world.up();
        assert!(world.bytes().ends_with(password.as_bytes()));
        world.cut();
    }
    let mut options = world.session.settings().connect.clone();
    options.maximum_packet_size = 0;
    assert!(world.session.set_connect_options(options).is_err());
    assert_eq!(world.session.settings().connect.password.as_deref(), Some(&b"second"[..]));
}
