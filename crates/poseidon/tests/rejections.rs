//! What openings, trees and transcripts refuse, and that everything which is said changes what follows.

use proptest::prelude::*;
use trainproof_field::{Extension, Field, FieldError, Goldilocks, Isa};
use trainproof_poseidon::{
    Digest, MAX_HEIGHT, Opening, PoseidonError, SALT, Salt, Shape, Tag, Transcript, Tree, hash, naive, node,
    verify_path,
};

const P: u64 = Goldilocks::ORDER;
const TAG: Tag = Tag::new("test");
const BYTES: Tag = Tag::new("bytes");

fn element(value: u64) -> Goldilocks {
    Goldilocks::from_residue(value)
}

fn matrix(height: usize, width: usize, seed: u64) -> Vec<Goldilocks> {
    // Of large order: rows that repeat would open at each other's places.
    let start = Goldilocks::GENERATOR + element(seed);
    (0..(width as u64) << height).map(|i| start.pow(i + 3)).collect()
}

fn salts(height: usize, seed: u64) -> Vec<Salt> {
    matrix(height, SALT, seed).as_chunks().0.to_vec()
}

/// A tree, an opening of each leaf, and what a verifier knows.
fn opened(height: usize, width: usize, salted: bool) -> (Shape, Vec<Digest>, Vec<Opening>) {
    let (matrix, salts) = (matrix(height, width, 1), salts(height, 2));
    let tree = Tree::new(Isa::SCALAR, &matrix, width, salted.then_some(&salts)).unwrap();
    let openings = matrix.chunks_exact(width).enumerate().map(|(index, row)| Opening {
        row: row.to_vec(),
        salt: salted.then_some(salts[index]),
        path: tree.path(index).unwrap(),
    });
    (Shape { height, width, salted }, tree.cap().to_vec(), openings.collect())
}

#[test]
fn every_leaf_opens_at_its_place_only() {
    for (height, width, salted) in [(0, 1, false), (1, 3, true), (4, 8, false), (5, 9, true), (6, 2, false)] {
        let (shape, cap, openings) = opened(height, width, salted);
        for (index, opening) in openings.iter().enumerate() {
            for other in 0..1 << height {
                let verdict = shape.verify(&cap, other, opening);
                let expected = if other == index {
                    Ok(())
                } else {
                    Err(PoseidonError::CapMismatch { index: other })
                };
                assert_eq!(verdict, expected, "height {height}, leaf {index} at {other}");
            }
        }
    }
}

#[test]
fn rejects_any_changed_element() {
    let (shape, cap, openings) = opened(6, 5, true);
    let error = Err(PoseidonError::CapMismatch { index: 37 });
    let honest = &openings[37];
    for i in 0..5 {
        let mut opening = honest.clone();
        opening.row[i] += Goldilocks::ONE;
        assert_eq!(shape.verify(&cap, 37, &opening), error);
    }
    for i in 0..SALT {
        let mut opening = honest.clone();
        opening.salt.as_mut().unwrap()[i] += Goldilocks::ONE;
        assert_eq!(shape.verify(&cap, 37, &opening), error);
    }
    for level in 0..2 {
        for i in 0..4 {
            let mut opening = honest.clone();
            opening.path[level].0[i] += Goldilocks::ONE;
            assert_eq!(shape.verify(&cap, 37, &opening), error);
        }
    }
    for i in 0..4 {
        let mut cap = cap.clone();
        cap[37 >> 2].0[i] += Goldilocks::ONE;
        assert_eq!(shape.verify(&cap, 37, honest), error);
    }
}

#[test]
fn rejects_a_path_of_another_length() {
    let (shape, cap, openings) = opened(6, 2, false);
    let mut opening = openings[9].clone();
    opening.path.push(cap[0]);
    assert_eq!(
        shape.verify(&cap, 9, &opening),
        Err(PoseidonError::PathLength { expected: 2, got: 3 })
    );
    opening.path.truncate(1);
    assert_eq!(
        shape.verify(&cap, 9, &opening),
        Err(PoseidonError::PathLength { expected: 2, got: 1 })
    );
}

/// A tree of half the height above the same nodes: its leaves are nodes of the other.
#[test]
fn rejects_a_node_in_place_of_a_leaf() {
    let leaves: Vec<_> = (0..64).map(|i| hash(TAG, &[element(i)])).collect();
    let tree = Tree::above(Isa::SCALAR, leaves.clone()).unwrap();
    let inner = node(&leaves[0], &leaves[1]);
    let path = tree.path(0).unwrap();
    assert_eq!(verify_path(tree.cap(), 6, 0, leaves[0], &path), Ok(()));
    assert_eq!(
        verify_path(tree.cap(), 6, 0, inner, &path[1..]),
        Err(PoseidonError::PathLength { expected: 2, got: 1 })
    );
    // A leaf whose row is the two digests below a node is not that node.
    let row = [leaves[0].0, leaves[1].0].concat();
    assert_ne!(hash(Tag::LEAF, &row), inner);
    assert_eq!(hash(Tag::NODE, &row), inner);
}

