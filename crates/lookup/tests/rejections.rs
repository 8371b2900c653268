//! What the verifier of lookups, layouts and witnesses refuse.

mod common;

use common::{CLAIM, Case, element, lookup, pairs, range, start};
use trainproof_field::{Extension, Field, FieldError, Goldilocks, Isa};
use trainproof_lookup::{
    Challenges, Content, Entries, HALVES, LEAF, Layout, LayoutError, Leaves, LookupError, MAX_VARIABLES, ROOT, VALUE,
    Witness, multiplicities, prove_tree, verify_tree,
};
use trainproof_sumcheck::{ProofError, Reader, Writer, naive, polynomial};

const SUM: &str = "root: the fractions do not add up to 0";
const ZERO: &str = "root: a denominator is 0";
const LEVEL: &str = "level of the tree of fractions";
const NUMERATOR: &str = "leaves: numerator";
const DENOMINATOR: &str = "leaves: denominator";

fn fails(check: &'static str) -> Result<(), ProofError> {
    Err(ProofError::Check { check })
}

/// R_2, R_3 and a table of pairs; a lookup with padding, one in pairs, one of a single cell.
fn layout() -> Layout {
    let lookups = vec![lookup(&[3], 0), lookup(&[2, 2], 2), lookup(&[], 1)];
    Layout::new(lookups, vec![range(2), range(3), pairs(64, &[6, 2, 6, 9])]).unwrap()
}

fn case() -> Case {
    Case::new(layout(), &[vec![1, 3, 1, 0], vec![0, 3, 2, 1], vec![5]])
}

fn one() -> Goldilocks {
    Goldilocks::from(1)
}

#[test]
fn any_change_is_rejected() {
    let case = case();
    let proof = case.prove();
    assert_eq!(case.verify(&proof), Ok(()));
    let elements = Extension::parse(&proof).unwrap();
    let rejected = |elements: &[Extension]| {
        let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_bytes()).collect();
        assert!(case.verify(&bytes).is_err());
    };
    let random = element(0x1234_5678_9abc_def0, 0xfedc_ba98_7654_3210);
    for i in 0..elements.len() {
        for change in [element(1, 0), -element(1, 0), element(0, 1), -element(0, 1), random] {
            let mut other = elements.clone();
            other[i] += change;
            rejected(&other);
        }
        let mut other = elements.clone();
        other.remove(i);
        rejected(&other);
        other.insert(i, random);
        rejected(&other);
        other = elements.clone();
        other.insert(i, elements[i]);
        rejected(&other);
        rejected(&elements[..i]);
    }
    let long = [&*proof, &[0; 16]].concat();
    assert_eq!(case.verify(&long), Err(ProofError::Trailing { left: 1 }));
    let error = FieldError::BytesLength {
        element: 16,
        got: proof.len() - 1,
    };
    assert_eq!(case.verify(&proof[..proof.len() - 1]), Err(error.into()));
    for word in 0..proof.len() / 8 {
        let mut other = proof.clone();
        other[8 * word..8 * word + 8].copy_from_slice(&Goldilocks::ORDER.to_le_bytes());
        let error = FieldError::NonCanonical {
            value: Goldilocks::ORDER,
        };
        assert_eq!(case.verify(&other), Err(error.into()));
    }
}

#[test]
fn forged_multiplicities_are_rejected() {
    for table in 0..3 {
        for row in 0..case().multiplicities[table].len() {
            for change in [one(), -one(), Goldilocks::GENERATOR] {
                let mut case = case();
                case.multiplicities[table][row] += change;
                assert_eq!(case.verify(&case.prove()), fails(SUM));
            }
            // The same number of rows in all.
            let mut case = case();
            case.multiplicities[table][row] += one();
            case.multiplicities[(table + 1) % 3][0] -= one();
            assert_eq!(case.verify(&case.prove()), fails(SUM));
        }
    }
}

