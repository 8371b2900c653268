//! Elements against long division, Euclid and what qp-plonky2 printed (`crates/poseidon/golden`).

use proptest::prelude::*;
use serde_json::Value;
use trainproof_field::{Extension, Field, FieldError, Goldilocks, batch_inverse, naive};

const P: u64 = Goldilocks::ORDER;

const EDGES: [u64; 9] = [0, 1, 2, (1 << 32) - 1, 1 << 32, 1 << 63, P - (1 << 32), P - 2, P - 1];

fn element(value: u64) -> Goldilocks {
    Goldilocks::from_canonical(value).unwrap()
}

fn golden(name: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/poseidon2_v1.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    all[name].as_array().unwrap().clone()
}

fn hex(value: &Value) -> Goldilocks {
    element(u64::from_str_radix(value.as_str().unwrap(), 16).unwrap())
}

fn pair(value: &Value) -> Extension {
    Extension::new(hex(&value[0]), hex(&value[1]))
}

#[test]
fn extension_is_that_of_qp_plonky2() {
    let examples = golden("extension");
    assert!(examples.len() > 20);
    for example in &examples {
        let (x, y) = (pair(&example[0]), pair(&example[1]));
        assert_eq!(x * y, pair(&example[2]));
        assert_eq!(x.inverse(), Some(pair(&example[3])));
    }
}

#[test]
fn roots_of_unity_are_those_of_qp_plonky2() {
    let roots = golden("roots");
    assert_eq!(roots.len(), Goldilocks::TWO_ADICITY + 1);
    for (log, root) in roots.iter().enumerate() {
        assert_eq!(Goldilocks::root_of_unity(log), Ok(hex(root)));
    }
}

#[test]
fn transforms_are_those_of_the_twin() {
    for example in &golden("extended") {
        let column: Vec<_> = example[0].as_array().unwrap().iter().map(hex).collect();
        let expected: Vec<_> = example[2].as_array().unwrap().iter().map(hex).collect();
        let log_blowup = example[1].as_u64().unwrap() as usize;
        for isa in trainproof_field::Isa::available() {
            let got = trainproof_field::ntt::extend(isa, &column, 1, log_blowup, Goldilocks::GENERATOR);
            assert_eq!(got.as_ref(), Ok(&expected));
        }
    }
}

#[test]
fn the_generator_generates() {
    for prime in [2, 3, 5, 17, 257, 65537] {
        assert_eq!((P - 1) % prime, 0);
        assert_ne!(Goldilocks::GENERATOR.pow((P - 1) / prime), Goldilocks::ONE);
    }
    let root = Goldilocks::GENERATOR.pow((P - 1) >> 32);
    assert_eq!(Goldilocks::root_of_unity(32), Ok(root));
    assert_eq!(Goldilocks::root_of_unity(33), Err(FieldError::TwoAdicity { log: 33 }));
}

#[test]
fn seven_is_no_square() {
    assert_eq!(Extension::NON_RESIDUE.pow((P - 1) / 2), -Goldilocks::ONE);
}

#[test]
fn rejects_every_second_encoding() {
    for value in [P, P + 1, P + (1 << 31), u64::MAX] {
        let error = Err(FieldError::NonCanonical { value });
        assert_eq!(Goldilocks::from_canonical(value), error);
        assert_eq!(Goldilocks::from_bytes(value.to_le_bytes()), error);
        let mut bytes = [0; Extension::BYTES];
        bytes[8..].copy_from_slice(&value.to_le_bytes());
        assert_eq!(Extension::from_bytes(bytes), Err(FieldError::NonCanonical { value }));
        bytes.rotate_left(8);
        assert_eq!(Extension::from_bytes(bytes), Err(FieldError::NonCanonical { value }));
        assert_eq!(Extension::parse(&bytes), Err(FieldError::NonCanonical { value }));
        assert_eq!(Goldilocks::parse(&bytes), Err(FieldError::NonCanonical { value }));
        assert_eq!(Goldilocks::from_residue(value).value(), value - P);
    }
    assert_eq!(Goldilocks::from_canonical(P - 1).map(Goldilocks::value), Ok(P - 1));
}

