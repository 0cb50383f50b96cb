"""Takes from Project Wycheproof's vectors what this workspace's tests need, in a compact form.

Usage: python compact.py WYCHEPROOF_CLONE

Writes the JSON files beside this program: of each group the members that a test uses, of each case
all but its comment, one case a line. No case of a chosen file or group is left out. See README.md.
"""

import json
import subprocess
import sys
from pathlib import Path

SHA256 = "SHA-256"
# Name here, name there without `_test.json`, members kept of a group, members kept of a case.
FILES = [
    ("aes_gcm", ["aes_gcm"], ["keySize", "ivSize", "tagSize"], ["key", "iv", "aad", "msg", "ct", "tag"]),
    ("ecdsa_p256_sha256_der", ["ecdsa_secp256r1_sha256"], ["publicKeyDer"], ["msg", "sig"]),
    ("ecdsa_p256_sha256_p1363", ["ecdsa_secp256r1_sha256_p1363"], ["publicKeyDer"], ["msg", "sig"]),
    (
        "rsa_oaep_sha256",
        [
            "rsa_oaep_2048_sha256_mgf1sha256",
            "rsa_oaep_3072_sha256_mgf1sha256",
            "rsa_oaep_4096_sha256_mgf1sha256",
            "rsa_three_primes_oaep_4096_sha256_mgf1sha256",
            "rsa_oaep_misc",
        ],
        ["keySize", "privateKeyPkcs8"],
        ["msg", "ct", "label"],
    ),
]


def chosen(group: dict) -> bool:
    """RSA-OAEP with SHA-256 throughout; of other algorithms every group."""
    hashes = (group.get("sha", SHA256), group.get("mgfSha", SHA256))
    return hashes == (SHA256, SHA256)


def compact(source: dict, group_members: list, case_members: list) -> list:
    groups = []
    for group in filter(chosen, source["testGroups"]):
        kept = {name: group[name] for name in group_members}
        kept["tests"] = [
            {name: case[name] for name in ["tcId", "result", *case_members]}
            for case in group["tests"]
        ]
        groups.append(kept)
    return groups


def one_case_a_line(document: dict) -> str:
    lines = [f'{{"source":{json.dumps(document["source"])},"groups":[']
    for index, group in enumerate(document["groups"]):
        members = {name: value for name, value in group.items() if name != "tests"}
        lines.append("," * (index > 0) + json.dumps(members, separators=(",", ":"))[:-1] + ',"tests":[')
        cases = [json.dumps(case, separators=(",", ":")) for case in group["tests"]]
        lines.append(",\n".join(cases) + "]}")
    return "\n".join([*lines, "]}"]) + "\n"


def main() -> int:
    clone = sys.argv[1]
    commit = subprocess.check_output(["git", "-C", clone, "rev-parse", "HEAD"], text=True).strip()
    for name, sources, group_members, case_members in FILES:
        document = {"source": f"https://github.com/C2SP/wycheproof commit {commit}", "groups": []}
        for source in sources:
            path = f"{commit}:testvectors_v1/{source}_test.json"
            text = subprocess.check_output(["git", "-C", clone, "show", path])
            document["groups"] += compact(json.loads(text), group_members, case_members)
        folder = Path(__file__).parent
        (folder / f"{name}.json").write_text(one_case_a_line(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
