// How the MQTT.js group declares and runs its tests, and a client that can be awaited.
// For each test it prints {"start", "seconds"} and {"end", "error"} as JSON lines.
'use strict';

const assert = require('node:assert');
const net = require('node:net');
const mqtt = require('mqtt');

const HOST = process.env.INTEROP_HOST;
const PORT = Number(process.env.INTEROP_PORT);
const UNIX = process.env.INTEROP_UNIX;
const WANTED = (process.env.INTEROP_FILTER || '').split('\n').filter((word) => word);
const EVERY_VERSION = ['3.1', '3.1.1', '5.0'];
const PROTOCOLS = {
  '3.1': { protocolVersion: 3, protocolId: 'MQIsdp' },
  '3.1.1': { protocolVersion: 4 },
  '5.0': { protocolVersion: 5 },
};
const WAIT_MS = 6000;

const cases = [];
const live = new Set();
let counter = 0;

// A name that no other test of this group has.
const unique = (prefix) => `${prefix}${++counter}`;

// Registers the function once per version and row; it is called as f(version, ...row).
function test(title, { versions = EVERY_VERSION, rows = [[]], seconds = 10 }, body) {
  for (const version of versions) {
    for (const row of rows) {
      const name = [`js/${version}/${title}`, ...row].join('-').replaceAll(' ', '_');
      cases.push({ name, seconds, run: () => body(version, ...row) });
    }
  }
}

// Rejects when the promise does not settle in time.
function within(promise, milliseconds, what) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

// One connection. `connack` is the packet that answered CONNECT, `ended` resolves when the
// connection has ended, `goodbye` is the broker's DISCONNECT if there was one.
class Peer {
  constructor(version, options = {}) {
    const { unix, ...more } = options;
    this.messages = [];
    this.waiting = [];
    this.goodbye = null;
    const settings = {
      ...PROTOCOLS[version], clientId: unique('js'), reconnectPeriod: 0, clean: true,
      resubscribe: false, keepalive: 60, ...more,
    };
    const socket = () => (unix ? net.createConnection(UNIX) : net.createConnection(PORT, HOST));
    this.clientId = settings.clientId;
    this.client = new mqtt.MqttClient(socket, settings);
    this.error = null;
    this.client.on('error', (error) => { this.error = error; });
    this.client.on('disconnect', (packet) => { this.goodbye = packet; });
    this.client.on('message', (topic, payload, packet) => {
      const waiter = this.waiting.shift();
      if (waiter) waiter(packet); else this.messages.push(packet);
    });
    this.ended = new Promise((resolve) => { this.client.once('close', resolve); });
    live.add(this);
  }

  static async connect(version, options) {
    const peer = new Peer(version, options);
    const connected = new Promise((resolve, reject) => {
      peer.client.once('connect', resolve);
      peer.client.once('error', reject);
    });
    peer.connack = await within(connected, WAIT_MS, 'no CONNACK');
    return peer;
  }

  subscribe(filter, qos = 0, options = {}) {
    return within(this.client.subscribeAsync(filter, { qos, ...options }), WAIT_MS, 'no SUBACK');
  }

  unsubscribe(filter) {
    const answer = new Promise((resolve, reject) => {
      this.client.unsubscribe(filter, (error, packet) => (error ? reject(error) : resolve(packet)));
    });
    return within(answer, WAIT_MS, 'no UNSUBACK');
  }

  publish(topic, payload, qos = 0, options = {}) {
    const answer = this.client.publishAsync(topic, payload, { qos, ...options });
    return within(answer, WAIT_MS, 'not acknowledged');
  }

  // Resolves when the broker has dealt with all that this connection sent, QoS 0 included.
  barrier() {
    return this.publish(unique('barrier/'), '', 1);
  }

  // Publishes all payloads, as many at a time as the broker's Receive Maximum allows; MQTT.js
  // itself does not look at it. In 3.x there is no such limit and all are sent at once.
  async publishAll(topic, payloads, qos) {
    const window = this.connack.properties?.receiveMaximum || 65535;
    for (let start = 0; start < payloads.length; start += window) {
      const batch = payloads.slice(start, start + window);
      await Promise.all(batch.map((payload) => this.publish(topic, payload, qos)));
    }
  }

  take() {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift());
    const next = new Promise((resolve) => { this.waiting.push(resolve); });
    return within(next, WAIT_MS, 'no message');
  }

  async takeMany(count) {
    const found = [];
    while (found.length < count) found.push(await this.take());
    return found;
  }

  // So many messages, whichever of these they arrive at.
  static takeOfAny(peers, count) {
    const [first, ...others] = peers;
    for (const other of others) {
      first.messages.push(...other.messages);
      Object.assign(other, { messages: first.messages, waiting: first.waiting });
    }
    return first.takeMany(count);
  }

  // The messages that arrive before the one with this payload.
  async until(payload) {
    const before = [];
    for (;;) {
      const message = await this.take();
      if (message.payload.toString() === payload) return before;
      before.push(message);
    }
  }

  disconnect(reasonCode, properties) {
    const packet = reasonCode === undefined ? {} : { reasonCode, properties };
    return within(this.client.endAsync(false, packet), WAIT_MS, 'the connection did not end');
  }

  // Ends the connection without DISCONNECT.
  cut() {
    this.client.stream.destroy();
    return within(this.ended, WAIT_MS, 'the connection did not end');
  }
}

const texts = (messages) => messages.map((message) => message.payload.toString());

// Runs the wanted cases one after the other.
async function runAll() {
  for (const { name, seconds, run } of cases) {
    if (WANTED.length > 0 && !WANTED.some((word) => name.includes(word))) continue;
    console.log(JSON.stringify({ start: name, seconds }));
    let error = null;
    try {
      await within(run(), seconds * 1000, 'not done');
    } catch (thrown) {
      const place = (thrown.stack || '').split('\n').find((line) => /js\/[a-z]+\.js/.test(line));
      error = `${thrown.message}${place ? ` (${place.trim()})` : ''}`;
    }
    for (const peer of live) peer.client.end(true);
    live.clear();
    console.log(JSON.stringify({ end: name, error }));
  }
  process.exit(0);
}

module.exports = { assert, Peer, runAll, test, texts, unique, within };