#[test]
fn rejects_bytes_that_end_inside_an_element() {
    let error = |element, got| FieldError::BytesLength { element, got };
    assert_eq!(Goldilocks::parse(&[0; 9]), Err(error(8, 9)));
    assert_eq!(Extension::parse(&[0; 24]), Err(error(16, 24)));
    assert_eq!(Goldilocks::parse(&[]), Ok(vec![]));
}

#[test]
fn signed_integers() {
    let negative = |size: u64| Goldilocks::ZERO - Goldilocks::from_residue(size);
    for value in [0, 1, -1, 1 << 40, -(1 << 40), i64::MAX, i64::MIN, i64::MIN + 1] {
        let size = value.unsigned_abs();
        let expected = if value < 0 {
            negative(size)
        } else {
            Goldilocks::from_residue(size)
        };
        assert_eq!(Goldilocks::from_i64(value), expected);
    }
    assert_eq!(Goldilocks::from_i64(-1).value(), P - 1);
}

#[test]
fn all_pairs_of_edges() {
    for x in EDGES {
        for y in EDGES {
            check(x, y);
        }
    }
}

fn check(x: u64, y: u64) {
    let (a, b) = (element(x), element(y));
    assert_eq!(a + b, naive::add(x, y));
    assert_eq!(a - b, naive::sub(x, y));
    assert_eq!(a * b, naive::mul(x, y));
    assert_eq!(-a, naive::sub(0, x));
    assert_eq!(a.square(), naive::mul(x, x));
    assert!([a + b, a - b, a * b, -a].iter().all(|c| c.value() < P));
    assert_eq!(a.inverse(), naive::inverse(a));
    assert_eq!(
        a.inverse().map(|inverse| inverse * a),
        (x != 0).then_some(Goldilocks::ONE)
    );
    let (u, v) = (Extension::new(a, b), Extension::new(b, a + b));
    assert_eq!(u * v, naive::extension_mul(u, v));
    assert_eq!(u.square(), naive::extension_mul(u, u));
    assert_eq!(u - v + v, u);
    assert_eq!(u + -u, Extension::ZERO);
    assert_eq!(u.scale(b), u * Extension::from(b));
    assert_eq!(u * u.conjugate(), Extension::from(u.norm()));
    assert_eq!(
        u.inverse().map(|inverse| inverse * u),
        (u != Extension::ZERO).then_some(Extension::ONE)
    );
}

#[test]
fn powers() {
    for x in EDGES {
        let mut expected = Goldilocks::ONE;
        for exponent in 0..70 {
            assert_eq!(element(x).pow(exponent), expected);
            expected *= element(x);
        }
        assert_eq!(element(x).pow(P), element(x));
    }
}

#[test]
fn rejects_a_zero_in_a_batch_and_leaves_it_alone() {
    let mut batch = [3, 0, 5, 0].map(element);
    assert_eq!(batch_inverse(&mut batch), Err(FieldError::ZeroInverse { index: 1 }));
    assert_eq!(batch, [3, 0, 5, 0].map(element));
}

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![0..P, (0..EDGES.len()).prop_map(|edge| EDGES[edge]), (0..1_u64 << 32)]
}

proptest! {
    #[test]
    fn elements_equal_long_division(x in word(), y in word()) {
        check(x, y);
    }

    #[test]
    fn encodings_come_back(x in word(), y in word()) {
        let (a, b) = (element(x), element(y));
        let both = Extension::new(a, b);
        prop_assert_eq!(Goldilocks::from_bytes(a.to_bytes()), Ok(a));
        prop_assert_eq!(Extension::from_bytes(both.to_bytes()), Ok(both));
        prop_assert_eq!(Goldilocks::parse(&both.to_bytes()), Ok(vec![a, b]));
        prop_assert_eq!(Extension::parse(&both.to_bytes()), Ok(vec![both]));
    }

    #[test]
    fn batches_equal_single_inverses(seed in 1..P, length in 0_usize..40, long: bool) {
        let length = if long { 1000 + length } else { length };
        let start = Extension::new(element(seed), element(1));
        let mut batch: Vec<_> = (0..length).map(|i| start.pow(i as u64 + 1)).collect();
        let expected: Vec<_> = batch.iter().map(|x| x.inverse().unwrap()).collect();
        batch_inverse(&mut batch).unwrap();
        prop_assert_eq!(batch, expected);
    }
}
