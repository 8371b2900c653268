//! The permutation, one state or many at a time (section 2.1).

use rayon::prelude::*;
use trainproof_field::{Field, Goldilocks, Isa, Kernel, Simd};

use crate::packed;

/// Elements of a state.
pub const WIDTH: usize = 12;
/// Elements of a state that inputs replace and outputs are read from; they come first.
pub const RATE: usize = 8;
/// Elements of a state that nothing outside ever sees or replaces.
pub const CAPACITY: usize = WIDTH - RATE;

/// States that one thread permutes in a row.
const BLOCK: usize = 64;

/// Permutes one state.
pub fn permute(state: &mut [Goldilocks; WIDTH]) {
    Isa::SCALAR.run(One(state));
}

/// Permutes every state, on the current rayon pool when there are many.
pub fn permute_all(isa: Isa, states: &mut [[Goldilocks; WIDTH]]) {
    if states.len() <= BLOCK {
        isa.run(Many(states));
    } else {
        states.par_chunks_mut(BLOCK).for_each(|states| isa.run(Many(states)));
    }
}

struct One<'a>(&'a mut [Goldilocks; WIDTH]);

impl Kernel for One<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut state = [simd.splat(Goldilocks::ZERO); WIDTH];
        for (x, from) in state.iter_mut().zip(self.0.iter()) {
            *x = simd.splat(*from);
        }
        packed::permute(simd, &mut state);
        for (x, to) in state.iter().zip(self.0.iter_mut()) {
            simd.store_part(*x, std::slice::from_mut(to));
        }
    }
}

struct Many<'a>(&'a mut [[Goldilocks; WIDTH]]);

impl Kernel for Many<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for states in self.0.chunks_mut(S::LANES) {
            let mut state = [simd.splat(Goldilocks::ZERO); WIDTH];
            for (i, x) in state.iter_mut().enumerate() {
                *x = packed::gather(simd, states.len(), |lane| states[lane][i]);
            }
            packed::permute(simd, &mut state);
            for (i, x) in state.iter().enumerate() {
                packed::scatter(simd, *x, states.len(), |lane, value| states[lane][i] = value);
            }
        }
    }
}
