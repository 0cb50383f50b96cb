// Judges a network with the official Node client: node gateway.mjs NETWORK.json CHAINCODE
// NETWORK.json is what `fabric-devnet up` prints; CHAINCODE is the deployed ./chaincode.
// Prints one JSON line per check and one at the end; exit status 1 when a check failed.
import { createHash, createPrivateKey, createPublicKey, randomBytes } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";
import * as grpc from "@grpc/grpc-js";
import { connect, hash, signers, StatusCode } from "@hyperledger/fabric-gateway";

const [networkFile, chaincodeName = "judge"] = process.argv.slice(2);
const network = JSON.parse(readFileSync(networkFile, "utf8"));
const run = randomBytes(4).toString("hex");
const decoder = new TextDecoder();
const text = (bytes) => decoder.decode(bytes);

function onlyFile(dir) {
  return readFileSync(join(dir, readdirSync(dir).sort()[0]));
}

function connectTo(index, user) {
  const organization = network.organizations[index];
  const { address, server_name: name, tls_ca_file: ca } = organization.peer;
  const client = new grpc.Client(address, grpc.credentials.createSsl(readFileSync(ca)), {
    "grpc.ssl_target_name_override": name,
  });
  const folder = `peerOrganizations/${organization.domain}/users/${user}@${organization.domain}/msp`;
  const msp = join(network.crypto_dir, folder);
  const gateway = connect({
    client,
    identity: { mspId: organization.msp_id, credentials: onlyFile(join(msp, "signcerts")) },
    signer: signers.newPrivateKeySigner(createPrivateKey(onlyFile(join(msp, "keystore")))),
    hash: hash.sha256,
    evaluateOptions: () => ({ deadline: Date.now() + 10_000 }),
    endorseOptions: () => ({ deadline: Date.now() + 15_000 }),
    submitOptions: () => ({ deadline: Date.now() + 10_000 }),
    commitStatusOptions: () => ({ deadline: Date.now() + 20_000 }),
  });
  const channel = gateway.getNetwork(network.channel);
  return { client, gateway, channel, contract: channel.getContract(chaincodeName) };
}

const org1 = connectTo(0, "User1");
const org2 = connectTo(1, "User1");
const checks = [];
const check = (name, body) => checks.push([name, body]);
const key = (name) => `${run}-${name}`;

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: "this should have failed" });
}

check("submit, then evaluate at the other organisation", async () => {
  const result = await org1.contract.submitTransaction("Put", key("a"), "héllo");
  assert.equal(text(result), "héllo");
  assert.equal(text(await org2.contract.evaluateTransaction("Get", key("a"))), "héllo");
});

check("a chaincode error carries the peer's words", async () => {
  const evaluated = await failure(org1.contract.evaluateTransaction("Get", key("none")));
  assert.equal(evaluated.code, grpc.status.UNKNOWN);
  assert.match(evaluated.details[0].message, /no value for/);
  assert.equal(evaluated.details[0].mspId, network.organizations[0].msp_id);
  assert.equal(evaluated.details[0].address, network.organizations[0].peer.address);
  const endorsed = await failure(org1.contract.submitTransaction("Fail", "on purpose"));
  assert.equal(endorsed.code, grpc.status.ABORTED);
  assert.match(endorsed.details[0].message, /chaincode response 500, .*on purpose/);
});

check("ranges of more than one message, and pages", async () => {
  await org1.contract.submitTransaction("PutMany", key("m"), "250");
  const end = `${key("m")}~`;
  const all = JSON.parse(text(await org1.contract.evaluateTransaction("Range", key("m"), end)));
  assert.equal(all.length, 250);
  assert.deepEqual(all[249], [`${key("m")}00249`, "249"]);
  let bookmark = "";
  const sizes = [];
  do {
    const page = await org1.contract.evaluateTransaction("Page", key("m"), end, "100", bookmark);
    const { found, count, bookmark: next } = JSON.parse(text(page));
    assert.equal(found.length, count);
    sizes.push(count);
    bookmark = next;
  } while (bookmark !== "");
  assert.deepEqual(sizes, [100, 100, 50]);
});