#[test]
fn rejects_a_cap_of_another_size() {
    for (height, expected) in [(2, 4), (6, 16)] {
        let (shape, cap, openings) = opened(height, 2, false);
        for hostile in [&cap[1..], &[], [cap.as_slice(), &cap].concat().as_slice()] {
            let error = PoseidonError::CapLength {
                expected,
                got: hostile.len(),
            };
            assert_eq!(shape.verify(hostile, 0, &openings[0]), Err(error));
        }
    }
}

#[test]
fn rejects_an_index_outside_the_tree() {
    let (shape, cap, openings) = opened(5, 2, false);
    for index in [32, 33, usize::MAX] {
        assert_eq!(
            shape.verify(&cap, index, &openings[0]),
            Err(PoseidonError::LeafIndex { index, leaves: 32 })
        );
    }
}

#[test]
fn rejects_a_row_of_another_length() {
    let (shape, cap, openings) = opened(5, 2, false);
    for got in [0, 1, 3] {
        let mut opening = openings[0].clone();
        opening.row.resize(got, Goldilocks::ZERO);
        assert_eq!(
            shape.verify(&cap, 0, &opening),
            Err(PoseidonError::RowLength { expected: 2, got })
        );
    }
    let empty = Shape { width: 0, ..shape };
    assert_eq!(empty.verify(&cap, 0, &openings[0]), Err(PoseidonError::NoColumns));
}

#[test]
fn rejects_a_salt_too_many_or_too_few() {
    for salted in [false, true] {
        let (shape, cap, openings) = opened(5, 2, salted);
        let mut opening = openings[0].clone();
        opening.salt = (!salted).then_some([Goldilocks::ONE; SALT]);
        assert_eq!(
            shape.verify(&cap, 0, &opening),
            Err(PoseidonError::SaltPresence { expected: salted })
        );
    }
}

/// The salt is no part of the row: a salted tree is not the tree of the longer rows.
#[test]
fn a_salted_row_is_not_a_longer_row() {
    let (matrix, salts) = (matrix(3, 2, 1), salts(3, 2));
    let longer: Vec<_> = matrix
        .chunks_exact(2)
        .zip(&salts)
        .flat_map(|(row, salt)| [row, salt].concat())
        .collect();
    let salted = Tree::new(Isa::SCALAR, &matrix, 2, Some(&salts)).unwrap();
    let plain = Tree::new(Isa::SCALAR, &longer, 6, None).unwrap();
    assert!(salted.cap().iter().zip(plain.cap()).all(|(a, b)| a != b));
}

#[test]
fn rejects_a_tree_that_is_too_high() {
    let height = MAX_HEIGHT + 1;
    let error = Err(PoseidonError::Height {
        height,
        max: MAX_HEIGHT,
    });
    assert_eq!(
        verify_path(&[Digest::default(); 16], height, 0, Digest::default(), &[]),
        error
    );
    let shape = Shape {
        height: usize::MAX,
        width: 1,
        salted: false,
    };
    let opening = Opening {
        row: vec![Goldilocks::ONE],
        salt: None,
        path: vec![],
    };
    let error = Err(PoseidonError::Height {
        height: usize::MAX,
        max: MAX_HEIGHT,
    });
    assert_eq!(shape.verify(&[], 0, &opening), error);
}

#[test]
fn rejects_what_is_no_tree() {
    let isa = Isa::SCALAR;
    let six = [Goldilocks::ONE; 6];
    let error = |result: Result<Tree, PoseidonError>| result.unwrap_err();
    assert_eq!(error(Tree::new(isa, &six, 0, None)), PoseidonError::NoColumns);
    let rows = FieldError::Rows { elements: 6, width: 4 };
    assert_eq!(error(Tree::new(isa, &six, 4, None)), PoseidonError::Field(rows));
    assert_eq!(
        error(Tree::new(isa, &six, 2, None)),
        PoseidonError::Leaves { leaves: 3 }
    );
    assert_eq!(error(Tree::new(isa, &[], 2, None)), PoseidonError::Leaves { leaves: 0 });
    assert_eq!(error(Tree::above(isa, vec![])), PoseidonError::Leaves { leaves: 0 });
    for got in [0, 1, 3] {
        let salts = vec![[Goldilocks::ONE; SALT]; got];
        let count = PoseidonError::SaltCount { expected: 2, got };
        assert_eq!(error(Tree::new(isa, &six, 3, Some(&salts))), count);
    }
    let tree = Tree::new(isa, &six, 3, None).unwrap();
    assert_eq!(tree.path(2), Err(PoseidonError::LeafIndex { index: 2, leaves: 2 }));
}

