//! What `openssl speed` measures on the same machine, if it is installed: with `-elapsed`, since
//! ours is measured by the clock too, and other work on the machine slows both.

use std::process::Command;

/// RSA operations a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rsa {
    pub(crate) private: f64,
    pub(crate) public: f64,
}

/// Whether there is an `openssl` to compare with.
pub(crate) fn is_here() -> bool {
    output_of(&["version"]).is_some()
}

/// Bytes a second that AES-256-GCM encrypts in one thread, in buffers of `bytes`.
pub(crate) fn aes_256_gcm(bytes: u64) -> Option<f64> {
    let bytes = bytes.to_string();
    let output = output_of(&[
        "speed",
        "-elapsed",
        "-evp",
        "aes-256-gcm",
        "-bytes",
        &bytes,
        "-seconds",
        "1",
    ])?;
    // "AES-256-GCM    3493811.99k": thousands of bytes a second.
    let line = output
        .lines()
        .rev()
        .find(|line| line.to_ascii_lowercase().starts_with("aes-256-gcm"))?;
    let thousands = line.split_whitespace().nth(1)?.strip_suffix('k')?;
    Some(thousands.parse::<f64>().ok()? * 1000.0)
}

/// RSA operations a second with 3072 bits in one thread.
pub(crate) fn rsa_3072() -> Option<Rsa> {
    let output = output_of(&["speed", "-elapsed", "-seconds", "1", "rsa3072"])?;
    // "rsa 3072 bits 0.001012s 0.000019s    988.0  52105.0": time and rate of private and public.
    let line = output
        .lines()
        .rev()
        .find(|line| line.replace(' ', "").starts_with("rsa3072bits"))?;
    let mut rates = line
        .split_whitespace()
        .filter(|word| !word.ends_with('s'))
        .filter_map(|word| word.parse::<f64>().ok())
        .skip_while(|number| *number == 3072.0);
    Some(Rsa {
        private: rates.next()?,
        public: rates.next()?,
    })
}

fn output_of(arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}
