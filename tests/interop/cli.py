"""The mosquitto_pub, mosquitto_sub and mosquitto_rr group, in 3.1, 3.1.1 and 5.0."""

import hashlib
import os
import queue
import signal
import subprocess
import threading
import time

from cases import HOST, PORT, UNIX, case, check, equal, run_group, unique

FLAGS = {"3.1": "mqttv31", "3.1.1": "mqttv311", "5.0": "mqttv5"}
MODERN = ("5.0",)
QOS = (0, 1, 2)
PAIRS = [(p, s) for p in QOS for s in QOS]
SIZES = (0, 1, 127, 128, 16 * 1024, 1024 * 1024)
WAIT_SECONDS = 6
LIVE = []


def arguments(tool, version, unix=False):
    where = ["--unix", UNIX] if unix else ["-h", HOST, "-p", str(PORT)]
    # The tools buffer their output by blocks when it is no terminal.
    return ["stdbuf", "-oL", tool, "-V", FLAGS[version], *where]


def publish(version, topic, payload=b"", qos=0, *more, unix=False):
    """Runs mosquitto_pub to its end, which for QoS 1 and 2 is behind the acknowledgement."""
    command = [*arguments("mosquitto_pub", version, unix), "-t", topic, "-q", str(qos), *more]
    if "-l" not in more:
        command.append("-s" if payload else "-n")
    done = subprocess.run(command, input=payload, capture_output=True, timeout=WAIT_SECONDS)
    said = done.stderr.decode()
    check(done.returncode == 0, f"mosquitto_pub ended with {done.returncode}: {said}")
    return said


