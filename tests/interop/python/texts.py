"""Opens and seals short texts and wrapped keys with jwcrypto.

Reads one JSON object from standard input and writes one to standard output.

- {"open": JWE, "content_type", "private_jwk"} gives {"text": hex}.
- {"seal": hex, "content_type", "public_jwks": [text, …]} gives {"jwe"}.
- {"gate": JWE, "gate_jwk": public JWK} gives {"jwe"}, {"ungate": JWE, "gate_jwk": private JWK} too.
- {"unwrap": JWE, "private_jwk"} gives {"data_key": hex}.

Ends with status 3 when what was to be opened is refused.
"""

import json
import sys

from salus_sealed import Refused, decrypt_as, encrypt_for, gate, ungate, unwrap


def answer(task: dict) -> dict:
    if "open" in task:
        return {"text": decrypt_as(task["content_type"], task["private_jwk"], task["open"]).hex()}
    if "seal" in task:
        text = bytes.fromhex(task["seal"])
        return {"jwe": encrypt_for(task["public_jwks"], task["content_type"], text)}
    if "gate" in task:
        return {"jwe": gate(task["gate_jwk"], task["gate"])}
    if "ungate" in task:
        return {"jwe": ungate(task["gate_jwk"], task["ungate"])}
    return {"data_key": unwrap(task["private_jwk"], task["unwrap"]).hex()}


def main() -> int:
    try:
        json.dump(answer(json.load(sys.stdin)), sys.stdout)
    except Refused:
        print("refused", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
