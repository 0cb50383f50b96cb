"""Opens a sealed object with Tink: the reverse of seal.py.

Reads one JSON object from standard input: record_id, commitment (hex), sealed (path), plaintext
(path to write), and either data_key (hex) or private_jwk (text) with jwe (text). Ends with status
3 when the object or the wrapped key is refused.
"""

import json
import sys

from salus_sealed import Refused, associated_data, open_sealed, unwrap


def main() -> int:
    task = json.load(sys.stdin)
    ad = associated_data(bytes.fromhex(task["record_id"]), bytes.fromhex(task["commitment"]))
    try:
        if "data_key" in task:
            data_key = bytes.fromhex(task["data_key"])
        else:
            data_key = unwrap(task["private_jwk"], task["jwe"])
        with open(task["sealed"], "rb") as sealed:
            plaintext = open_sealed(data_key, ad, sealed.read())
    except Refused:
        print("refused", file=sys.stderr)
        return 3
    with open(task["plaintext"], "wb") as out:
        out.write(plaintext)
    return 0


if __name__ == "__main__":
    sys.exit(main())
