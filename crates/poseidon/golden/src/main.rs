//! Prints what qp-plonky2 =1.6.0 computes, as JSON: `permutation`, `extension` and `roots` of
//! tests/fixtures/poseidon2_v1.json. `cargo run` here, on demand only.
use plonky2::field::extension::FieldExtension;
use plonky2::field::extension::quadratic::QuadraticExtension as Q;
use plonky2::field::goldilocks_field::GoldilocksField as F;
use plonky2::field::types::{Field, PrimeField64};
use plonky2::hash::hashing::PlonkyPermutation;
use plonky2::hash::poseidon2::Poseidon2Permutation;

const P: u64 = 0xffff_ffff_0000_0001;
struct Mix(u64);
impl Mix {
    fn next(&mut self) -> u64 {
        loop {
            self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
            z ^= z >> 31;
            if z < P {
                return z;
            }
        }
    }
}
fn hex(x: &[u64]) -> String {
    let v: Vec<String> = x.iter().map(|x| format!("\"{x:016x}\"")).collect();
    format!("[{}]", v.join(", "))
}
fn main() {
    let edges = [
        0,
        1,
        P - 1,
        (1 << 32) - 1,
        1 << 32,
        P - (1 << 32),
        P - 2,
        2,
        7,
        1 << 63,
        0x7fff_ffff_8000_0000,
        (1 << 32) + 1,
    ];
    let mut mix = Mix(1);
    let mut states: Vec<[u64; 12]> = vec![[0; 12], std::array::from_fn(|i| i as u64 + 1), [P - 1; 12], edges];
    for i in 0..12 {
        let mut s = [0; 12];
        s[i] = 1;
        states.push(s);
        states.push(std::array::from_fn(|j| edges[(i + j) % 12]));
    }
    for _ in 0..20 {
        states.push(std::array::from_fn(|_| mix.next()));
    }
    println!("{{\n \"permutation\": [");
    for (k, s) in states.iter().enumerate() {
        let mut p = Poseidon2Permutation::<F>::new(s.iter().map(|&x| F::from_canonical_u64(x)));
        p.permute();
        let out: Vec<u64> = p.as_ref().iter().map(|x| x.to_canonical_u64()).collect();
        println!(
            "  [{}, {}]{}",
            hex(s),
            hex(&out),
            if k + 1 < states.len() { "," } else { "" }
        );
    }
    println!(" ],\n \"extension\": [");
    let mut pairs: Vec<[u64; 4]> = (0..12)
        .map(|i| std::array::from_fn(|j| edges[(i + 5 * j) % 12]))
        .collect();
    pairs.retain(|x| x[0] != 0 || x[1] != 0);
    for _ in 0..10 {
        pairs.push(std::array::from_fn(|_| mix.next()));
    }
    for (k, x) in pairs.iter().enumerate() {
        let f = |i: usize| F::from_canonical_u64(x[i]);
        let (a, b) = (
            Q::<F>::from_basefield_array([f(0), f(1)]),
            Q::<F>::from_basefield_array([f(2), f(3)]),
        );
        let show = |q: Q<F>| {
            let v: [F; 2] = q.to_basefield_array();
            hex(&[v[0].to_canonical_u64(), v[1].to_canonical_u64()])
        };
        println!(
            "  [{}, {}, {}, {}]{}",
            show(a),
            show(b),
            show(a * b),
            show(a.inverse()),
            if k + 1 < pairs.len() { "," } else { "" }
        );
    }
    let roots: Vec<u64> = (0..=32)
        .map(|k| F::primitive_root_of_unity(k).to_canonical_u64())
        .collect();
    println!(" ],\n \"roots\": {}\n}}", hex(&roots));
}
