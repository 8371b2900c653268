//! The verifier over other backends does the same.

use trainproof_field::{Extension, Goldilocks};
use trainproof_poseidon::{Digest, RATE, Shape, Tag};

use super::Case;
use crate::{Backend, CommitError, Cost, Native, Step, cost, verify};

/// Computes and counts. Permutations are those of leaves and paths.
struct Counted<'a> {
    native: Native<'a>,
    cost: Cost,
    equalities: usize,
}

impl Backend for Counted<'_> {
    type Base = Goldilocks;
    type Ext = Extension;
    type Digest = Digest;
    type Bit = bool;

    fn base(&mut self, value: Goldilocks) -> Goldilocks {
        value
    }

    fn ext(&mut self, value: Extension) -> Extension {
        value
    }

    fn coefficients(&mut self, x: &Extension) -> [Goldilocks; 2] {
        self.native.coefficients(x)
    }

    fn base_mul(&mut self, x: &Goldilocks, y: &Goldilocks) -> Goldilocks {
        self.cost.base_products += 1;
        self.native.base_mul(x, y)
    }

    fn add(&mut self, x: &Extension, y: &Extension) -> Extension {
        self.native.add(x, y)
    }

    fn sub(&mut self, x: &Extension, y: &Extension) -> Extension {
        self.native.sub(x, y)
    }

    fn mul(&mut self, x: &Extension, y: &Extension) -> Extension {
        self.cost.products += 1;
        self.native.mul(x, y)
    }

    fn scale(&mut self, x: &Extension, y: &Goldilocks) -> Extension {
        self.cost.base_products += 1;
        self.native.scale(x, y)
    }

    fn select_base(&mut self, bit: &bool, one: &Goldilocks, zero: &Goldilocks) -> Goldilocks {
        self.cost.selections += 1;
        self.native.select_base(bit, one, zero)
    }

    fn select(&mut self, bit: &bool, one: &Extension, zero: &Extension) -> Extension {
        self.cost.selections += 1;
        self.native.select(bit, one, zero)
    }

    // A circuit's comparison does not end the verifier's run either.
    fn equal(&mut self, _step: Step, _x: &Extension, _y: &Extension) -> Result<(), CommitError> {
        self.equalities += 1;
        Ok(())
    }

    fn absorb(&mut self, tag: Tag, message: &[Goldilocks]) {
        self.native.absorb(tag, message);
    }

    fn absorb_extensions(&mut self, tag: Tag, message: &[Extension]) {
        self.native.absorb_extensions(tag, message);
    }

    fn absorb_digests(&mut self, tag: Tag, message: &[Digest]) {
        self.native.absorb_digests(tag, message);
    }

    fn challenge(&mut self) -> Extension {
        self.native.challenge()
    }

    fn challenge_bits(&mut self, bits: usize) -> Result<Vec<bool>, CommitError> {
        self.native.challenge_bits(bits)
    }

    fn check_grinding(&mut self, bits: usize, nonce: &Goldilocks) -> Result<(), CommitError> {
        // Not done here: the nonce is absorbed all the same.
        let _ = self.native.check_grinding(bits, nonce);
        Ok(())
    }

    fn check_leaf(
        &mut self,
        _tree: &Shape,
        _cap: &[Digest],
        _index: &[bool],
        row: &[Goldilocks],
        salt: Option<&[Goldilocks]>,
        path: &[Digest],
    ) -> Result<(), CommitError> {
        self.cost.permutations += (row.len() + salt.map_or(0, <[_]>::len)).div_ceil(RATE) + path.len();
        Ok(())
    }
}

#[test]
fn what_verifying_costs_does_not_depend_on_the_proof() {
    let case = Case::small();
    let honest = case.open();
    let mut nonsense = honest.clone();
    nonsense.values.reverse();
    nonsense.rounds.reverse();
    nonsense.queries.reverse();
    let expected = cost(&case.key).unwrap();
    for proof in [honest, nonsense] {
        let mut transcript = case.transcript();
        let mut counted = Counted {
            native: Native::new(&mut transcript),
            cost: Cost::default(),
            equalities: 0,
        };
        verify(&mut counted, &case.key, &case.caps(), &case.claims, &proof).unwrap();
        // One of the values, one a variable, three a query: at heights 5, 2 and 0.
        assert_eq!(counted.equalities, 1 + 5 + 24 * 3);
        let permutations = counted.cost.permutations;
        assert_eq!(
            Cost {
                permutations,
                ..expected
            },
            counted.cost
        );
        assert!(permutations < expected.permutations);
    }
}

#[test]
fn permutations_of_an_opening_counted_by_hand() {
    let case = Case::tiny();
    // A row of 2 and 4 of salt: 1, path 2; a row of 1: 1, path 0. Words 4 → 2 (heights of trees 4, 2): 1 and 1, no paths.
    let queries = 3 * (1 + 2 + 1 + 1 + 1);
    // `open` 2 + 5 + 1 + 6 + 1 + 5 + 4 = 24; caps 2 + 64 each; claims 2 + 4: 162 elements, filled up: 21 permutations. One
    // bit of claims: a challenge.
    let statement = 21;
    // A round of a column: 6 elements; its work: 4 elements, its bits and a challenge. Rounds of rows: 6 elements each.
    let sumcheck = 2 + 4;
    // Two values, work: 6 and 4 elements. A cap of 16: 66 elements, followed by two ends: 72. Ends, work; ends, work.
    let first = 1 + 1 + 9 + 1 + 1 + 1;
    // A cap of 4: 18 elements, two ends: 24; then two ends.
    let second = 3 + 1;
    // Work, two places more than its bits.
    let places = 1;
    assert_eq!(
        cost(&case.key).unwrap().permutations,
        queries + statement + sumcheck + first + second + places
    );
}
