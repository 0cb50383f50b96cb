"""Teaches schemathesis the media types of the oracle's REST API that it does not know."""

import schemathesis


@schemathesis.serializer("application/jose", "application/pkcs10")
def text(_context, value):
    """A compact JWS, or a certificate request in PEM, goes out as the text that it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.deserializer("application/octet-stream")
def sealed(_context, response):
    """A sealed object is bytes; the schema has them as text."""
    return response.content.decode("latin-1")
