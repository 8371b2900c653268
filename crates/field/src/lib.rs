//! The Goldilocks field, its quadratic extension and number-theoretic transforms: `docs/protocol.md`, section 1.
//!
//! Every value outside a kernel is canonical. Kernels are written once against [`Simd`] and run on the instruction set that
//! an [`Isa`] names; all of them give the same bits. [`naive`] holds a slow, obvious twin of every fast path.
#![deny(missing_docs, unsafe_code)]

mod error;
mod extension;
mod field;
mod goldilocks;
mod inverse;
mod isa;
pub mod naive;
pub mod ntt;
mod simd;

pub use error::FieldError;
pub use extension::Extension;
pub use field::Field;
pub use goldilocks::Goldilocks;
pub use inverse::batch_inverse;
pub use isa::{ISA_VARIABLE, Isa};
pub use simd::{Kernel, MAX_LANES, Routine, Simd};
