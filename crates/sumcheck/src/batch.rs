//! Several sums of different sizes in one sumcheck (section 5.3).

use trainproof_field::{Extension, Field, Goldilocks, Isa};

use crate::polynomial::small;
use crate::prover::{at, send};
use crate::round::Running;
use crate::verifier::verify;
use crate::{Backend, ProofError, Sum, SumError, Writer};

/// Where a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchedProof {
    /// One challenge for each variable of the largest sum. A smaller one stands at the last of them.
    pub point: Vec<Extension>,
    /// For each sum the values of its tables.
    pub values: Vec<Vec<Extension>>,
}

/// Shows several sums at once, each weighted by a challenge. What they are claimed to be is in the transcript already.
///
/// # Errors
/// [`SumError::Degree`]
pub fn prove_batch(
    isa: Isa,
    sums: Vec<Sum<'_>>,
    degree: usize,
    writer: &mut Writer<'_>,
) -> Result<BatchedProof, SumError> {
    for sum in &sums {
        sum.check_degree(degree)?;
    }
    let rounds = sums.iter().map(Sum::variables).max().unwrap_or(0);
    let half = half();
    let mut members: Vec<_> = writer
        .challenges(sums.len())
        .into_iter()
        .zip(sums)
        .map(|(weight, sum)| {
            let idle = rounds - sum.variables();
            Member::new(isa, weight.scale(half.pow(idle as u64)), sum, idle, degree)
        })
        .collect();
    let mut point = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let mut total = vec![Extension::ZERO; degree + 1];
        for member in &mut members {
            member.prepare(round, degree);
            for (total, &value) in total.iter_mut().zip(&member.values) {
                *total += value * member.weight;
            }
        }
        let r = send(writer, &total);
        for member in &mut members {
            member.fold(round, r);
        }
        point.push(r);
    }
    let values = members.iter().map(|member| member.running.values()).collect();
    Ok(BatchedProof { point, values })
}

/// A sum of a batch.
struct Member<'a> {
    weight: Extension,
    running: Running<'a>,
    /// Rounds before its first.
    idle: usize,
    /// The polynomial of its first round, until then.
    first: Vec<Extension>,
    /// The polynomial of the current round.
    values: Vec<Extension>,
}

impl<'a> Member<'a> {
    fn new(isa: Isa, weight: Extension, sum: Sum<'a>, idle: usize, degree: usize) -> Self {
        let variables = sum.variables();
        let running = Running::new(isa, sum);
        let first = if variables > 0 {
            running.round(degree)
        } else {
            vec![running.constant(), Extension::ZERO]
        };
        Self {
            weight,
            running,
            idle,
            first,
            values: Vec::new(),
        }
    }

    fn prepare(&mut self, round: usize, degree: usize) {
        self.values = if round < self.idle {
            // A constant: the sum, once for each choice of the variables that it does not have and that are free after this.
            let copies = small(2).pow((self.idle - round - 1) as u64);
            vec![(self.first[0] + self.first[1]).scale(copies); degree + 1]
        } else if round == self.idle {
            std::mem::take(&mut self.first)
        } else {
            self.running.round(degree)
        };
    }

    fn fold(&mut self, round: usize, r: Extension) {
        if round >= self.idle {
            self.running.fold(r, at(&self.values, r));
        }
    }
}

/// What a batch leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batched<E> {
    /// One challenge for each variable of the largest sum.
    pub point: Vec<E>,
    /// For each sum a weight.
    weights: Vec<E>,
    variables: Vec<usize>,
    value: E,
}

/// Reduces the claims that sums over so many variables have such values; `degree` is the largest of their degrees.
///
/// # Errors
/// Those of [`verify`].
pub fn verify_batch<B: Backend>(
    backend: &mut B,
    claims: &[(usize, B::Element)],
    degree: usize,
) -> Result<Batched<B::Element>, ProofError> {
    // 1. A weight for each sum.
    let mut weights = backend.challenges(claims.len());
    // 2. The weighted sum of the claims.
    let mut claim = backend.zero();
    for (weight, (_, value)) in weights.iter().zip(claims) {
        let product = backend.mul(weight, value);
        claim = backend.add(&claim, &product);
    }
    // 3. One sumcheck. A sum is spread evenly over the variables that it does not have.
    let variables: Vec<_> = claims.iter().map(|(variables, _)| *variables).collect();
    let rounds = variables.iter().copied().max().unwrap_or(0);
    let reduced = verify(backend, rounds, degree, &claim)?;
    for (weight, variables) in weights.iter_mut().zip(&variables) {
        if *variables < rounds {
            *weight = backend.scale(weight, half().pow((rounds - variables) as u64));
        }
    }
    Ok(Batched {
        point: reduced.point,
        weights,
        variables,
        value: reduced.value,
    })
}

impl<E: Clone> Batched<E> {
    /// The point at which sum number `index` ends: the last coordinates. `None` if there is no such sum.
    #[must_use]
    pub fn point_of(&self, index: usize) -> Option<&[E]> {
        let variables = *self.variables.get(index)?;
        Some(&self.point[self.point.len() - variables..])
    }

    /// Compares with the value of each sum's polynomial at its point.
    ///
    /// # Errors
    /// [`ProofError::Check`]; [`ProofError::Length`] for another number of values.
    pub fn finish<B: Backend<Element = E>>(&self, backend: &mut B, values: &[E]) -> Result<(), ProofError> {
        if values.len() != self.weights.len() {
            return Err(ProofError::Length {
                what: "values of a batch",
                expected: self.weights.len(),
                got: values.len(),
            });
        }
        // 4. Their weighted sum is the sumcheck's value.
        let mut total = backend.zero();
        for (weight, value) in self.weights.iter().zip(values) {
            let product = backend.mul(weight, value);
            total = backend.add(&total, &product);
        }
        backend.require_equal(&total, &self.value, "batch")
    }
}

/// 1/2.
fn half() -> Goldilocks {
    small(2).inverse().expect("2 is not 0")
}
