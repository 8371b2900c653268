//! Slow, obvious twins: sums over the hypercube as they are written.

use trainproof_field::{Extension, Field, Goldilocks};

use crate::verifier::ROUND;
use crate::{Proven, Sum, Table, Writer};

/// The point of an index: its bits, the highest first.
#[must_use]
pub fn corner(index: usize, variables: usize) -> Vec<Extension> {
    let bit = |i| Extension::from(Goldilocks::from(index >> i & 1 == 1));
    (0..variables).rev().map(bit).collect()
}

/// Π (x_i·y_i + (1 − x_i)(1 − y_i)).
#[must_use]
pub fn eq(x: &[Extension], y: &[Extension]) -> Extension {
    let one = Extension::ONE;
    x.iter().zip(y).map(|(&x, &y)| x * y + (one - x) * (one - y)).product()
}

/// Σ_x eq(point, x)·table(x).
#[must_use]
pub fn evaluate(table: &Table<'_>, point: &[Extension]) -> Extension {
    (0..table.entries())
        .filter_map(|x| Some(table.entry(x)? * eq(point, &corner(x, point.len()))))
        .sum()
}

/// The summed polynomial at a point.
#[must_use]
pub fn summand(sum: &Sum<'_>, point: &[Extension]) -> Extension {
    let values: Vec<_> = sum.tables.iter().map(|table| evaluate(table, point)).collect();
    let product = |factors: &[usize]| -> Extension { factors.iter().map(|&factor| values[factor]).product() };
    let terms = sum.terms.iter().map(|term| term.coefficient * product(&term.factors));
    let weight = sum.weight.as_ref().map_or(Extension::ONE, |rho| eq(rho, point));
    weight * terms.sum::<Extension>()
}

/// The sum over all variables but the first, which are at `start`.
#[must_use]
pub fn total(sum: &Sum<'_>, start: &[Extension]) -> Extension {
    let free = sum.variables - start.len();
    (0..1 << free)
        .map(|x| summand(sum, &[start, &corner(x, free)].concat()))
        .sum()
}

/// The rounds' messages of several sums in one sumcheck, each with its weight: a smaller sum is a function of the last
/// variables, divided by the number of points that the others have.
pub fn prove_weighted(sums: &[(Extension, &Sum<'_>)], degree: usize, writer: &mut Writer<'_>) -> Vec<Extension> {
    let rounds = sums.iter().map(|(_, sum)| sum.variables).max().unwrap_or(0);
    let mut point = Vec::new();
    for round in 0..rounds {
        let free = rounds - round - 1;
        let at = |place: usize| -> Extension {
            let mut start = point.clone();
            start.push(Extension::from(Goldilocks::from_residue(place as u64)));
            let every = sums.iter().map(|(weight, sum)| {
                let idle = rounds - sum.variables;
                let copies = Goldilocks::from_residue(1 << idle).inverse().expect("a power of two");
                let points = (0..1 << free).map(|x| [&*start, &corner(x, free)].concat());
                let values = points.map(|point| summand(sum, &point[idle..]));
                (*weight * values.sum::<Extension>()).scale(copies)
            });
            every.sum()
        };
        let message: Vec<_> = (0..=degree).filter(|&place| place != 1).map(at).collect();
        writer.send(ROUND, &message);
        point.push(writer.challenge());
    }
    point
}

/// The same messages as [`prove`](crate::prove).
pub fn prove(sum: &Sum<'_>, degree: usize, writer: &mut Writer<'_>) -> Proven {
    let point = prove_weighted(&[(Extension::ONE, sum)], degree, writer);
    let values = sum.tables.iter().map(|table| evaluate(table, &point)).collect();
    Proven { point, values }
}
