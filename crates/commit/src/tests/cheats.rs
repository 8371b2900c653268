//! Provers that cheat, each in one way, and carry on honestly.

use std::cell::Cell;

use trainproof_field::{Extension, Field, Goldilocks, Isa, ntt};
use trainproof_poseidon::{Digest, PoseidonError, Transcript, Tree};

use super::{Case, SMALL, Stream, matrix};
use crate::open::Conduct;
use crate::{CommitError, Committed, Step, commit};

struct Honest;

impl Conduct for Honest {}

#[test]
fn a_wrong_value_of_any_claim() {
    let honest = Case::small();
    let proof = honest.open();
    for index in 0..honest.claims.len() {
        let mut case = Case::small();
        case.claims[index].value += Extension::ONE;
        assert!(case.verify(&proof).is_err(), "claim {index} after the proof");
        let proof = case.open_as(&Honest).unwrap();
        assert_eq!(
            case.verify(&proof),
            Err(CommitError::Unequal(Step::Values)),
            "claim {index} before the proof"
        );
    }
}

#[test]
fn errors_of_two_claims_that_cancel_in_their_sum() {
    let mut case = Case::small();
    case.claims[2].value += Extension::ONE;
    case.claims[5].value -= Extension::ONE;
    let proof = case.open_as(&Honest).unwrap();
    assert_eq!(case.verify(&proof), Err(CommitError::Unequal(Step::Values)));
}

#[test]
fn a_claim_at_another_point() {
    let case = Case::small();
    let proof = case.open();
    for index in 0..case.claims.len() {
        for coordinate in 0..case.claims[index].point.len() {
            let mut case = Case::small();
            case.claims[index].point[coordinate] += Extension::ONE;
            assert!(case.verify(&proof).is_err(), "claim {index}, coordinate {coordinate}");
        }
    }
}

#[test]
fn a_matrix_that_is_no_codeword() {
    // All rows random, or a random half of them.
    for kept in [0, 64] {
        let mut case = Case::small();
        let honest = &case.matrices[1];
        let mut code = ntt::extend(Isa::SCALAR, &honest.values, 5, 2, Goldilocks::ONE).unwrap();
        let mut stream = Stream::new(1);
        code[5 * kept..].fill_with(|| stream.element());
        let salts = vec![[Goldilocks::ZERO; 4]; 128];
        case.matrices[1] = Committed::new(Isa::SCALAR, honest.values.clone(), 5, code, Some(salts)).unwrap();
        let proof = case.open_as(&Honest).unwrap();
        assert!(
            matches!(case.verify(&proof), Err(CommitError::Unequal(Step::Word { .. }))),
            "{kept} rows kept"
        );
    }
}

#[test]
fn a_lower_matrix_that_is_no_codeword() {
    let mut case = Case::small();
    let honest = &case.matrices[0];
    let code = Stream::new(1).elements(3 << 4);
    case.matrices[0] = Committed::new(Isa::SCALAR, honest.values.clone(), 3, code, None).unwrap();
    let proof = case.open_as(&Honest).unwrap();
    let verdict = case.verify(&proof);
    assert!(
        matches!(verdict, Err(CommitError::Unequal(Step::Word { height: 2, .. }))),
        "{verdict:?}"
    );
}

#[test]
fn a_single_row_whose_code_is_not_constant() {
    let mut case = Case::small();
    let honest = &case.matrices[3];
    let code = Stream::new(1).elements(2 << 2);
    let salts = vec![[Goldilocks::ZERO; 4]; 4];
    case.matrices[3] = Committed::new(Isa::SCALAR, honest.values.clone(), 2, code, Some(salts)).unwrap();
    let proof = case.open_as(&Honest).unwrap();
    let verdict = case.verify(&proof);
    assert!(
        matches!(verdict, Err(CommitError::Unequal(Step::Word { height: 0, .. }))),
        "{verdict:?}"
    );
}

