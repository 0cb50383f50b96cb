"""Makes the vectors in tests/vectors/sealed with Tink and jwcrypto.

Usage: python make_vectors.py FOLDER

Each file is one way of being right or wrong; its name is the name of the case and `outcome` says
what a reader must do. Tink draws fresh salts, so a second run gives other bytes of the same kind.
"""

import hashlib
import json
import os
import sys
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from jwcrypto import jwe, jwk

import salus_sealed as sealed

RECORD = bytes(range(16))
COMMITMENT = hashlib.sha256(b"commitment of the vectors").digest()
DATA_KEY = hashlib.sha256(b"data key of the vectors").digest()
AD = sealed.associated_data(RECORD, COMMITMENT)
TEXT = b"heart rate 72 /min"


def counting(length: int) -> bytes:
    """Byte i is i modulo 251."""
    return bytes(i % 251 for i in range(length))


def objects():
    def case(name, outcome, data, plaintext=None, key=DATA_KEY, record=RECORD, commitment=COMMITMENT):
        vector = {
            "kind": "object",
            "outcome": outcome,
            "data_key": key.hex(),
            "record_id": record.hex(),
            "commitment": commitment.hex(),
            "sealed": b64encode(data).decode(),
        }
        if plaintext is not None:
            vector["plaintext"] = plaintext.hex()
        return name, vector

    def flipped(data, index):
        return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]

    good = sealed.seal(DATA_KEY, AD, TEXT)
    for name, plaintext in [
        ("empty", b""),
        ("text", TEXT),
        ("largest_of_first_class", counting(248)),
        ("smallest_of_second_class", counting(249)),
    ]:
        yield case(name, "opens", sealed.seal(DATA_KEY, AD, plaintext), plaintext)
    unpadded = len(TEXT).to_bytes(8, "big") + TEXT
    yield case("without_padding", "opens", sealed.encrypt(DATA_KEY, AD, unpadded), TEXT)
    yield case("other_padding", "opens", sealed.encrypt(DATA_KEY, AD, unpadded + bytes(7)), TEXT)

    yield case("nothing", "refused", b"")
    yield case("header_only", "refused", good[:40])
    yield case("truncated_by_one", "refused", good[:-1])
    yield case("extended_by_one", "refused", good + b"\0")
    yield case("twice", "refused", good + good)
    yield case("changed_header_length", "refused", flipped(good, 0))
    yield case("changed_salt", "refused", flipped(good, 1))
    yield case("changed_nonce_prefix", "refused", flipped(good, 39))
    yield case("changed_ciphertext", "refused", flipped(good, 40))
    yield case("changed_tag", "refused", flipped(good, len(good) - 1))
    yield case("wrong_key", "refused", good, key=bytes(32))
    yield case("wrong_record", "refused", good, record=bytes(16))
    yield case("wrong_commitment", "refused", good, commitment=bytes(32))

    other_version = sealed.LABEL + b"\x02" + RECORD + COMMITMENT
    yield case("other_version", "refused", sealed.seal(DATA_KEY, other_version, TEXT))
    yield case("without_associated_data", "refused", sealed.seal(DATA_KEY, b"", TEXT))
    yield case("frame_empty", "refused", sealed.encrypt(DATA_KEY, AD, b""))
    yield case("frame_cut_in_length", "refused", sealed.encrypt(DATA_KEY, AD, bytes(7)))
    too_long = (len(TEXT) + 1).to_bytes(8, "big") + TEXT
    yield case("frame_longer_than_data", "refused", sealed.encrypt(DATA_KEY, AD, too_long))
    too_short = (len(TEXT) - 1).to_bytes(8, "big") + TEXT
    yield case("frame_shorter_than_data", "refused", sealed.encrypt(DATA_KEY, AD, too_short))
    dirty = unpadded + bytes(7) + b"\1"
    yield case("padding_not_zero", "refused", sealed.encrypt(DATA_KEY, AD, dirty))
    enormous = b"\xff" * 8 + TEXT
    yield case("frame_of_enormous_length", "refused", sealed.encrypt(DATA_KEY, AD, enormous))
    segment_bytes, sealed.SEGMENT_BYTES = sealed.SEGMENT_BYTES, 4096
    yield case("segments_of_4_kib", "refused", sealed.seal(DATA_KEY, AD, counting(5000)))
    sealed.SEGMENT_BYTES = segment_bytes


