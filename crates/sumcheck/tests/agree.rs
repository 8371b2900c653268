//! Fast paths agree with the sums as they are written, and honest proofs verify.

use proptest::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks, Isa};
use trainproof_poseidon::{Tag, Transcript};
use trainproof_sumcheck::{
    Backend, Claim, Counter, Ledger, Reader, Sum, Table, Term, Writer, eq_table, naive, polynomial, prove, prove_batch,
    prove_zero, verify, verify_batch, verify_zero,
};

const TAG: Tag = Tag::new("test");

fn start() -> Transcript {
    Transcript::new(TAG, &[Goldilocks::from(3)])
}

fn base() -> impl Strategy<Value = Goldilocks> {
    prop_oneof![
        any::<u64>().prop_map(Goldilocks::from_residue),
        (-2i64..3).prop_map(Goldilocks::from_i64)
    ]
}

fn element() -> impl Strategy<Value = Extension> {
    (base(), base()).prop_map(|(c0, c1)| Extension::new(c0, c1))
}

fn table(variables: usize) -> impl Strategy<Value = Table<'static>> {
    let size = 1 << variables;
    prop_oneof![
        prop::collection::vec(base(), size).prop_map(Into::into),
        prop::collection::vec(element(), size).prop_map(Into::into)
    ]
}

prop_compose! {
    fn terms(tables: usize, factors: usize)(
        terms in prop::collection::vec(
            (prop_oneof![element(), Just(Extension::ONE)], prop::collection::vec(0..tables, 0..=factors)), 0..4
        )
    ) -> Vec<Term> {
        terms.into_iter().map(|(coefficient, factors)| Term { coefficient, factors }).collect()
    }
}

prop_compose! {
    fn sum_of(variables: usize)(
        tables in prop::collection::vec(table(variables), 3),
        terms in terms(3, 4),
        weight in prop::option::of(prop::collection::vec(element(), variables)),
    ) -> Sum<'static> {
        let sum = Sum::new(variables, tables, terms).unwrap();
        match weight {
            Some(point) => sum.weighted(point).unwrap(),
            None => sum,
        }
    }
}

fn sum() -> impl Strategy<Value = Sum<'static>> {
    (0usize..6).prop_flat_map(sum_of)
}

