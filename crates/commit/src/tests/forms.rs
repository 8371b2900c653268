//! Bytes and lists: one encoding, one length, no panic, nothing that the verifier overlooks.

use proptest::prelude::*;
use trainproof_field::Goldilocks;
use trainproof_poseidon::Digest;

use super::{Case, SMALL};
use crate::{Block, CommitError, Key, Matrix, Parameters, Proof};

#[test]
fn rejects_every_byte_flipped() {
    let case = Case::tiny();
    let bytes = case.open().to_bytes(&case.key).unwrap();
    for index in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[index] ^= 1 << (index % 8);
        let verdict = Proof::from_bytes(&case.key, &bytes).and_then(|proof| case.verify(&proof));
        assert!(verdict.is_err(), "byte {index}");
    }
}

#[test]
fn rejects_every_word_that_is_no_element() {
    let case = Case::tiny();
    let bytes = case.open().to_bytes(&case.key).unwrap();
    for index in 0..bytes.len() / 8 {
        let mut bytes = bytes.clone();
        bytes[8 * index..8 * index + 8].copy_from_slice(&Goldilocks::ORDER.to_le_bytes());
        let verdict = Proof::from_bytes(&case.key, &bytes);
        assert!(matches!(verdict, Err(CommitError::Field(_))), "word {index}");
    }
}

#[test]
fn rejects_bytes_of_another_length() {
    let case = Case::tiny();
    let bytes = case.open().to_bytes(&case.key).unwrap();
    let expected = bytes.len();
    for got in [0, 1, 8, expected - 1, expected + 1, 2 * expected] {
        let mut bytes = bytes.clone();
        bytes.resize(got, 0);
        let error = CommitError::Count {
            name: "bytes",
            expected,
            got,
        };
        assert_eq!(Proof::from_bytes(&case.key, &bytes), Err(error));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_bytes_make_it_panic(seed: u64) {
        let case = Case::tiny();
        let mut stream = super::Stream::new(seed);
        let words = Proof::encoded_length(&case.key) / 8;
        let bytes: Vec<_> = stream.elements(words).iter().flat_map(|x| x.to_bytes()).collect();
        let proof = Proof::from_bytes(&case.key, &bytes).unwrap();
        prop_assert!(case.verify(&proof).is_err());
    }
}

/// What is done to one list of a proof.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Drop,
    Double,
    Empty,
    Swap,
}

fn change<T: Clone + PartialEq>(list: &mut Vec<T>, change: Change) -> bool {
    match change {
        Change::Drop => {
            list.pop();
        }
        Change::Double => list.extend(list.last().cloned()),
        Change::Empty => list.clear(),
        Change::Swap if list.len() > 1 && list[0] != list[1] => list.swap(0, 1),
        Change::Swap => return false,
    }
    true
}

