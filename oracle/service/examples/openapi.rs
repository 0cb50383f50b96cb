//! Writes the REST API's description, for those who generate a client from it:
//!
//! ```text
//! cargo run -p oracle --example openapi > openapi.json
//! ```

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let description = oracle::api::openapi_document().to_pretty_json()?;
    writeln!(std::io::stdout(), "{description}")?;
    Ok(())
}
