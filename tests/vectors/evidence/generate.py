"""Makes the evidence vectors beside it, with nothing of Salus or Fabric in it.

Run in this folder: python3 generate.py (needs the package `cryptography`). It writes Fabric's
messages byte by byte, issues certificates, signs, and builds one bundle of evidence for a record
of five readings, a proof for one of them, and for each check bundles in which only that one thing
is wrong. Keys are new in each run, so the files change.
"""

import base64
import copy
import datetime
import hashlib
import json
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

CHANNEL, CHAINCODE = "mychannel", "salus"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# Protocol buffers: field number and value; bytes and text have a length, numbers are varints.


def varint(number):
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def pb(*fields):
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            if value:
                out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


# Certificates and signatures.


class Identity:
    def __init__(self, msp, key, certificate):
        self.msp, self.key, self.certificate = msp, key, certificate

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self):
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def serialized(self):
        return pb((1, self.msp), (2, self.pem))

    def pair(self, message):
        r, s = utils.decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r, min(s, ORDER - s)

    def sign(self, message):
        return utils.encode_dss_signature(*self.pair(message))

    def sign_fixed(self, message):
        return b"".join(number.to_bytes(32, "big") for number in self.pair(message))


class Organization:
    def __init__(self, msp):
        self.msp = msp
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = self.build(f"ca.{msp}", None, self.key, None)

    def build(self, name, unit, key, issuer):
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.msp)]
        if unit:
            names.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
        subject = x509.Name(names)
        is_ca = issuer is None
        usage = dict.fromkeys(
            ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "encipher_only", "decipher_only"], False)
        while True:
            builder = (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(subject if is_ca else self.ca.subject)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(datetime.datetime(2026, 1, 1))
                .not_valid_after(datetime.datetime(2036, 1, 1))
                .add_extension(x509.BasicConstraints(is_ca, None), True)
                .add_extension(
                    x509.KeyUsage(digital_signature=not is_ca, key_cert_sign=is_ca,
                                  crl_sign=is_ca, **usage), True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                    False)
            )
            certificate = builder.sign(self.key, hashes.SHA256())
            if utils.decode_dss_signature(certificate.signature)[1] <= ORDER // 2:
                return certificate

    def issue(self, name, unit):
        key = ec.generate_private_key(ec.SECP256R1())
        return Identity(self.msp, key, self.build(name, unit, key, self))

    @property
    def ca_pem(self):
        return self.ca.public_bytes(serialization.Encoding.PEM)

    def msp_config(self):
        unit = lambda name: pb((2, name))
        units = pb((1, 1), (2, unit("client")), (3, unit("peer")), (4, unit("admin")),
                   (5, unit("orderer")))
        return pb((1, 0), (2, pb((1, self.msp), (2, self.ca_pem), (11, units))))


# Configuration.


def entry(field, name, value):
    return (field, pb((1, name), (2, value)))


def signed_by(msp, role):
    principal = pb((1, 0), (2, pb((1, msp), (2, role))))
    rule = varint(1 << 3) + varint(0)  # signed_by 0, written although it is 0
    gate = pb((2, pb((1, 1), (2, rule))))
    return pb((2, pb((1, 1), (2, pb((2, gate), (3, principal))))))


def implicit(rule, name):
    return pb((2, pb((1, 3), (2, pb((1, name), (2, rule))))))


def group(groups=(), values=(), policies=()):
    return pb(*[entry(2, *g) for g in groups], *[entry(3, n, pb((2, v))) for n, v in values],
              *[entry(4, *p) for p in policies])


MEMBER, PEER, ORDERER = 0, 3, 4
ANY, MAJORITY = 0, 2


def org_group(org, role):
    names = ["Endorsement", "LifecycleEndorsement", "Writers"]
    return group(values=[("MSP", org.msp_config())],
                 policies=[(name, signed_by(org.msp, role)) for name in names])


def genesis_envelope(peers, orderers):
    application = group(
        groups=[(org.msp, org_group(org, PEER)) for org in peers],
        policies=[(name, implicit(MAJORITY, name))
                  for name in ["Endorsement", "LifecycleEndorsement"]])
    ordering = group(groups=[(orderers.msp, org_group(orderers, ORDERER))],
                     policies=[("BlockValidation", implicit(ANY, "Writers"))])
    root = group(groups=[("Application", application), ("Orderer", ordering)])
    header = pb((1, pb((1, 1), (4, CHANNEL))), (2, b""))
    return pb((1, pb((1, header), (2, pb((1, pb((2, root))))))))


# Blocks.


def der(tag, content):
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


