"""paho-mqtt: the properties and reason codes of 5.0, from one client to the other."""

import time

from cases import case, check, equal, unique
from peer import Peer

MODERN = ("5.0",)
PAIRS = [("key", "1"), ("other", "ä→"), ("key", "2"), ("", "")]


def decoded(message, name):
    return getattr(message.properties, name, None)


@case("properties end to end", versions=MODERN, rows=[(0,), (1,), (2,)])
def end_to_end(version, qos):
    topic = unique("properties/")
    peer = Peer(version)
    peer.subscribe(topic, 2)
    values = {
        "UserProperty": PAIRS,
        "ContentType": "application/json",
        "ResponseTopic": "answer/to",
        "CorrelationData": bytes(range(256)),
        "PayloadFormatIndicator": 1,
        "MessageExpiryInterval": 100,
    }
    Peer(version).publish(topic, "ü".encode(), qos, **values)
    message = peer.take()
    lifetime = values.pop("MessageExpiryInterval")
    equal({name: decoded(message, name) for name in values}, values, "properties")
    check(lifetime - 2 <= decoded(message, "MessageExpiryInterval") <= lifetime, "expiry")


@case("message expiry", versions=MODERN)
def message_expiry(version):
    client_id, topic = unique("expiry"), unique("expiry/")
    away = {"clean": False, "SessionExpiryInterval": 60}
    peer = Peer(version, client_id, **away)
    peer.subscribe(topic, 1)
    peer.disconnect()
    publisher = Peer(version)
    publisher.publish(topic, b"short", 1, MessageExpiryInterval=1)
    publisher.publish(topic, b"long", 1, MessageExpiryInterval=100)
    publisher.publish(topic + "/kept", b"short", 1, True, MessageExpiryInterval=1)
    publisher.publish(topic + "/kept/long", b"kept", 1, True, MessageExpiryInterval=100)
    time.sleep(2.5)
    peer = Peer(version, client_id, **away)
    message = peer.take()
    equal(message.payload, b"long", "the message that has not expired")
    left = decoded(message, "MessageExpiryInterval")
    check(95 <= left <= 98, f"{left} s are left of 100 after 2.5")
    peer.subscribe(topic + "/kept/#", 1)
    message = peer.take()
    equal((message.payload, message.retain), (b"kept", True), "the retained message")
    left = decoded(message, "MessageExpiryInterval")
    check(95 <= left <= 98, f"{left} s are left of 100 after 2.5")


@case("subscription identifiers", versions=MODERN)
def subscription_identifiers(version):
    base = unique("identifier/")
    peer, publisher = Peer(version), Peer(version)
    peer.subscribe(f"{base}/a", 1, identifier=7)
    peer.subscribe(f"{base}/+", 1, identifier=268435455)
    peer.subscribe(f"{base}/none", 1)
    peer.subscribe(f"{base}/b", 1, identifier=9)
    publisher.publish(f"{base}/a", b"x", 1)
    publisher.publish(f"{base}/c", b"end", 1)
    last = peer.take()
    found = []
    while last.payload != b"end":
        found += decoded(last, "SubscriptionIdentifier") or []
        last = peer.take()
    equal(sorted(found), [7, 268435455], "on the overlapping filters")
    equal(decoded(last, "SubscriptionIdentifier"), [268435455], "on the one filter")
    # A new SUBSCRIBE for the filter replaces the identifier, or takes it away.
    peer.unsubscribe(f"{base}/+")
    peer.subscribe(f"{base}/a", 1, identifier=8)
    publisher.publish(f"{base}/a", b"x", 1)
    equal(decoded(peer.take(), "SubscriptionIdentifier"), [8], "replaced")
    peer.subscribe(f"{base}/a", 1)
    publisher.publish(f"{base}/a", b"x", 1)
    equal(decoded(peer.take(), "SubscriptionIdentifier"), None, "taken away")


@case("no local", versions=MODERN)
def no_local(version):
    topic = unique("local/")
    peer = Peer(version)
    peer.subscribe(topic, 1, noLocal=True)
    peer.publish(topic, b"own", 1)
    Peer(version).publish(topic, b"foreign", 1)
    equal([m.payload for m in peer.until(b"foreign")], [], "own messages")


@case("retain as published", versions=MODERN, rows=[(False,), (True,)])
def retain_as_published(version, keep):
    topic = unique("rap/")
    peer, publisher = Peer(version), Peer(version)
    peer.subscribe(topic, 1, retainAsPublished=keep)
    for retain in (True, False):
        publisher.publish(topic, b"x", 1, retain)
        equal(peer.take().retain, retain and keep, f"flag when published with {retain}")
    publisher.publish(topic, b"", 1, True)


@case("retain handling", versions=MODERN, rows=[(0, 2), (1, 1), (2, 0)])
def retain_handling(version, handling, copies):
    topic = unique("handling/")
    peer, publisher = Peer(version), Peer(version)
    publisher.publish(topic, b"kept", 1, True)
    for _ in range(2):
        peer.subscribe(topic, 1, retainHandling=handling)
    publisher.publish(topic, b"end", 1)
    equal([m.payload for m in peer.until(b"end")], [b"kept"] * copies, "retained copies")
    publisher.publish(topic, b"", 1, True)