#[test]
fn another_matrix_for_one_query() {
    let case = Case::small();
    let shape = *case.matrices[1].matrix();
    let other = matrix(shape, 1, &mut Stream::new(99));
    let honest = case.open();
    let leaf = honest.queries[3].rows[1].clone();
    let own = (0..128)
        .find(|&index| case.matrices[1].leaf(index).unwrap() == leaf)
        .unwrap();
    let mut proof = honest.clone();
    proof.queries[3].rows[1] = other.leaf(own).unwrap();
    let mismatch = |index| Err(PoseidonError::CapMismatch { index }.into());
    assert_eq!(case.verify(&proof), mismatch(own));
    // With the path of the matrix that was committed.
    proof.queries[3].rows[1].path = leaf.path;
    assert_eq!(case.verify(&proof), mismatch(own));
    // Another row of the same matrix.
    proof.queries[3].rows[1] = case.matrices[1].leaf(own ^ 1).unwrap();
    assert_eq!(case.verify(&proof), mismatch(own));
}

#[test]
fn columns_in_another_order() {
    let mut case = Case::small();
    let Committed { values, .. } = &case.matrices[2];
    let swapped: Vec<_> = values.as_chunks().0.iter().flat_map(|&[a, b]| [b, a]).collect();
    case.matrices[2] = commit(Isa::SCALAR, &SMALL, swapped, 2, None).unwrap();
    let proof = case.open_as(&Honest).unwrap();
    assert_eq!(case.verify(&proof), Err(CommitError::Unequal(Step::Values)));
}

#[test]
fn the_values_of_two_matrices_exchanged() {
    struct Exchange;
    impl Conduct for Exchange {
        fn values(&self, values: &mut [Extension], _weights: &[Extension], _sum: Extension) {
            values.swap(1, 2);
        }
    }
    let case = Case::small();
    let proof = case.open_as(&Exchange).unwrap();
    assert_eq!(case.verify(&proof), Err(CommitError::Unequal(Step::Values)));
}

#[test]
fn an_old_root() {
    let case = Case::small();
    let old = matrix(*case.matrices[2].matrix(), 2, &mut Stream::new(98));
    // The new matrix is opened, the verifier knows the old root.
    let proof = case.open();
    let mut caps = case.caps();
    caps[2] = old.cap().to_vec();
    assert!(case.verify_with(&caps, &proof).is_err());
    // The old matrix is opened where the claims are those of the new.
    let mut case = Case::small();
    case.matrices[2] = old;
    let proof = case.open_as(&Honest).unwrap();
    assert_eq!(case.verify(&proof), Err(CommitError::Unequal(Step::Values)));
}

#[test]
fn rows_that_are_not_under_the_root() {
    // The old root, its paths, and the rows of a matrix for which the claims are true.
    for index in 0..4 {
        let mut case = Case::small();
        let old = matrix(*case.matrices[index].matrix(), index as u64, &mut Stream::new(98));
        case.matrices[index].tree = old.tree;
        let proof = case.open_as(&Honest).unwrap();
        let verdict = case.verify(&proof);
        let error = matches!(verdict, Err(CommitError::Poseidon(PoseidonError::CapMismatch { .. })));
        assert!(error, "matrix {index}: {verdict:?}");
    }
}

#[test]
fn leaves_that_are_not_under_the_cap_of_their_word() {
    struct Elsewhere(usize);
    impl Conduct for Elsewhere {
        fn tree(&self, height: usize, tree: Tree) -> Tree {
            if height != self.0 {
                return tree;
            }
            let leaves = (0..1 << tree.height()).map(|i: u32| Digest([i.into(); 4])).collect();
            Tree::above(Isa::SCALAR, leaves).unwrap()
        }
    }
    let case = Case::small();
    for height in [5, 2] {
        let proof = case.open_as(&Elsewhere(height)).unwrap();
        let verdict = case.verify(&proof);
        let error = matches!(verdict, Err(CommitError::Poseidon(PoseidonError::CapMismatch { .. })));
        assert!(error, "height {height}: {verdict:?}");
    }
}

