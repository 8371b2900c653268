//! What was built, and what the processor offers it.

use std::env::consts::{ARCH, OS};

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Version, target, and those of the processor's features that the extension can use.
///
/// Returns:
///     dict of "version" (str), "target" (str) and "features" (list of str).
#[pyfunction]
pub(crate) fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("target", format!("{ARCH}-{OS}"))?;
    info.set_item("features", features())?;
    Ok(info)
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let candidates = [
        ("sse2", is_x86_feature_detected!("sse2")),
        ("sse4.1", is_x86_feature_detected!("sse4.1")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512ifma", is_x86_feature_detected!("avx512ifma")),
        ("sha", is_x86_feature_detected!("sha")),
    ];
    candidates
        .into_iter()
        .filter_map(|(name, detected)| detected.then_some(name))
        .collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    let candidates = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ];
    candidates
        .into_iter()
        .filter_map(|(name, detected)| detected.then_some(name))
        .collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
