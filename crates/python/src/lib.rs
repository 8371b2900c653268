//! The extension module `trainproof._core`: argument conversion around the crates that do the work.
//!
//! Every function releases the interpreter's lock while it works and turns bad arguments into `ValueError`. Arrays are
//! read in place: changing one from another thread during a call gives an unspecified digest.

mod convert;
mod file;
mod hashing;
mod info;
mod merkle;
mod pool;
mod seed;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The compiled half of trainproof. Formats are in docs/hashing.md.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("VALUE_DOMAIN", PyBytes::new(module.py(), trainproof_hash::VALUE_DOMAIN))?;
    module.add_class::<hashing::Hasher>()?;
    module.add_function(wrap_pyfunction!(hashing::tensor_digest, module)?)?;
    module.add_function(wrap_pyfunction!(hashing::tensor_digests, module)?)?;
    module.add_function(wrap_pyfunction!(hashing::copy_digests, module)?)?;
    module.add_function(wrap_pyfunction!(hashing::state_root, module)?)?;
    module.add_function(wrap_pyfunction!(hashing::squared_distance, module)?)?;
    module.add_function(wrap_pyfunction!(merkle::salt, module)?)?;
    module.add_function(wrap_pyfunction!(merkle::leaf, module)?)?;
    module.add_function(wrap_pyfunction!(merkle::leaves_rows, module)?)?;
    module.add_function(wrap_pyfunction!(merkle::merkle_root, module)?)?;
    module.add_function(wrap_pyfunction!(merkle::merkle_path, module)?)?;
    module.add_function(wrap_pyfunction!(merkle::merkle_verify, module)?)?;
    module.add_function(wrap_pyfunction!(seed::stream_words, module)?)?;
    module.add_function(wrap_pyfunction!(seed::stream_below, module)?)?;
    module.add_function(wrap_pyfunction!(seed::permutation, module)?)?;
    module.add_function(wrap_pyfunction!(seed::fill_uniform, module)?)?;
    module.add_function(wrap_pyfunction!(seed::fill_normal, module)?)?;
    module.add_function(wrap_pyfunction!(seed::fill_integers, module)?)?;
    module.add_function(wrap_pyfunction!(seed::fill_bernoulli, module)?)?;
    module.add_function(wrap_pyfunction!(file::write_file, module)?)?;
    module.add_function(wrap_pyfunction!(info::build_info, module)?)
}
