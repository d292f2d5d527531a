// MQTT.js: what is published reaches whoever subscribed, and nobody else.
'use strict';

const { randomBytes } = require('node:crypto');
const { assert, Peer, test, texts, unique } = require('./cases');

const QOS = [0, 1, 2];
const PAIRS = QOS.flatMap((publish) => QOS.map((subscribe) => [publish, subscribe]));
const SIZES = [0, 1, 127, 128, 16 * 1024, 1024 * 1024];

test('qos', { rows: PAIRS }, async (version, publishQos, subscribeQos) => {
  const topic = unique('qos/');
  const peer = await Peer.connect(version);
  const granted = await peer.subscribe(topic, subscribeQos);
  assert.strictEqual(granted[0].qos, subscribeQos);
  const publisher = await Peer.connect(version);
  await publisher.publish(topic, 'payload', publishQos);
  const message = await peer.take();
  assert.strictEqual(message.qos, Math.min(publishQos, subscribeQos));
  assert.deepStrictEqual([message.topic, message.payload.toString()], [topic, 'payload']);
  assert.deepStrictEqual([message.retain, message.dup], [false, false]);
});

test('order', { rows: QOS.map((qos) => [qos]) }, async (version, qos) => {
  const topic = unique('order/');
  const peer = await Peer.connect(version);
  await peer.subscribe(topic, qos);
  const publisher = await Peer.connect(version);
  const expected = Array.from({ length: 200 }, (_, number) => String(number));
  await publisher.publishAll(topic, expected, qos);
  assert.deepStrictEqual(texts(await peer.takeMany(200)), expected);
});

test('payload', { rows: SIZES.map((size) => [size]) }, async (version, size) => {
  const topic = unique('size/');
  const peer = await Peer.connect(version);
  await peer.subscribe(topic, 2);
  const publisher = await Peer.connect(version);
  const payload = randomBytes(size);
  for (const qos of QOS) {
    await publisher.publish(topic, payload, qos);
    const message = await peer.take();
    assert.ok(payload.equals(message.payload), `${size} bytes at QoS ${qos} arrived changed`);
  }
});

test('filters', {}, async (version) => {
  const base = unique('filters/');
  const publisher = await Peer.connect(version);
  const topics = ['a', 'a/b', 'a/b/c', 'a//c', 'a/', 'ab', 'b/a'].map((t) => `${base}/${t}`);
  const table = {
    'a/b': ['a/b'],
    'a/+': ['a/b', 'a/'],
    'a/#': ['a', 'a/b', 'a/b/c', 'a//c', 'a/'],
    '+/b': ['a/b'],
    'a/+/c': ['a/b/c', 'a//c'],
    '+': ['a', 'ab'],
  };
  for (const [filter, expected] of Object.entries(table)) {
    const peer = await Peer.connect(version);
    await peer.subscribe([`${base}/${filter}`, `${base}/the/end`], 1);
    for (const topic of topics) await publisher.publish(topic, 'x', 1);
    await publisher.publish(`${base}/the/end`, 'end', 1);
    const received = (await peer.until('end')).map((message) => message.topic);
    assert.deepStrictEqual(received, expected.map((topic) => `${base}/${topic}`), filter);
    await peer.disconnect();
  }
});

test('unsubscribe', {}, async (version) => {
  const topic = unique('unsubscribe/');
  const peer = await Peer.connect(version);
  await peer.subscribe([topic, `${topic}/end`], 1);
  await peer.unsubscribe(topic);
  const publisher = await Peer.connect(version);
  await publisher.publish(topic, 'after', 1);
  await publisher.publish(`${topic}/end`, 'end', 1);
  assert.deepStrictEqual(await peer.until('end'), []);
});

test('retained', { rows: QOS.map((qos) => [qos]) }, async (version, qos) => {
  const base = unique('retained/');
  const topic = `${base}/a/b`;
  const publisher = await Peer.connect(version);
  await publisher.publish(topic, 'old', qos, { retain: true });
  await publisher.publish(topic, 'kept', qos, { retain: true });
  await publisher.barrier();
  for (const filter of [topic, `${base}/+/b`, `${base}/#`]) {
    const late = await Peer.connect(version);
    await late.subscribe(filter, 2);
    const message = await late.take();
    const found = [message.payload.toString(), message.retain, message.qos];
    assert.deepStrictEqual(found, ['kept', true, qos]);
    await publisher.publish(topic, 'live', 1);
    assert.strictEqual((await late.take()).retain, false);
  }
  await publisher.publish(topic, '', qos, { retain: true });
  await publisher.barrier();
  const late = await Peer.connect(version);
  await late.subscribe(`${base}/#`, 2);
  await publisher.publish(base, 'end', 1);
  assert.deepStrictEqual(await late.until('end'), []);
});

test('shared', { rows: QOS.map((qos) => [qos]) }, async (version, qos) => {
  const topic = unique('shared/');
  const members = [await Peer.connect(version), await Peer.connect(version)];
  for (const [number, member] of members.entries()) {
    await member.subscribe([`$share/group/${topic}`, `${topic}/end${number}`], qos);
  }
  const publisher = await Peer.connect(version);
  const expected = Array.from({ length: 100 }, (_, number) => String(number));
  await publisher.publishAll(topic, expected, qos);
  // What comes through the group and what does not have no order among each other.
  const ends = members.map((_, number) => `end${number}`);
  for (const end of ends) await publisher.publish(`${topic}/${end}`, end, qos);
  const received = await Peer.takeOfAny(members, expected.length + ends.length);
  assert.deepStrictEqual(texts(received).sort(), [...expected, ...ends].sort());
});

test('unix socket', {}, async (version) => {
  const topic = unique('unix/');
  const peer = await Peer.connect(version, { unix: true });
  await peer.subscribe(topic, 2);
  await peer.publish(topic, 'through the socket', 2);
  const message = await peer.take();
  assert.deepStrictEqual([message.payload.toString(), message.qos], ['through the socket', 2]);
});
