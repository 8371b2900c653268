//! Four lanes, AVX2. It compares signed words only: words are compared with their top bit flipped.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_blend_epi32, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_cmpgt_epi64, _mm256_loadu_si256, _mm256_movehdup_ps, _mm256_mul_epu32, _mm256_set1_epi64x,
    _mm256_slli_epi64, _mm256_srli_epi64, _mm256_storeu_si256, _mm256_sub_epi64, _mm256_xor_si256,
};

use super::{Kernel, Routine, Simd, sealed::Sealed};
use crate::Goldilocks;
use crate::goldilocks::EPSILON;

/// The token of AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Runs a kernel with these instructions.
///
/// # Safety
/// The machine must have AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// Runs a routine with these instructions, as a function of its own.
///
/// # Safety
/// The machine must have AVX2.
#[inline(never)]
#[target_feature(enable = "avx2")]
unsafe fn call<R: Routine<Avx2>>(routine: R) -> R::Output {
    routine.run(Avx2(()))
}

/// One word in every lane.
#[inline(always)]
fn every(x: u64) -> __m256i {
    // SAFETY: only called with a token at hand, which exists only in `run` and `call`: the machine has AVX2.
    unsafe { _mm256_set1_epi64x(x as i64) }
}

/// The words with their top bit flipped: signed order of the results is unsigned order of the words.
#[inline(always)]
fn flip(x: __m256i) -> __m256i {
    // SAFETY: as in `every`.
    unsafe { _mm256_xor_si256(x, every(1 << 63)) }
}

/// ε where flipped x is below flipped y, zero elsewhere.
#[inline(always)]
fn epsilon_if_less(x: __m256i, y: __m256i) -> __m256i {
    // SAFETY: as in `every`.
    unsafe { _mm256_srli_epi64::<32>(_mm256_cmpgt_epi64(y, x)) }
}

/// The flipped words below p of flipped words.
#[inline(always)]
fn canonical(x: __m256i) -> __m256i {
    // SAFETY: as in `every`.
    unsafe {
        // x − p = x + ε modulo 2^64, and x = (x + ε) − ε.
        let reduced = _mm256_add_epi64(x, every(EPSILON));
        _mm256_sub_epi64(reduced, epsilon_if_less(x, flip(every(Goldilocks::ORDER))))
    }
}

/// Residues of high · 2^64 + low; the steps are those of the scalar `reduce`, on flipped words.
#[inline(always)]
fn reduce(high: __m256i, low: __m256i) -> __m256i {
    // SAFETY: as in `every`.
    unsafe {
        let low = flip(low);
        // A borrow makes the difference greater.
        let difference = _mm256_sub_epi64(low, _mm256_srli_epi64::<32>(high));
        let difference = _mm256_sub_epi64(difference, epsilon_if_less(low, difference));
        // A carry makes the sum less.
        let sum = _mm256_add_epi64(difference, _mm256_mul_epu32(high, every(EPSILON)));
        flip(_mm256_add_epi64(sum, epsilon_if_less(sum, difference)))
    }
}

/// The upper half of every lane, moved down; what is above it is not used.
#[inline(always)]
fn upper(x: __m256i) -> __m256i {
    // SAFETY: as in `every`.
    unsafe { _mm256_castps_si256(_mm256_movehdup_ps(_mm256_castsi256_ps(x))) }
}

/// High and low words of x · y, from four products of halves.
#[inline(always)]
fn wide_mul(x: __m256i, y: __m256i) -> (__m256i, __m256i) {
    // SAFETY: as in `every`.
    unsafe {
        let (x_high, y_high) = (upper(x), upper(y));
        let low = _mm256_mul_epu32(x, y);
        let (cross, other) = (_mm256_mul_epu32(x_high, y), _mm256_mul_epu32(x, y_high));
        let high = _mm256_mul_epu32(x_high, y_high);
        // Each sum stays below 2^64: a product of halves is at most (2^32 − 1)².
        let cross = _mm256_add_epi64(cross, _mm256_srli_epi64::<32>(low));
        let other = _mm256_add_epi64(other, _mm256_and_si256(cross, every(EPSILON)));
        let high = _mm256_add_epi64(high, _mm256_srli_epi64::<32>(cross));
        let high = _mm256_add_epi64(high, _mm256_srli_epi64::<32>(other));
        // The lower half of `low`, and above it that of `other`.
        (high, _mm256_blend_epi32::<0xaa>(low, _mm256_slli_epi64::<32>(other)))
    }
}

impl Sealed for Avx2 {}

impl Simd for Avx2 {
    type Vector = __m256i;
    const LANES: usize = 4;

    #[inline(always)]
    fn call<R: Routine<Self>>(self, routine: R) -> R::Output {
        // SAFETY: the token proves AVX2.
        unsafe { call(routine) }
    }

    #[inline(always)]
    fn splat(self, x: Goldilocks) -> __m256i {
        every(x.value())
    }

    #[inline(always)]
    fn residues(self, from: &[u64]) -> __m256i {
        let from = &from[..Self::LANES];
        // SAFETY: the token proves AVX2; the slice holds four words.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn write(self, x: __m256i, to: &mut [u64]) {
        let to = &mut to[..Self::LANES];
        // SAFETY: the token proves AVX2; the slice has room for four words.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), flip(canonical(flip(x)))) }
    }

    #[inline(always)]
    fn add(self, x: __m256i, y: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe {
            // With y below p a sum that carries is below p, so that ε can be added. One flip of two words flips the sum.
            let y = canonical(flip(y));
            let sum = _mm256_add_epi64(x, y);
            flip(_mm256_add_epi64(sum, epsilon_if_less(sum, y)))
        }
    }

    #[inline(always)]
    fn sub(self, x: __m256i, y: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe {
            // With y below p a difference that borrows is above ε, so that ε can be taken off. Two flips cancel.
            let (x, y) = (flip(x), canonical(flip(y)));
            _mm256_sub_epi64(_mm256_sub_epi64(x, y), epsilon_if_less(x, y))
        }
    }

    #[inline(always)]
    fn mul_add(self, x: __m256i, y: __m256i, z: __m256i) -> __m256i {
        let (high, low) = wide_mul(x, y);
        // SAFETY: the token proves AVX2.
        unsafe {
            let z = flip(z);
            let sum = _mm256_add_epi64(low, z);
            // Minus one where the sum carries.
            let carry = _mm256_cmpgt_epi64(z, sum);
            reduce(_mm256_sub_epi64(high, carry), flip(sum))
        }
    }

    #[inline(always)]
    fn mul(self, x: __m256i, y: __m256i) -> __m256i {
        let (high, low) = wide_mul(x, y);
        reduce(high, low)
    }

    #[inline(always)]
    fn square(self, x: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe {
            let x_high = upper(x);
            let low = _mm256_mul_epu32(x, x);
            let cross = _mm256_mul_epu32(x, x_high);
            let high = _mm256_mul_epu32(x_high, x_high);
            // x² = low + cross · 2^33 + high · 2^64.
            let carried = _mm256_add_epi64(cross, _mm256_srli_epi64::<33>(low));
            let high = _mm256_add_epi64(high, _mm256_srli_epi64::<31>(carried));
            let low = _mm256_add_epi64(low, _mm256_slli_epi64::<33>(cross));
            reduce(high, low)
        }
    }
}
