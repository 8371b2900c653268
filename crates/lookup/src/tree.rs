//! A tree of fractions: that they add up to 0 (section 6.3).

use rayon::prelude::*;
use trainproof_field::{Extension, Goldilocks, Isa};
use trainproof_poseidon::Tag;
use trainproof_sumcheck::lanes::fitting;
use trainproof_sumcheck::polynomial::{eq, line};
use trainproof_sumcheck::{Backend, ProofError, Sum, Table, Term, Writer, prove, verify};

use crate::kernel::{Add, Mix, Side};
use crate::{Leaves, LookupError};

/// The message with the root's numerator and denominator.
pub const ROOT: Tag = Tag::new("root");

/// The message with the numerators of both children, then their denominators.
pub const HALVES: Tag = Tag::new("halves");

/// Entries from which on threads share the work.
const PARALLEL: usize = 1 << 12;

/// What a tree leaves: the values that the leaves' numerators and denominators must have at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<E> {
    /// One coordinate for each variable.
    pub point: Vec<E>,
    /// The numerators there.
    pub numerator: E,
    /// The denominators there.
    pub denominator: E,
}

/// Fractions, one next to the other.
struct Level {
    numerators: Table<'static>,
    denominators: Vec<Extension>,
}

/// A level by its left and right children.
struct Halves {
    numerators: [Table<'static>; 2],
    denominators: [Vec<Extension>; 2],
}

/// Sends the proof that fractions, a power of two of them, add up to 0, whether they do or not.
///
/// # Errors
/// [`LookupError::Length`] unless there are as many denominators as numerators, a power of two.
pub fn prove_tree(isa: Isa, leaves: Leaves, writer: &mut Writer<'_>) -> Result<Leaf<Extension>, LookupError> {
    let Leaves {
        numerators,
        denominators,
    } = leaves;
    let got = denominators.len();
    let expected = numerators.len().next_power_of_two();
    if numerators.len() != expected || got != expected {
        return Err(LookupError::Length {
            what: "fractions of a tree",
            expected,
            got: got.min(numerators.len()),
        });
    }
    let mut level = Level {
        numerators: numerators.into(),
        denominators,
    };
    let mut levels = Vec::new();
    while level.denominators.len() > 1 {
        let halves = level.halves();
        level = halves.sum(isa);
        levels.push(halves);
    }
    let mut numerator = level.numerators.entry(0).unwrap_or_default();
    let mut denominator = level.denominators[0];
    writer.send(ROOT, &[numerator, denominator]);
    let mut point = Vec::new();
    for (variables, halves) in levels.into_iter().rev().enumerate() {
        let lambda = writer.challenge();
        let sum = halves.claim(isa, variables, lambda)?.weighted(point)?;
        let proven = prove(isa, sum, 3, writer)?;
        let [n0, n1, d0, d1] = split(&proven.values, lambda);
        writer.send(HALVES, &[n0, n1, d0, d1]);
        let side = writer.challenge();
        numerator = n0 + side * (n1 - n0);
        denominator = d0 + side * (d1 - d0);
        point = proven.point;
        point.push(side);
    }
    Ok(Leaf {
        point,
        numerator,
        denominator,
    })
}

impl Level {
    /// The children with an even index, and those with an odd one.
    fn halves(&self) -> Halves {
        let numerators = match &self.numerators {
            Table::Base(values) => apart::<Goldilocks>(values).map(Table::from),
            Table::Extension(values) => apart::<Extension>(values).map(Table::from),
        };
        Halves {
            numerators,
            denominators: apart(&self.denominators),
        }
    }
}

fn apart<F: Copy + Send + Sync>(values: &[F]) -> [Vec<F>; 2] {
    [0, 1].map(|side| {
        if values.len() < PARALLEL {
            values.chunks_exact(2).map(|pair| pair[side]).collect()
        } else {
            values.par_chunks_exact(2).map(|pair| pair[side]).collect()
        }
    })
}

impl Halves {
    fn side(&self, side: usize) -> Side<'_> {
        match &self.numerators[side] {
            Table::Base(values) => Side::Base(values),
            Table::Extension(values) => Side::Extension(values),
        }
    }