/// A list of a proof, by name.
type List = (&'static str, fn(&mut Proof, Change) -> bool);

const LISTS: [List; 16] = [
    ("rounds", |proof, to| change(&mut proof.rounds, to)),
    ("column_nonces", |proof, to| change(&mut proof.column_nonces, to)),
    ("values", |proof, to| change(&mut proof.values, to)),
    ("entry_nonces", |proof, to| change(&mut proof.entry_nonces, to)),
    ("caps", |proof, to| change(&mut proof.caps, to)),
    ("nodes of a cap", |proof, to| change(&mut proof.caps[0], to)),
    ("folds", |proof, to| change(&mut proof.folds, to)),
    ("fold_nonces", |proof, to| change(&mut proof.fold_nonces, to)),
    ("queries", |proof, to| change(&mut proof.queries, to)),
    ("rows", |proof, to| change(&mut proof.queries[1].rows, to)),
    ("row", |proof, to| change(&mut proof.queries[1].rows[1].row, to)),
    ("salt", |proof, to| {
        let salt = proof.queries[1].rows[1].salt.as_mut();
        salt.is_some_and(|salt| change(salt, to))
    }),
    ("path", |proof, to| change(&mut proof.queries[1].rows[1].path, to)),
    ("words", |proof, to| change(&mut proof.queries[1].words, to)),
    ("leaf", |proof, to| change(&mut proof.queries[1].words[0].0, to)),
    ("path of a word", |proof, to| {
        change(&mut proof.queries[1].words[0].1, to)
    }),
];

#[test]
fn rejects_every_list_dropped_doubled_emptied_or_swapped() {
    let case = Case::small();
    let honest = case.open();
    let mut swapped = 0;
    for (name, field) in LISTS {
        for to in [Change::Drop, Change::Double, Change::Empty, Change::Swap] {
            let mut proof = honest.clone();
            if !field(&mut proof, to) {
                continue;
            }
            let verdict = case.verify(&proof);
            if to == Change::Swap {
                swapped += 1;
                assert!(verdict.is_err(), "{name} {to:?}");
            } else if honest != proof {
                assert!(
                    matches!(verdict, Err(CommitError::Count { .. })),
                    "{name} {to:?}: {verdict:?}"
                );
                assert_eq!(proof.to_bytes(&case.key).map(|_| ()), verdict);
            }
        }
    }
    assert!(swapped >= 12, "{swapped}");
}

#[test]
fn rejects_a_salt_dropped_or_added() {
    let case = Case::small();
    let honest = case.open();
    let mut proof = honest.clone();
    proof.queries[0].rows[1].salt = None;
    assert!(matches!(
        case.verify(&proof),
        Err(CommitError::Count { name: "salts", .. })
    ));
    let mut proof = honest;
    proof.queries[0].rows[0].salt = proof.queries[0].rows[1].salt.clone();
    assert!(matches!(
        case.verify(&proof),
        Err(CommitError::Count { name: "salts", .. })
    ));
}

#[test]
fn rejects_caps_and_claims_of_another_length() {
    let case = Case::small();
    let proof = case.open();
    let mut caps = case.caps();
    caps[1].push(Digest::default());
    assert!(matches!(
        case.verify_with(&caps, &proof),
        Err(CommitError::Count {
            name: "nodes of a cap",
            ..
        })
    ));
    caps.pop();
    assert!(matches!(
        case.verify_with(&caps, &proof),
        Err(CommitError::Count { name: "matrices", .. })
    ));
    let mut case = Case::small();
    case.claims[0].point.pop();
    assert!(matches!(
        case.verify(&proof),
        Err(CommitError::Count {
            name: "coordinates",
            ..
        })
    ));
    case.claims.pop();
    assert!(matches!(
        case.verify(&proof),
        Err(CommitError::Count { name: "claims", .. })
    ));
}

#[test]
fn parameters_come_from_the_key_only() {
    let case = Case::small();
    let proof = case.open();
    let others = [
        Parameters { log_blowup: 1, ..SMALL },
        Parameters { queries: 23, ..SMALL },
        Parameters { fold_bits: 2, ..SMALL },
        Parameters {
            query_grinding: 2,
            ..SMALL
        },
        Parameters {
            challenge_grinding: 1,
            ..SMALL
        },
    ];
    for parameters in others {
        let (matrices, blocks) = (case.key.matrices().to_vec(), case.key.blocks().to_vec());
        let key = Key::new(parameters, matrices, blocks).unwrap();
        let case = Case {
            key,
            matrices: case.matrices.clone(),
            claims: case.claims.clone(),
        };
        assert!(case.verify(&proof).is_err(), "{parameters:?}");
    }
}

#[test]
fn keys_refuse_what_nothing_is_proven_for() {
    let matrix = Matrix {
        height: 4,
        width: 3,
        salted: false,
    };
    let block = |start, shape: &[usize]| Block {
        matrix: 0,
        start,
        shape: shape.to_vec(),
    };
    let key = |matrix, block| Key::new(SMALL, vec![matrix], vec![block]);
    assert!(key(matrix, block(0, &[3, 16])).is_ok());
    assert_eq!(
        key(matrix, block(8, &[16])),
        Err(CommitError::Alignment {
            index: 0,
            start: 8,
            variables: 4
        })
    );
    assert_eq!(
        key(matrix, block(32, &[17])),
        Err(CommitError::Cells {
            index: 0,
            cell: 48,
            cells: 48
        })
    );
    for shape in [&[0][..], &[1 << 40], &[1 << 30, 1 << 30], &[usize::MAX]] {
        assert!(
            matches!(key(matrix, block(0, shape)), Err(CommitError::Size { .. })),
            "{shape:?}"
        );
    }
    for (height, width) in [(31, 1), (4, 0), (4, usize::MAX), (usize::MAX, 1)] {
        let matrix = Matrix {
            height,
            width,
            ..matrix
        };
        assert!(matches!(key(matrix, block(0, &[])), Err(CommitError::Size { .. })));
    }
    let other = Block {
        matrix: 1,
        ..block(0, &[])
    };
    assert!(matches!(key(matrix, other), Err(CommitError::Size { .. })));
    assert!(matches!(Key::new(SMALL, vec![], vec![]), Err(CommitError::Size { .. })));
    for parameters in [
        Parameters { queries: 0, ..SMALL },
        Parameters { log_blowup: 0, ..SMALL },
        Parameters { fold_bits: 0, ..SMALL },
        Parameters {
            query_grinding: 33,
            ..SMALL
        },
    ] {
        let key = Key::new(parameters, vec![matrix], vec![block(0, &[])]);
        assert!(matches!(key, Err(CommitError::Parameter { .. })));
    }
}