/// What a prover sends, and where it ends.
fn sent<T>(speak: impl FnOnce(&mut Writer<'_>) -> T) -> (Vec<u8>, T) {
    let mut transcript = start();
    let mut writer = Writer::new(&mut transcript);
    let found = speak(&mut writer);
    (writer.finish(), found)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tables_fold_to_their_values(
        (table, point) in (0usize..6).prop_flat_map(|n| (table(n), prop::collection::vec(element(), n)))
    ) {
        let value = naive::evaluate(&table, &point);
        prop_assert_eq!(table.evaluate(Isa::SCALAR, &point), Some(value));
        let mut folded = table.clone();
        point.iter().for_each(|&r| folded.fold(Isa::SCALAR, r));
        prop_assert_eq!(folded.entry(0), Some(value));
        for isa in Isa::available() {
            prop_assert_eq!(table.evaluate(isa, &point), Some(value));
        }
        let weights = eq_table(&point);
        for (x, &weight) in weights.iter().enumerate() {
            prop_assert_eq!(weight, naive::eq(&point, &naive::corner(x, point.len())));
        }
        prop_assert_eq!(table.evaluate(Isa::SCALAR, &[&*point, &[Extension::ONE]].concat()), None);
    }

    #[test]
    fn public_polynomials_are_their_tables(
        (point, other, size) in (0usize..5).prop_flat_map(|n| {
            (prop::collection::vec(element(), n), prop::collection::vec(element(), n), 0..=(1usize << n))
        }),
        values in prop::collection::vec(base(), 16),
        shape in prop::collection::vec(1usize..6, 0..3),
        coordinates in prop::collection::vec(element(), 9),
    ) {
        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, &[]).unwrap();
        let n = point.len();
        let of = |entry: &dyn Fn(usize) -> Goldilocks| {
            naive::evaluate(&(0..1 << n).map(entry).collect::<Vec<_>>().into(), &point)
        };
        let small = |x: usize| Goldilocks::from_residue(x as u64);
        prop_assert_eq!(polynomial::eq(&mut reader, &point, &other).unwrap(), naive::eq(&point, &other));
        prop_assert_eq!(polynomial::number(&mut reader, &point), of(&small));
        prop_assert_eq!(polynomial::below(&mut reader, size, &point), of(&|x| (x < size).into()));
        let listed = polynomial::listed(&mut reader, &values[..size], &point).unwrap();
        prop_assert_eq!(listed, of(&|x| if x < size { values[x] } else { Goldilocks::ZERO }));
        for x in 0..1 << n {
            let corner = naive::corner(x, n);
            prop_assert_eq!(polynomial::eq_index(&mut reader, &point, x), naive::eq(&point, &corner));
        }
        let count = polynomial::variables(&shape);
        let widths: Vec<_> = shape.iter().map(|&size| polynomial::bits(size)).collect();
        let inside = |mut x: usize| {
            let axes = shape.iter().zip(&widths).rev();
            axes.fold(true, |all, (&size, &width)| {
                let index = x & ((1 << width) - 1);
                x >>= width;
                all && index < size
            })
        };
        let cells: Vec<Goldilocks> = (0..1 << count).map(|x| inside(x).into()).collect();
        let mask = polynomial::mask(&mut reader, &shape, &coordinates[..count]).unwrap();
        prop_assert_eq!(mask, naive::evaluate(&cells.into(), &coordinates[..count]));
    }

    #[test]
    fn interpolates(coefficients in prop::collection::vec(element(), 1..8), r in element()) {
        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, &[]).unwrap();
        let at = |x| coefficients.iter().rev().fold(Extension::ZERO, |value, &c| value * x + c);
        let places = 0..coefficients.len() as u32;
        let values: Vec<_> = places.map(|x| at(Goldilocks::from(x).into())).collect();
        prop_assert_eq!(polynomial::interpolate(&mut reader, &values, &r), at(r));
    }

    #[test]
    fn sums_are_proven_as_written(sum in sum(), more in 0usize..3) {
        let degree = sum.degree() + more;
        let (proof, proven) = sent(|writer| prove(Isa::SCALAR, sum.clone(), degree, writer).unwrap());
        for isa in Isa::available() {
            let other = sent(|writer| prove(isa, sum.clone(), degree, writer).unwrap());
            prop_assert_eq!((&proof, &proven), (&other.0, &other.1));
        }
        let twin = sent(|writer| naive::prove(&sum, degree, writer));
        prop_assert_eq!((&proof, &proven), (&twin.0, &twin.1));
        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, &proof).unwrap();
        let reduced = verify(&mut reader, sum.variables(), degree, &naive::total(&sum, &[])).unwrap();
        reader.finish().unwrap();
        prop_assert_eq!(naive::summand(&sum, &reduced.point), reduced.value);
        prop_assert_eq!(reduced.point, proven.point);
    }

    #[test]
    fn batches_are_proven_as_written(sums in prop::collection::vec(sum(), 0..4), more in 0usize..2) {
        let degree = sums.iter().map(Sum::degree).max().unwrap_or(1) + more;
        let (proof, proven) = sent(|writer| prove_batch(Isa::SCALAR, sums.clone(), degree, writer).unwrap());
        let twin = sent(|writer| {
            let weights = writer.challenges(sums.len());
            naive::prove_weighted(&weights.into_iter().zip(&sums).collect::<Vec<_>>(), degree, writer)
        });
        prop_assert_eq!((&proof, &proven.point), (&twin.0, &twin.1));
        let claims: Vec<_> = sums.iter().map(|sum| (sum.variables(), naive::total(sum, &[]))).collect();
        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, &proof).unwrap();
        let batched = verify_batch(&mut reader, &claims, degree).unwrap();
        prop_assert_eq!(&batched.point, &proven.point);
        let points = (0..sums.len()).map(|i| batched.point_of(i).unwrap());
        let values: Vec<_> = sums.iter().zip(points).map(|(sum, point)| naive::summand(sum, point)).collect();
        batched.finish(&mut reader, &values).unwrap();
        reader.finish().unwrap();
    }

    #[test]
    fn identities_that_hold_are_accepted(
        (x, y) in (0usize..5).prop_flat_map(|n| {
            (prop::collection::vec(base(), 1 << n), prop::collection::vec(base(), 1 << n))
        })
    ) {
        let (proof, point) = zero_proof(&x, &y);
        let variables = point.len();
        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, &proof).unwrap();
        let checked = verify_zero(&mut reader, variables, 2, 3).unwrap();
        prop_assert_eq!(&checked.point, &point);
        checked.finish(&mut reader, &families(&x, &y, &point)).unwrap();
        reader.finish().unwrap();
    }
}

/// The columns of two families: z = x·y, and x + y = w.
fn columns(x: &[Goldilocks], y: &[Goldilocks]) -> Vec<Table<'static>> {
    let both = || x.iter().zip(y);
    let product: Vec<_> = both().map(|(&x, &y)| x * y).collect();
    let sum: Vec<_> = both().map(|(&x, &y)| x + y).collect();
    vec![x.to_vec().into(), y.to_vec().into(), product.into(), sum.into()]
}