#[test]
fn work_left_out_anywhere() {
    /// Takes a nonce that does no work at one place.
    struct Lazy {
        place: usize,
        passed: Cell<usize>,
    }
    impl Conduct for Lazy {
        fn grind(&self, isa: Isa, bits: usize, transcript: &mut Transcript) -> Result<Goldilocks, CommitError> {
            let place = self.passed.replace(self.passed.get() + 1);
            if place != self.place {
                return Ok(transcript.grind(isa, bits)?);
            }
            let idle = |&nonce: &u32| transcript.clone().check_grinding(bits, nonce.into()).is_err();
            let nonce = (0..).find(idle).expect("most nonces do no work").into();
            assert!(
                transcript.check_grinding(bits, nonce).is_err(),
                "the nonce is absorbed all the same"
            );
            Ok(nonce)
        }
    }
    let case = Case::small();
    // Three of columns, two where matrices enter at heights 5 and 2, one at height 0, three of the first word, the queries.
    for place in 0..10 {
        let passed = Cell::new(0);
        let lazy = Lazy { place, passed };
        let proof = case.open_as(&lazy).unwrap();
        assert_eq!(lazy.passed.get(), 10);
        let verdict = case.verify(&proof);
        let error = matches!(verdict, Err(CommitError::Poseidon(PoseidonError::Grinding { .. })));
        assert!(error, "place {place}: {verdict:?}");
    }
}

#[test]
fn a_word_folded_with_another_challenge() {
    struct Other(usize);
    impl Conduct for Other {
        fn challenge(&self, variable: usize, drawn: Extension) -> Extension {
            if variable == self.0 {
                drawn + Extension::ONE
            } else {
                drawn
            }
        }
    }
    let case = Case::small();
    // After variable 0 there is no message: the verifier computes the constant.
    for variable in 1..5 {
        let proof = case.open_as(&Other(variable)).unwrap();
        let verdict = case.verify(&proof);
        assert!(
            matches!(verdict, Err(CommitError::Unequal(_))),
            "variable {variable}: {verdict:?}"
        );
    }
}

#[test]
fn a_word_that_is_no_codeword() {
    struct Random(usize);
    impl Conduct for Random {
        fn word(&self, height: usize, word: &mut [Goldilocks]) {
            if height == self.0 {
                let mut stream = Stream::new(3);
                word.fill_with(|| stream.element());
            }
        }
    }
    let case = Case::small();
    for height in [5, 2] {
        let proof = case.open_as(&Random(height)).unwrap();
        let verdict = case.verify(&proof);
        assert!(
            matches!(verdict, Err(CommitError::Unequal(Step::Word { .. }))),
            "height {height}: {verdict:?}"
        );
    }
}

#[test]
fn the_word_of_another_polynomial() {
    struct Another(usize);
    impl Conduct for Another {
        fn word(&self, height: usize, word: &mut [Goldilocks]) {
            if height == self.0 {
                // A codeword plus that of the constant 1: a codeword.
                word.iter_mut().step_by(2).for_each(|x| *x += Goldilocks::ONE);
            }
        }
    }
    let case = Case::small();
    for height in [5, 2] {
        let proof = case.open_as(&Another(height)).unwrap();
        let step = Step::Word { query: 0, height };
        assert_eq!(case.verify(&proof), Err(CommitError::Unequal(step)));
    }
}

#[test]
fn a_proof_for_another_statement() {
    let case = Case::small();
    let proof = case.open();
    let mut transcript = Transcript::new(trainproof_poseidon::Tag::new("test"), &[Goldilocks::ZERO]);
    let mut native = crate::Native::new(&mut transcript);
    assert!(crate::verify(&mut native, &case.key, &case.caps(), &case.claims, &proof).is_err());
}

