//! The permutation of several states at once.

use trainproof_field::{Field, Goldilocks, MAX_LANES, Routine, Simd};

use crate::WIDTH;
use crate::constants::{DIAGONAL, INITIAL, INTERNAL, TERMINAL};

/// As many states as [`States::COUNT`]: lane l of vector i is element i of state l.
pub(crate) struct States<S: Simd> {
    simd: S,
    vectors: [S::Vector; WIDTH],
}

impl<S: Simd> States<S> {
    /// The number of states.
    pub(crate) const COUNT: usize = S::LANES;

    /// The same state in every lane.
    #[inline(always)]
    pub(crate) fn new(simd: S, state: &[Goldilocks; WIDTH]) -> Self {
        let mut vectors = [simd.splat(Goldilocks::ZERO); WIDTH];
        for (x, &value) in vectors.iter_mut().zip(state) {
            *x = simd.splat(value);
        }
        Self { simd, vectors }
    }

    /// Sets element `i` of the first `count` states, and of those after them, which nobody reads, to zero.
    #[inline(always)]
    pub(crate) fn set(&mut self, i: usize, count: usize, element: impl Fn(usize) -> Goldilocks) {
        let mut elements = [Goldilocks::ZERO; MAX_LANES];
        for (index, x) in elements.iter_mut().enumerate().take(count) {
            *x = element(index);
        }
        self.vectors[i] = self.simd.load(&elements);
    }

    /// Element `i` of every state; zeros after the last.
    #[inline(always)]
    pub(crate) fn get(&self, i: usize) -> [Goldilocks; MAX_LANES] {
        let mut elements = [Goldilocks::ZERO; MAX_LANES];
        self.simd.store(self.vectors[i], &mut elements);
        elements
    }

    /// Permutes every state.
    #[inline(always)]
    pub(crate) fn permute(&mut self) {
        self.simd.call(Permute(&mut self.vectors));
    }
}

/// The permutation in every lane. Two states side by side were no faster, although all of a round waits for one power.
struct Permute<'a, V>(&'a mut [V; WIDTH]);

impl<S: Simd> Routine<S> for Permute<'_, S::Vector> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let state = self.0;
        external_layer(simd, state);
        for constants in &INITIAL {
            external_round(simd, state, constants);
        }
        for &constant in &INTERNAL {
            internal_round(simd, state, constant);
        }
        for constants in &TERMINAL {
            external_round(simd, state, constants);
        }
    }
}

#[inline(always)]
fn external_round<S: Simd>(simd: S, state: &mut [S::Vector; WIDTH], constants: &[Goldilocks; WIDTH]) {
    for (x, &constant) in state.iter_mut().zip(constants) {
        *x = seventh_power(simd, simd.add(*x, simd.splat(constant)));
    }
    external_layer(simd, state);
}

#[inline(always)]
fn internal_round<S: Simd>(simd: S, state: &mut [S::Vector; WIDTH], constant: Goldilocks) {
    // The sum of the others does not wait for the power.
    let mut sums = [state[1], state[2], state[3], state[4]];
    for i in 5..WIDTH {
        sums[i % 4] = simd.add(sums[i % 4], state[i]);
    }
    let others = simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3]));
    state[0] = seventh_power(simd, simd.add(state[0], simd.splat(constant)));
    let sum = simd.add(others, state[0]);
    for (x, &factor) in state.iter_mut().zip(&DIAGONAL) {
        *x = simd.mul_add(*x, simd.splat(factor), sum);
    }
}

#[inline(always)]
fn seventh_power<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let square = simd.square(x);
    simd.mul(simd.mul(square, x), simd.square(square))
}

/// The matrix (2·M M M; M 2·M M; M M 2·M), M = (2 3 1 1; 1 2 3 1; 1 1 2 3; 3 1 1 2).
#[inline(always)]
fn external_layer<S: Simd>(simd: S, state: &mut [S::Vector; WIDTH]) {
    for block in state.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *block;
        let (ab, cd) = (simd.add(a, b), simd.add(c, d));
        let all = simd.add(ab, cd);
        let (with_b, with_d) = (simd.add(all, b), simd.add(all, d));
        *block = [
            simd.add(with_b, ab),
            simd.add(with_b, simd.add(c, c)),
            simd.add(with_d, cd),
            simd.add(with_d, simd.add(a, a)),
        ];
    }
    for i in 0..4 {
        let sum = simd.add(simd.add(state[i], state[i + 4]), state[i + 8]);
        for j in [i, i + 4, i + 8] {
            state[j] = simd.add(state[j], sum);
        }
    }
}
