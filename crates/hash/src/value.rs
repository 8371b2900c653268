//! The value encoding (section 3). The encoder walks Python objects and therefore lives in Python; the byte strings that
//! separate it from every other hash of the format live here.

/// What a value digest starts with.
pub const VALUE_DOMAIN: &[u8] = b"trainproof.value.v1\0";
