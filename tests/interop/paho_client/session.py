"""paho-mqtt: what a session keeps while its client is away, take-over, and keep alive."""

import time

from cases import case, check, equal, unique
from peer import Peer

MODERN = ("5.0",)
WITH_FLAG = ("3.1.1", "5.0")


def stored(version, client_id, expiry=60, **options):
    """Connects with a session that outlives its connection."""
    more = {"SessionExpiryInterval": expiry} if version == "5.0" else {}
    return Peer(version, client_id, clean=False, **more, **options)


@case("resume", rows=[(1,), (2,)])
def resume(version, qos):
    client_id, topic = unique("resume"), unique("resume/")
    peer = stored(version, client_id)
    check(not peer.session_present, "session present for a new session")
    peer.subscribe(topic, qos)
    peer.disconnect()
    publisher = Peer(version)
    expected = [b"%d" % n for n in range(50)]
    for payload in expected:
        publisher.publish(topic, payload, qos)
    peer = stored(version, client_id)
    # In 3.1 the flag's bit is reserved.
    check(peer.session_present or version == "3.1", "session present is not set")
    received = [peer.take() for _ in expected]
    equal([m.payload for m in received], expected, "order")
    equal({m.qos for m in received}, {qos}, "QoS")
    publisher.publish(topic, b"live", qos)
    equal(peer.take().payload, b"live", "after the backlog")


@case("clean start drops the session")
def clean_start(version):
    client_id, topic = unique("clean"), unique("clean/")
    peer = stored(version, client_id)
    peer.subscribe(topic, 1)
    peer.disconnect()
    publisher = Peer(version)
    publisher.publish(topic, b"lost", 1)
    peer = Peer(version, client_id)
    check(not peer.session_present, "session present after a clean start")
    publisher.publish(topic, b"not subscribed", 1)
    peer.subscribe(topic + "/end", 1)
    publisher.publish(topic + "/end", b"end", 1)
    equal([m.payload for m in peer.until(b"end")], [], "from the old session")
    peer.disconnect()
    check(not stored(version, client_id).session_present, "a clean session was kept")


@case("unacknowledged message is sent again")
def redelivery(version):
    client_id, topic = unique("again"), unique("again/")
    peer = stored(version, client_id, manual_ack=True)
    peer.subscribe(topic, 1)
    publisher = Peer(version)
    publisher.publish(topic, b"first", 1)
    publisher.publish(topic, b"second", 1)
    first, second = peer.take(), peer.take()
    equal((first.dup, second.dup), (False, False), "DUP")
    peer.client.ack(first.mid, 1)
    # The answer to SUBSCRIBE shows that the acknowledgement before it has arrived.
    peer.subscribe(topic + "/other", 1)
    peer.cut()
    peer = stored(version, client_id)
    message = peer.take()
    equal((message.payload, message.mid, message.dup), (b"second", second.mid, True))
    publisher.publish(topic, b"end", 1)
    equal(peer.until(b"end"), [], "sent beyond what was owed")


@case("QoS 2 is delivered once across a cut")
def exactly_once(version):
    client_id, topic = unique("once"), unique("once/")
    peer = stored(version, client_id, manual_ack=True)
    peer.subscribe(topic, 2)
    publisher = Peer(version)
    publisher.publish(topic, b"once", 2)
    equal(peer.take().payload, b"once")
    # PUBCOMP was withheld; the broker resumes with PUBREL, not with the message.
    peer.cut()
    peer = stored(version, client_id)
    publisher.publish(topic, b"end", 2)
    equal([m.payload for m in peer.until(b"end")], [], "delivered again")


@case("take-over")
def take_over(version):
    client_id, topic = unique("take"), unique("take/")
    first = Peer(version, client_id)
    first.subscribe(topic, 1)
    second = Peer(version, client_id)
    check(first.closed.wait(5), "the first connection was not closed")
    if version == "5.0":
        equal(first.end_reason, 0x8E, "DISCONNECT reason")
    second.subscribe(topic, 1)
    Peer(version).publish(topic, b"to the second", 1)
    equal(second.take().payload, b"to the second")
    check(not second.closed.is_set(), "the second connection was closed too")