#[test]
fn rejects_a_second_encoding_of_a_digest() {
    let digest = hash(TAG, &[]);
    assert_eq!(Digest::from_bytes(digest.to_bytes()), Ok(digest));
    for at in 0..4 {
        let mut bytes = digest.to_bytes();
        bytes[8 * at..8 * at + 8].copy_from_slice(&P.to_le_bytes());
        assert_eq!(Digest::from_bytes(bytes), Err(FieldError::NonCanonical { value: P }));
    }
}

#[test]
fn tags_and_lengths_separate() {
    let zeros = [Goldilocks::ZERO; 17];
    let digests: Vec<_> = (0..=17)
        .flat_map(|n| [hash(TAG, &zeros[..n]), hash(Tag::LEAF, &zeros[..n])])
        .collect();
    for (i, a) in digests.iter().enumerate() {
        assert!(digests[..i].iter().all(|b| a != b));
    }
}

#[test]
#[should_panic(expected = "one to eight")]
fn a_tag_is_not_empty() {
    let _ = Tag::new("");
}

#[test]
#[should_panic(expected = "one to eight")]
fn a_tag_is_not_long() {
    let _ = Tag::new("ninechars");
}

#[test]
#[should_panic(expected = "visible ASCII")]
fn a_tag_is_visible_ascii() {
    let _ = Tag::new("a b");
}

/// Transcripts that differ in one thing said: their challenges must differ.
#[test]
fn everything_said_changes_the_challenge() {
    type Saying = fn(&mut Transcript);
    let sayings: [Saying; 18] = [
        |_| {},
        |t| t.absorb(TAG, &[]),
        |t| t.absorb(Tag::LEAF, &[]),
        |t| t.absorb(TAG, &[element(0)]),
        |t| t.absorb(TAG, &[element(0); 2]),
        |t| t.absorb(TAG, &[element(0); 6]),
        |t| t.absorb(TAG, &[element(0); 14]),
        |t| t.absorb(TAG, &[element(0), element(1)]),
        |t| {
            t.absorb(TAG, &[element(0)]);
            t.absorb(TAG, &[element(1)]);
        },
        |t| {
            t.absorb(TAG, &[]);
            t.absorb(TAG, &[element(0)]);
        },
        |t| {
            t.absorb(TAG, &[element(0)]);
            t.absorb(TAG, &[]);
        },
        |t| {
            t.absorb(TAG, &[element(0)]);
            let _ = t.challenge();
        },
        |t| {
            t.absorb(TAG, &[element(0)]);
            let _ = t.challenge();
            t.absorb(TAG, &[]);
        },
        |t| t.absorb_bytes(BYTES, &[]),
        |t| t.absorb_bytes(BYTES, &[0]),
        |t| t.absorb_bytes(BYTES, &[0; 2]),
        |t| t.absorb_bytes(BYTES, &[0; 5]),
        |t| t.absorb_bytes(BYTES, &[1, 0]),
    ];
    let mut seen = Vec::new();
    for statement in [&[] as &[_], &[Goldilocks::ZERO], &[Goldilocks::ONE]] {
        for protocol in [TAG, Tag::LEAF] {
            for say in sayings {
                let mut transcript = Transcript::new(protocol, statement);
                say(&mut transcript);
                let challenge = transcript.challenge_extension();
                assert!(!seen.contains(&challenge));
                seen.push(challenge);
            }
        }
    }
    // A digest is no challenge.
    assert_ne!(Transcript::new(TAG, &[]).challenge(), hash(TAG, &[]).0[0]);
}

#[test]
fn elements_digests_and_extensions_are_their_coefficients() {
    let flat: Vec<_> = (0..8).map(element).collect();
    let spoken = |say: &dyn Fn(&mut Transcript)| {
        let mut transcript = Transcript::new(TAG, &[]);
        say(&mut transcript);
        transcript.challenge()
    };
    let expected = spoken(&|t| t.absorb(TAG, &flat));
    let extensions: Vec<_> = flat
        .as_chunks()
        .0
        .iter()
        .map(|&[c0, c1]| Extension::new(c0, c1))
        .collect();
    let digests: Vec<_> = flat.as_chunks().0.iter().map(|&digest| Digest(digest)).collect();
    assert_eq!(spoken(&|t| t.absorb_extensions(TAG, &extensions)), expected);
    assert_eq!(spoken(&|t| t.absorb_digests(TAG, &digests)), expected);
}

