//! The permutation as it is defined: matrices written out, every product by long division.

use trainproof_field::{Field, Goldilocks, naive};

use crate::constants::{DIAGONAL, EXTERNAL_ROUNDS, INITIAL, INTERNAL, INTERNAL_ROUNDS, TERMINAL};
use crate::{RATE, WIDTH};

/// A state.
pub type State = [Goldilocks; WIDTH];

/// All numbers of a permutation.
#[derive(Clone, Debug)]
pub struct Constants {
    /// Those of the first external rounds.
    pub initial: [State; EXTERNAL_ROUNDS / 2],
    /// Those of the internal rounds.
    pub internal: [Goldilocks; INTERNAL_ROUNDS],
    /// Those of the last external rounds.
    pub terminal: [State; EXTERNAL_ROUNDS / 2],
    /// What the internal matrix has on its diagonal beside one.
    pub diagonal: State,
}

impl Default for Constants {
    /// Those of the definition.
    fn default() -> Self {
        Self {
            initial: INITIAL,
            internal: INTERNAL,
            terminal: TERMINAL,
            diagonal: DIAGONAL,
        }
    }
}

const M: [[u64; 4]; 4] = [[2, 3, 1, 1], [1, 2, 3, 1], [1, 1, 2, 3], [3, 1, 1, 2]];

/// Permutes one state with any constants.
#[must_use]
pub fn permute(constants: &Constants, state: &State) -> State {
    let mut state = external_matrix(state);
    for round in &constants.initial {
        state = external_round(round, &state);
    }
    for &constant in &constants.internal {
        state[0] = power(naive::add(state[0].value(), constant.value()));
        state = internal_matrix(&constants.diagonal, &state);
    }
    for round in &constants.terminal {
        state = external_round(round, &state);
    }
    state
}

/// The digest of elements: the sponge on the naive permutation.
#[must_use]
pub fn hash(tag: Goldilocks, input: &[Goldilocks]) -> [Goldilocks; 4] {
    let mut state = [Goldilocks::ZERO; WIDTH];
    state[RATE] = tag;
    state[RATE + 1] = Goldilocks::from_residue(input.len() as u64);
    let mut padded = input.to_vec();
    while padded.is_empty() || !padded.len().is_multiple_of(RATE) {
        padded.push(Goldilocks::ZERO);
    }
    for block in padded.chunks_exact(RATE) {
        state[..RATE].copy_from_slice(block);
        state = permute(&Constants::default(), &state);
    }
    std::array::from_fn(|i| state[i])
}

fn external_round(constants: &State, state: &State) -> State {
    external_matrix(&std::array::from_fn(|i| {
        power(naive::add(state[i].value(), constants[i].value()))
    }))
}

fn power(x: Goldilocks) -> Goldilocks {
    (0..6).fold(x, |product, _| naive::mul(product.value(), x.value()))
}

fn external_matrix(state: &State) -> State {
    apply(state, |row, column| {
        let entry = M[row % 4][column % 4];
        Goldilocks::from_residue(if row / 4 == column / 4 { 2 * entry } else { entry })
    })
}

fn internal_matrix(diagonal: &State, state: &State) -> State {
    apply(state, |row, column| {
        if row == column {
            naive::add(diagonal[row].value(), 1)
        } else {
            Goldilocks::ONE
        }
    })
}

fn apply(state: &State, matrix: impl Fn(usize, usize) -> Goldilocks) -> State {
    std::array::from_fn(|row| {
        (0..WIDTH).fold(Goldilocks::ZERO, |sum, column| {
            let product = naive::mul(matrix(row, column).value(), state[column].value());
            naive::add(sum.value(), product.value())
        })
    })
}