check("composite keys", async () => {
  for (const second of ["x", "y"]) {
    await org1.contract.submitTransaction("PutComposite", key("t"), "first", second, second);
  }
  const found = await org1.contract.evaluateTransaction("ListComposite", key("t"), "first");
  assert.deepEqual(JSON.parse(text(found)), [[["first", "x"], "x"], [["first", "y"], "y"]]);
});

check("history is newest first and knows deletions", async () => {
  for (const value of ["1", "2"]) {
    await org1.contract.submitTransaction("Put", key("h"), value);
  }
  await org1.contract.submitTransaction("Delete", key("h"));
  const history = JSON.parse(text(await org1.contract.evaluateTransaction("History", key("h"))));
  assert.deepEqual(history.map(({ value, isDelete }) => [value, isDelete]), [
    ["", true],
    ["2", false],
    ["1", false],
  ]);
});

check("private data: put, get, hash, range, purge", async () => {
  const transientData = { value: Buffer.from("secret") };
  await org1.contract.submit("PutPrivate", { arguments: [key("p")], transientData });
  assert.equal(text(await org2.contract.evaluateTransaction("GetPrivate", key("p"))), "secret");
  const digest = createHash("sha256").update("secret").digest("hex");
  assert.equal(text(await org1.contract.evaluateTransaction("HashPrivate", key("p"))), digest);
  const range = await org1.contract.evaluateTransaction("RangePrivate", key("p"), `${key("p")}~`);
  assert.deepEqual(JSON.parse(text(range)), [[key("p"), "secret"]]);
  await org1.contract.submitTransaction("PurgePrivate", key("p"));
  assert.equal(text(await org1.contract.evaluateTransaction("GetPrivate", key("p"))), "");
});

check("the creator is who signed", async () => {
  const { mspId, id } = JSON.parse(text(await org2.contract.evaluateTransaction("WhoAmI")));
  assert.equal(mspId, network.organizations[1].msp_id);
  assert.match(id, /User1@/);
});

check("two writers of one key conflict", async () => {
  const name = key("counter");
  await org1.contract.submitTransaction("Put", name, "0");
  const proposals = [1, 2].map(() => org1.contract.newProposal("Increment", { arguments: [name] }));
  const transactions = await Promise.all(proposals.map((proposal) => proposal.endorse()));
  const commits = [];
  for (const transaction of transactions) {
    commits.push(await transaction.submit());
  }
  const codes = (await Promise.all(commits.map((commit) => commit.getStatus()))).map((s) => s.code);
  assert.deepEqual(codes, [StatusCode.VALID, StatusCode.MVCC_READ_CONFLICT]);
});

check("many at once all commit", async () => {
  const names = Array.from({ length: 100 }, (_, index) => key(`c${index}`));
  await Promise.all(names.map((name) => org1.contract.submitTransaction("Put", name, name)));
  for (const name of names.slice(0, 5)) {
    assert.equal(text(await org1.contract.evaluateTransaction("Get", name)), name);
  }
});

check("endorsers that disagree are told apart", async () => {
  const error = await failure(org1.contract.submitTransaction("Random", key("r")));
  assert.equal(error.code, grpc.status.ABORTED);
  assert.match(error.details[0].message, /^ProposalResponsePayloads do not match/);
});

check("a key's own policy rules it", async () => {
  const second = network.organizations[1].msp_id;
  await org1.contract.submitTransaction("RequireEndorser", key("g"), second);
  const wrong = org1.contract.submit("Put", {
    arguments: [key("g"), "x"],
    endorsingOrganizations: [network.organizations[0].msp_id],
  });
  assert.equal((await failure(wrong)).code, StatusCode.ENDORSEMENT_POLICY_FAILURE);
  await org1.contract.submit("Put", {
    arguments: [key("g"), "y"],
    endorsingOrganizations: [second],
  });
  assert.equal(text(await org1.contract.evaluateTransaction("Get", key("g"))), "y");
  await org1.contract.submitTransaction("Put", key("g"), "z");
});

