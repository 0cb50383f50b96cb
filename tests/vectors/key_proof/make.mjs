// Makes the proofs of encryption keys beside it, right and wrong, by Node's own crypto:
//   node make.mjs
// The signer is the doctor of ../msp/openssl. `outcome` says what comes of a proof: `right`,
// `malformed` (is none), `signature`, `participant` or `key` (what it does not fit).
import { createHash, createPrivateKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const msp = new URL('../msp/openssl/', import.meta.url);
const pem = readFileSync(new URL('signcerts/doctor.pem', msp), 'utf8');
const doctor = createPrivateKey(readFileSync(new URL('keystore/user.key', msp)));
const thumbprint = (text) =>
  createHash('sha256').update(new X509Certificate(text).raw).digest('base64url');
const x5t = thumbprint(pem);
const former = thumbprint(readFileSync(new URL('revoked/former.pem', msp), 'utf8'));
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const part = (value) => Buffer.from(value).toString('base64url');

const rsa = () => {
  const { kty, n, e } = generateKeyPairSync('rsa', { modulusLength: 3072 }).publicKey.export({ format: 'jwk' });
  return { kty, n, e };
};
// RFC 7638: the required members in the order of their names, without white space.
const kidOf = ({ e, kty, n }) =>
  createHash('sha256').update(JSON.stringify({ e, kty, n })).digest('base64url');

const [own, other] = [rsa(), rsa()];
const id = '00112233445566778899aabbccddeeff';
const typ = 'vnd.salus.key-proof';
const text = (value) => JSON.stringify(value);
const said = { kid: kidOf(own), participant_id: id, version: 1 };
const jws = (payload, header = {}, key = doctor) => {
  const input = `${part(text({ alg: 'ES256', typ, 'x5t#S256': x5t, ...header }))}.${part(payload)}`;
  return `${input}.${part(sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }))}`;
};
const changed = (proof, index) => {
  const parts = proof.split('.');
  const at = 20;
  parts[index] = parts[index].slice(0, at) + (parts[index][at] === 'A' ? 'B' : 'A') + parts[index].slice(at + 1);
  return parts.join('.');
};
const right = jws(text(said));

const vectors = {
  right: ['right', 'as it is made', right],
  members_in_other_order: ['right', 'the payload need not be canonical', jws(`{"version":1, "participant_id":"${id}", "kid":"${said.kid}"}`)],
  for_another_key: ['key', 'the thumbprint of another key', jws(text({ ...said, kid: kidOf(other) }))],
  for_another_participant: ['participant', 'the ID of another participant', jws(text({ ...said, participant_id: 'ff'.repeat(16) }))],
  by_another_key: ['signature', 'names the certificate, and another key signed', jws(text(said), {}, stranger)],
  names_another_certificate: ['signature', 'signed by the right key, and names another certificate', jws(text(said), { 'x5t#S256': former })],
  signature_changed: ['signature', 'one character of the signature is another', changed(right, 2)],
  payload_exchanged: ['signature', 'the payload of one proof under the signature of another', [right.split('.')[0], jws(text({ ...said, kid: kidOf(other) })).split('.')[1], right.split('.')[2]].join('.')],
  type_of_a_request: ['malformed', 'typ is that of a signed request', jws(text(said), { typ: 'JOSE' })],
  type_missing: ['malformed', 'the header has no typ', jws(text(said), { typ: undefined })],
  type_in_capitals: ['malformed', 'typ in capitals', jws(text(said), { typ: typ.toUpperCase() })],
  algorithm_none: ['malformed', 'alg is none', `${part(text({ alg: 'none', typ, 'x5t#S256': x5t }))}.${part(text(said))}.`],
  algorithm_rs256: ['malformed', 'alg is RS256', jws(text(said), { alg: 'RS256' })],
  key_in_header: ['malformed', 'the header brings a key of its own', jws(text(said), { jwk: other })],
  critical_extension: ['malformed', 'the header has crit', jws(text(said), { crit: ['exp'] })],
  thumbprint_missing: ['malformed', 'the header names no certificate', jws(text(said), { 'x5t#S256': undefined })],
  version_2: ['malformed', 'a version that is not known', jws(text({ ...said, version: 2 }))],
  version_missing: ['malformed', 'no version', jws(text({ ...said, version: undefined }))],
  unknown_member: ['malformed', 'a member that is not known', jws(text({ ...said, channel: 'mychannel' }))],
  member_twice: ['malformed', 'the kid stands twice', jws(`{"kid":"${kidOf(other)}","kid":"${said.kid}","participant_id":"${id}","version":1}`)],
  kid_too_short: ['malformed', 'the kid has 31 bytes', jws(text({ ...said, kid: Buffer.alloc(31).toString('base64url') }))],
  kid_padded: ['malformed', 'the kid is padded base64', jws(text({ ...said, kid: `${said.kid}=` }))],
  id_in_capitals: ['malformed', 'the ID in capitals', jws(text({ ...said, participant_id: id.toUpperCase() }))],
  whole_key: ['malformed', 'the key itself in the place of its thumbprint', jws(text({ ...said, kid: own }))],
  two_parts: ['malformed', 'no signature', right.split('.').slice(0, 2).join('.')],
  empty: ['malformed', 'nothing', ''],
};
for (const [name, [outcome, description, proof]] of Object.entries(vectors)) {
  const vector = { description, outcome, participant_id: id, encryption_key: own, proof };
  writeFileSync(new URL(`${name}.json`, import.meta.url), `${JSON.stringify(vector, null, 2)}\n`);
}
