// A contract on the official Node libraries that uses every part of the stub the judges look at.
// Start: cd chaincode && npx fabric-chaincode-node server \
//   --chaincode-address 127.0.0.1:PORT --chaincode-id PACKAGE_ID
"use strict";

const { Contract } = require("fabric-contract-api");
const { KeyEndorsementPolicy } = require("fabric-shim");

const COLLECTION = "secrets";

async function drain(iterator) {
  const found = [];
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
    found.push([next.value.key, Buffer.from(next.value.value).toString()]);
  }
  await iterator.close();
  return found;
}

class Judge extends Contract {
  constructor() {
    super("judge");
  }

  async Put(ctx, key, value) {
    await ctx.stub.putState(key, Buffer.from(value));
    return value;
  }

  async Get(ctx, key) {
    const value = await ctx.stub.getState(key);
    if (!value || value.length === 0) {
      throw new Error(`no value for ${key}`);
    }
    return value.toString();
  }

  async Delete(ctx, key) {
    await ctx.stub.deleteState(key);
  }

  // Reads before it writes, so that two at once conflict.
  async Increment(ctx, key) {
    const value = await ctx.stub.getState(key);
    const next = Number(value.toString() || "0") + 1;
    await ctx.stub.putState(key, Buffer.from(String(next)));
    return String(next);
  }

  async PutMany(ctx, prefix, count) {
    for (let index = 0; index < Number(count); index += 1) {
      const key = `${prefix}${String(index).padStart(5, "0")}`;
      await ctx.stub.putState(key, Buffer.from(String(index)));
    }
  }

  async Range(ctx, start, end) {
    return JSON.stringify(await drain(await ctx.stub.getStateByRange(start, end)));
  }

  async Page(ctx, start, end, size, bookmark) {
    const page = await ctx.stub.getStateByRangeWithPagination(start, end, Number(size), bookmark);
    const { fetchedRecordsCount, bookmark: next } = page.metadata;
    const found = await drain(page.iterator);
    return JSON.stringify({ found, count: fetchedRecordsCount, bookmark: next });
  }

  async PutComposite(ctx, type, first, second, value) {
    const key = ctx.stub.createCompositeKey(type, [first, second]);
    await ctx.stub.putState(key, Buffer.from(value));
  }

  async ListComposite(ctx, type, first) {
    const found = await drain(await ctx.stub.getStateByPartialCompositeKey(type, [first]));
    const split = found.map(([key, value]) => [ctx.stub.splitCompositeKey(key).attributes, value]);
    return JSON.stringify(split);
  }

  async History(ctx, key) {
    const iterator = await ctx.stub.getHistoryForKey(key);
    const found = [];
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
      const { txId, isDelete, value } = next.value;
      found.push({ txId, isDelete, value: Buffer.from(value).toString() });
    }
    await iterator.close();
    return JSON.stringify(found);
  }

  async PutPrivate(ctx, key) {
    const value = ctx.stub.getTransient().get("value");
    await ctx.stub.putPrivateData(COLLECTION, key, value);
  }

  async GetPrivate(ctx, key) {
    const value = await ctx.stub.getPrivateData(COLLECTION, key);
    return Buffer.from(value).toString();
  }

  async HashPrivate(ctx, key) {
    const hash = await ctx.stub.getPrivateDataHash(COLLECTION, key);
    return Buffer.from(hash).toString("hex");
  }

  async RangePrivate(ctx, start, end) {
    const { iterator } = await ctx.stub.getPrivateDataByRange(COLLECTION, start, end);
    return JSON.stringify(await drain(iterator));
  }

  async PurgePrivate(ctx, key) {
    await ctx.stub.purgePrivateData(COLLECTION, key);
  }

  async Emit(ctx, name, payload) {
    await ctx.stub.putState("last-event", Buffer.from(payload));
    ctx.stub.setEvent(name, Buffer.from(payload));
  }

  async WhoAmI(ctx) {
    const { clientIdentity } = ctx;
    return JSON.stringify({ mspId: clientIdentity.getMSPID(), id: clientIdentity.getID() });
  }

  async RequireEndorser(ctx, key, mspId) {
    const policy = new KeyEndorsementPolicy();
    policy.addOrgs("PEER", mspId);
    await ctx.stub.putState(key, Buffer.from("guarded"));
    await ctx.stub.setStateValidationParameter(key, policy.getPolicy());
  }

  // Different on every endorser, which chaincode must never be.
  async Random(ctx, key) {
    await ctx.stub.putState(key, Buffer.from(String(Math.random())));
  }

  async Fail(ctx, text) {
    throw new Error(text);
  }

  async Call(ctx, chaincode, fn, argument) {
    const answer = await ctx.stub.invokeChaincode(chaincode, [fn, argument], "");
    return Buffer.from(answer.payload).toString();
  }

  // Longer than a peer waits, if the network was started with a short limit.
  async Slow(ctx, key, milliseconds) {
    await new Promise((resolve) => setTimeout(resolve, Number(milliseconds)));
    await ctx.stub.putState(key, Buffer.from("late"));
  }

  async Echo(ctx, text) {
    return text;
  }
}

exports.contracts = [Judge];