#[test]
fn a_lie_about_any_end_of_a_fold() {
    let case = Case::small();
    let honest = case.open();
    for variable in 0..5 {
        for end in 0..2 {
            let mut proof = honest.clone();
            proof.folds[4 - variable][end] += Extension::ONE;
            let error = Err(CommitError::Unequal(Step::Fold { variable }));
            assert_eq!(case.verify(&proof), error, "end {end}");
        }
    }
}

#[test]
fn a_near_codeword_opens_to_the_only_matrix_that_is_near() {
    // Fewer rows than half the distance are random: the claims are those of the matrix, as if all were right.
    let mut case = Case::small();
    let honest = case.matrices[2].clone();
    let mut code = ntt::extend(Isa::SCALAR, &honest.values, 2, 2, Goldilocks::ONE).unwrap();
    let mut stream = Stream::new(1);
    code[..2 * 2].fill_with(|| stream.element());
    case.matrices[2] = Committed::new(Isa::SCALAR, honest.values.clone(), 2, code.clone(), None).unwrap();
    let claim = case.claims[4].value;
    let proof = case.open_as(&Honest).unwrap();
    // The words are right, so only a query of such a row could tell.
    let verdict = case.verify(&proof);
    assert!(
        matches!(
            verdict,
            Ok(()) | Err(CommitError::Unequal(Step::Word { height: 5, .. }))
        ),
        "{verdict:?}"
    );
    // Another matrix under the same cap has other claims: no word is near both.
    let mut values = honest.values;
    values[0] += Goldilocks::ONE;
    case.matrices[2] = Committed::new(Isa::SCALAR, values, 2, code, None).unwrap();
    case.claims[4].value = claim + eq_at_first_cell(&case.claims[4].point);
    let proof = case.open_as(&Honest).unwrap();
    assert!(matches!(
        case.verify(&proof),
        Err(CommitError::Unequal(Step::Word { height: 5, .. }))
    ));
}

/// The weight of a block's first cell.
fn eq_at_first_cell(point: &[Extension]) -> Extension {
    point.iter().map(|&x| Extension::ONE - x).product()
}

/// Makes the sum of the values right by one of them, and all ends of folds right by the second.
struct Consistent {
    matrix: usize,
    ends: bool,
}

impl Conduct for Consistent {
    fn values(&self, values: &mut [Extension], weights: &[Extension], sum: Extension) {
        let terms = values.iter().zip(weights).map(|(&value, &weight)| value * weight);
        let missing = sum - terms.sum::<Extension>();
        values[self.matrix] += missing * weights[self.matrix].inverse().unwrap();
    }

    fn ends(&self, ends: &mut [Extension; 2], place: Extension, value: Extension) {
        if self.ends {
            let missing = value - ends[0] - place * (ends[1] - ends[0]);
            ends[1] += missing * place.inverse().unwrap();
        }
    }
}

#[test]
fn a_wrong_claim_carried_to_the_values_of_any_matrix() {
    let mut case = Case::small();
    case.claims[2].value += Extension::ONE;
    for (matrix, variable) in [(0, 1), (1, 4), (2, 4)] {
        let proof = case.open_as(&Consistent { matrix, ends: false }).unwrap();
        let step = Step::Fold { variable };
        assert_eq!(case.verify(&proof), Err(CommitError::Unequal(step)), "matrix {matrix}");
    }
}

#[test]
fn a_wrong_claim_carried_to_the_constant() {
    let mut case = Case::small();
    case.claims[2].value += Extension::ONE;
    // The matrix of one row enters when nothing is left to fold.
    for matrix in 0..4 {
        let proof = case.open_as(&Consistent { matrix, ends: true }).unwrap();
        let step = Step::Word { query: 0, height: 0 };
        assert_eq!(case.verify(&proof), Err(CommitError::Unequal(step)), "matrix {matrix}");
    }
}

#[test]
fn one_who_makes_right_what_is_right_changes_nothing() {
    let case = Case::small();
    let proof = case.open_as(&Consistent { matrix: 0, ends: true }).unwrap();
    assert_eq!(proof, case.open());
}