def header_der(number, previous, data):
    integer = number.to_bytes((number.bit_length() + 8) // 8 or 1, "big")
    return der(0x30, der(2, integer) + der(4, previous) + der(4, data))


class Block:
    def __init__(self, number, previous, envelopes, orderer=None, codes=None, sign=None):
        self.number, self.previous, self.envelopes = number, previous, envelopes
        self.data_hash = sha256(*envelopes)
        self.der = header_der(number, previous, self.data_hash)
        self.hash = sha256(self.der)
        self.codes = bytes(len(envelopes)) if codes is None else codes
        self.signatures = b""
        if orderer:
            # last_config 0: an empty message, which must be there.
            value = pb((1, b""))
            header = pb((1, orderer.serialized), (2, bytes(24)))
            signature = (sign or orderer).sign(value + header + self.der)
            self.signatures = pb((1, value), (2, pb((1, header), (2, signature))))

    def encode(self):
        header = pb((1, self.number), (2, self.previous), (3, self.data_hash))
        metadata = [self.signatures, b"", self.codes, b"", b""]
        return pb((1, header), (2, pb(*[(1, e) for e in self.envelopes])),
                  (3, pb(*[(1, m) for m in metadata])))

    def entry(self):
        previous = {"previous_hash": self.previous.hex()} if self.number else {}
        return {"number": self.number, **previous, "data_hash": self.data_hash.hex()}


def tx_id_of(creator, nonce):
    return sha256(nonce, creator.serialized).hex()


def transaction(creator, nonce, chaincode, arguments, reads, writes, endorsers, signer=None):
    signature_header = pb((1, creator.serialized), (2, nonce))
    timestamp = pb((1, 1767323100))
    channel_header = pb((1, 3), (3, timestamp), (4, CHANNEL), (5, tx_id_of(creator, nonce)))
    spec = pb((2, pb((2, chaincode))), (3, pb(*[(1, a) for a in arguments])))
    proposal = pb((1, pb((1, spec))))
    names = sorted({name for name, _, _ in reads} | {name for name, _, _ in writes})
    sets = []
    for name in names:
        rw = pb(*[(1, pb((1, key), (2, pb((1, v[0]), (2, v[1]))))) for n, key, v in reads
                  if n == name],
                *[(3, pb((1, key), (3, value))) for n, key, value in writes if n == name])
        sets.append((2, pb((1, name), (2, rw))))
    action = pb((1, pb(*sets)), (3, pb((1, 200))))
    response = pb((1, sha256(channel_header, signature_header, proposal)), (2, action))
    endorsements = [(2, pb((1, e.serialized), (2, key.sign(response + e.serialized))))
                    for e, key in endorsers]
    payload = pb((1, proposal), (2, pb((1, response), *endorsements)))
    payload = pb((1, pb((1, channel_header), (2, signature_header))),
                 (2, pb((1, pb((1, signature_header), (2, payload))))))
    return pb((1, payload), (2, (signer or creator).sign(payload)))


# Readings: CBOR items, canonical JSON, RFC 6962.


def head(major, number):
    for limit, code, form in [(24, None, None), (256, 24, ">B"), (65536, 25, ">H"),
                              (1 << 32, 26, ">I"), (1 << 64, 27, ">Q")]:
        if number < limit:
            return (bytes([major << 5 | number]) if code is None
                    else bytes([major << 5 | code]) + struct.pack(form, number))


def item(device, seq, received, content_type, payload):
    text = lambda t: head(3, len(t.encode())) + t.encode()
    return (head(4, 6) + head(0, 1) + text(device) + head(0, seq) + head(0, received)
            + text(content_type) + head(2, len(payload)) + payload)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64(data):
    return base64.b64encode(data).decode()


def sign_reading(device, reading):
    header = url64(canonical({"alg": "ES256", "x5c": [b64(device.der)],
                              "x5t#S256": url64(sha256(device.der))}))
    signature = device.sign_fixed(f"{header}.{url64(canonical(reading))}".encode())
    return {**reading, "sig": f"{header}..{url64(signature)}"}


def split(count):
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def root(leaves):
    if len(leaves) == 1:
        return sha256(b"\0", leaves[0])
    at = split(len(leaves))
    return sha256(b"\1", root(leaves[:at]), root(leaves[at:]))


def path(index, leaves):
    if len(leaves) == 1:
        return b""
    at = split(len(leaves))
    if index < at:
        return path(index, leaves[:at]) + root(leaves[at:])
    return path(index - at, leaves[at:]) + root(leaves[:at])


class World:
    def __init__(self):
        self.org1, self.org2 = Organization("Org1MSP"), Organization("Org2MSP")
        self.orderers = Organization("OrdererMSP")
        self.orderer = self.orderers.issue("orderer.example.com", "orderer")
        self.peers = [self.org1.issue("peer0.org1", "peer"), self.org2.issue("peer0.org2", "peer")]
        self.oracle = self.org1.issue("oracle.org1", "client")
        self.device = self.org1.issue("hr-0042", "client")
        self.endorsers = [(peer, peer) for peer in self.peers]
        readings = [{"code": "8867-4", "seq": n, "time": 1767323045 + n, "unit": "/min",
                     "value": 70 + n} for n in range(5)]
        signed = [sign_reading(self.device, r) if n != 2 else r for n, r in enumerate(readings)]
        self.items = [item("hr-0042", n, 1767323045123 + n, "application/json",
                           json.dumps(reading).encode()) for n, reading in enumerate(signed)]
        self.genesis = Block(0, b"", [genesis_envelope([self.org1, self.org2], self.orderers)])
        self.nonce = bytes(range(24))

    def metadata(self):
        # A sealed object of one leaf: its CID is that of a raw block.
        self.object = bytes(range(256)) * 4
        raw = b"\x01\x55\x12\x20" + sha256(self.object)
        cid = "b" + base64.b32encode(raw).decode().lower().rstrip("=")
        return {
            "record_id": "00112233445566778899aabbccddeeff",
            "patient": "ffeeddccbbaa99887766554433221100", "type": "8867-4",
            "period": {"start": "2026-01-02T03:04:05Z", "end": "2026-01-02T03:04:09Z"},
            "readings": 5, "source": {"device_id": "hr-0042"}, "registrar": "Org1MSP",
            "confidentiality": "N", "content_type": "application/vnd.salus.segment+cbor-seq",
            "cid": cid, "size": len(self.object), "plaintext_size": sum(map(len, self.items)),
            "merkle_root": root(self.items).hex(), "salt": bytes(range(32)).hex(),
        }

    def record(self):
        metadata = self.metadata()
        kept = {k: v for k, v in metadata.items() if k not in ("salt", "cid", "size")}
        commitment = sha256(b"\1", bytes.fromhex(metadata["salt"]), canonical(kept))
        state = {"object_sha256": sha256(self.object).hex(), "commitment": commitment.hex(),
                 "msp_id": "Org1MSP", "tx_id": tx_id_of(self.oracle, self.nonce), "version": 1,
                 "status": "active"}
        return {"state": state, "metadata": metadata}

    def definition(self, endorsers=None, name=CHAINCODE):
        arguments = pb((1, 1), (2, name), (3, "1.0"), (4, "escc"), (5, "vscc"))
        key = f"namespaces/fields/{name}/Sequence"
        commit = transaction(self.org1.issue("admin.org1", "admin"), bytes(24), "_lifecycle",
                             [b"CommitChaincodeDefinition", arguments], [],
                             [("_lifecycle", key, pb((1, 1)))], endorsers or self.endorsers)
        return Block(1, self.genesis.hash, [commit], self.orderer)

    def evidence(self, **wish):
        record = self.record()
        definition = wish.get("definition") or self.definition()
        written = wish.get("written", record["state"])
        key = f"\0record\0{record['metadata']['record_id']}\0"
        envelope = transaction(
            self.oracle, self.nonce, CHAINCODE, [b"record-registry:RegisterRecords", b"{}"],
            [("_lifecycle", f"namespaces/fields/{CHAINCODE}/Sequence", wish.get("read", (1, 0)))],
            [(CHAINCODE, key, canonical(written))], wish.get("endorsers", self.endorsers),
            wish.get("creator"))
        registration = Block(2, definition.hash, [envelope], wish.get("orderer", self.orderer),
                             wish.get("codes"), wish.get("orderer_key"))
        tip = Block(3, registration.hash, [b"later"], self.orderer, None, wish.get("tip_key"))
        blocks = [self.genesis, definition, registration, tip]
        return {
            "format": "salus-evidence/1", "channel": CHANNEL, "chaincode": CHAINCODE,
            "record": record, "registration": b64(registration.encode()),
            "definition": b64(definition.encode()),
            "configurations": [b64(self.genesis.encode())],
            "headers": [block.entry() for block in blocks],
            "tip_signatures": b64(tip.signatures),
            "device": {"device_id": "hr-0042", "msp_id": "Org1MSP",
                       "thumbprint": sha256(self.device.der).hex()},
        }

    def proof(self, index):
        return {"format": "salus-reading-proof/1", "index": index, "item": b64(self.items[index]),
                "path": b64(path(index, self.items)), "evidence": self.evidence()}


def flip(text, at=None):
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2 if at is None else at] ^= 1
    return b64(bytes(data))


