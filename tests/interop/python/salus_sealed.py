"""Sealed objects with Tink and jwcrypto alone.

Written from the byte tables in oracle/sealed/README.md, it shares no code with the Rust crate, so
that agreement of the two means something.
"""

import io
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import tink
from jwcrypto import jwe, jwk
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

SEGMENT_BYTES = 1 << 20
LABEL = b"salus-sealed"
FORMAT_VERSION = 1
SIZE_CLASSES = (256, 1 << 10, 4 << 10, 16 << 10, 64 << 10)
WRAP_ALGORITHM = "RSA-OAEP-256"
CONTENT_ALGORITHM = "A256GCM"
DATA_KEY_TYPE = "jwk+json"
GATED_TYPE = "jose"

streaming_aead.register()


class Refused(Exception):
    """Not this record's object under this key."""


def associated_data(record_id: bytes, commitment: bytes) -> bytes:
    assert len(record_id) == 16 and len(commitment) == 32
    return LABEL + bytes([FORMAT_VERSION]) + record_id + commitment


def padded_len(plaintext_len: int) -> int:
    unpadded = 8 + plaintext_len
    for size_class in SIZE_CLASSES:
        if unpadded <= size_class:
            return size_class
    exponent = unpadded.bit_length() - 1
    significant = exponent.bit_length()
    step = 1 << (exponent - significant)
    return -(-unpadded // step) * step


def frame(plaintext: bytes) -> bytes:
    framed = len(plaintext).to_bytes(8, "big") + plaintext
    return framed + bytes(padded_len(len(plaintext)) - len(framed))


def unframe(framed: bytes) -> bytes:
    if len(framed) < 8:
        raise Refused
    length = int.from_bytes(framed[:8], "big")
    plaintext, padding = framed[8 : 8 + length], framed[8 + length :]
    if len(plaintext) != length or any(padding):
        raise Refused
    return plaintext


def _primitive(data_key: bytes) -> streaming_aead.StreamingAead:
    """Tink's AES256_GCM_HKDF_1MB template around a key of ours."""
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
        version=0,
        params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
            ciphertext_segment_size=SEGMENT_BYTES,
            derived_key_size=32,
            hkdf_hash_type=common_pb2.SHA256,
        ),
        key_value=data_key,
    )
    keyset = tink_pb2.Keyset(primary_key_id=1)
    keyset.key.add(
        key_data=tink_pb2.KeyData(
            type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
            value=key.SerializeToString(),
            key_material_type=tink_pb2.KeyData.SYMMETRIC,
        ),
        status=tink_pb2.ENABLED,
        key_id=1,
        output_prefix_type=tink_pb2.RAW,
    )
    handle = cleartext_keyset_handle.read(
        tink.BinaryKeysetReader(keyset.SerializeToString())
    )
    return handle.primitive(streaming_aead.StreamingAead)


class _Kept(io.BytesIO):
    """Tink closes its destination; what was written is wanted afterwards."""

    def close(self):
        self.kept = self.getvalue()
        super().close()


def encrypt(data_key: bytes, ad: bytes, framed: bytes) -> bytes:
    destination = _Kept()
    with _primitive(data_key).new_encrypting_stream(destination, ad) as stream:
        stream.write(framed)
    return destination.kept


def decrypt(data_key: bytes, ad: bytes, sealed: bytes) -> bytes:
    try:
        with _primitive(data_key).new_decrypting_stream(io.BytesIO(sealed), ad) as stream:
            return stream.read()
    except (tink.TinkError, OSError) as error:
        raise Refused from error


def seal(data_key: bytes, ad: bytes, plaintext: bytes) -> bytes:
    return encrypt(data_key, ad, frame(plaintext))


def open_sealed(data_key: bytes, ad: bytes, sealed: bytes) -> bytes:
    return unframe(decrypt(data_key, ad, sealed))


def encrypt_for(public_jwks: list[str], content_type: str, payload: bytes) -> str:
    """A JWE: compact for one reader, in general JSON serialisation for several."""
    readers = [jwk.JWK.from_json(text) for text in public_jwks]
    protected = {"alg": WRAP_ALGORITHM, "cty": content_type, "enc": CONTENT_ALGORITHM}
    if len(readers) == 1:
        protected["kid"] = readers[0].thumbprint()
        token = jwe.JWE(payload, protected=protected, recipient=readers[0])
        return token.serialize(compact=True)
    token = jwe.JWE(payload, protected=protected)
    for reader in readers:
        token.add_recipient(reader, header={"kid": reader.thumbprint()})
    return token.serialize()


def decrypt_as(content_type: str, private_jwk: str, text: str) -> bytes:
    """What encrypt_for made, if it was made as `content_type` and for this key."""
    reader = jwk.JWK.from_json(private_jwk)
    token = jwe.JWE(algs=[WRAP_ALGORITHM, CONTENT_ALGORITHM])
    try:
        token.deserialize(text, key=reader)
    except jwe.InvalidJWEData as error:
        raise Refused from error
    header = token.jose_header
    kids = [one.get("kid") for one in header] if isinstance(header, list) else [header.get("kid")]
    protected = json.loads(token.objects["protected"])
    if protected.get("cty") != content_type or reader.thumbprint() not in kids:
        raise Refused
    return token.payload


def wrap(public_jwk: str, data_key: bytes) -> str:
    payload = jwk.JWK(kty="oct", k=_base64url(data_key)).export()
    return encrypt_for([public_jwk], DATA_KEY_TYPE, payload.encode())


def unwrap(private_jwk: str, compact: str) -> bytes:
    payload = decrypt_as(DATA_KEY_TYPE, private_jwk, compact)
    return _base64url_decode(jwk.JWK.from_json(payload.decode()).get("k"))


def gate(gate_jwk: str, compact: str) -> str:
    return encrypt_for([gate_jwk], GATED_TYPE, compact.encode())


def ungate(gate_jwk: str, compact: str) -> str:
    return decrypt_as(GATED_TYPE, gate_jwk, compact).decode()


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _base64url_decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
