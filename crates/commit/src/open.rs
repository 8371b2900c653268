//! The prover (section 7.4).

use rayon::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks, Isa, ntt};
use trainproof_poseidon::{Transcript, Tree};

use crate::multilinear::{between, eq_table, quadratic};
use crate::sumcheck::Table;
use crate::verify::check_statement;
use crate::{Claim, CommitError, Committed, Key, Proof, Query, tags};

/// Opens one claim for each block of the key. The transcript has absorbed the statement, and whatever the points of the
/// claims follow from.
///
/// # Errors
/// [`CommitError::Count`] and [`CommitError::MatrixShape`] for what does not fit the key.
pub fn open(
    isa: Isa,
    key: &Key,
    matrices: &[&Committed],
    claims: &[Claim],
    transcript: &mut Transcript,
) -> Result<Proof, CommitError> {
    open_as(&Honest, isa, key, matrices, claims, transcript)
}

/// Where a prover could do other than it should.
pub(crate) trait Conduct {
    /// A nonce before a challenge.
    fn grind(&self, isa: Isa, bits: usize, transcript: &mut Transcript) -> Result<Goldilocks, CommitError> {
        Ok(transcript.grind(isa, bits)?)
    }

    /// The challenge with which a variable of a word is folded.
    fn challenge(&self, _variable: usize, drawn: Extension) -> Extension {
        drawn
    }

    /// The word of so many variables, before it is hashed.
    fn word(&self, _height: usize, _word: &mut [Goldilocks]) {}

    /// The tree whose cap is sent for that word, and whose paths are opened.
    fn tree(&self, _height: usize, tree: Tree) -> Tree {
        tree
    }

    /// The values of the matrices at the common point; the sum that they must have with these weights.
    fn values(&self, _values: &mut [Extension], _weights: &[Extension], _sum: Extension) {}

    /// The ends of a variable; the value that they must have between them, at this place.
    fn ends(&self, _ends: &mut [Extension; 2], _place: Extension, _value: Extension) {}
}

struct Honest;

impl Conduct for Honest {}

/// A word that has been hashed.
struct Word {
    values: Vec<Extension>,
    tree: Tree,
}

