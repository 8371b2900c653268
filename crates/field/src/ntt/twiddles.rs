//! Powers of roots of unity, in the order in which butterflies take them.

use rayon::prelude::*;

use crate::{Field, Goldilocks};

/// Powers that one thread computes in a row.
const BLOCK: usize = 1 << 12;

/// For a transform of 2^log rows: the triples (w^i, w^2i, w^3i) of each of its steps, i below a quarter of the step's rows.
pub(crate) struct Twiddles {
    log: usize,
    /// Of steps of 2^log, 2^(log−2), … rows, down to 4.
    steps: Vec<Vec<[Goldilocks; 3]>>,
    /// w^(rows/4), a root of −1.
    pub(crate) imaginary: Goldilocks,
}

impl Twiddles {
    /// Of a root of order 2^`log`.
    pub(crate) fn new(root: Goldilocks, log: usize) -> Self {
        let mut root = root;
        let mut steps = Vec::new();
        let mut imaginary = Goldilocks::ONE;
        for step in (2..=log).rev().step_by(2) {
            let quarter = 1 << (step - 2);
            imaginary = root.pow(quarter as u64);
            steps.push(triples(root, quarter));
            root = root.square().square();
        }
        Self { log, steps, imaginary }
    }

    /// Of the step of 2^`log` rows.
    pub(crate) fn step(&self, log: usize) -> &[[Goldilocks; 3]] {
        &self.steps[(self.log - log) / 2]
    }
}

fn triples(root: Goldilocks, count: usize) -> Vec<[Goldilocks; 3]> {
    let mut all = vec![[Goldilocks::ONE; 3]; count];
    all.par_chunks_mut(BLOCK).enumerate().for_each(|(block, triples)| {
        let mut power = root.pow((block * BLOCK) as u64);
        for triple in triples {
            let square = power.square();
            *triple = [power, square, square * power];
            power *= root;
        }
    });
    all
}
