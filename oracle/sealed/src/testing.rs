//! Keys that all tests share, since making one takes long in a test build.

use std::sync::LazyLock;

use crate::{MIN_MODULUS_BITS, PrivateKey};

pub(crate) static KEYS: LazyLock<[PrivateKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| PrivateKey::generate(MIN_MODULUS_BITS).unwrap()));