@case("take-over keeps the stored session")
def take_over_session(version):
    client_id, topic = unique("move"), unique("move/")
    first = stored(version, client_id)
    first.subscribe(topic, 1)
    second = stored(version, client_id)
    check(second.session_present or version == "3.1", "session present is not set")
    Peer(version).publish(topic, b"moved", 1)
    equal(second.take().payload, b"moved")
    check(first.closed.wait(5), "the first connection was not closed")


@case("silent client is disconnected", seconds=15)
def keep_alive(version):
    peer = Peer(version, keep_alive=1, connect=False)
    peer.start()
    while not peer.connected.is_set():
        peer.client.loop(0.1)
    seconds = getattr(peer.connack, "ServerKeepAlive", 1) if version == "5.0" else 1
    began = time.monotonic()
    # Nothing runs the client from here on, so that no PINGREQ leaves.
    sock = peer.client.socket()
    sock.settimeout(1.5 * seconds + 8)
    data = sock.recv(100)
    waited = time.monotonic() - began
    check(waited > seconds, f"disconnected after {waited:.2f} s already")
    if version == "5.0" and data:
        equal(data[0], 0xE0, "the packet before the end is DISCONNECT")
        equal(data[2:3], b"\x8d", "DISCONNECT reason")
    check(not data or sock.recv(100) == b"", "the connection is still open")


@case("client that pings stays connected", seconds=15)
def pings(version):
    peer = Peer(version, keep_alive=1)
    check(not peer.closed.wait(3.2), "disconnected although it sent PINGREQ")
    peer.subscribe("pings", 1)
    Peer(version).publish("pings", b"still here", 1)
    equal(peer.take().payload, b"still here")


@case("empty client identifier", versions=("3.1.1",))
def empty_identifier(version):
    equal(Peer(version, "").reason, 0, "with clean session")
    # paho-mqtt itself refuses the combination that the broker has to refuse.
    peer = Peer(version, "", connect=False)
    peer.client._clean_session = False
    peer.start()
    peer.loop()
    check(peer.closed.wait(5), "the connection was not closed")
    check(not peer.connected.is_set(), "accepted without clean session")


@case("assigned client identifier", versions=MODERN)
def assigned_identifier(version):
    first, second = Peer(version, ""), Peer(version, "")
    names = [first.connack.AssignedClientIdentifier, second.connack.AssignedClientIdentifier]
    check(names[0] and names[0] != names[1], f"assigned {names}")
    taker = Peer(version, names[0])
    check(first.closed.wait(5), "the assigned identifier does not name the session")
    check(not hasattr(taker.connack, "AssignedClientIdentifier"), "assigned although given")


@case("session expiry", versions=MODERN, rows=[(0,), (1,), (60,), (0xFFFFFFFF,)])
def session_expiry(version, expiry):
    client_id = unique("expiry")
    peer = stored(version, client_id, expiry)
    peer.subscribe(unique("expiry/"), 1)
    peer.disconnect()
    if expiry == 1:
        time.sleep(2.5)
    equal(stored(version, client_id, 0).session_present, expiry > 1, "session present")


@case("session expiry changed by DISCONNECT", versions=MODERN, rows=[(60, 0), (1, 60)])
def expiry_at_disconnect(version, at_connect, at_disconnect):
    client_id = unique("change")
    peer = stored(version, client_id, at_connect)
    peer.disconnect(SessionExpiryInterval=at_disconnect)
    if at_connect == 1:
        time.sleep(2.5)
    equal(stored(version, client_id, 0).session_present, at_disconnect > 0, "session present")


@case("session without clean start is new", versions=WITH_FLAG)
def new_session(version):
    check(not stored(version, unique("new")).session_present, "session present")
