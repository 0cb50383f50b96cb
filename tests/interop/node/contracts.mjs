// Uses our contracts with the official Node client:
//   node contracts.mjs NETWORK.json CHAINCODE REGISTRATION.json ISSUER.pem
// REGISTRATION.json registers the channel's first participant, of the second organisation. Prints
// one JSON line: the chaincode's metadata, what the peers said of an empty channel, and the
// directory afterwards.
import { createPrivateKey, randomBytes } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { connect, hash, signers } from "@hyperledger/fabric-gateway";

const [networkFile, chaincodeName, registrationFile, issuerFile] = process.argv.slice(2);
const network = JSON.parse(readFileSync(networkFile, "utf8"));
const onlyFile = (dir) => readFileSync(join(dir, readdirSync(dir).sort()[0]));

function connectTo(organization) {
  const { address, server_name: name, tls_ca_file: ca } = organization.peer;
  const client = new grpc.Client(address, grpc.credentials.createSsl(readFileSync(ca)), {
    "grpc.ssl_target_name_override": name,
  });
  const msp = organization.admin_msp_dir;
  const gateway = connect({
    client,
    identity: { mspId: organization.msp_id, credentials: onlyFile(join(msp, "signcerts")) },
    signer: signers.newPrivateKeySigner(createPrivateKey(onlyFile(join(msp, "keystore")))),
    hash: hash.sha256,
  });
  return { client, gateway, channel: gateway.getNetwork(network.channel) };
}

const [org1, org2] = network.organizations.map(connectTo);
const answer = (bytes) => JSON.parse(Buffer.from(bytes).toString());
const accessControl = org1.channel.getContract(chaincodeName, "access-control");
const list = async () => answer(await accessControl.evaluateTransaction("ListParticipants", "{}"));

const fabric = org1.channel.getContract(chaincodeName, "org.hyperledger.fabric");
const metadata = answer(await fabric.evaluateTransaction("GetMetadata"));
let refused = [];
try {
  await list();
} catch (error) {
  refused = error.details.map(({ message }) => message);
}
await org2.channel.getContract(chaincodeName, "access-control").submit("RegisterParticipant", {
  transientData: {
    participant: readFileSync(registrationFile),
    issuer: readFileSync(issuerFile),
    salt: randomBytes(32),
  },
});
const directory = await list();
console.log(JSON.stringify({ metadata, refused, directory }));
for (const { gateway, client } of [org1, org2]) {
  gateway.close();
  client.close();
}
