//! The prover of a sumcheck, linear in the size of the tables (section 5.1).

use trainproof_field::{Extension, Isa};

use crate::polynomial::{share, small};
use crate::round::Running;
use crate::verifier::ROUND;
use crate::{Sum, SumError, Writer};

/// Where a sumcheck ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// One challenge for each variable, the first variable first.
    pub point: Vec<Extension>,
    /// The value of each table there.
    pub values: Vec<Extension>,
}

/// Sends the rounds of a sumcheck of this degree, which is the formula's, whatever the tables hold. Large tables are worked
/// on by the current rayon pool; the messages depend neither on it nor on the instruction set.
///
/// # Errors
/// [`SumError::Degree`]
pub fn prove(isa: Isa, sum: Sum<'_>, degree: usize, writer: &mut Writer<'_>) -> Result<Proven, SumError> {
    sum.check_degree(degree)?;
    let mut point = Vec::with_capacity(sum.variables());
    let rounds = sum.variables();
    let mut running = Running::new(isa, sum);
    for _ in 0..rounds {
        let values = running.round(degree);
        let r = send(writer, &values);
        running.fold(r, at(&values, r));
        point.push(r);
    }
    let values = running.values();
    Ok(Proven { point, values })
}

/// Sends a round's polynomial, given at 0, 1, …, without the value at 1; draws the challenge.
pub(crate) fn send(writer: &mut Writer<'_>, values: &[Extension]) -> Extension {
    let message: Vec<_> = values[..1].iter().chain(&values[2..]).copied().collect();
    writer.send(ROUND, &message);
    writer.challenge()
}

/// The polynomial through (0, values\[0\]), (1, values\[1\]), … at r.
pub(crate) fn at(values: &[Extension], r: Extension) -> Extension {
    let shares = (0..values.len()).map(|i| {
        let others = (0..values.len()).filter(|&j| j != i);
        let product = others.map(|j| r - Extension::from(small(j))).product::<Extension>();
        (values[i] * product).scale(share(i, values.len() - 1))
    });
    shares.sum()
}
