// Makes openssl/request.jws: a signed request of the doctor of openssl/, by Node's own crypto.
//   node make-jws.mjs > openssl/request.jws
import { createHash, createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

const here = new URL('openssl/', import.meta.url);
const certificate = new X509Certificate(readFileSync(new URL('signcerts/doctor.pem', here)));
const key = createPrivateKey(readFileSync(new URL('keystore/user.key', here)));
const part = (value) => Buffer.from(value).toString('base64url');
const thumbprint = createHash('sha256').update(certificate.raw).digest('base64url');
const header = part(JSON.stringify({ 'x5t#S256': thumbprint, typ: 'JOSE', alg: 'ES256' }));
const input = `${header}.${part('{"action":"access-control:GrantAccess","note":"grün"}')}`;
const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
process.stdout.write(`${input}.${part(signature)}\n`);
