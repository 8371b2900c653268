//! The prover agrees with its twin, and honest proofs verify.

mod common;

use common::{Case, element, lookup, pairs, range, start};
use proptest::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks, Isa};
use trainproof_lookup::{
    Challenges, Content, HALVES, LEAF, Layout, Leaves, Lookup, ROOT, VALUE, naive, prove, prove_tree, verify,
    verify_tree,
};
use trainproof_sumcheck::{Counter, ROUND, Reader, Writer};

fn tables() -> Vec<trainproof_lookup::Table> {
    vec![range(0), range(2), range(4), pairs(64, &[5, 5, 9, 0]), pairs(65, &[8])]
}

prop_compose! {
    fn one_lookup()(
        table in 0usize..5, shape in prop::collection::vec(1usize..4, 0..3)
    )(
        rows in prop::collection::vec(
            0usize..(1 << tables()[table].variables), 1 << trainproof_sumcheck::polynomial::variables(&shape)
        ),
        table in Just(table),
        shape in Just(shape),
    ) -> (Lookup, Vec<usize>) {
        (Lookup { shape, table }, rows)
    }
}

fn case() -> impl Strategy<Value = Case> {
    prop::collection::vec(one_lookup(), 0..5).prop_map(|lookups| {
        let (lookups, rows): (Vec<_>, Vec<_>) = lookups.into_iter().unzip();
        Case::new(Layout::new(lookups, tables()).unwrap(), &rows)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn lookups_are_proven_as_written(case in case()) {
        let (mut fast, mut slow) = (start(), start());
        let mut writer = Writer::new(&mut fast);
        let claims = prove(Isa::SCALAR, &case.witness(), &mut writer).unwrap();
        let proof = writer.finish();
        for isa in Isa::available() {
            let mut transcript = start();
            let mut writer = Writer::new(&mut transcript);
            prop_assert_eq!(&prove(isa, &case.witness(), &mut writer).unwrap(), &claims);
            prop_assert_eq!(&writer.finish(), &proof);
        }
        let mut writer = Writer::new(&mut slow);
        prop_assert_eq!(&naive::prove(&case.witness(), &mut writer).unwrap(), &claims);
        prop_assert_eq!(&writer.finish(), &proof);
        prop_assert_eq!(&case.prove(), &proof);
        prop_assert_eq!(case.verify(&proof), Ok(()));

        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, &proof).unwrap();
        prop_assert_eq!(verify(&mut reader, &case.layout).unwrap(), claims);
        prop_assert_eq!(&transcript, &fast);

        // What is read, and when, follows from the layout.
        let mut counter = Counter::default();
        verify(&mut counter, &case.layout).unwrap();
        prop_assert_eq!(counter.bytes(), proof.len());
    }

    #[test]
    fn leaves_are_those_of_the_formula(case in case(), seed in any::<u64>()) {
        let [alpha, beta, gamma] = [1, 2, 3].map(|i| element(seed.wrapping_mul(i), seed ^ i));
        let challenges = Challenges { alpha, beta, gamma };
        let leaves = case.witness().leaves(&challenges);
        prop_assert_eq!(&leaves, &naive::leaves(&case.witness(), &challenges));
        if let Some(sum) = naive::sum(&leaves) {
            prop_assert_eq!(sum, Extension::ZERO);
        }
        for pair in case.layout.slots().windows(2) {
            prop_assert!(pair[0].variables >= pair[1].variables);
            prop_assert_eq!(pair[0].start + (1 << pair[0].variables), pair[1].start);
            prop_assert_eq!(pair[1].start % (1 << pair[1].variables), 0);
        }
    }
}

#[test]
fn slots_are_sorted_by_size_and_then_as_given() {
    let lookups = vec![lookup(&[3], 1), lookup(&[2, 3], 0), lookup(&[4], 1), lookup(&[], 0)];
    let layout = Layout::new(lookups, vec![range(2), range(3)]).unwrap();
    let contents: Vec<_> = layout.slots().iter().map(|slot| (slot.content, slot.start)).collect();
    let (lookup, table) = (Content::Lookup, Content::Table);
    let expected = [
        (lookup(1), 0),
        (table(1), 8),
        (lookup(0), 16),
        (lookup(2), 20),
        (table(0), 24),
        (lookup(3), 28),
    ];
    assert_eq!(contents, expected);
    assert_eq!(layout.variables(), 5);
}

#[test]
fn messages_come_in_the_order_of_the_text() {
    let layout = Layout::new(
        vec![lookup(&[2], 1), lookup(&[1], 0)],
        vec![range(0), pairs(64, &[7, 1])],
    )
    .unwrap();
    let mut counter = Counter::default();
    verify(&mut counter, &layout).unwrap();
    let expected = [
        (ROOT, 2),
        (HALVES, 4),
        (ROUND, 3),
        (HALVES, 4),
        (ROUND, 3),
        (ROUND, 3),
        (HALVES, 4),
        (LEAF, 1),
        (VALUE, 1),
        (VALUE, 1),
        (LEAF, 1),
        (VALUE, 1),
    ];
    assert_eq!(counter.messages, expected);
    // α, β, γ; on each level λ, a challenge for each round, and the side.
    assert_eq!(counter.challenges, [0, 0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 7]);
}

#[test]
fn large_trees_are_summed() {
    // Threads and blocks: x/d and −x/d at the same denominators.
    let size = 1usize << 15;
    let number = |i: usize| Goldilocks::from_residue(i as u64 % (size as u64 / 2) + 3);
    let numerators = (0..size).map(|i| if i < size / 2 { number(i) } else { -number(i) });
    let denominators = (0..size).map(|i| element(1, 2) + number(i).into());
    let leaves = Leaves {
        numerators: numerators.collect(),
        denominators: denominators.collect(),
    };
    let mut transcript = start();
    let mut writer = Writer::new(&mut transcript);
    let proven = prove_tree(Isa::SCALAR, leaves.clone(), &mut writer).unwrap();
    let proof = writer.finish();
    for isa in Isa::available() {
        let mut transcript = start();
        let mut writer = Writer::new(&mut transcript);
        assert_eq!(prove_tree(isa, leaves.clone(), &mut writer).unwrap(), proven);
        assert_eq!(writer.finish(), proof);
    }
    let mut transcript = start();
    let mut reader = Reader::new(&mut transcript, &proof).unwrap();
    let leaf = verify_tree(&mut reader, 15).unwrap();
    reader.finish().unwrap();
    assert_eq!(leaf, proven);
    let table = |values: &[Goldilocks]| trainproof_sumcheck::Table::from(values).evaluate(Isa::SCALAR, &leaf.point);
    assert_eq!(table(&leaves.numerators), Some(leaf.numerator));
    let denominators = trainproof_sumcheck::Table::from(&*leaves.denominators);
    assert_eq!(denominators.evaluate(Isa::SCALAR, &leaf.point), Some(leaf.denominator));
}
