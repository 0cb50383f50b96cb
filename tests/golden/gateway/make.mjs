// Makes official.json: proposals, requests and their bytes as the official client writes them.
//
// Run in an empty folder:
//   npm install @hyperledger/fabric-gateway@1 @grpc/grpc-js@1
//   node <repository>/tests/golden/gateway/make.mjs > <repository>/tests/golden/gateway/official.json
//
// Nonce and time are the client's own; the test takes them from the bytes and builds the rest.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(join(process.cwd(), 'x.js'));
const { connect } = require('@hyperledger/fabric-gateway');
const grpc = require('@grpc/grpc-js');

const msp = join(dirname(fileURLToPath(import.meta.url)), '../../vectors/msp/openssl');
const credentials = readFileSync(join(msp, 'signcerts/doctor.pem'));
// Nothing is sent: the bytes are made before.
const client = new grpc.Client('127.0.0.1:1', grpc.credentials.createInsecure());
const gateway = connect({ client, identity: { mspId: 'Org1MSP', credentials } });
const network = gateway.getNetwork('mychannel');
const hex = (bytes) => Buffer.from(bytes).toString('hex');

const proposals = [
  { function: 'GetAllAssets', arguments: [], transient: {}, organizations: [] },
  { function: 'access-control:GrantAccess', arguments: ['', 'grün', '{"a":1}'], transient: {}, organizations: [] },
  { function: 'record-registry:RegisterRecords', arguments: ['x'.repeat(300)], transient: { records: 'private' }, organizations: ['Org1MSP', 'Org2MSP'] },
].map((call) => {
  const proposal = network.getContract('salus').newProposal(call.function, {
    arguments: call.arguments,
    transientData: call.transient,
    endorsingOrganizations: call.organizations.length ? call.organizations : undefined,
  });
  // ProposedTransaction { transaction_id, proposal: SignedProposal, endorsing_organizations }
  return { ...call, transaction_id: proposal.getTransactionId(), proposed_transaction: hex(proposal.getBytes()) };
});

const events = [
  { start: 'next', request: {} },
  { start: 'block 7', request: { startBlock: 7n } },
  { start: 'behind ab in 9', request: { checkpoint: checkpoint(9n, 'ab') } },
  { start: 'behind block 9', request: { checkpoint: checkpoint(10n) } },
].map(({ start, request }) => ({
  start,
  // SignedChaincodeEventsRequest { request, signature }
  signed: hex(network.newChaincodeEventsRequest('salus', request).getBytes()),
}));

function checkpoint(blockNumber, transactionId) {
  return { getBlockNumber: () => blockNumber, getTransactionId: () => transactionId };
}

process.stdout.write(JSON.stringify({ proposals, events }, null, 1) + '\n');
client.close();
