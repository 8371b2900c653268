//! Random streams, orders and fills that are the same on every machine: `docs/hashing.md`, sections 5 to 7.
//!
//! Only integer arithmetic and the IEEE operations + − × ÷ and square root are used, each rounded once: no fused
//! multiply-add, no `libm`. Work of at least [`PARALLEL_WORDS`] runs on the current rayon pool.
#![forbid(unsafe_code)]

mod error;
mod fill;
mod ln;
mod normal;
mod order;
mod stream;

pub use error::SeedError;
pub use fill::{Element, FillSource, bernoulli, integers, normal, uniform};
pub use ln::ln;
pub use normal::inverse_normal;
pub use order::permutation;
pub use stream::{PARALLEL_WORDS, SEED_BYTES, Stream};
