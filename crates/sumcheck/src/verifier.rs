//! The verifier of a sumcheck (section 5.1).

use trainproof_poseidon::Tag;

use crate::polynomial::interpolate;
use crate::{Backend, ProofError};

/// The message of a round.
pub const ROUND: Tag = Tag::new("round");

/// The greatest number of rounds: no table has more than 2^32 entries.
pub const MAX_ROUNDS: usize = 32;

/// The greatest degree: that of the selection from a dataset of 2^32 rows and less.
pub const MAX_DEGREE: usize = 33;

/// What a sumcheck leaves: the summed polynomial has this value at this point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduced<E> {
    /// One challenge for each variable, the first variable first.
    pub point: Vec<E>,
    /// The value that the polynomial must have there.
    pub value: E,
}

/// Reduces "the sum of f over the hypercube of `rounds` variables is `claim`" to "f has the value there"; f has at most
/// `degree` in each variable.
///
/// # Errors
/// [`ProofError::Ends`]; [`ProofError::Shape`] for parameters of the statement that no sumcheck has. A false claim is not
/// found here: it makes the value false.
pub fn verify<B: Backend>(
    backend: &mut B,
    rounds: usize,
    degree: usize,
    claim: &B::Element,
) -> Result<Reduced<B::Element>, ProofError> {
    check_shape(rounds, degree)?;
    let (mut point, mut value) = (Vec::with_capacity(rounds), claim.clone());
    for _ in 0..rounds {
        // 1. The round's polynomial at 0, 2, …, degree.
        let mut values = backend.receive(ROUND, degree)?;
        // 2. At 0 and 1 it adds up to the claim.
        let one = backend.sub(&value, &values[0]);
        values.insert(1, one);
        // 3. The claim of the next round is its value at a challenge.
        let r = backend.challenge();
        value = interpolate(backend, &values, &r);
        point.push(r);
    }
    Ok(Reduced { point, value })
}

/// The limits of sumchecks.
fn check_shape(rounds: usize, degree: usize) -> Result<(), ProofError> {
    if rounds > MAX_ROUNDS || !(1..=MAX_DEGREE).contains(&degree) {
        return Err(ProofError::Shape {
            rounds,
            degree,
            max_rounds: MAX_ROUNDS,
            max_degree: MAX_DEGREE,
        });
    }
    Ok(())
}
