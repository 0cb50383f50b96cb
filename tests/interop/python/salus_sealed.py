"""Sealed objects with Tink and jwcrypto alone.

Written from the byte tables in oracle/sealed/README.md, it shares no code with the Rust crate, so
that agreement of the two means something.
"""

import io
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


def wrap(public_jwk: str, data_key: bytes) -> str:
    reader = jwk.JWK.from_json(public_jwk)
    header = {"alg": WRAP_ALGORITHM, "enc": CONTENT_ALGORITHM, "kid": reader.thumbprint()}
    payload = jwk.JWK(kty="oct", k=_base64url(data_key)).export()
    token = jwe.JWE(payload.encode(), protected=header, recipient=reader)
    return token.serialize(compact=True)


def unwrap(private_jwk: str, compact: str) -> bytes:
    reader = jwk.JWK.from_json(private_jwk)
    token = jwe.JWE(algs=[WRAP_ALGORITHM, CONTENT_ALGORITHM])
    try:
        token.deserialize(compact, key=reader)
    except jwe.InvalidJWEData as error:
        raise Refused from error
    if token.jose_header.get("kid") != reader.thumbprint():
        raise Refused
    return _base64url_decode(jwk.JWK.from_json(token.payload.decode()).get("k"))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _base64url_decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