    /// The level above: n_0/d_0 + n_1/d_1 = (n_0·d_1 + n_1·d_0)/(d_0·d_1).
    fn sum(&self, isa: Isa) -> Level {
        let (sides, [d0, d1]) = ([self.side(0), self.side(1)], &self.denominators);
        let isa = fitting(isa, d0.len());
        let mut numerators = vec![Extension::default(); d0.len()];
        let mut denominators = numerators.clone();
        let work = |(block, (numerators, denominators)): (usize, (&mut [Extension], &mut [Extension]))| {
            let start = block * PARALLEL;
            let end = start + numerators.len();
            isa.run(Add {
                sides: sides.map(|side| side.part(start, end)),
                below: [&d0[start..end], &d1[start..end]],
                numerators,
                denominators,
            });
        };
        if d0.len() <= PARALLEL {
            work((0, (&mut numerators, &mut denominators)));
        } else {
            let blocks = numerators.par_chunks_mut(PARALLEL);
            blocks
                .zip(denominators.par_chunks_mut(PARALLEL))
                .enumerate()
                .for_each(work);
        }
        Level {
            numerators: numerators.into(),
            denominators,
        }
    }

    /// n_0·d_1 + d_0·(n_1 + λ·d_1), the same as n_0·d_1 + n_1·d_0 + λ·d_0·d_1 with a product less.
    fn claim(self, isa: Isa, variables: usize, lambda: Extension) -> Result<Sum<'static>, LookupError> {
        let d1 = &self.denominators[1];
        let isa = fitting(isa, d1.len());
        let mut mixed = vec![Extension::default(); d1.len()];
        let work = |(block, to): (usize, &mut [Extension])| {
            let start = block * PARALLEL;
            let end = start + to.len();
            isa.run(Mix {
                side: self.side(1).part(start, end),
                denominators: &d1[start..end],
                lambda,
                to,
            });
        };
        if d1.len() <= PARALLEL {
            work((0, &mut mixed));
        } else {
            mixed.par_chunks_mut(PARALLEL).enumerate().for_each(work);
        }
        let ([n0, _], [d0, d1]) = (self.numerators, self.denominators);
        let term = |x, y| Term {
            coefficient: Goldilocks::from(1).into(),
            factors: vec![x, y],
        };
        let tables = vec![n0, mixed.into(), d0.into(), d1.into()];
        Ok(Sum::new(variables, tables, vec![term(0, 3), term(2, 1)])?)
    }
}

/// n_0, n_1, d_0 and d_1 from the values of the claim's tables.
fn split(values: &[Extension], lambda: Extension) -> [Extension; 4] {
    let [n0, mixed, d0, d1] = [0, 1, 2, 3].map(|i| values[i]);
    [n0, mixed - lambda * d1, d0, d1]
}

/// Reduces "2^`variables` fractions add up to 0, and none has the denominator 0" to the values of their numerators and
/// denominators at one point.
///
/// # Errors
/// [`ProofError::Ends`], [`ProofError::Check`], [`ProofError::Shape`]
pub fn verify_tree<B: Backend>(backend: &mut B, variables: usize) -> Result<Leaf<B::Element>, ProofError> {
    // 1. The root is 0, and it is a fraction.
    let root = backend.receive(ROOT, 2)?;
    let [mut numerator, mut denominator] = array(root)?;
    let zero = backend.zero();
    backend.require_equal(&numerator, &zero, "root: the fractions do not add up to 0")?;
    backend.require_nonzero(&denominator, "root: a denominator is 0")?;
    let mut point = Vec::with_capacity(variables);
    for level in 0..variables {
        // 2. A claim on numerator and denominator becomes one on the level below.
        let lambda = backend.challenge();
        let product = backend.mul(&lambda, &denominator);
        let claim = backend.add(&numerator, &product);
        let reduced = verify(backend, level, 3, &claim)?;
        let halves = backend.receive(HALVES, 4)?;
        let [n0, n1, d0, d1] = array(halves)?;
        // 3. eq·(n_0·d_1 + n_1·d_0 + λ·d_0·d_1) is the sumcheck's value.
        let left = backend.mul(&n0, &d1);
        let weighted = backend.mul(&lambda, &d1);
        let mixed = backend.add(&n1, &weighted);
        let right = backend.mul(&mixed, &d0);
        let fraction = backend.add(&left, &right);
        let selected = eq(backend, &point, &reduced.point)?;
        let value = backend.mul(&selected, &fraction);
        backend.require_equal(&value, &reduced.value, "level of the tree of fractions")?;
        // 4. Both children at once.
        let side = backend.challenge();
        numerator = line(backend, &n0, &n1, &side);
        denominator = line(backend, &d0, &d1, &side);
        point = reduced.point;
        point.push(side);
    }
    Ok(Leaf {
        point,
        numerator,
        denominator,
    })
}

/// A message of a known number of elements.
pub(crate) fn array<E, const N: usize>(message: Vec<E>) -> Result<[E; N], ProofError> {
    let got = message.len();
    let error = ProofError::Length {
        what: "elements of a message",
        expected: N,
        got,
    };
    message.try_into().map_err(|_| error)
}