def digests():
    """Objects of several segments, by their SHA-256: the bytes would be megabytes."""
    first = sealed.SEGMENT_BYTES - 40 - 16
    for name, length in [
        ("two_segments", first),
        ("three_segments", 2_200_000),
        ("five_segments", 5_000_000),
    ]:
        plaintext = counting(length)
        data = sealed.seal(DATA_KEY, AD, plaintext)
        yield name, {
            "kind": "digest",
            "outcome": "equal",
            "data_key": DATA_KEY.hex(),
            "record_id": RECORD.hex(),
            "commitment": COMMITMENT.hex(),
            "header": data[:40].hex(),
            "plaintext_rule": "byte i is i modulo 251",
            "plaintext_length": length,
            "sealed_length": len(data),
            "sealed_sha256": hashlib.sha256(data).hexdigest(),
        }


def wrapped_keys():
    reader, stranger = new_key(), new_key()
    kid = reader.thumbprint()
    oct_jwk = jwk.JWK(kty="oct", k=urlsafe_b64encode(DATA_KEY).rstrip(b"=").decode()).export()

    def token(payload=oct_jwk, key=reader, **header):
        protected = {"alg": "RSA-OAEP-256", "cty": "jwk+json", "enc": "A256GCM", "kid": kid} | header
        protected = {name: value for name, value in protected.items() if value is not None}
        algorithms = [protected["alg"], protected["enc"]]
        made = jwe.JWE(payload.encode(), protected=protected, recipient=key, algs=algorithms)
        return made.serialize(compact=True)

    def case(name, outcome, compact):
        vector = {
            "kind": "wrapped_key",
            "outcome": outcome,
            "private_jwk": json.loads(reader.export()),
            "jwe": compact,
        }
        if outcome == "opens":
            vector["data_key"] = DATA_KEY.hex()
        return "wrap_" + name, vector

    good = token()
    header, cek, iv, content, tag = good.split(".")

    def with_header(**changes):
        members = json.loads(urlsafe_b64decode(header + "==")) | changes
        text = json.dumps(members).encode()
        return ".".join([urlsafe_b64encode(text).rstrip(b"=").decode(), cek, iv, content, tag])

    yield case("right", "opens", good)
    yield case("with_type", "opens", token(typ="JOSE"))
    yield case("without_content_type", "refused", token(cty=None))
    yield case("content_type_of_a_text", "refused", token(cty="text/plain"))
    yield case("content_type_of_a_gate", "refused", token(cty="jose"))
    yield case("content_type_in_capitals", "refused", token(cty="JWK+JSON"))
    yield case("alg_sha1", "refused", token(alg="RSA-OAEP"))
    yield case("enc_128", "refused", token(enc="A128GCM"))
    yield case("enc_cbc", "refused", token(enc="A256CBC-HS512"))
    yield case("compressed", "refused", token(zip="DEF"))
    yield case("without_kid", "refused", token(kid=None))
    yield case("for_another_key", "other_key", token(key=stranger, kid=stranger.thumbprint()))
    yield case("by_another_key", "refused", token(key=stranger))
    yield case("header_rewritten", "refused", with_header(typ="JOSE"))
    yield case("critical_extension", "refused", with_header(crit=["exp"], exp=1))
    yield case("four_parts", "refused", good.rsplit(".", 1)[0])
    yield case("six_parts", "refused", good + ".")
    yield case("padded_base64", "refused", good + "=")
    yield case("tag_cut", "refused", good[:-6])
    yield case("payload_not_jwk", "refused", token(payload=DATA_KEY.hex()))
    yield case("payload_rsa", "refused", token(payload=oct_jwk.replace('"oct"', '"RSA"')))
    short = jwk.JWK(kty="oct", k=urlsafe_b64encode(DATA_KEY[:16]).rstrip(b"=").decode()).export()
    yield case("payload_short_key", "refused", token(payload=short))


