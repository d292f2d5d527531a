"""paho-mqtt: when a will is published and when it is not."""

import time

from cases import case, check, equal, unique
from peer import Peer

MODERN = ("5.0",)
ROWS = [(qos, retain) for qos in (0, 1, 2) for retain in (False, True)]


def with_will(version, topic, client_id=None, qos=1, retain=False, values=None, **options):
    will = {"topic": topic, "payload": b"will", "qos": qos, "retain": retain, "properties": values}
    return Peer(version, client_id, will=will, **options)


def watcher(version, topic):
    peer = Peer(version)
    peer.subscribe([(topic, 2), (topic + "/end", 2)])
    return peer


def none_came(version, watching, topic):
    """Checks that nothing arrived before a message that is published now."""
    Peer(version).publish(topic + "/end", b"end", 2)
    equal([m.payload for m in watching.until(b"end")], [], "wills")


@case("will on a cut connection", rows=ROWS)
def on_cut(version, qos, retain):
    topic = unique("will/")
    watching = watcher(version, topic)
    with_will(version, topic, qos=qos, retain=retain).cut()
    message = watching.take()
    equal((message.payload, message.qos, message.retain), (b"will", qos, False))
    late = Peer(version)
    late.subscribe([(topic, 2), (topic + "/end", 2)])
    if retain:
        message = late.take()
        equal((message.payload, message.qos, message.retain), (b"will", qos, True))
        late.publish(topic, b"", 1, True)
    else:
        none_came(version, late, topic)


@case("no will after DISCONNECT")
def on_disconnect(version):
    topic = unique("will/")
    watching = watcher(version, topic)
    peer = with_will(version, topic)
    peer.disconnect()
    # The identifier connects again: the broker is done with the first connection.
    Peer(version, peer.client_id).disconnect()
    none_came(version, watching, topic)


@case("will on take-over")
def on_take_over(version):
    topic = unique("will/")
    watching = watcher(version, topic)
    peer = with_will(version, topic)
    Peer(version, peer.client_id)
    equal(watching.take().payload, b"will")


@case("will of a client that falls silent", seconds=15)
def on_silence(version):
    topic = unique("will/")
    watching = watcher(version, topic)
    peer = with_will(version, topic, keep_alive=1, connect=False)
    peer.start()
    while not peer.connected.is_set():
        peer.client.loop(0.1)
    equal(watching.take(10).payload, b"will")


@case("DISCONNECT with will", versions=MODERN)
def disconnect_with_will(version):
    topic = unique("will/")
    watching = watcher(version, topic)
    with_will(version, topic).disconnect(0x04)
    equal(watching.take().payload, b"will")


@case("will properties", versions=MODERN)
def will_properties(version):
    topic = unique("will/")
    watching = watcher(version, topic)
    pairs = [("a", "1"), ("b", "2"), ("a", "3")]
    values = {
        "ContentType": "text/plain",
        "ResponseTopic": "answer/here",
        "CorrelationData": b"\x00\x01",
        "PayloadFormatIndicator": 1,
        "MessageExpiryInterval": 100,
        "UserProperty": pairs,
    }
    with_will(version, topic, values=values).cut()
    found = watching.take().properties
    equal(found.UserProperty, pairs, "user properties")
    equal((found.ContentType, found.ResponseTopic), ("text/plain", "answer/here"))
    equal((found.CorrelationData, found.PayloadFormatIndicator), (b"\x00\x01", 1))
    check(98 <= found.MessageExpiryInterval <= 100, f"expiry {found.MessageExpiryInterval}")


@case("will delay", versions=MODERN)
def will_delay(version):
    topic = unique("will/")
    watching = watcher(version, topic)
    peer = with_will(
        version, topic, values={"WillDelayInterval": 2}, clean=False, SessionExpiryInterval=60
    )
    began = time.monotonic()
    peer.cut()
    equal(watching.take().payload, b"will")
    check(time.monotonic() - began > 1.5, "published before the delay was over")


@case("will delay ended by the session's end", versions=MODERN)
def delay_beyond_session(version):
    topic = unique("will/")
    watching = watcher(version, topic)
    peer = with_will(
        version, topic, values={"WillDelayInterval": 60}, clean=False, SessionExpiryInterval=1
    )
    peer.cut()
    equal(watching.take().payload, b"will")


@case("reconnecting within the delay drops the will", versions=MODERN)
def reconnect_within_delay(version):
    topic = unique("will/")
    watching = watcher(version, topic)
    peer = with_will(
        version, topic, values={"WillDelayInterval": 1}, clean=False, SessionExpiryInterval=60
    )
    peer.cut()
    Peer(version, peer.client_id, clean=False, SessionExpiryInterval=60)
    time.sleep(2.2)
    none_came(version, watching, topic)
