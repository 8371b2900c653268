//! What verifiers, provers and ledgers refuse.

use trainproof_field::{Extension, Field, FieldError, Goldilocks, Isa};
use trainproof_poseidon::{Tag, Transcript};
use trainproof_sumcheck::{
    Claim, Ledger, LedgerError, MAX_DEGREE, MAX_ROUNDS, ProofError, Reader, Sum, SumError, Table, Term, Writer, naive,
    polynomial, prove, prove_batch, prove_zero, verify, verify_batch, verify_zero,
};

const TAG: Tag = Tag::new("test");

fn start() -> Transcript {
    Transcript::new(TAG, &[])
}

fn element(c0: u64, c1: u64) -> Extension {
    Extension::new(Goldilocks::from_residue(c0), Goldilocks::from_residue(c1))
}

fn table(variables: usize, seed: u64) -> Table<'static> {
    let factor = Goldilocks::GENERATOR + Goldilocks::from_residue(seed);
    (0..1 << variables)
        .map(|x| factor.pow(x + 3))
        .collect::<Vec<_>>()
        .into()
}

fn term(factors: &[usize]) -> Term {
    Term {
        coefficient: element(3, 4),
        factors: factors.to_vec(),
    }
}

fn sum(variables: usize) -> Sum<'static> {
    let tables = vec![table(variables, 1), table(variables, 2), table(variables, 3)];
    Sum::new(variables, tables, vec![term(&[0, 1, 2]), term(&[0, 0]), term(&[2])]).unwrap()
}

/// Reads a whole proof with one of the checks below.
type Verify<'a> = dyn Fn(&mut Reader<'_>) -> Result<(), ProofError> + 'a;

fn check(verify: &Verify<'_>, proof: &[u8]) -> Result<(), ProofError> {
    let mut transcript = start();
    let mut reader = Reader::new(&mut transcript, proof)?;
    verify(&mut reader)?;
    reader.finish()
}

const FINAL: &str = "final value";

/// A plain sum, whose polynomial the verifier evaluates itself.
fn check_sum(sum: &Sum<'_>, degree: usize, claim: Extension, proof: &[u8]) -> Result<(), ProofError> {
    let verdict = |reader: &mut Reader<'_>| {
        let reduced = verify(reader, sum.variables(), degree, &claim)?;
        let value = naive::summand(sum, &reduced.point);
        trainproof_sumcheck::Backend::require_equal(reader, &value, &reduced.value, FINAL)
    };
    check(&verdict, proof)
}

/// Every element changed by ±1 in each coefficient and replaced by another; every length.
fn mutations(proof: &[u8]) -> Vec<Vec<u8>> {
    let elements = Extension::parse(proof).unwrap();
    let bytes = |elements: &[Extension]| elements.iter().flat_map(|x| x.to_bytes()).collect::<Vec<u8>>();
    let mut found = Vec::new();
    for i in 0..elements.len() {
        for change in [
            element(1, 0),
            -element(1, 0),
            element(0, 1),
            -element(0, 1),
            element(0x1234_5678_9abc_def0, 0xfedc_ba98_7654_3210),
        ] {
            let mut other = elements.clone();
            other[i] += change;
            found.push(bytes(&other));
        }
        let mut other = elements.clone();
        other.remove(i);
        found.push(bytes(&other));
        let mut other = elements.clone();
        other.insert(i, elements[i]);
        found.push(bytes(&other));
        found.push(bytes(&elements[..i]));
        if i > 0 && elements[i - 1] != elements[i] {
            let mut other = elements.clone();
            other.swap(i - 1, i);
            found.push(bytes(&other));
        }
    }
    found
}

fn rejects_all(verify: &Verify<'_>, proof: &[u8]) {
    assert_eq!(check(verify, proof), Ok(()));
    for mutation in mutations(proof) {
        assert!(check(verify, &mutation).is_err());
    }
}

#[test]
fn any_change_to_a_sumcheck_is_rejected() {
    for variables in 1..5 {
        let sum = sum(variables);
        let claim = naive::total(&sum, &[]);
        let mut transcript = start();
        let mut writer = Writer::new(&mut transcript);
        prove(Isa::SCALAR, sum.clone(), 3, &mut writer).unwrap();
        let proof = writer.finish();
        assert_eq!(check_sum(&sum, 3, claim, &proof), Ok(()));
        for mutation in mutations(&proof) {
            assert!(check_sum(&sum, 3, claim, &mutation).is_err());
        }
        // A false claim, and a degree other than the prover's.
        let last = Err(ProofError::Check { check: FINAL });
        for change in [element(1, 0), -element(1, 0), element(0, 1), element(77, 78)] {
            assert_eq!(check_sum(&sum, 3, claim + change, &proof), last);
        }
        assert!(check_sum(&sum, 2, claim, &proof).is_err());
        assert!(check_sum(&sum, 4, claim, &proof).is_err());
    }
}

