//! Every instruction set against long division.

use proptest::prelude::*;

use super::*;
use crate::{Isa, naive};

const P: u64 = Goldilocks::ORDER;

/// Words at which carries, borrows and reductions change; those from p on are not reduced.
pub(crate) const EDGES: [u64; 18] = [
    0,
    1,
    2,
    7,
    (1 << 32) - 2,
    (1 << 32) - 1,
    1 << 32,
    (1 << 32) + 1,
    (1 << 63) - 1,
    1 << 63,
    P - (1 << 32),
    P - 2,
    P - 1,
    P,
    P + 1,
    P + 2,
    u64::MAX - 1,
    u64::MAX,
];

/// All operations on vectors of any words, two of them deep, so that operands are what operations leave.
struct Operations<'a>([&'a [u64; MAX_LANES]; 3]);

const OPERATIONS: usize = 9;

impl Kernel for Operations<'_> {
    type Output = [[Goldilocks; MAX_LANES]; OPERATIONS];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let mut results = [[Goldilocks::default(); MAX_LANES]; OPERATIONS];
        for lane in (0..MAX_LANES).step_by(S::LANES) {
            let [x, y, z] = self.0;
            let (x, y, z) = (
                simd.residues(&x[lane..]),
                simd.residues(&y[lane..]),
                simd.residues(&z[lane..]),
            );
            simd.store(x, &mut results[0][lane..]);
            simd.store(simd.add(x, y), &mut results[1][lane..]);
            simd.store(simd.sub(x, y), &mut results[2][lane..]);
            simd.store(simd.mul(x, y), &mut results[3][lane..]);
            simd.store(simd.square(x), &mut results[4][lane..]);
            simd.store(simd.mul_add(x, y, z), &mut results[5][lane..]);
            simd.store(simd.add(simd.mul(x, y), simd.sub(z, x)), &mut results[6][lane..]);
            simd.store(simd.sub(simd.square(x), simd.add(y, z)), &mut results[7][lane..]);
            simd.store(simd.mul(simd.add(x, y), simd.sub(y, z)), &mut results[8][lane..]);
        }
        results
    }
}

fn expected(x: u64, y: u64, z: u64) -> [Goldilocks; OPERATIONS] {
    let value = Goldilocks::value;
    let (sum, difference, product) = (naive::add(x, y), naive::sub(x, y), naive::mul(x, y));
    [
        naive::add(x, 0),
        sum,
        difference,
        product,
        naive::mul(x, x),
        naive::add(product.value(), z),
        naive::add(product.value(), value(naive::sub(z, x))),
        naive::sub(value(naive::mul(x, x)), value(naive::add(y, z))),
        naive::mul(sum.value(), value(naive::sub(y, z))),
    ]
}

fn check(x: &[u64; MAX_LANES], y: &[u64; MAX_LANES], z: &[u64; MAX_LANES]) {
    for isa in Isa::available() {
        let results = isa.run(Operations([x, y, z]));
        for lane in 0..MAX_LANES {
            let got = results.map(|result| result[lane]);
            assert!(
                got.iter().all(|got| got.value() < P),
                "{isa:?} stores what is not reduced"
            );
            assert_eq!(
                got,
                expected(x[lane], y[lane], z[lane]),
                "{isa:?}, operands {} {} {}",
                x[lane],
                y[lane],
                z[lane]
            );
        }
    }
}

#[test]
fn every_triple_of_edges() {
    for x in EDGES {
        for y in EDGES {
            for group in EDGES.chunks(MAX_LANES) {
                let z = std::array::from_fn(|lane| group[lane % group.len()]);
                check(&[x; MAX_LANES], &[y; MAX_LANES], &z);
                check(&z, &[x; MAX_LANES], &[y; MAX_LANES]);
            }
        }
    }
}

/// Lanes must not be exchanged: each holds another edge.
#[test]
fn lanes_keep_their_places() {
    let at = |start: usize| std::array::from_fn(|lane| EDGES[(start + lane) % EDGES.len()]);
    for start in 0..EDGES.len() {
        check(&at(start), &at(start + 5), &at(3 * start + 1));
    }
}

struct Parts<'a>(&'a [Goldilocks]);

impl Kernel for Parts<'_> {
    type Output = Vec<Goldilocks>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let mut copy = vec![Goldilocks::default(); self.0.len()];
        for (from, to) in self.0.chunks(S::LANES).zip(copy.chunks_mut(S::LANES)) {
            let part = simd.load_part(from);
            simd.store_part(simd.add(part, simd.splat(Goldilocks::from_residue(1))), to);
        }
        copy
    }
}

#[test]
fn parts_of_a_vector() {
    for length in 0..20 {
        let elements: Vec<_> = (0..length).map(Goldilocks::from_residue).collect();
        let expected: Vec<_> = (1..=length).map(Goldilocks::from_residue).collect();
        for isa in Isa::available() {
            assert_eq!(isa.run(Parts(&elements)), expected);
        }
    }
}

fn word() -> impl Strategy<Value = u64> {
    let near = (0..EDGES.len(), -3_i64..=3).prop_map(|(edge, step)| EDGES[edge].wrapping_add_signed(step));
    prop_oneof![
        any::<u64>(),
        near,
        any::<u32>().prop_map(u64::from),
        any::<u32>().prop_map(|x| u64::from(x) << 32)
    ]
}

fn vector() -> impl Strategy<Value = [u64; MAX_LANES]> {
    proptest::array::uniform8(word())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_words(x in vector(), y in vector(), z in vector()) {
        check(&x, &y, &z);
    }
}
