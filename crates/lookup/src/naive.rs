//! Slow, obvious twins: the sum of the fractions, and a prover that sums over the hypercube.

use trainproof_field::{Extension, Field, Goldilocks, Isa};
use trainproof_sumcheck::{Sum, Term, Writer, naive};

use crate::argument::{LeafClaim, send_claims};
use crate::layout::Content;
use crate::tree::{HALVES, ROOT};
use crate::{Challenges, Leaves, LookupError, Witness};

/// The leaves, each by itself.
#[must_use]
pub fn leaves(witness: &Witness<'_>, challenges: &Challenges<Extension>) -> Leaves {
    let layout = witness.layout;
    let leaf = |index: usize| {
        let holds = |slot: &&crate::Slot| slot.start <= index && index < slot.start + (1 << slot.variables);
        let Some(slot) = layout.slots().iter().find(holds) else {
            return (Goldilocks::ZERO, Extension::ONE);
        };
        let (place, table) = (index - slot.start, layout.table_of(slot));
        let (numerator, x, y) = match slot.content {
            Content::Lookup(lookup) => {
                let (mut rest, mut cell) = (place, true);
                for size in layout.lookups()[lookup].shape.iter().rev() {
                    cell &= rest % size.next_power_of_two() < *size;
                    rest /= size.next_power_of_two();
                }
                let entries = &witness.lookups[lookup];
                (cell.into(), entries.x[place], entries.y.map(|y| y[place]))
            }
            Content::Table(number) => {
                let second = table.second.as_ref().map(|second| second[place]);
                let row = Goldilocks::from_residue(place as u64);
                (-witness.multiplicities[number][place], row, second)
            }
        };
        let (tag, y) = (Goldilocks::from(table.tag), y.unwrap_or_default());
        let lift = Extension::from;
        let Challenges { alpha, beta, gamma } = *challenges;
        (numerator, alpha - lift(x) - beta * lift(y) - gamma * lift(tag))
    };
    let (numerators, denominators) = (0..1 << layout.variables()).map(leaf).unzip();
    Leaves {
        numerators,
        denominators,
    }
}

/// The sum of the fractions; `None` if a denominator is 0.
#[must_use]
pub fn sum(leaves: &Leaves) -> Option<Extension> {
    let pairs = leaves.numerators.iter().zip(&leaves.denominators);
    pairs.map(|(&n, d)| Some(d.inverse()?.scale(n))).sum()
}

/// The same messages as [`prove`](crate::prove).
///
/// # Errors
/// [`LookupError::Sum`]
pub fn prove(witness: &Witness<'_>, writer: &mut Writer<'_>) -> Result<Vec<LeafClaim<Extension>>, LookupError> {
    let [alpha, beta, gamma] = [(); 3].map(|()| writer.challenge());
    let leaves = leaves(witness, &Challenges { alpha, beta, gamma });
    let mut level = leaves.numerators.into_iter().map(Extension::from);
    let mut levels = vec![level.by_ref().zip(leaves.denominators).collect::<Vec<_>>()];
    for i in 0..witness.layout.variables() {
        let sums = levels[i].chunks(2).map(|pair| {
            let ((n0, d0), (n1, d1)) = (pair[0], pair[1]);
            (n0 * d1 + n1 * d0, d0 * d1)
        });
        levels.push(sums.collect());
    }
    let (numerator, denominator) = levels.pop().expect("there are leaves")[0];
    writer.send(ROOT, &[numerator, denominator]);
    let mut point = Vec::new();
    for (variables, level) in levels.iter().rev().enumerate() {
        let lambda = writer.challenge();
        let of = |side: usize, part: fn(&(Extension, Extension)) -> Extension| {
            level.iter().skip(side).step_by(2).map(part).collect::<Vec<_>>()
        };
        let tables = [of(0, |x| x.0), of(1, |x| x.0), of(0, |x| x.1), of(1, |x| x.1)];
        let term = |coefficient, x, y| Term {
            coefficient,
            factors: vec![x, y],
        };
        let (one, tables) = (Extension::ONE, tables.map(Into::into).to_vec());
        let terms = vec![term(one, 0, 3), term(one, 1, 2), term(lambda, 2, 3)];
        let sum = Sum::new(variables, tables, terms)?.weighted(point)?;
        let proven = naive::prove(&sum, 3, writer);
        writer.send(HALVES, &proven.values);
        point = proven.point;
        point.push(writer.challenge());
    }
    Ok(send_claims(Isa::SCALAR, witness, &point, writer))
}