check("events arrive, resume after a transaction, replay from a block", async () => {
  const live = await org1.channel.getChaincodeEvents(chaincodeName);
  const commit = await org1.contract.submitAsync("Emit", { arguments: ["First", run] });
  const { blockNumber } = await commit.getStatus();
  await org1.contract.submitTransaction("Emit", "Second", run);
  const take = async (events, count) => {
    const taken = [];
    for await (const event of events) {
      taken.push(event);
      if (taken.length === count) {
        break;
      }
    }
    events.close();
    return taken.map(({ eventName, payload }) => [eventName, text(payload)]);
  };
  assert.deepEqual(await take(live, 2), [["First", run], ["Second", run]]);
  const replay = await org1.channel.getChaincodeEvents(chaincodeName, { startBlock: blockNumber });
  assert.deepEqual(await take(replay, 2), [["First", run], ["Second", run]]);
  const checkpoint = {
    getBlockNumber: () => blockNumber,
    getTransactionId: () => commit.getTransactionId(),
  };
  const resumed = await org1.channel.getChaincodeEvents(chaincodeName, { checkpoint });
  assert.deepEqual(await take(resumed, 1), [["Second", run]]);
});

check("block events, whole, filtered and with private data", async () => {
  const start = { startBlock: 0n };
  for (const open of ["getBlockEvents", "getFilteredBlockEvents", "getBlockAndPrivateDataEvents"]) {
    const events = await org1.channel[open](start);
    let blocks = 0;
    for await (const event of events) {
      assert.ok(event);
      blocks += 1;
      if (blocks === 3) {
        break;
      }
    }
    events.close();
    assert.equal(blocks, 3, open);
  }
});

check("system chaincodes answer", async () => {
  const qscc = org1.channel.getContract("qscc");
  const info = await qscc.evaluateTransaction("GetChainInfo", network.channel);
  assert.ok(info.length > 32);
  const block = await qscc.evaluateTransaction("GetBlockByNumber", network.channel, "0");
  assert.ok(block.length > 1000);
  const cscc = org1.channel.getContract("cscc");
  const channels = await cscc.evaluateTransaction("GetChannels");
  assert.match(text(channels), new RegExp(network.channel));
});

check("unknown chaincodes, organisations and functions are named", async () => {
  const unknown = org1.channel.getContract("nosuch");
  const evaluated = await failure(unknown.evaluateTransaction("F"));
  assert.equal(evaluated.code, grpc.status.FAILED_PRECONDITION);
  assert.match(evaluated.message, /no peers available to evaluate chaincode nosuch/);
  const submitted = await failure(unknown.submitTransaction("F"));
  assert.equal(submitted.code, grpc.status.FAILED_PRECONDITION);
  const options = { arguments: ["k", "v"], endorsingOrganizations: ["NoMSP"] };
  const organisation = await failure(org1.contract.submit("Put", options));
  assert.equal(organisation.code, grpc.status.UNAVAILABLE);
  assert.match(organisation.message, /failed to find any endorsing peers for org\(s\): NoMSP/);
  const fn = await failure(org1.contract.evaluateTransaction("NoSuchFunction"));
  assert.equal(fn.code, grpc.status.UNKNOWN);
});

check("an identity of nobody is refused", async () => {
  const { client } = org1;
  const { credentials } = org1.gateway.getIdentity();
  const stranger = connect({
    client,
    identity: { mspId: "NoMSP", credentials },
    signer: signers.newPrivateKeySigner(createPrivateKey(strangerKey())),
    hash: hash.sha256,
  });
  const contract = stranger.getNetwork(network.channel).getContract(chaincodeName);
  const error = await failure(contract.evaluateTransaction("Echo", "x"));
  assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
  assert.match(error.details[0].message, /creator org unknown, creator is malformed/);
});

function strangerKey() {
  const organization = network.organizations[1];
  const folder = `peerOrganizations/${organization.domain}/users/User1@${organization.domain}/msp`;
  const pem = onlyFile(join(network.crypto_dir, folder, "keystore"));
  assert.ok(createPublicKey(pem));
  return pem;
}

let failed = 0;
for (const [name, body] of checks) {
  const started = performance.now();
  let problem;
  try {
    await body();
  } catch (error) {
    failed += 1;
    problem = `${error.message} ${JSON.stringify(error.details ?? [])}`;
  }
  const milliseconds = Math.round(performance.now() - started);
  console.log(JSON.stringify({ check: name, ok: problem === undefined, milliseconds, problem }));
}
for (const { gateway, client } of [org1, org2]) {
  gateway.close();
  client.close();
}
console.log(JSON.stringify({ checks: checks.length, failed }));
process.exitCode = failed === 0 ? 0 : 1;