#[test]
fn entries_of_no_row_or_of_another_table_are_rejected() {
    // 5 is in R_3, not in R_2, however R_3 counts it.
    let mut other = case();
    other.x[0][0] = Goldilocks::from(5);
    other.multiplicities[0][1] -= one();
    assert_eq!(other.verify(&other.prove()), fails(SUM));
    other.multiplicities[1][5] += one();
    assert_eq!(other.verify(&other.prove()), fails(SUM));
    // One that both have is still counted by its own.
    let mut other = case();
    other.multiplicities[0][1] -= one();
    other.multiplicities[1][1] += one();
    assert_eq!(other.verify(&other.prove()), fails(SUM));
    // A value from no table, a negative one, a fraction.
    for x in [Goldilocks::from(4), -one(), Goldilocks::from(2).inverse().unwrap()] {
        for row in 0..4 {
            let mut other = case();
            other.x[0][2] = x;
            other.multiplicities[0][1] -= one();
            other.multiplicities[0][row] += one();
            assert_eq!(other.verify(&other.prove()), fails(SUM));
        }
    }
    // Entries of two rows, each of which has one of them.
    let mut other = case();
    other.y[1].as_mut().unwrap()[0] = Goldilocks::from(2);
    assert_eq!(other.verify(&other.prove()), fails(SUM));
    other.multiplicities[2][0] -= one();
    other.multiplicities[2][1] += one();
    assert_eq!(other.verify(&other.prove()), fails(SUM));
}

#[test]
fn what_stands_in_the_padding_is_not_looked_up() {
    let mut case = case();
    case.x[0][3] = Goldilocks::from_residue(u64::MAX / 3);
    assert_eq!(case.verify(&case.prove()), Ok(()));
    let cell = Entries { x: &case.x[0], y: None };
    let entries = [cell, case.entries()[1], case.entries()[2]];
    assert_eq!(multiplicities(&case.layout, &entries).unwrap(), case.multiplicities);
}

#[test]
fn another_statement_is_rejected() {
    let (case, proof) = (case(), case().prove());
    let lookups = || case.layout.lookups().to_vec();
    let tables = || case.layout.tables().to_vec();
    let mut whole = lookups();
    whole[0] = lookup(&[4], 0);
    let mut elsewhere = lookups();
    elsewhere[2] = lookup(&[], 0);
    let mut tag = tables();
    tag[0].tag = 1;
    let mut entry = tables();
    entry[2].second.as_mut().unwrap()[2] += one();
    for (lookups, tables, check) in [
        (whole, tables(), Some(NUMERATOR)),
        (elsewhere, tables(), Some(DENOMINATOR)),
        (lookups(), tag, Some(DENOMINATOR)),
        (lookups(), entry, Some(DENOMINATOR)),
        (vec![lookup(&[2], 0), lookup(&[4], 2), lookup(&[], 1)], tables(), None),
    ] {
        let layout = Layout::new(lookups, tables).unwrap();
        let verdict = Case { layout, ..case.clone() }.verify(&proof);
        match check {
            Some(check) => assert_eq!(verdict, fails(check)),
            None => assert!(verdict.is_err()),
        }
    }
}

