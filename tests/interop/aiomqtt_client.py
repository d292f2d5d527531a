"""The aiomqtt group: asyncio's way into paho-mqtt, in 3.1, 3.1.1 and 5.0."""

import asyncio
import socket

import aiomqtt

from cases import HOST, PORT, case, equal, run_group, unique

PROTOCOLS = {
    "3.1": aiomqtt.ProtocolVersion.V31,
    "3.1.1": aiomqtt.ProtocolVersion.V311,
    "5.0": aiomqtt.ProtocolVersion.V5,
}
PAIRS = [(p, s) for p in (0, 1, 2) for s in (0, 1, 2)]


def client(version, **options):
    name = unique("aiomqtt")
    return aiomqtt.Client(HOST, PORT, identifier=name, protocol=PROTOCOLS[version], **options)


@case("qos", rows=PAIRS)
def effective_qos(version, publish_qos, subscribe_qos):
    topic = unique("qos/")

    async def body():
        async with client(version) as subscriber, client(version) as publisher:
            await subscriber.subscribe(topic, qos=subscribe_qos)
            await publisher.publish(topic, b"payload", qos=publish_qos)
            message = await anext(aiter(subscriber.messages))
            found = (str(message.topic), message.payload, message.qos)
            equal(found, (topic, b"payload", min(publish_qos, subscribe_qos)))

    asyncio.run(body())


@case("order", rows=[(0,), (1,), (2,)])
def order(version, qos):
    topic = unique("order/")
    expected = [b"%d" % number for number in range(200)]

    async def body():
        async with client(version) as subscriber, client(version) as publisher:
            await subscriber.subscribe(topic, qos=qos)
            for payload in expected:
                await publisher.publish(topic, payload, qos=qos)
            messages = aiter(subscriber.messages)
            equal([(await anext(messages)).payload for _ in expected], expected)

    asyncio.run(body())


@case("retained and will")
def retained_and_will(version):
    topic = unique("will/")

    async def body():
        will = aiomqtt.Will(topic, b"gone", qos=1, retain=True)
        async with client(version) as watching:
            await watching.subscribe(topic, qos=1)
            dying = client(version, will=will)
            await dying.__aenter__()
            # aiomqtt has no way to end a connection without DISCONNECT.
            dying._client.socket().shutdown(socket.SHUT_RDWR)
            equal((await anext(aiter(watching.messages))).payload, b"gone")
            # Reading its error keeps asyncio from reporting it as forgotten.
            await asyncio.wait([dying._disconnected])
            dying._disconnected.exception()
            async with client(version) as late:
                await late.subscribe(topic, qos=1)
                message = await anext(aiter(late.messages))
                equal((message.payload, message.retain), (b"gone", True))
                await late.publish(topic, b"", qos=1, retain=True)

    asyncio.run(body())


run_group("aiomqtt")
