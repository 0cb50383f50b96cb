//! Seals a file for one reader, in constant memory.
//!
//! ```text
//! cargo run -p sealed-object --example seal_file -- READER.jwk IN OUT
//! ```
//!
//! Prints what the reader needs besides the object and the private key: record ID, commitment and
//! the wrapped data key. In the system the first two come from the ledger; here they are made up.
//! `tests/interop/python/open_sealed.py` opens the result with Tink.

use std::{
    env,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
};

use anyhow::Context as _;
use sealed_object::{AssociatedData, DataKey, PublicKey, Sealer};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [reader, input, output] = arguments.as_slice() else {
        anyhow::bail!("usage: seal_file READER.jwk IN OUT");
    };
    let reader = PublicKey::from_jwk(&fs::read_to_string(reader)?).context(reader.clone())?;
    let associated_data = AssociatedData {
        record_id: [0x17; 16],
        commitment: [0x2a; 32],
    };

    // A key seals one object and is then only wrapped, never kept.
    let data_key = DataKey::generate();
    let plaintext = File::open(input).context(input.clone())?;
    let length = plaintext.metadata()?.len();
    let out = BufWriter::new(File::create(output).context(output.clone())?);
    let mut sealer = Sealer::new(out, &data_key, &associated_data, length)?;
    sealer.read_from(plaintext)?;
    sealer.finish()?.flush()?;

    let needed = serde_json::json!({
        "record_id": hex::encode(associated_data.record_id),
        "commitment": hex::encode(associated_data.commitment),
        "jwe": reader.wrap(&data_key)?,
    });
    writeln!(io::stdout(), "{needed}")?;
    Ok(())
}