/// An argument over leaves that are not those of the columns; `send` says what follows the tree.
fn cheat(
    case: &Case,
    change: impl Fn(&mut Leaves),
    send: impl Fn(&Case, &[Extension], &mut Writer<'_>),
) -> Result<(), ProofError> {
    let mut transcript = start();
    let mut writer = Writer::new(&mut transcript);
    let [alpha, beta, gamma] = [(); 3].map(|()| writer.challenge());
    let mut leaves = case.witness().leaves(&Challenges { alpha, beta, gamma });
    change(&mut leaves);
    let leaf = prove_tree(Isa::SCALAR, leaves, &mut writer).unwrap();
    send(case, &leaf.point, &mut writer);
    case.verify(&writer.finish())
}

fn value(column: &[Goldilocks], point: &[Extension]) -> Extension {
    let size = column.len().ilog2() as usize;
    naive::evaluate(&column.into(), &point[point.len() - size..])
}

/// What an honest prover sends after the tree, with something added to what is looked up.
fn send_with(case: &Case, added: &[Extension; 3], point: &[Extension], writer: &mut Writer<'_>) {
    for slot in case.layout.slots() {
        match slot.content {
            Content::Lookup(lookup) => {
                writer.send(LEAF, &[value(&case.x[lookup], point) + added[lookup]]);
                if let Some(y) = &case.y[lookup] {
                    writer.send(VALUE, &[value(y, point)]);
                }
            }
            Content::Table(table) => writer.send(VALUE, &[value(&case.multiplicities[table], point)]),
        }
    }
}

fn send(case: &Case, point: &[Extension], writer: &mut Writer<'_>) {
    send_with(case, &[Extension::ZERO; 3], point, writer);
}

#[test]
fn leaves_of_other_columns_are_rejected() {
    assert_eq!(cheat(&case(), |_| (), send), Ok(()));
    // A value out of range that the tree leaves out, or that the tree replaces.
    let mut out = case();
    out.x[2][0] = Goldilocks::from(11);
    out.multiplicities[1][5] -= one();
    let place = out
        .layout
        .slots()
        .iter()
        .find(|slot| slot.content == Content::Lookup(2))
        .unwrap()
        .start;
    let left_out = |leaves: &mut Leaves| leaves.numerators[place] = Goldilocks::ZERO;
    assert_eq!(cheat(&out, left_out, send), fails(NUMERATOR));
    let mut out = case();
    out.x[2][0] = Goldilocks::from(11);
    let replaced = |leaves: &mut Leaves| leaves.denominators[place] += Goldilocks::from(6).into();
    assert_eq!(cheat(&out, replaced, send), fails(DENOMINATOR));
    // A leaf after the last slot that takes up what is missing.
    let last = (1 << out.layout.variables()) - 1;
    let free = |leaves: &mut Leaves| {
        leaves.numerators[last] = one();
        leaves.denominators[last] = -leaves.denominators[place];
    };
    out.multiplicities[1][5] -= one();
    assert_eq!(cheat(&out, free, send), fails(NUMERATOR));
}

#[test]
fn lies_about_two_lookups_that_cancel_are_found_by_their_claims() {
    let lie = |case: &Case, point: &[Extension], writer: &mut Writer<'_>| {
        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, &[]).unwrap();
        let mut weight = |lookup| {
            let slot = case
                .layout
                .slots()
                .iter()
                .find(|slot| slot.content == Content::Lookup(lookup))
                .unwrap();
            let upper = &point[..point.len() - slot.variables];
            polynomial::eq_index(&mut reader, upper, slot.start >> slot.variables)
        };
        let added = [weight(2), Extension::ZERO, -weight(0)];
        send_with(case, &added, point, writer);
    };
    assert_eq!(cheat(&case(), |_| (), lie), fails(CLAIM));
}

/// A tree over these fractions, compared with them at its end.
fn tree(numerators: &[i64], denominators: &[i64]) -> Result<(), ProofError> {
    let element = |&x: &i64| Goldilocks::from_i64(x);
    let numerators: Vec<_> = numerators.iter().map(element).collect();
    let denominators: Vec<_> = denominators.iter().map(|x| Extension::from(element(x))).collect();
    let mut transcript = start();
    let mut writer = Writer::new(&mut transcript);
    prove_tree(
        Isa::SCALAR,
        Leaves {
            numerators,
            denominators: denominators.clone(),
        },
        &mut writer,
    )
    .unwrap();
    let proof = writer.finish();
    let mut transcript = start();
    let mut reader = Reader::new(&mut transcript, &proof).unwrap();
    verify_tree(&mut reader, denominators.len().ilog2() as usize)?;
    reader.finish()
}

#[test]
fn denominators_of_zero_are_rejected() {
    assert_eq!(tree(&[1, -1, 2, -4], &[3, 3, 5, 10]), Ok(()));
    assert_eq!(tree(&[1, -1, 2, -3], &[3, 3, 5, 10]), fails(SUM));
    // 1/0 + 1/0 is 0/0; so is whatever stands beside it.
    assert_eq!(tree(&[1, 1, 7, 8], &[0, 0, 5, 10]), fails(ZERO));
    assert_eq!(tree(&[0, 1, -1, 0], &[0, 3, 3, 5]), fails(ZERO));
    assert_eq!(tree(&[0], &[0]), fails(ZERO));
    assert_eq!(tree(&[0], &[2]), Ok(()));
    assert_eq!(tree(&[1], &[0]), fails(SUM));
}

#[test]
fn a_false_root_is_rejected() {
    // 1/3 + 1/3 is 6/9; the prover says 0/9, and is honest from then on.
    for root in [[element(0, 0), element(9, 0)], [element(0, 0), element(1, 0)]] {
        let mut transcript = start();
        let mut writer = Writer::new(&mut transcript);
        writer.send(ROOT, &root);
        let _lambda = writer.challenge();
        writer.send(HALVES, &[element(1, 0), element(1, 0), element(3, 0), element(3, 0)]);
        let proof = writer.finish();
        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, &proof).unwrap();
        assert_eq!(verify_tree(&mut reader, 1).map(|_| ()), fails(LEVEL));
    }
}