def main():
    world = World()
    content, good = b"".join(world.items), world.evidence()
    anchors = {"configuration": world.genesis.hash.hex(),
               "organizations": {org.msp: org.ca_pem.decode()
                                 for org in [world.org1, world.org2, world.orderers]}}
    stranger = Organization("Org2MSP")
    intruder = stranger.issue("peer0.org2", "peer")
    client = world.org2.issue("client.org2", "client")
    one = [world.endorsers[0]]

    def changed(*keys, to):
        bundle = copy.deepcopy(good)
        place = bundle
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to(place[keys[-1]]) if callable(to) else to
        return bundle

    state = world.record()["state"]
    bundles = [
        ("right", "everything holds", good, []),
        ("other_format", "a format that is not known", changed("format", to="x/1"), ["format"]),
        ("other_chaincode", "another chaincode on the same channel",
         changed("chaincode", to="evil"), ["format", "transaction", "anchor"]),
        ("other_salt", "metadata with another salt",
         changed("record", "metadata", "salt", to=bytes(range(1, 33)).hex()), ["commitment"]),
        ("other_patient", "metadata of another patient",
         changed("record", "metadata", "patient", to="00" * 16), ["commitment"]),
        ("other_state", "another object hash than the one written",
         changed("record", "state", "object_sha256", to="00" * 32), ["state"]),
        ("written_otherwise", "the transaction writes another state",
         world.evidence(written={**state, "version": 2}), ["state"]),
        ("header_left_out", "a header is missing",
         changed("headers", to=lambda h: h[:1] + h[2:]), ["chain", "anchor"]),
        ("header_changed", "a header with another data hash",
         changed("headers", 1, "data_hash", to="00" * 32), ["chain", "anchor"]),
        ("block_changed", "a byte of the block's data",
         changed("registration", to=flip), ["block", "anchor"]),
        ("creator_forged", "signed by somebody else than the creator",
         world.evidence(creator=client), ["transaction", "anchor"]),
        ("found_invalid", "the peer found the transaction in conflict",
         world.evidence(codes=bytes([11])), ["transaction", "anchor"]),
        ("endorsed_by_one", "one of two organisations endorsed",
         world.evidence(endorsers=one), ["endorsements"]),
        ("endorsed_twice_by_one", "one organisation endorsed twice",
         world.evidence(endorsers=one + one), ["endorsements"]),
        ("endorsement_forged", "an endorsement with another key",
         world.evidence(endorsers=one + [(world.peers[1], intruder)]), ["endorsements"]),
        ("endorsed_by_stranger", "an endorser of another CA with the same MSP ID",
         world.evidence(endorsers=one + [(intruder, intruder)]), ["endorsements"]),
        ("endorsed_by_client", "an endorser that is no peer",
         world.evidence(endorsers=one + [(client, client)]), ["endorsements"]),
        ("orderer_forged", "the block is signed with another key",
         world.evidence(orderer_key=client), ["orderers"]),
        ("tip_forged", "the newest header is signed with another key",
         world.evidence(tip_key=client), ["orderers"]),
        ("definition_missing", "no block of the definition",
         {k: v for k, v in good.items() if k != "definition"}, ["definition"]),
        ("definition_of_another", "the definition is another chaincode's",
         world.evidence(definition=world.definition(name="other")), ["definition"]),
        ("definition_by_one", "one of two organisations endorsed the definition",
         world.evidence(definition=world.definition(one)), ["definition"]),
        ("definition_elsewhere", "the registration read another definition",
         world.evidence(read=(1, 1)), ["definition"]),
        ("configuration_missing", "no configuration", changed("configurations", to=[]),
         ["configuration", "anchor"]),
        ("configuration_changed", "a byte of the configuration",
         changed("configurations", 0, to=flip), ["configuration", "anchor"]),
    ]
    proof = world.proof(3)
    proofs = [
        ("proof_right", "reading 3 of 5", proof, []),
        ("proof_of_first", "reading 0 of 5", world.proof(0), []),
        ("proof_of_last", "the reading whose path is shorter", world.proof(4), []),
        ("proof_other_index", "the reading at another place", {**proof, "index": 2}, ["inclusion"]),
        ("proof_beyond", "a place behind the last", {**proof, "index": 5}, ["inclusion"]),
        ("proof_other_item", "another reading",
         {**proof, "item": b64(world.items[2])}, ["inclusion"]),
        ("proof_item_changed", "a byte of the reading",
         {**proof, "item": flip(proof["item"])}, ["inclusion"]),
        ("proof_path_changed", "a byte of the path",
         {**proof, "path": flip(proof["path"])}, ["inclusion"]),
        ("proof_path_cut", "a path that is cut", {**proof, "path": proof["path"][:-44]},
         ["inclusion"]),
    ]
    shared = {"anchors": anchors, "content": b64(content), "object": b64(world.object)}
    with open("world.json", "w") as out:
        json.dump(shared, out, indent=1)
    for kind, vectors in [("evidence", bundles), ("proof", proofs)]:
        for name, description, value, failed in vectors:
            with open(f"{name}.json", "w") as out:
                json.dump({"description": description, "failed": failed, kind: value}, out, indent=1)


main()