#[test]
fn any_change_to_a_batch_is_rejected() {
    let sums = [sum(3), sum(1), sum(0), sum(2)];
    let claims: Vec<_> = sums
        .iter()
        .map(|sum| (sum.variables(), naive::total(sum, &[])))
        .collect();
    let mut transcript = start();
    let mut writer = Writer::new(&mut transcript);
    prove_batch(Isa::SCALAR, sums.to_vec(), 3, &mut writer).unwrap();
    let proof = writer.finish();
    let verdict = |claims: &[(usize, Extension)], reader: &mut Reader<'_>| {
        let batched = verify_batch(reader, claims, 3)?;
        let points = (0..sums.len()).map(|i| batched.point_of(i).unwrap());
        let values: Vec<_> = sums.iter().zip(points).map(|(sum, x)| naive::summand(sum, x)).collect();
        assert_eq!(
            batched.finish(reader, &values[1..]),
            Err(ProofError::Length {
                what: "values of a batch",
                expected: 4,
                got: 3
            })
        );
        for i in 0..values.len() {
            let mut others = values.clone();
            others[i] += Extension::ONE;
            assert!(batched.finish(reader, &others).is_err());
        }
        batched.finish(reader, &values)
    };
    rejects_all(&|reader| verdict(&claims, reader), &proof);
    for i in 0..claims.len() {
        let mut others = claims.clone();
        others[i].1 += Extension::ONE;
        assert!(check(&|reader| verdict(&others, reader), &proof).is_err());
        // Claims that cancel without their weights.
        let next = (i + 1) % claims.len();
        others[next].1 -= Extension::ONE;
        assert!(check(&|reader| verdict(&others, reader), &proof).is_err());
    }
}

#[test]
fn identities_that_fail_somewhere_are_rejected() {
    let bits: Vec<_> = [0u32, 1, 1, 0, 1, 0, 0, 1].map(Goldilocks::from).into();
    let zero = |column: &[Goldilocks]| {
        let (square, minus) = (vec![0, 0], vec![0]);
        let family = vec![
            Term {
                coefficient: Extension::ONE,
                factors: square,
            },
            Term {
                coefficient: -Extension::ONE,
                factors: minus,
            },
        ];
        let mut transcript = start();
        let mut writer = Writer::new(&mut transcript);
        prove_zero(
            Isa::SCALAR,
            3,
            vec![Table::from(column.to_vec())],
            &[family],
            3,
            &mut writer,
        )
        .unwrap();
        writer.finish()
    };
    let verdict = |column: &[Goldilocks], reader: &mut Reader<'_>| {
        let checked = verify_zero(reader, 3, 1, 3)?;
        let value = Table::from(column).evaluate(Isa::SCALAR, &checked.point).unwrap();
        assert_eq!(
            checked.finish(reader, &[]),
            Err(ProofError::Length {
                what: "families of a zero check",
                expected: 1,
                got: 0
            })
        );
        checked.finish(reader, &[value * value - value])
    };
    rejects_all(&|reader| verdict(&bits, reader), &zero(&bits));
    for i in 0..bits.len() {
        let mut column = bits.clone();
        column[i] += Goldilocks::from(2);
        let verdict = check(&|reader| verdict(&column, reader), &zero(&column));
        assert_eq!(verdict, Err(ProofError::Check { check: "zero check" }));
    }
    // Two families that cancel without their factors.
    let family = |coefficient| {
        vec![Term {
            coefficient,
            factors: vec![0],
        }]
    };
    let mut transcript = start();
    let mut writer = Writer::new(&mut transcript);
    let families = [family(Extension::ONE), family(-Extension::ONE)];
    prove_zero(Isa::SCALAR, 3, vec![table(3, 1)], &families, 2, &mut writer).unwrap();
    let proof = writer.finish();
    let verdict = |reader: &mut Reader<'_>| {
        let checked = verify_zero(reader, 3, 2, 2)?;
        let value = table(3, 1).evaluate(Isa::SCALAR, &checked.point).unwrap();
        checked.finish(reader, &[value, -value])
    };
    assert_eq!(check(&verdict, &proof), Err(ProofError::Check { check: "zero check" }));
}

#[test]
fn lengths_and_encodings_are_checked_before_use() {
    let sum = sum(2);
    let claim = naive::total(&sum, &[]);
    let mut transcript = start();
    let mut writer = Writer::new(&mut transcript);
    prove(Isa::SCALAR, sum.clone(), 3, &mut writer).unwrap();
    let proof = writer.finish();
    let tag = "round".to_owned();
    let ends = |left| {
        Err(ProofError::Ends {
            tag: tag.clone(),
            expected: 3,
            left,
        })
    };
    assert_eq!(check_sum(&sum, 3, claim, &[]), ends(0));
    assert_eq!(check_sum(&sum, 3, claim, &proof[..80]), ends(2));
    let long = [&*proof, &[0; 32]].concat();
    assert_eq!(check_sum(&sum, 3, claim, &long), Err(ProofError::Trailing { left: 2 }));
    for cut in 1..16 {
        let got = proof.len() - cut;
        let error = FieldError::BytesLength { element: 16, got };
        assert_eq!(check_sum(&sum, 3, claim, &proof[..got]), Err(error.into()));
    }
    for word in 0..proof.len() / 8 {
        for value in [Goldilocks::ORDER, u64::MAX] {
            let mut other = proof.clone();
            other[8 * word..8 * word + 8].copy_from_slice(&value.to_le_bytes());
            let error = FieldError::NonCanonical { value };
            assert_eq!(check_sum(&sum, 3, claim, &other), Err(error.into()));
        }
    }
}