#[test]
fn layouts_that_do_not_fit_are_refused() {
    let refused = |lookups, tables| Layout::new(lookups, tables).unwrap_err();
    assert_eq!(refused(vec![], vec![]), LayoutError::Empty);
    assert_eq!(
        refused(vec![], vec![range(2), range(2)]),
        LayoutError::Tags { table: 1, tag: 2 }
    );
    assert_eq!(
        refused(vec![], vec![range(3), range(2)]),
        LayoutError::Tags { table: 1, tag: 2 }
    );
    let error = LayoutError::NoTable {
        lookup: 0,
        table: 1,
        tables: 1,
    };
    assert_eq!(refused(vec![lookup(&[2], 1)], vec![range(2)]), error);
    assert_eq!(
        refused(vec![lookup(&[2, 0], 0)], vec![range(2)]),
        LayoutError::NoCells { lookup: 0 }
    );
    let mut table = pairs(64, &[1, 2]);
    table.variables = 2;
    assert_eq!(
        refused(vec![], vec![table]),
        LayoutError::Rows {
            table: 0,
            expected: 4,
            got: 2
        }
    );
    let max = MAX_VARIABLES;
    for shape in [vec![1 << max, 2], vec![1 << max], vec![usize::MAX; 3]] {
        assert_eq!(
            refused(vec![lookup(&shape, 0)], vec![range(2)]),
            LayoutError::Leaves { max }
        );
    }
    assert_eq!(refused(vec![], vec![range(64)]), LayoutError::Leaves { max });
    let halves = || lookup(&[1 << (max - 1)], 0);
    assert_eq!(
        refused(vec![halves(), halves()], vec![range(0)]),
        LayoutError::Leaves { max }
    );
    assert_eq!(Layout::new(vec![halves()], vec![range(0)]).unwrap().variables(), max);
}

#[test]
fn witnesses_that_do_not_fit_are_refused() {
    let case = case();
    let counts = || case.multiplicities.iter().map(|column| &**column).collect::<Vec<_>>();
    let refused = |entries, counts| Witness::new(&case.layout, entries, counts).unwrap_err();
    let length = |what, expected, got| LookupError::Length { what, expected, got };
    assert_eq!(refused(vec![], counts()), length("lists of lookups", 3, 0));
    assert_eq!(refused(case.entries(), vec![]), length("lists of multiplicities", 3, 0));
    let mut short = counts();
    short[1] = &short[1][1..];
    assert_eq!(
        refused(case.entries(), short),
        length("multiplicities of a table", 8, 7)
    );
    let mut entries = case.entries();
    entries[1].y = None;
    assert_eq!(
        refused(entries, counts()),
        LookupError::Pair {
            lookup: 1,
            expected: true
        }
    );
    let mut entries = case.entries();
    entries[0].y = Some(&case.x[0]);
    assert_eq!(
        refused(entries, counts()),
        LookupError::Pair {
            lookup: 0,
            expected: false
        }
    );
    let mut entries = case.entries();
    entries[0].x = &case.x[0][..3];
    assert_eq!(refused(entries, counts()), length("first entries of a lookup", 4, 3));
    let mut entries = case.entries();
    entries[1].y = Some(&case.x[0][..3]);
    assert_eq!(refused(entries, counts()), length("second entries of a lookup", 4, 3));
    let mut transcript = start();
    let mut writer = Writer::new(&mut transcript);
    for (top, bottom, expected, got) in [(3, 3, 4, 3), (2, 4, 2, 2), (4, 2, 4, 2), (0, 0, 1, 0)] {
        let (numerators, denominators) = (vec![one(); top], vec![Extension::ONE; bottom]);
        let error = prove_tree(
            Isa::SCALAR,
            Leaves {
                numerators,
                denominators,
            },
            &mut writer,
        )
        .unwrap_err();
        assert_eq!(error, length("fractions of a tree", expected, got));
    }
    for (number, x) in [(0, Goldilocks::from(4)), (2, Goldilocks::from(8)), (2, -one())] {
        let mut case = case.clone();
        case.x[number][0] = x;
        let tag = case.layout.tables()[case.layout.lookups()[number].table].tag;
        let error = LookupError::NotInTable {
            lookup: number,
            cell: 0,
            tag,
        };
        assert_eq!(multiplicities(&case.layout, &case.entries()), Err(error));
    }
    let mut other = case.clone();
    other.y[1].as_mut().unwrap()[3] += one();
    let error = LookupError::NotInTable {
        lookup: 1,
        cell: 3,
        tag: 64,
    };
    assert_eq!(multiplicities(&other.layout, &other.entries()), Err(error));
}
