// How a network refuses: node refusals.mjs NETWORK.json CHAINCODE
// Makes every kind of bad request with the official client and prints one JSON line for each:
// what was asked, the gRPC code, the text, the details. Transaction IDs, addresses, hashes and
// times are replaced, so the output of an embedded network and of a real one can be compared:
// refusals.fabric-3.1.5.jsonl is that of a real one.
import { createHash, createPrivateKey, randomBytes } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { connect, hash, signers } from "@hyperledger/fabric-gateway";
import { common, gateway as gp, orderer } from "@hyperledger/fabric-protos";

const [networkFile, chaincodeName = "judge"] = process.argv.slice(2);
const network = JSON.parse(readFileSync(networkFile, "utf8"));
const onlyFile = (dir) => readFileSync(join(dir, readdirSync(dir).sort()[0]));
const organization = network.organizations[0];
const folder = `peerOrganizations/${organization.domain}/users/User1@${organization.domain}/msp`;
const msp = join(network.crypto_dir, folder);
const credentials = onlyFile(join(msp, "signcerts"));
const sign = signers.newPrivateKeySigner(createPrivateKey(onlyFile(join(msp, "keystore"))));
const client = new grpc.Client(
  organization.peer.address,
  grpc.credentials.createSsl(readFileSync(organization.peer.tls_ca_file)),
  { "grpc.ssl_target_name_override": organization.peer.server_name },
);
const deadline = () => ({ deadline: Date.now() + 10_000 });

function as(mspId, signer) {
  return connect({
    client,
    identity: { mspId, credentials },
    signer,
    hash: hash.sha256,
    evaluateOptions: deadline,
    endorseOptions: deadline,
    submitOptions: deadline,
    commitStatusOptions: deadline,
    chaincodeEventsOptions: deadline,
  });
}

const user = as(organization.msp_id, sign);
const channel = user.getNetwork(network.channel);
const contract = channel.getContract(chaincodeName);
const forged = async () => Buffer.from("3006020101020101", "hex");

const plain = (text) =>
  String(text)
    .replaceAll("\u00a0", " ") // Go's protobuf library varies its spaces from build to build.
    .replaceAll(organization.peer.address, "PEER1")
    .replaceAll(network.organizations[1].peer.address, "PEER2")
    .replaceAll(network.orderer.address, "ORDERER")
    .replaceAll(/[0-9a-f]{128,}/g, "HEX")
    .replaceAll(/[0-9a-f]{64}/g, "ID")
    .replaceAll(/\d\.\d{6,}/g, "NUMBER");

async function ask(name, body) {
  let line;
  try {
    const answer = await body();
    line = { name, answer: typeof answer === "number" ? answer : "ok" };
  } catch (error) {
    const details = (error.details ?? []).map(({ mspId, message }) => [mspId, plain(message)]);
    line = { name, code: error.code, message: plain(error.message), details: details.sort() };
  }
  console.log(JSON.stringify(line));
}

const unary = (method, Request, Response, request) =>
  new Promise((resolve, reject) => {
    const write = (message) => Buffer.from(message.serializeBinary());
    const read = (bytes) => Response.deserializeBinary(bytes);
    client.makeUnaryRequest(`/gateway.Gateway/${method}`, write, read, request, deadline(), (error, answer) =>
      error ? reject(Object.assign(new Error(`${error.code} ${error.details}`), { code: error.code })) : resolve(answer),
    );
  });

const evaluate = (fn, ...args) => contract.evaluateTransaction(fn, ...args);
const system = (name, fn, ...args) =>
  ask(`${name} ${fn} ${args.map((a) => (typeof a === "string" ? a : "bytes")).join(" ")}`, () =>
    channel.getContract(name).evaluateTransaction(fn, ...args),
  );

