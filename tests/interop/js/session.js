// MQTT.js: sessions, take-over, and wills.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { assert, Peer, test, texts, unique, within } = require('./cases');

const MODERN = { versions: ['5.0'] };
const WILLS = [0, 1, 2].flatMap((qos) => [[qos, false], [qos, true]]);

// Connects with a session that outlives its connection.
function stored(version, clientId, options = {}) {
  const properties = version === '5.0' ? { sessionExpiryInterval: 60 } : undefined;
  return Peer.connect(version, { clientId, clean: false, properties, ...options });
}

async function watcher(version, topic) {
  const peer = await Peer.connect(version);
  await peer.subscribe([topic, `${topic}/end`], 2);
  return peer;
}

async function noneCame(version, watching, topic) {
  await (await Peer.connect(version)).publish(`${topic}/end`, 'end', 2);
  assert.deepStrictEqual(texts(await watching.until('end')), []);
}

test('resume', { rows: [[1], [2]] }, async (version, qos) => {
  const [clientId, topic] = [unique('jsr'), unique('resume/')];
  const first = await stored(version, clientId);
  assert.strictEqual(first.connack.sessionPresent, false);
  await first.subscribe(topic, qos);
  await first.disconnect();
  const publisher = await Peer.connect(version);
  const expected = Array.from({ length: 50 }, (_, number) => String(number));
  for (const payload of expected) await publisher.publish(topic, payload, qos);
  const second = await stored(version, clientId);
  if (version !== '3.1') assert.strictEqual(second.connack.sessionPresent, true);
  const received = await second.takeMany(50);
  assert.deepStrictEqual(texts(received), expected);
  assert.ok(received.every((message) => message.qos === qos));
});

test('clean start drops the session', {}, async (version) => {
  const [clientId, topic] = [unique('jsc'), unique('clean/')];
  const first = await stored(version, clientId);
  await first.subscribe(topic, 1);
  await first.disconnect();
  const publisher = await Peer.connect(version);
  await publisher.publish(topic, 'lost', 1);
  const second = await Peer.connect(version, { clientId });
  assert.strictEqual(second.connack.sessionPresent, false);
  await second.subscribe(`${topic}/end`, 1);
  await publisher.publish(topic, 'lost too', 1);
  await publisher.publish(`${topic}/end`, 'end', 1);
  assert.deepStrictEqual(texts(await second.until('end')), []);
});

test('session expiry', { ...MODERN, rows: [[0], [1], [60]] }, async (version, expiry) => {
  const clientId = unique('jse');
  const properties = { sessionExpiryInterval: expiry };
  await (await stored(version, clientId, { properties })).disconnect();
  if (expiry === 1) await sleep(2500);
  const second = await stored(version, clientId);
  assert.strictEqual(second.connack.sessionPresent, expiry > 1);
});

test('take-over', {}, async (version) => {
  const [clientId, topic] = [unique('jst'), unique('take/')];
  const first = await stored(version, clientId);
  const second = await stored(version, clientId);
  await within(first.ended, 5000, 'the first connection was not closed');
  if (version === '5.0') assert.strictEqual(first.goodbye?.reasonCode, 0x8e);
  await second.subscribe(topic, 1);
  await second.publish(topic, 'to the second', 1);
  assert.strictEqual((await second.take()).payload.toString(), 'to the second');
});

test('will on a cut connection', { rows: WILLS }, async (version, qos, retain) => {
  const topic = unique('will/');
  const watching = await watcher(version, topic);
  const peer = await Peer.connect(version, { will: { topic, payload: 'will', qos, retain } });
  await peer.cut();
  const message = await watching.take();
  const found = [message.payload.toString(), message.qos, message.retain];
  assert.deepStrictEqual(found, ['will', qos, false]);
  const late = await watcher(version, topic);
  if (retain) {
    assert.strictEqual((await late.take()).retain, true);
    await late.publish(topic, '', 1, { retain: true });
  } else {
    await noneCame(version, late, topic);
  }
});

test('no will after DISCONNECT', {}, async (version) => {
  const topic = unique('will/');
  const watching = await watcher(version, topic);
  const peer = await Peer.connect(version, { will: { topic, payload: 'will', qos: 1 } });
  await peer.disconnect();
  await (await Peer.connect(version, { clientId: peer.clientId })).disconnect();
  await noneCame(version, watching, topic);
});

test('DISCONNECT with will', MODERN, async (version) => {
  const topic = unique('will/');
  const watching = await watcher(version, topic);
  const peer = await Peer.connect(version, { will: { topic, payload: 'will', qos: 1 } });
  await peer.disconnect(0x04);
  assert.strictEqual((await watching.take()).payload.toString(), 'will');
});

test('will delay', MODERN, async (version) => {
  const topic = unique('will/');
  const watching = await watcher(version, topic);
  const will = { topic, payload: 'will', qos: 1, properties: { willDelayInterval: 2 } };
  const peer = await stored(version, unique('jsw'), { will });
  const began = Date.now();
  await peer.cut();
  assert.strictEqual((await watching.take()).payload.toString(), 'will');
  assert.ok(Date.now() - began > 1500, 'published before the delay was over');
});

test('will properties', MODERN, async (version) => {
  const topic = unique('will/');
  const watching = await watcher(version, topic);
  const properties = {
    contentType: 'text/plain',
    responseTopic: 'answer/here',
    correlationData: Buffer.from([0, 255]),
    payloadFormatIndicator: true,
    userProperties: { a: ['1', '2'], b: '3' },
  };
  const will = { topic, payload: 'will', qos: 1, properties };
  await (await Peer.connect(version, { will })).cut();
  const found = { ...(await watching.take()).properties };
  found.userProperties = { ...found.userProperties };
  assert.deepStrictEqual(found, properties);
});
