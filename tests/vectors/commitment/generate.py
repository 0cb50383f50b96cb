"""Makes the commitment vectors beside it, with nothing of Salus in it.

Run in this folder: python3 generate.py. Each file says what comes of it: `match`, `mismatch`,
`malformed` (does not parse) or `invalid` (parses, and is out of range).
"""

import hashlib
import json

NONE = "0" * 64

BASE = {
    "record_id": "00112233445566778899aabbccddeeff",
    "patient": "ffeeddccbbaa99887766554433221100",
    "type": "8867-4",
    "period": {"start": "2026-01-02T03:04:05Z", "end": "2026-01-02T04:04:05Z"},
    "readings": 60,
    "source": {"device_id": "hr-0042"},
    "registrar": "Org1MSP",
    "confidentiality": "N",
    "content_type": "application/vnd.salus.segment+cbor-seq",
    "cid": "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
    "size": 4096,
    "plaintext_size": 3111,
    "merkle_root": "ab" * 32,
    "salt": bytes(range(32)).hex(),
}


MANIFEST = {
    "content_type": "application/octet-stream",
    "size": 3111,
    "sha256": "cd" * 32,
    "chunk_size": 1024,
    "seq": 17,
    "type": "18748-4",
    "time": "2026-01-02T03:04:05.5+01:00",
    "sig": "eyJhbGciOiJFUzI1NiJ9..AA",
}


def record(**changes):
    return {**BASE, **changes}


def without(member):
    return {name: value for name, value in BASE.items() if name != member}


def canonical(value, leave_out=("salt", "cid", "size")):
    kept = {name: member for name, member in value.items() if name not in leave_out}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(*parts):
    return hashlib.sha256(b"".join(parts)).hexdigest()


def commitment(value):
    return digest(b"\x01", bytes.fromhex(value["salt"]), canonical(value))


def vector(name, outcome, description, value, committed):
    content = {
        "description": description,
        "outcome": outcome,
        "commitment": committed,
        "record": value,
    }
    with open(name + ".json", "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")


def match(name, description, value):
    vector(name, "match", description, value, commitment(value))


def mismatch(name, description, value=None, committed=None):
    vector(name, "mismatch", description, value or BASE, committed or commitment(BASE))


def malformed(name, description, value):
    vector(name, "malformed", description, value, NONE)


def invalid(name, description, value):
    vector(name, "invalid", description, value, commitment(value))


SALT = bytes.fromhex(BASE["salt"])
START, END = BASE["period"]["start"], BASE["period"]["end"]

match("device_segment", "a segment of a device", BASE)
match(
    "participant_source",
    "one image from a provider",
    record(
        source={"participant_id": "0123456789abcdef0123456789abcdef"},
        content_type="application/dicom",
        readings=1,
        type="imaging",
    ),
)
match(
    "labelled",
    "a record with every optional member",
    record(
        source={"participant_id": "0123456789abcdef0123456789abcdef"},
        context="visit-1",
        confidentiality="V",
        sensitivity=["PSY", "HIV"],
        submission="eyJhbGciOiJFUzI1NiJ9.e30.AA",
    ),
)
match(
    "signed_object",
    "one object with the manifest that its device signed, and what is odd about it",
    record(
        content_type="application/dicom",
        readings=1,
        type="18748-4",
        manifest=MANIFEST,
        marks={"clock-behind": 1},
    ),
)
match("marked", "readings of which some are odd", record(marks={"unit-not-ucum": 60, "x": 1}))
vector(
    "confidentiality_left_out",
    "match",
    "what is not said is normal, and committed to",
    without("confidentiality"),
    commitment(BASE),
)
match(
    "largest_numbers",
    "numbers at their limits",
    record(plaintext_size=2**53 - 1, readings=2**32 - 1),
)
match(
    "widest_period",
    "the longest period there is",
    record(period={"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"}),
)
match(
    "escapes",
    "a content type with characters that JSON escapes",
    record(content_type='text/plain; charset="utf-8"; x=\\'),
)
match("members_in_other_order", "order of members does not count", dict(reversed(BASE.items())))
vector(
    "cid_and_size_are_free",
    "match",
    "CID and size are not committed to: they follow from sealing",
    record(cid="bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", size=1),
    commitment(BASE),
)

