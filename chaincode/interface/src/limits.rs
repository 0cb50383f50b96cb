//! Limits that both sides know. Each violation is [`crate::ErrorCode::LimitExceeded`] or
//! [`crate::ErrorCode::InvalidArgument`].

/// Records in one `RegisterRecords`.
pub const BATCH_RECORDS_MAX: usize = 500;
/// Wrapped keys of one record: patient, oracle, and grantees by name.
pub const WRAPS_MAX: usize = 64;
/// Bytes of one wrapped key (compact JWE); an RSA key of 8192 bits fits.
pub const WRAP_BYTES_MAX: usize = 4096;
/// Items of one page.
pub const PAGE_ITEMS_MAX: u16 = 200;
/// Items of a page whose request names no size.
pub const PAGE_ITEMS_DEFAULT: u16 = 50;
/// Keys looked at for one page; a page may end here with a token and fewer items.
pub const PAGE_KEYS_SCANNED_MAX: usize = 2000;
/// Bytes of a page token.
pub const PAGE_TOKEN_BYTES_MAX: usize = 1024;
/// Bytes of one public argument; 500 record entries need about 150 KiB.
pub const ARGUMENT_BYTES_MAX: usize = 512 * 1024;
/// Bytes of one transient field; 500 records with their wraps need about 2 MiB.
pub const TRANSIENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a PEM certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the proof of an encryption key (compact JWS), which has about 400.
pub const KEY_PROOF_BYTES_MAX: usize = 1024;
/// Record types named by one rule.
pub const RULE_TYPES_MAX: usize = 64;
/// Records named by one rule.
pub const RULE_RECORDS_MAX: usize = 64;
/// Authors, contexts or labels named by one rule.
pub const RULE_LIST_MAX: usize = 16;
/// Rules that stand at one time for one grantee and one record type (or one named record, or all
/// types) of one patient or organisation. It bounds what a decision reads.
pub const RULES_PER_SLOT_MAX: usize = 64;
/// Sensitivities of one record.
pub const RECORD_SENSITIVITIES_MAX: usize = 16;
/// Marks of one record: kinds of oddities, however many of its readings have them.
pub const RECORD_MARKS_MAX: usize = 16;
/// Seconds that a declared emergency lasts, at most: four hours.
pub const EMERGENCY_SECONDS_MAX: u64 = 4 * 60 * 60;
/// Bytes of a sealed text (compact JWE): an emergency's justification, a review's note.
pub const SEALED_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Records in one `ChangeWraps`.
pub const WRAP_BATCH_MAX: usize = 200;
/// Nonces in one `PurgeNonces`.
pub const NONCE_BATCH_MAX: usize = 200;
/// Versions of one record, so that its chain is listed whole.
pub const RECORD_VERSIONS_MAX: u32 = 200;
/// Oracles of one organisation that share one encryption key.
pub const KEY_HOLDERS_MAX: usize = 16;
/// Organisations whose clocks stand on the channel, at most.
pub const CLOCKS_MAX: usize = 64;
/// Bindings kept for one device; the oldest leaves first.
pub const DEVICE_BINDINGS_MAX: usize = 64;
/// Requests for access of one provider to one patient that are neither answered nor past their
/// end, at most.
pub const ACCESS_REQUESTS_OPEN_MAX: usize = 4;
/// Requests for access of one provider on one day (UTC), at most.
pub const ACCESS_REQUESTS_OF_DAY_MAX: u32 = 100;
/// Seconds by which a signed request's `iat` and the transaction's time may differ, either way.
pub const REQUEST_WINDOW_SECONDS: i64 = 300;
/// Seconds by which a transaction's time may lie before what the ledger took earlier: a window
/// before the organisations' clocks, which themselves run a window apart at most in their
/// transactions. What is listed by time may get entries this far back.
pub const NOTICE_OVERLAP_SECONDS: i64 = 2 * REQUEST_WINDOW_SECONDS;
/// Characters of a device ID, a record type, an MSP ID.
pub const TOKEN_CHARS_MAX: usize = 64;
/// Bytes of a content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// Bytes of a CID's text.
pub const CID_BYTES_MAX: usize = 128;
/// Largest integer that RFC 8785 writes exactly; sizes stay below it.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;
/// Bytes of a nonce, at least.
pub const NONCE_BYTES_MIN: usize = 16;
/// Bytes of a nonce, at most.
pub const NONCE_BYTES_MAX: usize = 32;
/// Bits of an RSA encryption key's modulus, at least.
pub const RSA_BITS_MIN: usize = 3072;
/// Bits of an RSA encryption key's modulus, at most.
pub const RSA_BITS_MAX: usize = 8192;