def gated_wraps():
    """A JWE for the gate around a JWE for the reader."""
    gatekeeper, reader = new_key(), new_key()
    oct_jwk = jwk.JWK(kty="oct", k=urlsafe_b64encode(DATA_KEY).rstrip(b"=").decode()).export()
    inner = sealed.encrypt_for([public(reader)], "jwk+json", oct_jwk.encode())

    def case(name, outcome, compact):
        vector = {
            "kind": "gated_wrap",
            "outcome": outcome,
            "gate_jwk": json.loads(gatekeeper.export()),
            "private_jwk": json.loads(reader.export()),
            "jwe": compact,
        }
        if outcome == "opens":
            vector["inner"] = inner
            vector["data_key"] = DATA_KEY.hex()
        return "gated_" + name, vector

    def outer(payload, content_type="jose", key=gatekeeper):
        return sealed.encrypt_for([public(key)], content_type, payload.encode())

    good = outer(inner)
    text = sealed.encrypt_for([public(reader)], "text/plain", TEXT)
    yield case("right", "opens", good)
    yield case("not_gated", "refused", inner)
    yield case("for_another_gate", "other_key", outer(inner, key=reader))
    yield case("as_a_data_key", "refused", outer(inner, "jwk+json"))
    yield case("as_a_text", "refused", outer(inner, "text/plain"))
    yield case("data_key_inside", "refused", outer(oct_jwk))
    yield case("text_inside", "refused", outer(text))
    yield case("twice", "refused", outer(good))
    yield case("nothing_inside", "refused", outer(""))
    yield case("tag_cut", "refused", good[:-6])
    general = sealed.encrypt_for([public(gatekeeper), public(reader)], "jose", inner.encode())
    yield case("general_serialisation", "refused", general)


def sealed_texts():
    """Texts for one reader (compact) and for two (general JSON serialisation)."""
    reader, other = new_key(), new_key()

    def case(name, outcome, jwe_text, content_type="text/plain"):
        vector = {
            "kind": "sealed_text",
            "outcome": outcome,
            "private_jwk": json.loads(reader.export()),
            "content_type": content_type,
            "jwe": jwe_text,
        }
        if outcome == "opens":
            vector["text"] = TEXT.hex()
        return "text_" + name, vector

    one = sealed.encrypt_for([public(reader)], "text/plain", TEXT)
    two = sealed.encrypt_for([public(other), public(reader)], "text/plain", TEXT)

    def changed(**members):
        made = json.loads(two) | members
        return json.dumps({name: value for name, value in made.items() if value is not None})

    recipients = json.loads(two)["recipients"]
    kids_exchanged = [
        {"encrypted_key": recipients[0]["encrypted_key"], "header": recipients[1]["header"]},
        {"encrypted_key": recipients[1]["encrypted_key"], "header": recipients[0]["header"]},
    ]
    yield case("for_one", "opens", one)
    yield case("for_two", "opens", two)
    yield case("of_another_type", "refused", one, "text/html")
    yield case("for_two_of_another_type", "refused", two, "text/html")
    yield case("as_a_data_key", "refused", sealed.encrypt_for([public(reader)], "jwk+json", TEXT), "jwk+json")
    yield case("as_a_gated_wrap", "refused", sealed.encrypt_for([public(reader)], "jose", TEXT), "jose")
    yield case("for_another", "other_key", sealed.encrypt_for([public(other)], "text/plain", TEXT))
    strangers = [public(other), public(new_key())]
    yield case("for_two_others", "refused", sealed.encrypt_for(strangers, "text/plain", TEXT))
    yield case("kids_exchanged", "refused", changed(recipients=kids_exchanged))
    yield case("no_recipients", "refused", changed(recipients=[]))
    yield case("tag_missing", "refused", changed(tag=None))
    yield case("additional_data", "refused", changed(aad="AAAA"))
    yield case("unprotected_header", "refused", changed(unprotected={"zip": "DEF"}))
    yield case("protected_rewritten", "refused", changed(protected=one.split(".")[0]))


def new_key() -> jwk.JWK:
    return jwk.JWK.from_pyca(rsa.generate_private_key(public_exponent=65537, key_size=3072))


def public(key: jwk.JWK) -> str:
    return key.export_public()


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        os.remove(old)
    for cases in (objects(), digests(), wrapped_keys(), gated_wraps(), sealed_texts()):
        for name, vector in cases:
            (folder / f"{name}.json").write_text(json.dumps(vector, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
