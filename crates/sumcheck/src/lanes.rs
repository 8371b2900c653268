//! Elements of the extension in vectors of their coefficients, for kernels.

use trainproof_field::{Extension, Field, Goldilocks, Isa, MAX_LANES, Simd};

/// The instruction set for loops of a power of two of steps.
#[must_use]
pub fn fitting(isa: Isa, steps: usize) -> Isa {
    if steps < MAX_LANES { Isa::SCALAR } else { isa }
}

/// Elements of the extension, by their coefficients.
pub type Pair<S> = [<S as Simd>::Vector; 2];

/// The first elements.
///
/// # Panics
/// If there are fewer than lanes.
#[inline(always)]
#[must_use]
pub fn load<S: Simd>(simd: S, from: &[Extension]) -> Pair<S> {
    let mut lanes = [[Goldilocks::ZERO; MAX_LANES]; 2];
    for (i, x) in from[..S::LANES].iter().enumerate() {
        let [c0, c1] = x.coefficients();
        lanes[0][i] = c0;
        lanes[1][i] = c1;
    }
    [simd.load(&lanes[0]), simd.load(&lanes[1])]
}

/// Writes the lanes.
///
/// # Panics
/// If there is less room than lanes.
#[inline(always)]
pub fn store<S: Simd>(simd: S, x: Pair<S>, to: &mut [Extension]) {
    let mut lanes = [[Goldilocks::ZERO; MAX_LANES]; 2];
    simd.store(x[0], &mut lanes[0]);
    simd.store(x[1], &mut lanes[1]);
    for (i, x) in to[..S::LANES].iter_mut().enumerate() {
        *x = Extension::new(lanes[0][i], lanes[1][i]);
    }
}

/// One element in every lane.
#[inline(always)]
#[must_use]
pub fn splat<S: Simd>(simd: S, x: Extension) -> Pair<S> {
    let [c0, c1] = x.coefficients();
    [simd.splat(c0), simd.splat(c1)]
}

/// Lane by lane, x + y.
#[inline(always)]
#[must_use]
pub fn add<S: Simd>(simd: S, x: Pair<S>, y: Pair<S>) -> Pair<S> {
    [simd.add(x[0], y[0]), simd.add(x[1], y[1])]
}

/// Lane by lane, x − y.
#[inline(always)]
#[must_use]
pub fn sub<S: Simd>(simd: S, x: Pair<S>, y: Pair<S>) -> Pair<S> {
    [simd.sub(x[0], y[0]), simd.sub(x[1], y[1])]
}

/// Lane by lane, x · y + z; `seven` is X² in every lane.
#[inline(always)]
#[must_use]
pub fn mul_add<S: Simd>(simd: S, seven: S::Vector, x: Pair<S>, y: Pair<S>, z: Pair<S>) -> Pair<S> {
    let high = simd.mul_add(simd.mul(x[1], y[1]), seven, z[0]);
    let cross = simd.mul_add(x[1], y[0], z[1]);
    [simd.mul_add(x[0], y[0], high), simd.mul_add(x[0], y[1], cross)]
}
