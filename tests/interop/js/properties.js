// MQTT.js: the properties and reason codes of 5.0, from one client to the other.
'use strict';

const { assert, Peer, test, texts, unique } = require('./cases');

const MODERN = { versions: ['5.0'] };

test('properties end to end', { ...MODERN, rows: [[0], [1], [2]] }, async (version, qos) => {
  const topic = unique('properties/');
  const peer = await Peer.connect(version);
  await peer.subscribe(topic, 2);
  const properties = {
    contentType: 'application/json',
    responseTopic: 'answer/to',
    correlationData: Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
    payloadFormatIndicator: true,
    userProperties: { key: ['1', '2'], other: 'ä→' },
    messageExpiryInterval: 100,
  };
  await peer.publish(topic, 'ü', qos, { properties });
  const found = { ...(await peer.take()).properties };
  found.userProperties = { ...found.userProperties };
  assert.ok(found.messageExpiryInterval >= 98 && found.messageExpiryInterval <= 100);
  assert.deepStrictEqual({ ...found, messageExpiryInterval: 100 }, properties);
});

test('subscription identifiers', MODERN, async (version) => {
  const base = unique('identifier/');
  const peer = await Peer.connect(version);
  const numbered = (subscriptionIdentifier) => ({ properties: { subscriptionIdentifier } });
  await peer.subscribe(`${base}/a`, 1, numbered(7));
  await peer.subscribe(`${base}/+`, 1, numbered(9));
  await peer.publish(`${base}/a`, 'x', 1);
  await peer.publish(`${base}/b`, 'end', 1);
  const found = (await peer.until('end')).flatMap((m) => m.properties.subscriptionIdentifier);
  assert.deepStrictEqual(found.sort(), [7, 9]);
});

test('no local', MODERN, async (version) => {
  const topic = unique('local/');
  const peer = await Peer.connect(version);
  await peer.subscribe(topic, 1, { nl: true });
  await peer.publish(topic, 'own', 1);
  await (await Peer.connect(version)).publish(topic, 'foreign', 1);
  assert.deepStrictEqual(await peer.until('foreign'), []);
});

const HANDLING = { ...MODERN, rows: [[0, 2], [1, 1], [2, 0]] };
test('retain handling', HANDLING, async (version, rh, copies) => {
  const topic = unique('handling/');
  const peer = await Peer.connect(version);
  await peer.publish(topic, 'kept', 1, { retain: true });
  for (const _ of [1, 2]) await peer.subscribe(topic, 1, { rh, rap: true });
  await peer.publish(topic, 'end', 1);
  assert.deepStrictEqual(texts(await peer.until('end')), Array(copies).fill('kept'));
  await peer.publish(topic, 'flagged', 1, { retain: true });
  assert.strictEqual((await peer.take()).retain, true);
  await peer.publish(topic, '', 1, { retain: true });
});

test('topic alias from the client', MODERN, async (version) => {
  const base = unique('alias/');
  const peer = await Peer.connect(version);
  await peer.subscribe(`${base}/#`, 2);
  const publisher = await Peer.connect(version, { autoAssignTopicAlias: true });
  assert.ok(publisher.connack.properties.topicAliasMaximum >= 2, 'no aliases are offered');
  const names = Array.from({ length: 60 }, (_, number) => `${base}/${(number * 7) % 13}`);
  for (const name of names) await publisher.publish(name, 'x', 1);
  const received = await peer.takeMany(60);
  assert.deepStrictEqual(received.map((message) => message.topic), names);
});

test('topic alias from the broker', MODERN, async (version) => {
  const base = unique('alias/');
  const peer = await Peer.connect(version, { properties: { topicAliasMaximum: 3 } });
  // MQTT.js resolves the aliases, and ends the connection over one that is out of range.
  const seen = [];
  peer.client.on('message', (topic) => seen.push(topic));
  await peer.subscribe(`${base}/#`, 1);
  const publisher = await Peer.connect(version);
  const names = Array.from({ length: 60 }, (_, number) => `${base}/${(number * 7) % 5}`);
  for (const name of names) await publisher.publish(name, 'x', 1);
  await peer.takeMany(60);
  assert.deepStrictEqual(seen, names);
});

test('receive maximum of the broker', MODERN, async (version) => {
  const topic = unique('window/');
  const peer = await Peer.connect(version);
  await peer.subscribe(topic, 2);
  const publisher = await Peer.connect(version);
  const window = publisher.connack.properties.receiveMaximum || 65535;
  const expected = Array.from({ length: Math.min(window, 1000) }, (_, number) => String(number));
  await Promise.all(expected.map((payload) => publisher.publish(topic, payload, 2)));
  assert.deepStrictEqual(texts(await peer.takeMany(expected.length)), expected);
});

test('maximum packet size', MODERN, async (version) => {
  const topic = unique('packet/');
  const peer = await Peer.connect(version, { properties: { maximumPacketSize: 200 } });
  await peer.subscribe(topic, 1);
  const publisher = await Peer.connect(version);
  await publisher.publish(topic, 'x'.repeat(1000), 1);
  await publisher.publish(topic, 'small', 1);
  assert.deepStrictEqual(await peer.until('small'), []);
});

test('request and response', MODERN, async (version) => {
  const base = unique('rpc/');
  const [requester, responder] = [await Peer.connect(version), await Peer.connect(version)];
  await requester.subscribe(`${base}/answers`, 1);
  await responder.subscribe(`${base}/questions`, 1);
  const correlationData = Buffer.from('one');
  const properties = { responseTopic: `${base}/answers`, correlationData };
  await requester.publish(`${base}/questions`, 'question', 1, { properties });
  const question = await responder.take();
  await responder.publish(question.properties.responseTopic, 'answer', 1, {
    properties: { correlationData: question.properties.correlationData },
  });
  const answer = await requester.take();
  assert.strictEqual(answer.payload.toString(), 'answer');
  assert.ok(correlationData.equals(answer.properties.correlationData));
});

test('assigned client identifier', MODERN, async (version) => {
  const peer = await Peer.connect(version, { clientId: '' });
  assert.ok(peer.connack.properties.assignedClientIdentifier);
});

test('UNSUBACK reason codes', MODERN, async (version) => {
  const topic = unique('unsuback/');
  const peer = await Peer.connect(version);
  await peer.subscribe(topic, 1);
  assert.deepStrictEqual([...(await peer.unsubscribe([topic])).granted], [0x00]);
  const [code] = await peer.unsubscribe([topic]).then(
    (packet) => packet.granted,
    (error) => [error.code],
  );
  assert.strictEqual(code, 0x11);
});

test('publishing to $SYS is refused', { ...MODERN, rows: [[1], [2]] }, async (version, qos) => {
  const peer = await Peer.connect(version);
  await assert.rejects(peer.publish('$SYS/broker/version', 'forged', qos), (error) => {
    assert.ok(error.code >= 0x80, `${error.code} ${error.message}`);
    return true;
  });
});
