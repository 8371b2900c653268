//! The permutation, one state or many at a time (section 2.1).

use rayon::prelude::*;
use trainproof_field::{Field, Goldilocks, Isa, Kernel, Simd};

use crate::packed::States;

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
    Isa::SCALAR.run(Many(std::slice::from_mut(state)));
}

/// Permutes every state, on the current rayon pool when there are many.
pub fn permute_all(isa: Isa, states: &mut [[Goldilocks; WIDTH]]) {
    if states.len() <= BLOCK {
        isa.run(Many(states));
    } else {
        states.par_chunks_mut(BLOCK).for_each(|states| isa.run(Many(states)));
    }
}

struct Many<'a>(&'a mut [[Goldilocks; WIDTH]]);

impl Kernel for Many<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for states in self.0.chunks_mut(States::<S>::COUNT) {
            let mut packed = States::new(simd, &[Goldilocks::ZERO; WIDTH]);
            for i in 0..WIDTH {
                packed.set(i, states.len(), |index| states[index][i]);
            }
            packed.permute();
            for i in 0..WIDTH {
                for (state, x) in states.iter_mut().zip(packed.get(i)) {
                    state[i] = x;
                }
            }
        }
    }
}