mismatch("other_patient", "committed to another patient", record(patient="0" * 31 + "1"))
mismatch("other_type", "committed to another type", record(type="8867-5"))
mismatch(
    "other_period",
    "committed to a period one second longer",
    record(period={"start": START, "end": "2026-01-02T04:04:06Z"}),
)
mismatch(
    "other_registrar",
    "committed to another registrar",
    record(registrar="Org2MSP"),
)
mismatch(
    "other_confidentiality",
    "committed to another confidentiality",
    record(confidentiality="R"),
)
mismatch(
    "sensitivities_in_other_order",
    "order of sensitivities counts",
    record(sensitivity=["HIV", "PSY"]),
    commitment(record(sensitivity=["PSY", "HIV"])),
)
mismatch(
    "confidentiality_not_committed",
    "the default left out of what is hashed",
    without("confidentiality"),
    commitment(without("confidentiality")),
)
mismatch(
    "other_manifest",
    "committed to a manifest of another content",
    record(readings=1, manifest={**MANIFEST, "sha256": "ce" * 32}),
    commitment(record(readings=1, manifest=MANIFEST)),
)
mismatch(
    "marks_taken_away",
    "committed to an odd reading, shown as if none were",
    committed=commitment(record(marks={"unit-not-ucum": 1})),
)
mismatch("other_salt", "committed with another salt", record(salt="11" + "22" * 31))
mismatch(
    "salt_as_text",
    "the salt hashed as hex text instead of bytes",
    committed=digest(b"\x01", BASE["salt"].encode(), canonical(BASE)),
)
mismatch(
    "no_scheme_byte",
    "the scheme's byte left out",
    committed=digest(SALT, canonical(BASE)),
)
mismatch(
    "with_cid_and_size",
    "CID and size hashed too",
    committed=digest(b"\x01", SALT, canonical(BASE, leave_out=("salt",))),
)
mismatch(
    "not_canonical",
    "JSON with white space hashed",
    committed=digest(b"\x01", SALT, json.dumps(json.loads(canonical(BASE))).encode()),
)

malformed("salt_of_zeros", "a salt that nobody drew", record(salt="00" * 32))
malformed("salt_too_short", "a salt of 31 bytes", record(salt="00" * 15 + "01" * 16))
malformed(
    "upper_case_id", "IDs are lower case", record(record_id="00112233445566778899AABBCCDDEEFF")
)
malformed("unknown_member", "a member that does not belong", record(name="x"))
malformed(
    "unknown_confidentiality",
    "a confidentiality that is none of N, R and V",
    record(confidentiality="U"),
)
malformed(
    "manifest_with_more",
    "a manifest has no members of its device's own",
    record(readings=1, manifest={**MANIFEST, "room": "12"}),
)
malformed("mark_of_words", "a mark is a name", record(marks={"the unit is wrong": 1}))
malformed("no_registrar", "the registrar is missing", without("registrar"))
malformed("missing_member", "a member is missing", without("merkle_root"))
malformed(
    "time_with_offset",
    "times have one form",
    record(period={"start": "2026-01-02T03:04:05+00:00", "end": END}),
)
malformed("fractional_readings", "numbers are integers", record(readings=1.5))
malformed(
    "two_sources",
    "one source only",
    record(
        source={"device_id": "hr-0042", "participant_id": "0123456789abcdef0123456789abcdef"}
    ),
)

invalid(
    "period_backwards",
    "a period that ends before it starts",
    record(period={"start": END, "end": START}),
)
invalid("no_readings", "a record of nothing", record(readings=0))
invalid("size_beyond_json", "a size that JSON numbers cannot hold", record(size=2**53))
invalid("content_type_empty", "no content type", record(content_type=""))
invalid(
    "content_type_with_newline",
    "a content type that would split a header",
    record(content_type="a/b\r\nX: y"),
)
invalid("cid_with_slash", "a CID that is a path", record(cid="bafk/../x"))
invalid(
    "sensitivity_twice",
    "a sensitivity twice",
    record(sensitivity=["PSY", "PSY"]),
)
invalid(
    "too_many_sensitivities",
    "17 sensitivities",
    record(sensitivity=[f"S{number}" for number in range(17)]),
)
invalid(
    "manifest_of_many",
    "a manifest is of one object",
    record(manifest=MANIFEST),
)
invalid(
    "manifest_of_another_size",
    "a manifest is of the whole content",
    record(readings=1, manifest={**MANIFEST, "size": 3112}),
)
invalid(
    "manifest_with_words",
    "a manifest has no place for words",
    record(readings=1, manifest={**MANIFEST, "time": "after lunch"}),
)
invalid(
    "manifest_of_a_participant",
    "people submit, devices have manifests",
    record(
        readings=1,
        manifest=MANIFEST,
        source={"participant_id": "0123456789abcdef0123456789abcdef"},
    ),
)
invalid("mark_of_none", "a mark of no reading", record(marks={"unit-not-ucum": 0}))
invalid("mark_of_too_many", "more odd readings than readings", record(marks={"a": 61}))
invalid(
    "too_many_marks",
    "17 marks",
    record(marks={f"mark-{number}": 1 for number in range(17)}),
)
invalid(
    "marks_of_a_participant",
    "only devices' readings are marked",
    record(
        source={"participant_id": "0123456789abcdef0123456789abcdef"},
        marks={"unit-not-ucum": 1},
    ),
)
