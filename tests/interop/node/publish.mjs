// Publishes lines of a file with npm `mqtt`: node publish.mjs TASK.json
// TASK.json: { url, ca, cert, key, device, topic, version (4 or 5), qos, lines, receipts }
// Prints one JSON line: { acknowledged, refused: [...], receipts: readings that got a receipt }.
import { readFileSync } from "node:fs";
import mqtt from "mqtt";

const task = JSON.parse(readFileSync(process.argv[2], "utf8"));
const client = mqtt.connect(task.url, {
  protocolVersion: task.version,
  clientId: task.device,
  ca: readFileSync(task.ca),
  cert: readFileSync(task.cert),
  key: readFileSync(task.key),
  reconnectPeriod: 0,
  connectTimeout: 10_000,
});
const result = { acknowledged: 0, refused: [], receipts: 0 };

const finish = (code) => {
  console.log(JSON.stringify(result));
  client.end(true, () => process.exit(code));
};
client.on("error", (error) => {
  result.refused.push(String(error.message ?? error));
  finish(1);
});
client.on("close", () => finish(result.acknowledged === task.lines.length ? 0 : 1));
setTimeout(() => finish(1), 30_000);

client.on("connect", async () => {
  const done = new Promise((resolve) => {
    if (!task.receipts) resolve();
    client.on("message", (_topic, payload) => {
      result.receipts += JSON.parse(payload.toString()).readings.length;
      if (result.receipts >= task.lines.length) resolve();
    });
  });
  if (task.receipts) await client.subscribeAsync(`v1/devices/${task.device}/receipts`, { qos: 1 });
  for (const line of task.lines) {
    try {
      const ack = await client.publishAsync(task.topic, line, { qos: task.qos });
      if (ack?.reasonCode >= 0x80) result.refused.push(`0x${ack.reasonCode.toString(16)}`);
      else result.acknowledged += 1;
    } catch (error) {
      result.refused.push(error.code ? `0x${error.code.toString(16)}` : String(error.message));
    }
  }
  if (result.acknowledged === task.lines.length) await done;
  finish(result.refused.length === 0 ? 0 : 1);
});
