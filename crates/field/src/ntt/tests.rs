//! Every transform against Horner's rule, on every instruction set.

use proptest::prelude::*;

use super::*;
use crate::naive;

fn matrix(log: usize, width: usize, seed: u64) -> Vec<Goldilocks> {
    let edges = [
        0,
        1,
        Goldilocks::ORDER - 1,
        (1 << 32) - 1,
        1 << 32,
        Goldilocks::ORDER - (1 << 32),
    ];
    let mut word = seed;
    (0..width << log)
        .map(|_| {
            word = word
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            let mixed = word ^ word >> 32;
            Goldilocks::from_residue(if mixed.is_multiple_of(3) {
                edges[(word >> 40) as usize % 6]
            } else {
                mixed
            })
        })
        .collect()
}

/// Widths below, at and above the lanes of each instruction set.
const WIDTHS: [usize; 8] = [1, 2, 3, 4, 5, 8, 11, 17];

#[test]
fn forward_equals_horner() {
    for log in 0..=7 {
        let root = Goldilocks::root_of_unity(log).unwrap();
        for width in WIDTHS {
            let coefficients = matrix(log, width, 1);
            let expected = naive::transform(&coefficients, width, log, root, Goldilocks::ONE);
            for isa in Isa::available() {
                let mut got = coefficients.clone();
                forward(isa, &mut got, width).unwrap();
                assert_eq!(got, expected, "{isa:?}, 2^{log} rows of {width}");
                inverse(isa, &mut got, width).unwrap();
                assert_eq!(got, coefficients, "{isa:?}, 2^{log} rows of {width}, and back");
            }
        }
    }
}

#[test]
fn extension_equals_horner() {
    let shift = Goldilocks::GENERATOR;
    for log in 0..=5 {
        for log_blowup in 0..=3 {
            let root = Goldilocks::root_of_unity(log + log_blowup).unwrap();
            for width in WIDTHS {
                let coefficients = matrix(log, width, 2);
                let expected = naive::transform(&coefficients, width, log + log_blowup, root, shift);
                for isa in Isa::available() {
                    assert_eq!(extend(isa, &coefficients, width, log_blowup, shift).unwrap(), expected);
                    let mut evaluations = coefficients.clone();
                    forward(isa, &mut evaluations, width).unwrap();
                    let extended = low_degree_extension(isa, &evaluations, width, log_blowup, shift);
                    assert_eq!(extended.unwrap(), expected);
                }
            }
        }
    }
}

/// Large enough for all threads, with odd and even logarithms; checked where it is cheap: at rows chosen by the seed.
#[test]
fn parallel_transforms_equal_horner() {
    for (log, width) in [(14, 3), (13, 9), (12, 16), (17, 1)] {
        let coefficients = matrix(log, width, 3);
        let root = Goldilocks::root_of_unity(log + 1).unwrap();
        let shift = Goldilocks::GENERATOR;
        let mut all = Vec::new();
        for isa in Isa::available() {
            let mut there = coefficients.clone();
            forward(isa, &mut there, width).unwrap();
            let extended = extend(isa, &coefficients, width, 1, shift).unwrap();
            for row in [0, 1, 2, (1 << log) - 1, 1 << (log - 1), 12345 % (1 << log)] {
                let point = root.square().pow(reverse_bits(row, log) as u64);
                let shifted = shift * root.pow(reverse_bits(row, log + 1) as u64);
                for column in 0..width {
                    let horner = |at: Goldilocks| {
                        let rows = coefficients.chunks_exact(width).rev();
                        rows.fold(Goldilocks::ZERO, |value, row| value * at + row[column])
                    };
                    assert_eq!(there[row * width + column], horner(point));
                    assert_eq!(extended[row * width + column], horner(shifted));
                }
            }
            let mut back = there.clone();
            inverse(isa, &mut back, width).unwrap();
            assert_eq!(back, coefficients);
            all.push((there, extended));
        }
        assert!(all.iter().all(|of_isa| *of_isa == all[0]));
    }
}

#[test]
fn rows_in_reversed_order() {
    for log in 0..=6 {
        for width in [1, 3] {
            let original = matrix(log, width, 4);
            let mut reversed = original.clone();
            reverse_rows(&mut reversed, width).unwrap();
            for row in 0..1 << log {
                let other = naive::reverse_bits(row, log);
                assert_eq!(other, reverse_bits(row, log));
                let range = |row: usize| row * width..(row + 1) * width;
                assert_eq!(reversed[range(row)], original[range(other)]);
            }
        }
    }
}

#[test]
fn rejects_what_is_no_matrix() {
    let mut six = vec![Goldilocks::ONE; 6];
    let isa = Isa::SCALAR;
    assert_eq!(forward(isa, &mut six, 0), Err(FieldError::NoColumns));
    assert_eq!(
        inverse(isa, &mut six, 4),
        Err(FieldError::Rows { elements: 6, width: 4 })
    );
    assert_eq!(forward(isa, &mut six, 2), Err(FieldError::Height { rows: 3 }));
    assert_eq!(forward(isa, &mut [], 1), Err(FieldError::Height { rows: 0 }));
    assert_eq!(reverse_rows(&mut six, 1), Err(FieldError::Height { rows: 6 }));
}

#[test]
fn rejects_an_extension_beyond_the_field() {
    let four = [Goldilocks::ONE; 4];
    let error = FieldError::TwoAdicity { log: 33 };
    assert_eq!(extend(Isa::SCALAR, &four, 1, 31, Goldilocks::ONE), Err(error));
    let error = FieldError::TwoAdicity { log: usize::MAX };
    assert_eq!(extend(Isa::SCALAR, &four, 1, usize::MAX, Goldilocks::ONE), Err(error));
    assert_eq!(
        extend(Isa::SCALAR, &four, 1, 1, Goldilocks::ZERO),
        Err(FieldError::ZeroShift)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_instruction_set_gives_the_same_bits(log in 0_usize..10, width in 1_usize..20, seed: u64) {
        let coefficients = matrix(log, width, seed);
        let results: Vec<_> = Isa::available()
            .into_iter()
            .map(|isa| low_degree_extension(isa, &coefficients, width, 2, Goldilocks::GENERATOR).unwrap())
            .collect();
        prop_assert!(results.iter().all(|result| *result == results[0]));
    }
}