pub(crate) fn open_as(
    conduct: &impl Conduct,
    isa: Isa,
    key: &Key,
    matrices: &[&Committed],
    claims: &[Claim],
    transcript: &mut Transcript,
) -> Result<Proof, CommitError> {
    let caps: Vec<_> = matrices.iter().map(|matrix| matrix.cap().to_vec()).collect();
    for (index, (expected, got)) in key.matrices().iter().zip(matrices).enumerate() {
        if expected != got.matrix() {
            return Err(CommitError::MatrixShape { index });
        }
    }
    check_statement(key, &caps, claims)?;
    let grinding = key.parameters().challenge_grinding;
    // 1, 2.
    transcript.absorb(tags::KEY, &key.describe());
    for cap in &caps {
        transcript.absorb_digests(tags::CAP, cap);
    }
    let values: Vec<_> = claims.iter().map(|claim| claim.value).collect();
    transcript.absorb_extensions(tags::CLAIMS, &values);
    let tau: Vec<_> = (0..key.claims()).map(|_| transcript.challenge_extension()).collect();
    let mut claimed = vec![Vec::new(); matrices.len()];
    for ((block, claim), weight) in key.blocks().iter().zip(claims).zip(eq_table(&tau)) {
        claimed[block.matrix].push((block, claim, weight));
    }
    let tables = matrices.iter().zip(&claimed);
    let tables = tables.map(|(matrix, claimed)| Table::new(matrix.matrix(), &matrix.values, claimed));
    let mut tables: Vec<_> = tables.collect();
    // 3.
    let (mut rounds, mut column_nonces) = (Vec::new(), Vec::new());
    let mut claim: Extension = eq_table(&tau)
        .into_iter()
        .zip(values)
        .map(|(weight, value)| weight * value)
        .sum();
    for left in (1..=key.columns()).rev() {
        let round = sum(tables.iter().map(|table| table.column_round(left)));
        transcript.absorb_extensions(tags::ROUND, &round);
        rounds.push(round);
        column_nonces.push(conduct.grind(isa, grinding, transcript)?);
        let x = transcript.challenge_extension();
        claim = quadratic(round, claim, x);
        tables.iter_mut().for_each(|table| table.fold_column(left, x));
    }
    let columns: Vec<_> = tables.iter_mut().map(Table::folded).collect();
    let mut point = Vec::with_capacity(key.rows());
    for _ in 0..key.rows() {
        let round = sum(tables.iter().map(Table::row_round));
        transcript.absorb_extensions(tags::ROUND, &round);
        rounds.push(round);
        let x = transcript.challenge_extension();
        claim = quadratic(round, claim, x);
        tables.iter_mut().for_each(|table| table.fold_row(x));
        point.push(x);
    }
    // 4.
    let mut values: Vec<_> = tables.iter().map(|table| table.values()[0]).collect();
    let weights: Vec<_> = tables.iter().map(Table::weight).collect();
    drop(tables);
    conduct.values(&mut values, &weights, claim);
    transcript.absorb_extensions(tags::VALUES, &values);
    // 5.
    let (mut entry_nonces, mut fold_nonces) = (Vec::new(), Vec::new());
    let (mut caps, mut folds, mut words) = (Vec::new(), Vec::new(), Vec::new());
    let (mut word, mut value) = (columns[key.first()].clone(), values[key.first()]);
    let stops = key.stops();
    for (number, height) in stops.iter().map(|stop| stop.height).chain([0]).enumerate() {
        let entering = key.entering(height);
        if !entering.is_empty() {
            entry_nonces.push(conduct.grind(isa, grinding, transcript)?);
        }
        for matrix in entering {
            let weight = transcript.challenge_extension();
            let sums = word.par_iter_mut().zip(&columns[matrix]);
            sums.for_each(|(x, &y)| *x += weight * y);
            value += weight * values[matrix];
        }
        let Some(&stop) = stops.get(number) else {
            break;
        };
        let flat: Vec<_> = word.iter().flat_map(|x| x.coefficients()).collect();
        let mut code = ntt::extend(isa, &flat, 2, key.parameters().log_blowup, Goldilocks::ONE)?;
        conduct.word(height, &mut code);
        let tree = conduct.tree(height, Tree::new(isa, &code, key.word(stop).width, None)?);
        transcript.absorb_digests(tags::WORD, tree.cap());
        caps.push(tree.cap().to_vec());
        let coded = code
            .as_chunks()
            .0
            .iter()
            .map(|&[c0, c1]| Extension::new(c0, c1))
            .collect();
        words.push(Word { values: coded, tree });
        for variable in (stop.next..height).rev() {
            let mut ends = ends(&word, &eq_table(&point[..variable]));
            conduct.ends(&mut ends, point[variable], value);
            transcript.absorb_extensions(tags::FOLD, &ends);
            folds.push(ends);
            if number == 0 {
                fold_nonces.push(conduct.grind(isa, grinding, transcript)?);
            }
            let drawn = transcript.challenge_extension();
            value = between(ends[0], ends[1], drawn);
            let x = conduct.challenge(variable, drawn);
            word = word
                .as_chunks()
                .0
                .par_iter()
                .map(|&[even, odd]| between(even, odd, x))
                .collect();
        }
    }
    // 6, 7.
    let query_nonce = conduct.grind(isa, key.parameters().query_grinding, transcript)?;
    let bits = key.rows() + key.parameters().log_blowup;
    let mut queries = Vec::with_capacity(key.parameters().queries);
    for _ in 0..key.parameters().queries {
        let place = transcript.challenge_bits(bits)?;
        let rows = matrices
            .iter()
            .map(|matrix| matrix.leaf(place >> (key.rows() - matrix.matrix().height)));
        let rows = rows.collect::<Result<_, _>>()?;
        let leaves = stops.iter().zip(&words).map(|(stop, word)| {
            let index = place >> (key.rows() - stop.next);
            let leaf = word.values[index << stop.bits()..(index + 1) << stop.bits()].to_vec();
            Ok((leaf, word.tree.path(index)?))
        });
        let words = leaves.collect::<Result<_, CommitError>>()?;
        queries.push(Query { rows, words });
    }
    Ok(Proof {
        rounds,
        column_nonces,
        values,
        entry_nonces,
        caps,
        folds,
        fold_nonces,
        query_nonce,
        queries,
    })
}

fn sum(parts: impl Iterator<Item = [Extension; 2]>) -> [Extension; 2] {
    parts.fold(Default::default(), |x, y| [x[0] + y[0], x[1] + y[1]])
}

/// The sums of the even and of the odd entries, weighted.
fn ends(word: &[Extension], weights: &[Extension]) -> [Extension; 2] {
    let pairs = word.as_chunks().0.par_iter().zip(weights);
    let terms = pairs.map(|(&[even, odd], &weight)| [even * weight, odd * weight]);
    terms.reduce(Default::default, |x, y| [x[0] + y[0], x[1] + y[1]])
}
