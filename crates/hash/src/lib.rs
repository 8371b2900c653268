//! Canonical hashes of tensors, states and datasets. The formats are in `docs/hashing.md`.
#![forbid(unsafe_code)]
