// Plays a device's status with npm `mqtt`: node status.mjs TASK.json
// TASK.json: { url, ca, device: { id, cert, key }, other: { id, cert, key }, version (4 or 5) }
// Prints one JSON line: what was heard at each step.
import { readFileSync } from "node:fs";
import mqtt from "mqtt";

const PATIENCE = 20_000;
const task = JSON.parse(readFileSync(process.argv[2], "utf8"));
const topic = `v1/devices/${task.device.id}/status`;
const result = {};
setTimeout(() => finish(1), 3 * PATIENCE).unref();

function finish(code) {
  console.log(JSON.stringify(result));
  process.exit(code);
}

/** A connection with a device's certificate; what it hears waits in `heard`. */
async function connect(device, clientId, options = {}) {
  const client = await mqtt.connectAsync(task.url, {
    protocolVersion: task.version,
    clientId,
    ca: readFileSync(task.ca),
    cert: readFileSync(device.cert),
    key: readFileSync(device.key),
    reconnectPeriod: 0,
    connectTimeout: PATIENCE,
    ...options,
  });
  client.heard = [];
  client.on("message", (_topic, payload, { qos, retain }) => {
    client.heard.push(`${retain ? "retained" : "live"} ${qos} ${payload}`);
  });
  client.on("error", () => {});
  client.ended = new Promise((resolve) => client.once("close", resolve));
  return client;
}

/** Waits until a client has heard so much. */
async function hears(client, count) {
  const end = Date.now() + PATIENCE;
  while (client.heard.length < count) {
    if (Date.now() > end) throw new Error(`heard only ${JSON.stringify(client.heard)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What a new subscription hears at once: a ping comes back behind it. */
async function retained() {
  const client = await connect(task.device, "reader");
  await client.subscribeAsync(topic, { qos: 1 });
  const answered = new Promise((resolve) => {
    client.on("packetreceive", (packet) => packet.cmd === "pingresp" && resolve());
  });
  client.sendPing();
  await answered;
  await client.endAsync();
  return client.heard;
}

try {
  const will = { topic, payload: Buffer.from("gone"), qos: 1, retain: true };
  const watcher = await connect(task.device, "watcher");
  await watcher.subscribeAsync(topic, { qos: 1 });
  const device = await connect(task.device, "device", { will });
  result.retained = [];
  for (const qos of [0, 1, 2]) {
    await device.publishAsync(topic, `online ${qos}`, { qos, retain: true });
    // QoS 0 is answered by nothing but what comes of it.
    await hears(watcher, qos + 1);
    result.retained.push(...(await retained()));
  }
  result.live = watcher.heard.splice(0);

  // The same identifier under another certificate is another session; under the same one it takes over.
  const other = await connect(task.other, "device");
  result.otherLeftItAlone = device.connected;
  const second = await connect(task.device, "device", { will });
  await device.ended;
  result.takenOver = !device.connected && other.connected && second.connected;
  await hears(watcher, 1);
  result.willOfTheFirst = watcher.heard.splice(0);

  // Cut off without a word, and with one.
  second.stream.destroy();
  await hears(watcher, 1);
  result.willOfTheSecond = watcher.heard.splice(0);
  result.retainedWill = await retained();
  const third = await connect(task.device, "device", { will });
  await third.endAsync();
  await watcher.publishAsync(topic, "", { qos: 1, retain: true });
  await hears(watcher, 1);
  result.afterFarewell = watcher.heard.splice(0);
  result.deleted = await retained();

  // A will for another device's status is none of its business.
  result.refused = await connect(task.device, "thief", {
    will: { ...will, topic: `v1/devices/${task.other.id}/status` },
  }).then(() => "connected", (error) => `0x${error.code?.toString(16)}`);
  await Promise.all([watcher.endAsync(), other.endAsync()]);
  finish(0);
} catch (error) {
  result.error = String(error?.message ?? error);
  finish(1);
}
