//! Sumchecks and lookups a second, on the threads of the current pool:
//! `RAYON_NUM_THREADS=1 cargo run --release -p trainproof-lookup --example throughput`.

use std::hint::black_box;
use std::time::Instant;

use trainproof_field::{Extension, Field, Goldilocks, Isa};
use trainproof_lookup::{Challenges, Entries, Layout, Lookup, Table, Witness, multiplicities, prove, prove_tree};
use trainproof_poseidon::{Tag, Transcript};
use trainproof_sumcheck::{Sum, Term, Writer};

/// Variables of the sums, and of the lookups.
const VARIABLES: usize = 20;

/// Nanoseconds for each entry, the best of five runs.
fn report(what: &str, mut work: impl FnMut(&mut Writer<'_>)) {
    let run = |_| {
        let mut transcript = Transcript::new(Tag::new("example"), &[]);
        let mut writer = Writer::new(&mut transcript);
        let start = Instant::now();
        work(&mut writer);
        black_box(writer.finish());
        start.elapsed().as_secs_f64()
    };
    let best = (0..5).map(run).fold(f64::INFINITY, f64::min);
    let each = best * 1e9 / (1u64 << VARIABLES) as f64;
    println!("{what:<60} {each:7.1} ns an entry, {best:7.3} s");
}

fn main() {
    let isa = Isa::active().expect("the variable names an instruction set of this machine");
    println!("{isa:?}");
    let column = |seed: u64| -> Vec<Goldilocks> {
        let element = |x: u64| Goldilocks::from_residue((x + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..1 << VARIABLES).map(element).collect()
    };
    let (x, y, z) = (column(1), column(2), column(3));
    let lifted: Vec<_> = x.iter().zip(&y).map(|(&x, &y)| Extension::new(x, y)).collect();
    let point: Vec<_> = lifted[..VARIABLES].to_vec();
    let term = |factors: &[usize]| Term {
        coefficient: Extension::ONE,
        factors: factors.to_vec(),
    };
    report("sum of products of two base tables", |writer| {
        let tables = vec![x.as_slice().into(), y.as_slice().into()];
        let sum = Sum::new(VARIABLES, tables, vec![term(&[0, 1])]).expect("the tables fit");
        black_box(trainproof_sumcheck::prove(isa, sum, 2, writer).expect("the degree fits"));
    });
    report("sum of products of a base and an extension table", |writer| {
        let tables = vec![x.as_slice().into(), lifted.as_slice().into()];
        let sum = Sum::new(VARIABLES, tables, vec![term(&[0, 1])]).expect("the tables fit");
        black_box(trainproof_sumcheck::prove(isa, sum, 2, writer).expect("the degree fits"));
    });
    report("zero check of x·y − z, base tables", |writer| {
        let tables = vec![x.as_slice().into(), y.as_slice().into(), z.as_slice().into()];
        let sum = Sum::new(VARIABLES, tables, vec![term(&[0, 1]), term(&[2])]).expect("the tables fit");
        let sum = sum.weighted(point.clone()).expect("the point fits");
        black_box(trainproof_sumcheck::prove(isa, sum, 3, writer).expect("the degree fits"));
    });

    let lookup = Lookup {
        shape: vec![(1 << VARIABLES) - (1 << 16)],
        table: 0,
    };
    let table = Table {
        tag: 16,
        variables: 16,
        second: None,
    };
    let layout = Layout::new(vec![lookup], vec![table]).expect("the layout fits");
    let values: Vec<_> = x.iter().map(|x| Goldilocks::from_residue(x.value() >> 48)).collect();
    let entries = || vec![Entries { x: &values, y: None }];
    let counts = multiplicities(&layout, &entries()).expect("16 bits are in the table");
    let witness = Witness::new(&layout, entries(), vec![&counts[0]]).expect("the witness fits");
    report("lookups, all of the argument", |writer| {
        black_box(prove(isa, &witness, writer).expect("the witness fits"));
    });
    report("lookups, the tree of fractions (twice the leaves)", |writer| {
        let [alpha, beta, gamma] = [0, 1, 2].map(|i| point[i]);
        let leaves = witness.leaves(&Challenges { alpha, beta, gamma });
        black_box(prove_tree(isa, leaves, writer).expect("the leaves fit"));
    });
}
