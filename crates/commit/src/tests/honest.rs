//! Honest openings verify, and fast paths agree with their slow twins.

use proptest::prelude::*;
use trainproof_field::{Field, Goldilocks, Isa, ntt};

use super::{Case, Stream};
use crate::multilinear::variables;
use crate::{Block, Matrix, Proof, naive, open};

/// A block somewhere in a matrix: part of a column, a column, or several.
fn block(matrix: usize, shape: Matrix, stream: &mut Stream) -> Block {
    let cells = shape.width << shape.height;
    loop {
        let axes = stream.below(4);
        let sizes: Vec<_> = (0..axes)
            .map(|_| {
                let bits = stream.below(5);
                1 + stream.below(1 << bits)
            })
            .collect();
        let bits: usize = sizes.iter().map(|&size| variables(size)).sum();
        if 1 << bits <= cells {
            let start = stream.below(cells >> bits) << bits;
            return Block {
                matrix,
                start,
                shape: sizes,
            };
        }
    }
}

fn random_case(seed: u64, max_height: usize) -> Case {
    let mut stream = Stream::new(seed);
    let count = 1 + stream.below(4);
    let shapes: Vec<_> = (0..count)
        .map(|_| Matrix {
            height: stream.below(max_height + 1),
            width: 1 + stream.below(40),
            salted: stream.below(2) == 1,
        })
        .collect();
    let mut blocks = Vec::new();
    for (number, &shape) in shapes.iter().enumerate() {
        for _ in 0..stream.below(4) {
            let block = block(number, shape, &mut stream);
            // The same block at two points, now and then.
            if stream.below(3) == 0 {
                blocks.push(block.clone());
            }
            blocks.push(block);
        }
    }
    let column = stream.below(shapes[0].width) << shapes[0].height;
    blocks.push(Block {
        matrix: 0,
        start: column,
        shape: vec![1 << shapes[0].height],
    });
    Case::new(&shapes, blocks, seed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn openings_of_tall_matrices_verify(seed: u64) {
        let case = random_case(seed, 10);
        prop_assert_eq!(case.verify(&case.open()), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn openings_of_random_shapes_verify_and_have_one_encoding(seed: u64) {
        let case = random_case(seed, 6);
        let proof = case.open();
        prop_assert_eq!(case.verify(&proof), Ok(()));
        let bytes = proof.to_bytes(&case.key).unwrap();
        prop_assert_eq!(bytes.len(), Proof::encoded_length(&case.key));
        prop_assert_eq!(Proof::from_bytes(&case.key, &bytes).unwrap(), proof);
    }
}

#[test]
fn every_height_to_2_10_verifies() {
    for height in 0..=10 {
        let shapes = [
            Matrix {
                height,
                width: 1 + 3 * height,
                salted: height % 2 == 0,
            },
            Matrix {
                height: height / 2,
                width: 2,
                salted: false,
            },
        ];
        let whole = |matrix: usize| Block {
            matrix,
            start: 0,
            shape: vec![1 << shapes[matrix].height],
        };
        let case = Case::new(&shapes, vec![whole(0), whole(1)], height as u64);
        assert_eq!(case.verify(&case.open()), Ok(()), "height {height}");
    }
}

#[test]
fn every_instruction_set_makes_the_same_proof() {
    let case = Case::small();
    let expected = case.open();
    let matrices: Vec<_> = case.matrices.iter().collect();
    for isa in Isa::available() {
        let mut transcript = case.transcript();
        let proof = open(isa, &case.key, &matrices, &case.claims, &mut transcript).unwrap();
        assert_eq!(proof, expected, "{isa:?}");
    }
}

#[test]
fn codes_are_those_of_the_definition_and_interpolate_back() {
    for height in 0..5 {
        let mut stream = Stream::new(height);
        let column = stream.elements(1 << height);
        let code = naive::encode(&column, 2);
        let fast = ntt::extend(Isa::SCALAR, &column, 1, 2, Goldilocks::ONE).unwrap();
        assert_eq!(code, fast);
        // Any so many places determine the column: here every third, in another order.
        let places: Vec<_> = (0..1_usize << height).map(|i| (3 * i + 1) % (4 << height)).collect();
        let places: Vec<_> = places.into_iter().map(|place| (place, code[place])).collect();
        assert_eq!(naive::interpolate(&places, 2), column);
    }
}

#[test]
fn prover_and_verifier_leave_one_transcript() {
    let case = Case::small();
    let matrices: Vec<_> = case.matrices.iter().collect();
    let (mut prover, mut verifier) = (case.transcript(), case.transcript());
    let proof = open(Isa::SCALAR, &case.key, &matrices, &case.claims, &mut prover).unwrap();
    let native = &mut crate::Native::new(&mut verifier);
    crate::verify(native, &case.key, &case.caps(), &case.claims, &proof).unwrap();
    assert_eq!(prover, verifier);
}