const unknown = channel.getContract("nosuch");
const transientData = { value: Buffer.from("x") };
await ask("evaluate unknown chaincode", () => unknown.evaluateTransaction("F"));
await ask("evaluate unknown chaincode, transient", () => unknown.evaluate("F", { transientData }));
await ask("submit unknown chaincode", () => unknown.submitTransaction("F"));
await ask("submit unknown chaincode, transient", () => unknown.submit("F", { transientData }));
await ask("evaluate failing", () => evaluate("Fail", "text"));
await ask("submit failing", () => contract.submitTransaction("Fail", "text"));
await ask("evaluate unknown function", () => evaluate("NoSuch"));
const nowhere = { arguments: ["k", "v"], endorsingOrganizations: ["NoMSP"] };
await ask("evaluate at unknown organisation", () => contract.evaluate("Put", nowhere));
await ask("submit at unknown organisation", () => contract.submit("Put", nowhere));
const one = { arguments: ["refusals", "v"], endorsingOrganizations: [organization.msp_id] };
await ask("too few endorsements", async () => (await (await contract.submitAsync("Put", one)).getStatus()).code);

const elsewhere = user.getNetwork("nochannel").getContract(chaincodeName);
await ask("evaluate on unknown channel", () => elsewhere.evaluateTransaction("Echo", "x"));
await ask("submit on unknown channel", () => elsewhere.submitTransaction("Put", "k", "v"));
const stranger = as("NoMSP", sign).getNetwork(network.channel).getContract(chaincodeName);
await ask("evaluate as stranger", () => stranger.evaluateTransaction("Echo", "x"));
await ask("submit as stranger", () => stranger.submitTransaction("Put", "k", "v"));
const forger = as(organization.msp_id, forged).getNetwork(network.channel).getContract(chaincodeName);
await ask("evaluate with forged signature", () => forger.evaluateTransaction("Echo", "x"));
await ask("submit with forged signature", () => forger.submitTransaction("Put", "k", "v"));

await ask("endorse again after commit", async () => {
  const proposal = contract.newProposal("Put", { arguments: ["twice", randomBytes(4).toString("hex")] });
  const commit = await (await proposal.endorse()).submit();
  await commit.getStatus();
  await proposal.endorse();
});
await ask("submit twice", async () => {
  const transaction = await contract.newProposal("Put", { arguments: ["twice", "x"] }).endorse();
  const first = await (await transaction.submit()).getStatus();
  const second = await (await transaction.submit()).getStatus();
  return first.code * 1000 + second.code;
});

const envelope = (payload, signature) => {
  const made = new common.Envelope();
  made.setPayload(payload);
  made.setSignature(signature);
  return made;
};
const submit = (channelId, made) => {
  const request = new gp.SubmitRequest();
  request.setTransactionId("x");
  request.setChannelId(channelId);
  if (made) {
    request.setPreparedTransaction(made);
  }
  return unary("Submit", gp.SubmitRequest, gp.SubmitResponse, request);
};
const bytes = (text) => Buffer.from(text);
await ask("submit nothing", () => submit(network.channel));
await ask("submit unsigned", () => submit(network.channel, envelope(bytes("x"), bytes(""))));
await ask("submit garbage", () => submit(network.channel, envelope(bytes("\xff"), bytes("x"))));
await ask("submit empty payload", () => submit(network.channel, envelope(bytes(""), bytes("x"))));
await ask("submit to unknown channel", () => submit("nochannel", envelope(bytes("x"), bytes("x"))));
await ask("submit with forged signature on the envelope", async () => {
  const transaction = await contract.newProposal("Put", { arguments: ["k", "v"] }).endorse();
  const prepared = gp.PreparedTransaction.deserializeBinary(transaction.getBytes());
  await submit(network.channel, envelope(prepared.getEnvelope().getPayload_asU8(), await forged()));
});
await ask("evaluate nothing", () => unary("Evaluate", gp.EvaluateRequest, gp.EvaluateResponse, new gp.EvaluateRequest()));
await ask("endorse nothing", () => unary("Endorse", gp.EndorseRequest, gp.EndorseResponse, new gp.EndorseRequest()));

