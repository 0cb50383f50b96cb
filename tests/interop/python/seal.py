"""Seals a file with Tink: the reverse of open_sealed.py.

Reads one JSON object from standard input: record_id, commitment, data_key (hex), plaintext (path),
sealed (path to write), and optionally public_jwk (text). Writes one JSON object to standard output:
jwe, the data key wrapped for that public key, or null.
"""

import json
import sys

from salus_sealed import associated_data, seal, wrap


def main() -> int:
    task = json.load(sys.stdin)
    ad = associated_data(bytes.fromhex(task["record_id"]), bytes.fromhex(task["commitment"]))
    data_key = bytes.fromhex(task["data_key"])
    with open(task["plaintext"], "rb") as plaintext:
        sealed = seal(data_key, ad, plaintext.read())
    with open(task["sealed"], "wb") as out:
        out.write(sealed)
    wrapped = wrap(task["public_jwk"], data_key) if "public_jwk" in task else None
    json.dump({"jwe": wrapped}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
