"""A paho-mqtt client that blocks: each call returns when the broker has answered it."""

import queue
import socket
import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cases import HOST, PORT, check, unique

PROTOCOLS = {"3.1": paho.MQTTv31, "3.1.1": paho.MQTTv311, "5.0": paho.MQTTv5}
WAIT_SECONDS = 6
LIVE = []


def properties(kind, values):
    """Properties of the packet named `kind`, or None when there are none."""
    if not values:
        return None
    result = Properties(getattr(PacketTypes, kind))
    for name, value in values.items():
        setattr(result, name, value)
    return result


def end_all():
    """Ends every client that a test left behind."""
    while LIVE:
        LIVE.pop().cut()


class Peer:
    """One client identifier on one connection. `reason`, `session_present` and `connack` tell
    what CONNACK said, `closed` is set when the connection has ended, `end_reason` says why."""

    def __init__(self, version, client_id=None, *, clean=True, will=None, keep_alive=60,
                 manual_ack=False, unix=None, connect=True, **connect_properties):
        self.version = version
        self.client_id = unique("paho") if client_id is None else client_id
        self.clean = clean
        self.keep_alive = keep_alive
        self.unix = unix
        self.looping = False
        self.connect_properties = connect_properties
        self.messages = queue.Queue()
        self.answers = {}
        self.changed = threading.Condition()
        self.connected = threading.Event()
        self.closed = threading.Event()
        self.reason = self.session_present = self.connack = self.end_reason = None
        modern = version == "5.0"
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            clean_session=None if modern else clean,
            protocol=PROTOCOLS[version],
            transport="unix" if unix else "tcp",
            reconnect_on_failure=False,
            manual_ack=manual_ack,
        )
        self.client.max_queued_messages_set(0)
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = self.on_disconnect
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_publish = lambda c, d, mid, reason, more: self.answer("pub", mid, [reason])
        self.client.on_subscribe = lambda c, d, mid, codes, more: self.answer("sub", mid, codes)
        self.client.on_unsubscribe = lambda c, d, mid, codes, more: self.answer("sub", mid, codes)
        if will:
            will = dict(will)
            extra = properties("WILLMESSAGE", will.pop("properties", None))
            self.client.will_set(**will, properties=extra)
        if connect:
            self.connect()
            check(self.reason == 0, f"CONNECT was refused: {self.reason}")

    def on_connect(self, client, data, flags, reason, more):
        self.reason, self.connack = reason.value, more
        self.session_present = flags.session_present
        self.connected.set()

    def on_disconnect(self, client, data, flags, reason, more):
        self.end_reason = reason.value
        self.closed.set()
        with self.changed:
            self.changed.notify_all()

    def answer(self, kind, mid, codes):
        with self.changed:
            self.answers[kind, mid] = [code.value for code in codes]
            self.changed.notify_all()

    def start(self):
        """Opens the connection and sends CONNECT."""
        LIVE.append(self)
        more = {}
        if self.version == "5.0":
            more["clean_start"] = self.clean
            more["properties"] = properties("CONNECT", self.connect_properties)
        where = (self.unix, 1883) if self.unix else (HOST, PORT)
        self.client.connect(*where, keepalive=self.keep_alive, **more)

    def connect(self):
        """Connects and waits for CONNACK, or for the end of the connection."""
        self.start()
        self.loop()
        check(self.connected.wait(WAIT_SECONDS), "no CONNACK")

    def loop(self):
        """Lets the client run by itself from now on."""
        self.looping = True
        self.client.loop_start()

    def answered(self, kind, mid):
        """The reason codes that answered the packet, or None when the connection ended first."""
        with self.changed:
            done = lambda: (kind, mid) in self.answers or self.closed.is_set()
            check(self.changed.wait_for(done, WAIT_SECONDS), f"packet {mid} was never answered")
            return self.answers.get((kind, mid))

    def subscribe(self, topic, qos=0, identifier=None, **options):
        """Subscribes to one filter or to a list of (filter, QoS); returns the reason codes."""
        if self.version == "5.0":
            options = paho.SubscribeOptions(qos=qos, **options)
            wanted = topic if isinstance(topic, list) else [(topic, options)]
            wanted = [
                (name, paho.SubscribeOptions(qos=o) if isinstance(o, int) else o)
                for name, o in wanted
            ]
            more = properties("SUBSCRIBE", identifier and {"SubscriptionIdentifier": identifier})
            _, mid = self.client.subscribe(wanted, properties=more)
        else:
            _, mid = self.client.subscribe(topic, qos)
        return self.answered("sub", mid)

    def unsubscribe(self, topic):
        _, mid = self.client.unsubscribe(topic)
        return self.answered("sub", mid)

    def send(self, topic, payload=b"", qos=0, retain=False, **values):
        """Publishes without waiting; returns the packet identifier."""
        more = properties("PUBLISH", values)
        return self.client.publish(topic, payload, qos, retain, properties=more).mid

    def publish(self, *arguments, **values):
        """Publishes and waits for the last acknowledgement; returns its reason code or None."""
        codes = self.answered("pub", self.send(*arguments, **values))
        return codes[0] if codes else None

    def take(self, seconds=WAIT_SECONDS):
        """The next message."""
        try:
            return self.messages.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no message arrived within {seconds} s") from None

    def until(self, payload, seconds=WAIT_SECONDS):
        """The messages that arrive before the one with this payload."""
        before = []
        while (message := self.take(seconds)).payload != payload:
            before.append(message)
        return before

    def disconnect(self, reason=None, **values):
        more = properties("DISCONNECT", values)
        if reason is None and more is None:
            self.client.disconnect()
        else:
            code = paho.ReasonCode(PacketTypes.DISCONNECT, identifier=reason or 0)
            self.client.disconnect(code, more)
        check(self.closed.wait(WAIT_SECONDS), "the connection did not end after DISCONNECT")
        self.client.loop_stop()

    def cut(self):
        """Ends the connection without DISCONNECT."""
        sock = self.client.socket()
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            if self.looping:
                self.closed.wait(WAIT_SECONDS)
            else:
                sock.close()
        self.client.loop_stop()
