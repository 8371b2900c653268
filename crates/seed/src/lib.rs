//! Random streams, orders and fills that are the same on every machine. The formats are in `docs/hashing.md`.
#![forbid(unsafe_code)]
