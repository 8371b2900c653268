//! Eight lanes, AVX-512F.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmplt_epu64_mask,
    _mm512_loadu_si512, _mm512_mask_add_epi64, _mm512_mask_moveldup_ps, _mm512_mask_sub_epi64, _mm512_min_epu64,
    _mm512_movehdup_ps, _mm512_mul_epu32, _mm512_set1_epi64, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_storeu_si512,
    _mm512_sub_epi64,
};

use super::{Kernel, Routine, Simd, sealed::Sealed};
use crate::Goldilocks;
use crate::goldilocks::EPSILON;

/// The token of AVX-512F.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

/// Runs a kernel with these instructions.
///
/// # Safety
/// The machine must have AVX-512F.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

/// Runs a routine with these instructions, as a function of its own.
///
/// # Safety
/// The machine must have AVX-512F.
#[inline(never)]
#[target_feature(enable = "avx512f")]
unsafe fn call<R: Routine<Avx512>>(routine: R) -> R::Output {
    routine.run(Avx512(()))
}

/// ε = 2^64 − p in every lane.
#[inline(always)]
fn epsilon() -> __m512i {
    // SAFETY: only called with a token at hand, which exists only in `run` and `call`: the machine has AVX-512F.
    unsafe { _mm512_set1_epi64(EPSILON as i64) }
}

/// The words below p.
#[inline(always)]
fn canonical(x: __m512i) -> __m512i {
    // SAFETY: as in `epsilon`.
    unsafe {
        // x − p = x + ε modulo 2^64, which is more than x when x is below p and less when not.
        _mm512_min_epu64(x, _mm512_add_epi64(x, epsilon()))
    }
}

/// Residues of high · 2^64 + low; the steps are those of the scalar `reduce`.
#[inline(always)]
fn reduce(high: __m512i, low: __m512i) -> __m512i {
    // SAFETY: as in `epsilon`.
    unsafe {
        let top = _mm512_srli_epi64::<32>(high);
        let borrow = _mm512_cmplt_epu64_mask(low, top);
        let difference = _mm512_sub_epi64(low, top);
        let difference = _mm512_mask_sub_epi64(difference, borrow, difference, epsilon());
        let middle = _mm512_mul_epu32(high, epsilon());
        let sum = _mm512_add_epi64(difference, middle);
        let carry = _mm512_cmplt_epu64_mask(sum, middle);
        _mm512_mask_add_epi64(sum, carry, sum, epsilon())
    }
}

/// The upper half of every lane, moved down; what is above it is not used.
#[inline(always)]
fn upper(x: __m512i) -> __m512i {
    // SAFETY: as in `epsilon`.
    unsafe { _mm512_castps_si512(_mm512_movehdup_ps(_mm512_castsi512_ps(x))) }
}

/// High and low words of x · y, from four products of halves.
#[inline(always)]
fn wide_mul(x: __m512i, y: __m512i) -> (__m512i, __m512i) {
    // SAFETY: as in `epsilon`.
    unsafe {
        let (x_high, y_high) = (upper(x), upper(y));
        let low = _mm512_mul_epu32(x, y);
        let (cross, other) = (_mm512_mul_epu32(x_high, y), _mm512_mul_epu32(x, y_high));
        let high = _mm512_mul_epu32(x_high, y_high);
        // Each sum stays below 2^64: a product of halves is at most (2^32 − 1)².
        let cross = _mm512_add_epi64(cross, _mm512_srli_epi64::<32>(low));
        let other = _mm512_add_epi64(other, _mm512_and_si512(cross, epsilon()));
        let high = _mm512_add_epi64(high, _mm512_srli_epi64::<32>(cross));
        let high = _mm512_add_epi64(high, _mm512_srli_epi64::<32>(other));
        // The lower half of `low`, and above it that of `other`.
        let low = _mm512_mask_moveldup_ps(_mm512_castsi512_ps(low), 0xaaaa, _mm512_castsi512_ps(other));
        (high, _mm512_castps_si512(low))
    }
}

impl Sealed for Avx512 {}

impl Simd for Avx512 {
    type Vector = __m512i;
    const LANES: usize = 8;

    #[inline(always)]
    fn call<R: Routine<Self>>(self, routine: R) -> R::Output {
        // SAFETY: the token proves AVX-512F.
        unsafe { call(routine) }
    }

    #[inline(always)]
    fn splat(self, x: Goldilocks) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_epi64(x.value() as i64) }
    }

    #[inline(always)]
    fn residues(self, from: &[u64]) -> __m512i {
        let from = &from[..Self::LANES];
        // SAFETY: the token proves AVX-512F; the slice holds eight words.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn write(self, x: __m512i, to: &mut [u64]) {
        let to = &mut to[..Self::LANES];
        // SAFETY: the token proves AVX-512F; the slice has room for eight words.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), canonical(x)) }
    }

    #[inline(always)]
    fn add(self, x: __m512i, y: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            // With y below p a sum that carries is below p, so that ε can be added.
            let y = canonical(y);
            let sum = _mm512_add_epi64(x, y);
            let carry = _mm512_cmplt_epu64_mask(sum, y);
            _mm512_mask_add_epi64(sum, carry, sum, epsilon())
        }
    }

    #[inline(always)]
    fn sub(self, x: __m512i, y: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            // With y below p a difference that borrows is above ε, so that ε can be taken off.
            let y = canonical(y);
            let borrow = _mm512_cmplt_epu64_mask(x, y);
            let difference = _mm512_sub_epi64(x, y);
            _mm512_mask_sub_epi64(difference, borrow, difference, epsilon())
        }
    }

    #[inline(always)]
    fn mul_add(self, x: __m512i, y: __m512i, z: __m512i) -> __m512i {
        let (high, low) = wide_mul(x, y);
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let sum = _mm512_add_epi64(low, z);
            let carry = _mm512_cmplt_epu64_mask(sum, z);
            let high = _mm512_mask_add_epi64(high, carry, high, _mm512_set1_epi64(1));
            reduce(high, sum)
        }
    }

    #[inline(always)]
    fn mul(self, x: __m512i, y: __m512i) -> __m512i {
        let (high, low) = wide_mul(x, y);
        reduce(high, low)
    }

    #[inline(always)]
    fn square(self, x: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let x_high = upper(x);
            let low = _mm512_mul_epu32(x, x);
            let cross = _mm512_mul_epu32(x, x_high);
            let high = _mm512_mul_epu32(x_high, x_high);
            // x² = low + cross · 2^33 + high · 2^64.
            let carried = _mm512_add_epi64(cross, _mm512_srli_epi64::<33>(low));
            let high = _mm512_add_epi64(high, _mm512_srli_epi64::<31>(carried));
            let low = _mm512_add_epi64(low, _mm512_slli_epi64::<33>(cross));
            reduce(high, low)
        }
    }
}
