"""paho-mqtt: what is published reaches whoever subscribed, and nobody else."""

import os

from cases import UNIX, case, check, equal, unique
from peer import Peer

QOS = (0, 1, 2)
PAIRS = [(p, s) for p in QOS for s in QOS]
SIZES = (0, 1, 127, 128, 16 * 1024, 1024 * 1024)
FILTERS = [
    ("a/b", "a/b", True),
    ("a/b", "a/B", False),
    ("a/b", "a/b/", False),
    ("a/+", "a/b", True),
    ("a/+", "a/", True),
    ("a/+", "a", False),
    ("a/+", "a/b/c", False),
    ("+/b", "a/b", True),
    ("a/+/c", "a/b/c", True),
    ("a/+/c", "a//c", True),
    ("a/+/c", "a/b/d", False),
    ("a/#", "a", True),
    ("a/#", "a/b/c/d", True),
    ("a/#", "ab", False),
    ("a/b/#", "a", False),
    ("+/+/#", "a", False),
    ("+/+/#", "a/b", True),
]


@case("qos", rows=PAIRS)
def effective_qos(version, publish_qos, subscribe_qos):
    topic = unique("qos/")
    peer = Peer(version)
    equal(peer.subscribe(topic, subscribe_qos), [subscribe_qos], "granted")
    Peer(version).publish(topic, b"payload", publish_qos)
    message = peer.take()
    equal(message.qos, min(publish_qos, subscribe_qos), "QoS")
    equal((message.topic, message.payload), (topic, b"payload"), "message")
    equal((message.retain, message.dup), (False, False), "flags")


@case("order", rows=[(q,) for q in QOS])
def order(version, qos):
    topic = unique("order/")
    peer, publisher = Peer(version), Peer(version)
    peer.subscribe(topic, qos)
    expected = [b"%d" % n for n in range(200)]
    for payload in expected:
        last = publisher.send(topic, payload, qos)
    publisher.answered("pub", last)
    equal([peer.take().payload for _ in expected], expected, "order")


@case("payload", rows=[(s,) for s in SIZES])
def payload_size(version, size):
    topic = unique("size/")
    peer, publisher = Peer(version), Peer(version)
    peer.subscribe(topic, 2)
    payload = os.urandom(size)
    for qos in QOS:
        publisher.publish(topic, payload, qos)
        message = peer.take()
        check(message.payload == payload, f"{size} bytes at QoS {qos} arrived changed")
        equal(message.qos, qos, "QoS")


@case("filters")
def filters(version):
    peer, publisher = Peer(version), Peer(version)
    peer.subscribe("filters/end", 1)
    for filter_text, topic, matches in FILTERS:
        prefix = unique("filters/")
        peer.subscribe(f"{prefix}/{filter_text}", 1)
        publisher.publish(f"{prefix}/{topic}", b"x", 1)
        publisher.publish("filters/end", b"end", 1)
        received = [m.topic for m in peer.until(b"end")]
        equal(received, [f"{prefix}/{topic}"] if matches else [], f"{filter_text} with {topic}")
        peer.unsubscribe(f"{prefix}/{filter_text}")


@case("several filters in one SUBSCRIBE")
def several_filters(version):
    base = unique("several/")
    peer, publisher = Peer(version), Peer(version)
    wanted = [(f"{base}/{qos}", qos) for qos in (2, 0, 1)]
    equal(peer.subscribe(wanted), [2, 0, 1], "granted")
    for topic, _ in wanted:
        publisher.publish(topic, b"x", 2)
    received = [peer.take() for _ in wanted]
    equal(sorted((m.topic, m.qos) for m in received), sorted(wanted))


@case("unsubscribe")
def unsubscribe(version):
    topic = unique("unsubscribe/")
    peer, publisher = Peer(version), Peer(version)
    peer.subscribe([(topic, 1), (topic + "/end", 1)])
    publisher.publish(topic, b"before", 1)
    equal(peer.take().payload, b"before")
    peer.unsubscribe(topic)
    publisher.publish(topic, b"after", 1)
    publisher.publish(topic + "/end", b"end", 1)
    equal([m.payload for m in peer.until(b"end")], [], "after UNSUBSCRIBE")


@case("subscribing again replaces the QoS")
def resubscribe(version):
    topic = unique("again/")
    peer = Peer(version)
    peer.subscribe(topic, 0)
    peer.subscribe(topic, 2)
    publisher = Peer(version)
    publisher.publish(topic, b"x", 2)
    publisher.publish(topic, b"end", 2)
    equal([m.qos for m in peer.until(b"end")], [2], "QoS of the one copy")