const status = async (fields, signature) => {
  const request = new gp.CommitStatusRequest();
  request.setChannelId(fields.channel ?? network.channel);
  request.setTransactionId(fields.transaction ?? "00");
  request.setIdentity(fields.identity ?? identityBytes());
  const signed = new gp.SignedCommitStatusRequest();
  signed.setRequest(request.serializeBinary());
  signed.setSignature(signature ?? (await sign(createHash("sha256").update(request.serializeBinary()).digest())));
  return unary("CommitStatus", gp.SignedCommitStatusRequest, gp.CommitStatusResponse, signed);
};
await ask("status of nothing", () => unary("CommitStatus", gp.SignedCommitStatusRequest, gp.CommitStatusResponse, new gp.SignedCommitStatusRequest()));
await ask("status without transaction", () => status({ transaction: "" }));
await ask("status without channel", () => status({ channel: "" }));
await ask("status by nobody", () => status({ identity: "" }));
await ask("status by garbage", () => status({}, bytes("x")));
await ask("status on unknown channel", () => status({ channel: "nochannel" }));

const events = async (fields) => {
  const request = new gp.ChaincodeEventsRequest();
  request.setChannelId(fields.channel ?? network.channel);
  request.setChaincodeId(chaincodeName);
  request.setIdentity(identityBytes());
  const position = new orderer.SeekPosition();
  fields.position?.(position);
  request.setStartPosition(position);
  const signed = new gp.SignedChaincodeEventsRequest();
  signed.setRequest(request.serializeBinary());
  const digest = createHash("sha256").update(request.serializeBinary()).digest();
  signed.setSignature(fields.signature ?? (await sign(digest)));
  return new Promise((resolve, reject) => {
    const write = (message) => Buffer.from(message.serializeBinary());
    const read = (body) => gp.ChaincodeEventsResponse.deserializeBinary(body);
    const call = client.makeServerStreamRequest("/gateway.Gateway/ChaincodeEvents", write, read, signed, deadline());
    call.on("data", resolve);
    call.on("error", (error) =>
      reject(Object.assign(new Error(`${error.code} ${error.details}`), { code: error.code })),
    );
  });
};
function identityBytes() {
  // msp.SerializedIdentity: two length-delimited fields.
  const field = (tag, body) => {
    const length = [];
    for (let rest = body.length; ; rest >>= 7) {
      length.push(rest > 127 ? (rest & 127) | 128 : rest);
      if (rest <= 127) {
        break;
      }
    }
    return Buffer.concat([Buffer.from([tag]), Buffer.from(length), body]);
  };
  return Buffer.concat([field(10, bytes(organization.msp_id)), field(18, credentials)]);
}
await ask("events from the newest", () => events({ position: (p) => p.setNewest(new orderer.SeekNewest()) }));
await ask("events from the oldest", () => events({ position: (p) => p.setOldest(new orderer.SeekOldest()) }));
await ask("events on unknown channel", () => events({ channel: "nochannel" }));
await ask("events with forged signature", () => events({ signature: bytes("x") }));

await system("qscc", "GetBlockByNumber", network.channel, "999999");
await system("qscc", "GetBlockByNumber", network.channel, "x");
await system("qscc", "GetBlockByHash", network.channel, "nohash");
await system("qscc", "GetTransactionByID", network.channel, "none");
await system("qscc", "GetBlockByTxID", network.channel, "none");
await system("qscc", "GetBlockByTxID", network.channel);
await system("qscc", "GetChainInfo", "nochannel");
await system("qscc", "NoSuch", network.channel, "x");
await system("qscc", "GetChainInfo");
await system("cscc", "GetConfigBlock", "nochannel");
await system("cscc", "GetConfigBlock");
await system("cscc", "NoSuch", network.channel);
await system("_lifecycle", "QueryChaincodeDefinition");
await system("_lifecycle", "QueryChaincodeDefinition", "garbage\xff");
await system("_lifecycle", "QueryInstalledChaincodes", "");
await system("_lifecycle", "NoSuch", "");
await ask("chaincode calls qscc", () => evaluate("Call", "qscc", "GetChainInfo", network.channel));
await ask("chaincode calls itself", () => evaluate("Call", chaincodeName, "Echo", "x"));
await ask("chaincode calls an unknown one", () => evaluate("Call", "nosuch", "Echo", "x"));
await ask("chaincode calls on an unknown channel", () => evaluate("Call", `${chaincodeName}/nochannel`, "Echo", "x"));
await ask("transient in a plain function", () => contract.evaluate("Echo", { arguments: ["x"], transientData }));
user.close();
client.close();