#[test]
fn statements_without_a_sumcheck_are_refused() {
    let (max_rounds, max_degree) = (MAX_ROUNDS, MAX_DEGREE);
    for (rounds, degree) in [(1, 0), (1, max_degree + 1), (max_rounds + 1, 1)] {
        let verdict = |reader: &mut Reader<'_>| verify(reader, rounds, degree, &Extension::ZERO).map(|_| ());
        let error = ProofError::Shape {
            rounds,
            degree,
            max_rounds,
            max_degree,
        };
        assert_eq!(check(&verdict, &[]), Err(error));
    }
    let mut transcript = start();
    let mut reader = Reader::new(&mut transcript, &[]).unwrap();
    let one = Extension::ONE;
    let length = |what, expected, got| Err(ProofError::Length { what, expected, got });
    assert_eq!(
        polynomial::eq(&mut reader, &[one], &[]),
        length("coordinates of a point", 1, 0)
    );
    let what = "coordinates of a point in a shape";
    assert_eq!(polynomial::mask(&mut reader, &[3, 2], &[one]), length(what, 3, 1));
    let values = [Goldilocks::ONE; 3];
    assert_eq!(
        polynomial::listed(&mut reader, &values, &[one]),
        length("values of a list", 2, 3)
    );
}

#[test]
fn sums_that_do_not_fit_are_refused() {
    let (max, table) = (MAX_ROUNDS, |n| table(n, 0));
    let refused = |variables, tables, terms| Sum::new(variables, tables, terms).unwrap_err();
    assert_eq!(
        refused(max + 1, vec![], vec![]),
        SumError::Variables {
            variables: max + 1,
            max
        }
    );
    assert_eq!(refused(2, vec![], vec![]), SumError::NoTables);
    let (variables, expected) = (2, 4);
    let error = SumError::TableLength {
        table: 1,
        got: 8,
        variables,
        expected,
    };
    assert_eq!(refused(2, vec![table(2), table(3)], vec![]), error);
    let error = SumError::Factor {
        term: 1,
        table: 1,
        tables: 1,
    };
    assert_eq!(refused(2, vec![table(2)], vec![term(&[0]), term(&[0, 1])]), error);
    let error = SumError::Point { expected: 3, got: 2 };
    assert_eq!(sum(3).weighted(vec![Extension::ONE; 2]).unwrap_err(), error);
    let mut transcript = start();
    let mut writer = Writer::new(&mut transcript);
    let max = MAX_DEGREE;
    for degree in [0, 2, max + 1] {
        let error = SumError::Degree { degree, least: 3, max };
        assert_eq!(prove(Isa::SCALAR, sum(2), degree, &mut writer), Err(error.clone()));
        assert_eq!(prove_batch(Isa::SCALAR, vec![sum(2)], degree, &mut writer), Err(error));
    }
    let error = SumError::Degree {
        degree: 2,
        least: 3,
        max,
    };
    let families = [vec![term(&[0, 0])]];
    assert_eq!(
        prove_zero(Isa::SCALAR, 1, vec![table(1)], &families, 2, &mut writer),
        Err(error)
    );
    assert_eq!(writer.elements(), []);
}

#[test]
fn ledgers_end_empty_or_fail() {
    let claim = |x: u64| Claim {
        point: vec![element(x, 0)],
        value: element(x, 1),
    };
    let text = |x: &str| format!("{x:?}");
    let mut ledger = Ledger::new(["a", "b"]);
    ledger.owe("z", claim(1)).unwrap();
    assert!(ledger.owes(&"z"));
    assert_eq!(ledger.owe("z", claim(2)), Err(LedgerError::Twice { claim: text("z") }));
    assert_eq!(
        ledger.clone().finish(),
        Err(LedgerError::Left {
            claims: vec![text("z")]
        })
    );
    assert_eq!(ledger.take(&"z"), Ok(claim(1)));
    assert_eq!(ledger.take(&"z"), Err(LedgerError::Missing { claim: text("z") }));
    assert_eq!(
        ledger.open("c", claim(3)),
        Err(LedgerError::Unknown { column: text("c") })
    );
    ledger.open("b", claim(3)).unwrap();
    assert_eq!(
        ledger.open("b", claim(3)),
        Err(LedgerError::Twice {
            claim: "\"b\" at this point".into()
        })
    );
    assert_eq!(
        ledger.clone().finish(),
        Err(LedgerError::Unopened {
            columns: vec![text("a")]
        })
    );
    ledger.open("a", claim(3)).unwrap();
    ledger.open("b", claim(4)).unwrap();
    assert_eq!(ledger.opened(&"b", &claim(4).point), Some(&claim(4).value));
    assert_eq!(ledger.opened(&"a", &claim(4).point), None);
    assert_eq!(
        ledger.finish(),
        Ok(vec![("b", claim(3)), ("a", claim(3)), ("b", claim(4))])
    );
}