#[test]
fn challenges_do_not_repeat() {
    let mut transcript = Transcript::new(TAG, &[]);
    let challenges: Vec<_> = (0..40).map(|_| transcript.challenge()).collect();
    for (i, a) in challenges.iter().enumerate() {
        assert!(challenges[..i].iter().all(|b| a != b));
    }
}

#[test]
fn rejects_more_bits_than_are_uniform() {
    let mut transcript = Transcript::new(TAG, &[]);
    let before = transcript.clone();
    assert_eq!(
        transcript.challenge_bits(33),
        Err(PoseidonError::ChallengeBits { bits: 33, max: 32 })
    );
    for bits in [0, 33, usize::MAX] {
        let error = PoseidonError::GrindingBits { bits, max: 32 };
        assert_eq!(transcript.check_grinding(bits, element(0)), Err(error.clone()));
        assert_eq!(transcript.grind(Isa::SCALAR, bits), Err(error));
    }
    assert_eq!(transcript, before);
}

#[test]
fn rejects_a_nonce_without_work_and_finds_the_least() {
    let transcript = Transcript::new(TAG, &[]);
    for isa in Isa::available() {
        let nonce = transcript.clone().grind(isa, 11).unwrap().value();
        for other in 0..nonce {
            let verdict = transcript.clone().check_grinding(11, element(other));
            assert_eq!(verdict, Err(PoseidonError::Grinding { nonce: other, bits: 11 }));
        }
        assert_eq!(transcript.clone().check_grinding(11, element(nonce)), Ok(()));
        // What was ground for fewer bits is said with them.
        let mut fewer = transcript.clone();
        if fewer.check_grinding(10, element(nonce)).is_ok() {
            let mut more = transcript.clone();
            more.check_grinding(11, element(nonce)).unwrap();
            assert_ne!(fewer.challenge(), more.challenge());
        }
    }
}

fn any_element() -> impl Strategy<Value = Goldilocks> {
    let edges = [0, 1, P - 1, (1 << 32) - 1, 1 << 32, P - (1 << 32)];
    prop_oneof![0..P, (0..6_usize).prop_map(move |i| edges[i])].prop_map(element)
}

proptest! {
    #[test]
    fn permutations_equal_the_naive_one(state in proptest::array::uniform12(any_element())) {
        let expected = naive::permute(&naive::Constants::default(), &state);
        for isa in Isa::available() {
            let mut states = [[Goldilocks::ZERO; 12], state, [Goldilocks::ONE; 12]];
            trainproof_poseidon::permute_all(isa, &mut states);
            prop_assert_eq!(states[1], expected);
        }
    }

    #[test]
    fn digests_equal_the_naive_sponge(input in proptest::collection::vec(any_element(), 0..30)) {
        prop_assert_eq!(hash(TAG, &input).0, naive::hash(TAG.element(), &input));
    }

    #[test]
    fn trees_have_the_same_bits_everywhere(height in 0_usize..9, width in 1_usize..20, seed: u64, salted: bool) {
        let (matrix, salts) = (matrix(height, width, seed), salts(height, seed ^ 1));
        let salts = salted.then_some(salts.as_slice());
        let leaves: Vec<_> = matrix.chunks_exact(width).enumerate().map(|(i, row)| match salts {
            Some(salts) => hash(Tag::SALTED_LEAF, &[row, &salts[i]].concat()),
            None => hash(Tag::LEAF, row),
        }).collect();
        let mut layer = leaves;
        while layer.len() > 16 {
            layer = layer.chunks_exact(2).map(|pair| node(&pair[0], &pair[1])).collect();
        }
        for isa in Isa::available() {
            let tree = Tree::new(isa, &matrix, width, salts).unwrap();
            prop_assert_eq!(tree.cap(), layer.as_slice());
        }
    }

    #[test]
    fn hostile_openings_never_panic(
        height in 0_usize..70, width in 0_usize..4, salted: bool, index: usize, cap in 0_usize..33, row in 0_usize..4,
        salt: bool, path in 0_usize..70,
    ) {
        let opening = Opening {
            row: vec![Goldilocks::ZERO; row],
            salt: salt.then_some([Goldilocks::ZERO; SALT]),
            path: vec![Digest::default(); path],
        };
        let shape = Shape { height, width, salted };
        prop_assert!(shape.verify(&vec![Digest::default(); cap], index, &opening).is_err());
    }
}