@case("topic alias from the client", versions=MODERN, rows=[(0,), (1,), (2,)])
def topic_alias(version, qos):
    base = unique("alias/")
    peer, publisher = Peer(version), Peer(version)
    check(getattr(publisher.connack, "TopicAliasMaximum", 0) >= 2, "no aliases are offered")
    peer.subscribe(f"{base}/#", 2)
    steps = [("a", 1), ("", 1), ("b", 2), ("", 2), ("", 1), ("c", 1), ("", 1), ("", 2)]
    for name, alias in steps:
        publisher.publish(name and f"{base}/{name}", b"x", qos, TopicAlias=alias)
    received = [peer.take() for _ in steps]
    equal("".join(m.topic[-1] for m in received), "aabbaccb", "topics")
    check(all(decoded(m, "TopicAlias") is None for m in received), "an alias was passed on")


@case("topic alias out of range", versions=MODERN)
def alias_out_of_range(version):
    peer = Peer(version)
    maximum = getattr(peer.connack, "TopicAliasMaximum", 0)
    if maximum == 65535:
        return
    peer.send(unique("alias/"), b"x", 1, TopicAlias=maximum + 1)
    check(peer.closed.wait(5), "the connection was not closed")
    equal(peer.end_reason, 0x94, "DISCONNECT reason")


@case("receive maximum", versions=MODERN)
def receive_maximum(version):
    topic = unique("window/")
    peer = Peer(version, manual_ack=True, ReceiveMaximum=3)
    peer.subscribe(topic, 1)
    publisher = Peer(version)
    for number in range(10):
        publisher.publish(topic, b"%d" % number, 1)
    held = [peer.take() for _ in range(3)]
    for number in range(10):
        # SUBSCRIBE does not wait for the window; what was on its way is here before SUBACK.
        peer.subscribe(topic + "/other", 0)
        check(peer.messages.empty(), "more than three messages without acknowledgement")
        message = held.pop(0)
        equal(message.payload, b"%d" % number, "order")
        peer.client.ack(message.mid, 1)
        if number < 7:
            held.append(peer.take())


@case("maximum packet size", versions=MODERN)
def maximum_packet_size(version):
    topic = unique("packet/")
    peer = Peer(version, MaximumPacketSize=200)
    peer.subscribe(topic, 1)
    publisher = Peer(version)
    equal(publisher.publish(topic, b"x" * 1000, 1), 0, "the publisher's reason code")
    publisher.publish(topic, b"small", 1)
    equal([len(m.payload) for m in peer.until(b"small")], [], "too large messages")


@case("request and response", versions=MODERN)
def request_response(version):
    base = unique("rpc/")
    requester, responder = Peer(version), Peer(version)
    requester.subscribe(f"{base}/answers", 1)
    responder.subscribe(f"{base}/questions", 1)
    for number in range(5):
        correlation = b"id %d" % number
        requester.publish(f"{base}/questions", b"%d" % number, 1,
                          ResponseTopic=f"{base}/answers", CorrelationData=correlation)
        question = responder.take()
        responder.publish(decoded(question, "ResponseTopic"), question.payload * 2, 1,
                          CorrelationData=decoded(question, "CorrelationData"))
        answer = requester.take()
        equal((answer.payload, decoded(answer, "CorrelationData")),
              (b"%d%d" % (number, number), correlation))


@case("UNSUBACK reason codes", versions=MODERN)
def unsubscribe_codes(version):
    topic = unique("unsuback/")
    peer = Peer(version)
    peer.subscribe(topic, 1)
    equal(peer.unsubscribe([topic, topic + "/unknown"]), [0x00, 0x11], "first time")
    equal(peer.unsubscribe(topic), [0x11], "second time")


@case("PUBACK without subscribers", versions=MODERN)
def puback_codes(version):
    peer = Peer(version)
    check(peer.publish(unique("nobody/"), b"x", 1) in (0x00, 0x10), "reason code")


@case("invalid filter", versions=MODERN,
      rows=[("a/#/b",), ("a+",), ("$share//a",), ("$share/+/a",), ("$share/group",)])
def invalid_filter(version, text):
    peer = Peer(version)
    # paho-mqtt's own check would keep some of these from being sent.
    peer.client._filter_wildcard_len_check = lambda topic: 0
    codes = peer.subscribe(text, 1)
    if codes is None:
        check(peer.end_reason in (0x81, 0x82, 0x8F), f"DISCONNECT reason {peer.end_reason:#x}")
    else:
        equal(codes, [0x8F], "SUBACK reason codes")


@case("retained does not come with a shared subscription", versions=("3.1.1", "5.0"))
def shared_retained(version):
    topic = unique("quiet/")
    publisher, peer = Peer(version), Peer(version)
    publisher.publish(topic, b"kept", 1, True)
    peer.subscribe(f"$share/group/{topic}", 1)
    publisher.publish(topic, b"end", 1)
    equal([m.payload for m in peer.until(b"end")], [], "retained messages")
    publisher.publish(topic, b"", 1, True)