fn zero_proof(x: &[Goldilocks], y: &[Goldilocks]) -> (Vec<u8>, Vec<Extension>) {
    let term = |coefficient: Extension, factors: &[usize]| Term {
        coefficient,
        factors: factors.to_vec(),
    };
    let (one, minus) = (Extension::ONE, -Extension::ONE);
    let families = [
        vec![term(one, &[0, 1]), term(minus, &[2])],
        vec![term(one, &[0]), term(one, &[1]), term(minus, &[3])],
    ];
    let variables = x.len().ilog2() as usize;
    let (proof, proven) =
        sent(|writer| prove_zero(Isa::SCALAR, variables, columns(x, y), &families, 3, writer).unwrap());
    (proof, proven.point)
}

fn families(x: &[Goldilocks], y: &[Goldilocks], point: &[Extension]) -> Vec<Extension> {
    let at: Vec<_> = columns(x, y)
        .iter()
        .map(|table| naive::evaluate(table, point))
        .collect();
    vec![at[0] * at[1] - at[2], at[0] + at[1] - at[3]]
}

#[test]
fn large_sums_are_proven_as_small_ones() {
    // Blocks, threads and in-place folding: the final value is that of the tables, and the claim was their sum.
    let variables = 14;
    let column = |seed: u32| -> Vec<Goldilocks> {
        let factor = Goldilocks::GENERATOR + Goldilocks::from(seed);
        (0..1 << variables).map(|x| factor.pow(x + 5)).collect()
    };
    let (x, y) = (column(1), column(2));
    let terms = vec![Term {
        coefficient: Extension::new(Goldilocks::from(5), Goldilocks::from(6)),
        factors: vec![0, 1, 1],
    }];
    let rho: Vec<_> = (0..variables as u32)
        .map(|i| Extension::new(Goldilocks::from(i), Goldilocks::from(9)))
        .collect();
    for weight in [None, Some(rho)] {
        let tables = vec![x.as_slice().into(), y.as_slice().into()];
        let mut sum = Sum::new(variables, tables, terms.clone()).unwrap();
        let mut weights = vec![Extension::ONE; 1 << variables];
        if let Some(point) = &weight {
            sum = sum.weighted(point.clone()).unwrap();
            weights = eq_table(point);
        }
        let summands = x.iter().zip(&y).zip(&weights).map(|((&x, &y), w)| w.scale(x * y * y));
        let claim = terms[0].coefficient * summands.sum::<Extension>();
        let (proof, proven) = sent(|writer| prove(Isa::SCALAR, sum.clone(), 4, writer).unwrap());
        for isa in Isa::available() {
            assert_eq!(
                sent(|writer| prove(isa, sum.clone(), 4, writer).unwrap()),
                (proof.clone(), proven.clone())
            );
        }
        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, &proof).unwrap();
        let reduced = verify(&mut reader, variables, 4, &claim).unwrap();
        reader.finish().unwrap();
        let at = |column: &[Goldilocks]| Table::from(column).evaluate(Isa::SCALAR, &reduced.point).unwrap();
        assert_eq!(proven.values, [at(&x), at(&y)]);
        let weight = weight.map_or(Extension::ONE, |point| naive::eq(&point, &reduced.point));
        assert_eq!(reduced.value, terms[0].coefficient * weight * at(&x) * at(&y) * at(&y));
    }
}

#[test]
fn what_a_verifier_does_is_known_before_any_proof() {
    let mut counter = Counter::default();
    let claim = counter.zero();
    let reduced = verify(&mut counter, 5, 3, &claim).unwrap();
    assert_eq!(counter.messages, [(trainproof_sumcheck::ROUND, 3); 5]);
    assert_eq!(counter.challenges, [1, 2, 3, 4, 5]);
    assert_eq!(counter.bytes(), 5 * 3 * 16);
    // Each round: 4 places, a product below and one above each, one with the value.
    assert_eq!((counter.products, counter.scalings), (5 * 16, 5 * 4));
    let checked = verify_zero(&mut counter, 2, 2, 3).unwrap();
    // Points are told apart by their wires, so that a ledger works over them.
    let mut ledger = Ledger::<(), _, _>::new(["column"]);
    for (point, value) in [(&reduced.point, &claim), (&checked.point, &reduced.value)] {
        let claim = Claim {
            point: point.clone(),
            value: *value,
        };
        ledger.open("column", claim).unwrap();
    }
    assert_eq!(ledger.opened(&"column", &reduced.point), Some(&claim));
    checked.finish(&mut counter, &[claim, claim]).unwrap();
    assert_eq!(counter.checks, ["zero check"]);
}