class Sub:
    """A running mosquitto_sub. Each message is the line that the format makes of it."""

    def __init__(self, version, topics, qos=0, *more, form="%t %q %r %p", unix=False, acks=1):
        topics = [topics] if isinstance(topics, str) else topics
        filters = [word for topic in topics for word in ("-t", topic)]
        command = [*arguments("mosquitto_sub", version, unix), "-d", "-q", str(qos), *filters]
        command += ["-F", f"MESSAGE {form}", *more]
        self.messages = queue.Queue()
        self.said = []
        self.subscribed = threading.Semaphore(0)
        self.refused = queue.Queue()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        LIVE.append(self.process)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        for _ in range(acks):
            check(self.subscribed.acquire(timeout=WAIT_SECONDS), f"no SUBACK: {self.said}")

    def read(self):
        for line in self.process.stdout:
            line = line.decode("utf-8", "replace").rstrip("\n")
            if line.startswith("MESSAGE "):
                self.messages.put(line.removeprefix("MESSAGE "))
            else:
                self.said.append(line)
            if line.startswith("Subscribed ("):
                self.subscribed.release()
            if line.startswith("Received DISCONNECT ("):
                self.refused.put(line)
        self.messages.put(None)

    def take(self, seconds=WAIT_SECONDS):
        try:
            line = self.messages.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no message arrived within {seconds} s") from None
        check(line is not None, f"mosquitto_sub has ended: {self.said[-3:]}")
        return line

    def until(self, end):
        before = []
        while (line := self.take()) != end:
            before.append(line)
        return before

    def stop(self):
        """Ends it with DISCONNECT."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(WAIT_SECONDS)

    def kill(self):
        """Ends it without DISCONNECT."""
        self.process.kill()
        self.process.wait()


def end_all():
    while LIVE:
        process = LIVE.pop()
        if process.poll() is None:
            process.kill()
            process.wait()


@case("qos", rows=PAIRS)
def effective_qos(version, publish_qos, subscribe_qos):
    topic = unique("qos/")
    sub = Sub(version, topic, subscribe_qos)
    publish(version, topic, b"payload", publish_qos)
    equal(sub.take(), f"{topic} {min(publish_qos, subscribe_qos)} 0 payload")


@case("order", rows=[(q,) for q in QOS])
def order(version, qos):
    topic = unique("order/")
    sub = Sub(version, topic, qos, form="%p")
    expected = [str(n) for n in range(200)]
    publish(version, topic, "\n".join(expected).encode() + b"\n", qos, "-l")
    equal([sub.take() for _ in expected], expected)


@case("payload", rows=[(s,) for s in SIZES])
def payload_size(version, size):
    topic = unique("size/")
    sub = Sub(version, topic, 2, form="%l %x")
    payload = os.urandom(size)
    for qos in QOS:
        publish(version, topic, payload, qos)
        length, _, text = sub.take().partition(" ")
        equal(int(length), size, "length")
        digests = [hashlib.sha256(data).hexdigest() for data in (bytes.fromhex(text), payload)]
        equal(*digests, "digest")


@case("wildcards")
def wildcards(version):
    base = unique("wild/")
    sub = Sub(version, [f"{base}/+/x", f"{base}/deep/#", f"{base}/end"], 1, form="%t")
    for topic in ("a/x", "a/y", "a/b/x", "deep", "deep/er/still", "deeper"):
        publish(version, f"{base}/{topic}", b"x", 1)
    publish(version, f"{base}/end", b"x", 1)
    expected = [f"{base}/{topic}" for topic in ("a/x", "deep", "deep/er/still")]
    equal(sub.until(f"{base}/end"), expected)


@case("retained", rows=[(q,) for q in QOS])
def retained(version, qos):
    base = unique("retained/")
    live = Sub(version, f"{base}/#", 2)
    publish(version, f"{base}/a", b"kept", qos, "-r")
    equal(live.take(), f"{base}/a {qos} 0 kept", "to a live subscriber")
    for text in (f"{base}/a", f"{base}/+", f"{base}/#"):
        late = Sub(version, text, 2)
        equal(late.take(), f"{base}/a {qos} 1 kept")
        late.stop()
    publish(version, f"{base}/a", b"", qos, "-r")
    equal(live.take(), f"{base}/a {qos} 0 ", "the clearing message itself")
    late = Sub(version, f"{base}/#", 2)
    publish(version, f"{base}/a", b"end", 0)
    equal(late.until(f"{base}/a 0 0 end"), [], "retained after clearing")


@case("mosquitto_sub --remove-retained")
def remove_retained(version):
    base = unique("remove/")
    for name in ("a", "b"):
        publish(version, f"{base}/{name}", b"kept", 1, "-r")
    remover = Sub(version, f"{base}/#", 0, "--remove-retained", form="%r %p")
    # The tool also receives what it publishes to clear the two.
    equal(sorted(remover.take() for _ in range(4)), ["0 ", "0 ", "1 kept", "1 kept"])
    late = Sub(version, f"{base}/#", 1, form="%p")
    publish(version, base, b"end", 1)
    equal(late.until("end"), [])


@case("will of a killed client", rows=[(q,) for q in QOS])
def will(version, qos):
    topic = unique("will/")
    watching = Sub(version, topic, 2)
    will_flags = ["--will-topic", topic, "--will-payload", "gone", "--will-qos", str(qos)]
    dying = Sub(version, unique("other/"), 0, *will_flags, "--will-retain")
    dying.kill()
    equal(watching.take(), f"{topic} {qos} 0 gone")
    late = Sub(version, topic, 2)
    equal(late.take(), f"{topic} {qos} 1 gone", "the retained will")
    publish(version, topic, b"", 1, "-r")


@case("no will after DISCONNECT")
def no_will(version):
    topic, name = unique("will/"), unique("cliwill")
    watching = Sub(version, topic, 1, form="%p")
    will_flags = ["--will-topic", topic, "--will-payload", "gone"]
    publish(version, unique("other/"), b"x", 1, "-i", name, *will_flags)
    # The identifier connects again: the broker is done with the first connection.
    publish(version, topic, b"end", 1, "-i", name)
    equal(watching.until("end"), [])


@case("DISCONNECT with will", versions=MODERN)
def disconnect_with_will(version):
    topic = unique("will/")
    watching = Sub(version, topic, 1, form="%p")
    will_flags = ["--will-topic", topic, "--will-payload", "gone"]
    # mosquitto_sub says 0x04 when a signal ends it.
    Sub(version, unique("other/"), 0, *will_flags).stop()
    equal(watching.take(), "gone")


@case("resume", rows=[(1,), (2,)])
def resume(version, qos):
    topic, name = unique("resume/"), unique("cli")
    first = Sub(version, topic, qos, "-c", "-i", name)
    first.stop()
    expected = [str(n) for n in range(50)]
    publish(version, topic, "\n".join(expected).encode() + b"\n", qos, "-l")
    again = Sub(version, topic, qos, "-c", "-i", name, form="%q %p", acks=0)
    equal([again.take() for _ in expected], [f"{qos} {text}" for text in expected])
    again.stop()
    clean = Sub(version, topic, qos, "-i", name)
    publish(version, topic, b"end", qos)
    equal(clean.until(f"{topic} {qos} 0 end"), [], "after a clean start")


@case("session expiry", versions=MODERN, rows=[(1,), (60,)])
def session_expiry(version, seconds):
    topic, name = unique("expiry/"), unique("cliexp")
    flags = ["-c", "-i", name, "-x", str(seconds)]
    Sub(version, topic, 1, *flags).stop()
    publish(version, topic, b"waiting", 1)
    if seconds == 1:
        time.sleep(2.5)
    again = Sub(version, topic, 1, *flags, form="%p")
    publish(version, topic, b"end", 1)
    equal(again.until("end"), ["waiting"] if seconds > 1 else [])


@case("take-over")
def take_over(version):
    topic, name = unique("take/"), unique("clitake")
    first = Sub(version, topic, 1, "-i", name)
    publish(version, topic + "/other", b"x", 1, "-i", name)
    if version in MODERN and os.environ.get("INTEROP_BROKER") != "mosquitto":
        # Told why, the tool stays away: coming back would end the connection that replaced it.
        equal(first.refused.get(timeout=WAIT_SECONDS), "Received DISCONNECT (142)")
        return
    # The tool reconnects and subscribes again, which shows that its connection was ended.
    check(first.subscribed.acquire(timeout=WAIT_SECONDS), "it was not disconnected")
    publish(version, topic, b"back", 1)
    equal(first.take(), f"{topic} 1 0 back")


@case("shared", rows=[(q,) for q in QOS])
def shared(version, qos):
    topic = unique("shared/")
    members = [
        Sub(version, [f"$share/group/{topic}", f"{topic}/end{n}"], qos, form="%p") for n in (0, 1)
    ]
    expected = [str(n) for n in range(100)]
    publish(version, topic, "\n".join(expected).encode() + b"\n", qos, "-l")
    received = []
    for number, member in enumerate(members):
        publish(version, f"{topic}/end{number}", b"end", qos)
        received += member.until("end")
    equal(sorted(received), sorted(expected))


@case("versions talk to each other", versions=("mixed",))
def mixed_versions(_):
    topic = unique("mixed/")
    subs = {version: Sub(version, topic, 2, form="%p") for version in FLAGS}
    for publisher in FLAGS:
        publish(publisher, topic, publisher.encode(), 2)
        equal([sub.take() for sub in subs.values()], [publisher] * 3, f"published in {publisher}")


@case("properties", versions=MODERN, rows=[(q,) for q in QOS])
def properties(version, qos):
    topic = unique("properties/")
    form = "%C|%D|%E|%F|%P|%R|%p"
    sub = Sub(version, topic, 2, form=form)
    values = [
        ("content-type", "text/plain"),
        ("correlation-data", "id"),
        ("message-expiry-interval", "100"),
        ("payload-format-indicator", "1"),
        ("response-topic", "answer/to"),
    ]
    flags = [word for name, value in values for word in ("-D", "PUBLISH", name, value)]
    for value in "12":
        flags += ["-D", "PUBLISH", "user-property", "k", value]
    publish(version, topic, b"x", qos, *flags)
    found = sub.take().split("|")
    check(found[2] in ("98", "99", "100"), f"expiry {found[2]}")
    equal(found, ["text/plain", "id", found[2], "1", "k:1 k:2", "answer/to", "x"])


@case("subscription identifier", versions=MODERN)
def subscription_identifier(version):
    topic = unique("identifier/")
    flags = ["-D", "SUBSCRIBE", "subscription-identifier", "42"]
    sub = Sub(version, topic, 1, *flags, form="%S")
    publish(version, topic, b"x", 1)
    equal(sub.take(), "42")


@case("retain as published", versions=MODERN)
def retain_as_published(version):
    topic = unique("rap/")
    sub = Sub(version, topic, 1, "--retain-as-published", form="%r")
    publish(version, topic, b"x", 1, "-r")
    publish(version, topic, b"x", 1)
    equal([sub.take(), sub.take()], ["1", "0"])
    publish(version, topic, b"", 1, "-r")


@case("topic alias", versions=MODERN)
def topic_alias(version):
    topic = unique("alias/")
    sub = Sub(version, topic, 1, form="%t %p")
    publish(version, topic, b"a\nb\nc\n", 1, "-l", "-D", "PUBLISH", "topic-alias", "1")
    equal([sub.take() for _ in "abc"], [f"{topic} {letter}" for letter in "abc"])


@case("request and response", versions=("3.1.1", "5.0"))
def request_response(version):
    base = unique("rpc/")
    responder = Sub(version, f"{base}/questions", 1, form="%R|%D|%p" if version == "5.0" else "|%p")
    command = [*arguments("mosquitto_rr", version), "-q", "1", "-m", "question", "-W", "6"]
    command += ["-t", f"{base}/questions", "-e", f"{base}/answers"]
    more = ["-D", "PUBLISH", "correlation-data", "id"] if version == "5.0" else []
    requester = subprocess.Popen(command + more, stdout=subprocess.PIPE, text=True)
    LIVE.append(requester)
    *address, text = responder.take().split("|")
    equal(text, "question")
    if version == "5.0":
        equal(address, [f"{base}/answers", "id"], "response topic and correlation data")
        more = ["-D", "PUBLISH", "correlation-data", "id"]
    publish(version, f"{base}/answers", b"answer", 1, *more)
    output, _ = requester.communicate(timeout=WAIT_SECONDS)
    equal(output.strip(), "answer")


@case("no subscribers", versions=MODERN)
def no_subscribers(version):
    publish(version, unique("nobody/"), b"x", 2)


@case("publishing to $SYS is refused", versions=MODERN, rows=[(1,), (2,)])
def publish_to_system(version, qos):
    said = publish(version, "$SYS/broker/version", b"forged", qos)
    check("failed" in said, f"mosquitto_pub reports no refusal: {said!r}")


@case("$SYS", rows=[("version",), ("uptime",), ("clients/connected",)], seconds=40)
def system_topics(version, name):
    sub = Sub(version, f"$SYS/broker/{name}", 0, form="%p")
    text = sub.take(30)
    check(text and (name == "version" or text.split()[0].isdigit()), f"payload {text!r}")


@case("unix socket", rows=[(q,) for q in QOS])
def unix_socket(version, qos):
    topic = unique("unix/")
    sub = Sub(version, topic, 2, unix=True)
    publish(version, topic, b"x", qos, unix=True)
    equal(sub.take(), f"{topic} {qos} 0 x")


if __name__ == "__main__":
    run_group("cli", end_all)