@case("dollar topics do not match wildcards", seconds=40)
def dollar_topics(version):
    everything, system = Peer(version), Peer(version)
    everything.subscribe([("#", 1), ("+/broker/uptime", 1), ("+/#", 1)])
    system.subscribe("$SYS/#", 1)
    while (message := system.take(30)).retain:
        pass
    check(message.topic.startswith("$SYS/"), message.topic)
    end = unique("end").encode()
    Peer(version).publish(unique("dollar/"), end, 1)
    leaked = [m.topic for m in everything.until(end) if m.topic.startswith("$")]
    equal(leaked, [], "matched by a wildcard")


@case("$SYS", rows=[("version",), ("uptime",), ("clients/connected",)], seconds=40)
def system_topics(version, topic):
    peer = Peer(version)
    peer.subscribe(f"$SYS/broker/{topic}", 0)
    message = peer.take(30)
    equal(message.topic, f"$SYS/broker/{topic}")
    text = message.payload.decode()
    check(text and (topic == "version" or text.split()[0].isdigit()), f"payload {text!r}")


@case("publishing to $SYS has no effect", rows=[(q,) for q in QOS])
def publish_to_system(version, qos):
    topic = unique("$SYS/interop")
    end = unique("sysend/")
    peer = Peer(version)
    peer.subscribe([(topic, 1), (end, 1)])
    forger = Peer(version)
    reason = forger.publish(topic, b"forged", qos)
    # paho-mqtt does not look at the reason code of PUBREC, so only PUBACK's is known.
    if version == "5.0" and qos == 1:
        check(reason is None or reason >= 0x80, f"reason {reason}")
    Peer(version).publish(end, b"end", 1)
    equal([m.payload for m in peer.until(b"end")], [], "forged")


@case("retained", rows=[(q,) for q in QOS])
def retained(version, qos):
    base = unique("retained/")
    topic = f"{base}/a/b"
    live, publisher = Peer(version), Peer(version)
    live.subscribe(topic, 2)
    publisher.publish(topic, b"old", qos, True)
    publisher.publish(topic, b"kept", qos, True)
    publisher.publish(base, b"parent", 1, True)
    equal([(live.take().retain, live.take().retain)], [(False, False)], "flags of live messages")
    for filter_text in (topic, f"{base}/+/b", f"{base}/a/#", f"{base}/a/b/#"):
        late = Peer(version)
        late.subscribe(filter_text, 1)
        message = late.take()
        equal((message.payload, message.retain, message.qos), (b"kept", True, min(qos, 1)))
        late.disconnect()
    publisher.publish(topic, b"", qos, True)
    equal(live.take().payload, b"", "the clearing message itself")
    late = Peer(version)
    late.subscribe(f"{base}/#", 1)
    equal(late.take().payload, b"parent")
    publisher.publish(base, b"end", 1)
    equal([m.payload for m in late.until(b"end")], [], "retained after clearing")
    publisher.publish(base, b"", 1, True)


@case("retained set behind a wildcard is complete")
def retained_set(version):
    base = unique("set/")
    publisher = Peer(version)
    expected = {f"{base}/{n}" for n in range(300)}
    for topic in expected:
        last = publisher.send(topic, b"x", 1, True)
    publisher.answered("pub", last)
    peer = Peer(version)
    peer.subscribe(f"{base}/+", 1)
    equal(sorted(peer.take().topic for _ in expected), sorted(expected), "topics")
    for topic in expected:
        last = publisher.send(topic, b"", 1, True)
    publisher.answered("pub", last)


@case("shared", rows=[(q,) for q in QOS])
def shared(version, qos):
    topic = unique("shared/")
    members = [Peer(version), Peer(version)]
    # Taken from one place, whoever gets it.
    members[1].messages = members[0].messages
    for member in members:
        equal(member.subscribe(f"$share/group/{topic}", qos), [qos], "granted")
    everyone = Peer(version)
    everyone.subscribe(topic, qos)
    publisher = Peer(version)
    expected = [b"%d" % n for n in range(100)]
    for payload in expected:
        last = publisher.send(topic, payload, qos)
    publisher.answered("pub", last)
    equal([everyone.take().payload for _ in expected], expected, "beside the group")
    # What comes through the group and what does not have no order among each other.
    for number, member in enumerate(members):
        end = f"{topic}/end{number}"
        member.subscribe(end, qos)
        publisher.publish(end, b"end", qos)
        expected.append(b"end")
    received = [members[0].take().payload for _ in expected]
    equal(sorted(received), sorted(expected), "shared by the members")
    members[0].disconnect()
    # A second connection with that identifier proves that the first one has been dealt with.
    Peer(version, members[0].client_id).disconnect()
    publisher.publish(topic, b"to the other", qos)
    equal(members[1].take().payload, b"to the other", "after one has left")


@case("unix socket", rows=[(q,) for q in QOS])
def unix_socket(version, qos):
    topic = unique("unix/")
    peer = Peer(version, unix=UNIX)
    peer.subscribe(topic, 2)
    Peer(version).publish(topic, b"to the socket", qos)
    message = peer.take()
    equal((message.payload, message.qos), (b"to the socket", qos))
