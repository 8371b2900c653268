//! The verifier, in the numbered steps of section 7.4. Lengths first; nothing branches on a value.

use trainproof_field::{Extension, Field, Goldilocks};

use crate::key::{Stop, cap_and_path};
use crate::multilinear::variables;
use crate::{Backend, Block, Claim, CommitError, Key, Proof, Query, Step, tags};

/// Checks an opening of one claim for each block of the key, on matrices with these caps. The backend's transcript has
/// absorbed the statement, and whatever the points of the claims follow from.
///
/// # Errors
/// [`CommitError::Count`] before anything is computed; [`CommitError::Unequal`] and [`CommitError::Poseidon`].
pub fn verify<B: Backend>(
    backend: &mut B,
    key: &Key,
    caps: &[Vec<B::Digest>],
    claims: &[Claim<B::Ext>],
    proof: &Proof<B::Base, B::Ext, B::Digest>,
) -> Result<(), CommitError> {
    check_statement(key, caps, claims)?;
    proof.check(key)?;
    let mut verifier = Verifier { backend, key };
    let claim = verifier.statement(caps, claims); // 1, 2
    let (claim, point) = verifier.sumcheck(proof, claim.value, claim.point)?; // 3
    verifier.values(claims, proof, claim, &point)?; // 4
    let folding = verifier.folding(proof, &point)?; // 5
    let places = verifier.places(proof)?; // 6
    for (number, (place, query)) in places.iter().zip(&proof.queries).enumerate() {
        verifier.query(caps, proof, &folding, number, place, query)?; // 7
    }
    Ok(())
}

/// Compares the lengths of what the proof is about with the key.
pub(crate) fn check_statement<E, D>(key: &Key, caps: &[Vec<D>], claims: &[Claim<E>]) -> Result<(), CommitError> {
    let count = |name, expected, got| {
        if expected == got {
            Ok(())
        } else {
            Err(CommitError::Count { name, expected, got })
        }
    };
    count("matrices", key.matrices().len(), caps.len())?;
    for (index, cap) in caps.iter().enumerate() {
        count("nodes of a cap", cap_and_path(&key.tree(index)).0, cap.len())?;
    }
    count("claims", key.blocks().len(), claims.len())?;
    for (block, claim) in key.blocks().iter().zip(claims) {
        count("coordinates", block.variables(), claim.point.len())?;
    }
    Ok(())
}

/// What folding leaves for the queries.
struct Folding<E> {
    /// eq(γ, c) for the columns.
    columns: Vec<E>,
    /// The weight of each matrix.
    weights: Vec<E>,
    /// The challenge of each variable of rows.
    challenges: Vec<E>,
    /// The constant that all words fold to.
    constant: E,
}

/// The point that all claims are brought to, and the weights of the claims, kept for step 4.
struct Point<E> {
    claims: Vec<E>,
    columns: Vec<E>,
    rows: Vec<E>,
}

struct Verifier<'a, B> {
    backend: &'a mut B,
    key: &'a Key,
}

impl<B: Backend> Verifier<'_, B> {
    /// 1. Everything that is known is absorbed. 2. The claims become one; in `point`, their weights.
    fn statement(&mut self, caps: &[Vec<B::Digest>], claims: &[Claim<B::Ext>]) -> Claim<B::Ext> {
        let describe = self.key.describe();
        let describe: Vec<_> = describe.into_iter().map(|word| self.backend.base(word)).collect();
        self.backend.absorb(tags::KEY, &describe);
        for cap in caps {
            self.backend.absorb_digests(tags::CAP, cap);
        }
        let values: Vec<_> = claims.iter().map(|claim| claim.value.clone()).collect();
        self.backend.absorb_extensions(tags::CLAIMS, &values);
        let tau: Vec<_> = (0..self.key.claims()).map(|_| self.backend.challenge()).collect();
        let weights = self.eq_table(&tau, values.len());
        let value = self.inner(&weights, &values);
        Claim { point: weights, value }
    }

    /// 3. The sumcheck over columns and rows.
    fn sumcheck(
        &mut self,
        proof: &Proof<B::Base, B::Ext, B::Digest>,
        mut claim: B::Ext,
        claims: Vec<B::Ext>,
    ) -> Result<(B::Ext, Point<B::Ext>), CommitError> {
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        let grinding = self.key.parameters().challenge_grinding;
        let half = self.constant(half());
        for (index, [at_zero, at_two]) in proof.rounds.iter().enumerate() {
            self.backend
                .absorb_extensions(tags::ROUND, &[at_zero.clone(), at_two.clone()]);
            if let Some(nonce) = proof.column_nonces.get(index) {
                self.backend.check_grinding(grinding, nonce)?;
            }
            let x = self.backend.challenge();
            // a + b·x + c·x² with a + b + c = at_one and a + 2b + 4c = at_two.
            let at_one = self.backend.sub(&claim, at_zero);
            let step = self.backend.sub(&at_one, at_zero);
            let next = self.backend.sub(at_two, &at_one);
            let twice = self.backend.sub(&next, &step);
            let c = self.backend.mul(&twice, &half);
            let b = self.backend.sub(&step, &c);
            let linear = self.backend.mul(&c, &x);
            let linear = self.backend.add(&b, &linear);
            let rest = self.backend.mul(&linear, &x);
            claim = self.backend.add(at_zero, &rest);
            if index < self.key.columns() {
                columns.push(x);
            } else {
                rows.push(x);
            }
        }
        let point = Point { claims, columns, rows };
        Ok((claim, point))
    }

    /// 4. The sumcheck's last claim is that of the matrices' values.
    fn values(
        &mut self,
        claims: &[Claim<B::Ext>],
        proof: &Proof<B::Base, B::Ext, B::Digest>,
        claim: B::Ext,
        point: &Point<B::Ext>,
    ) -> Result<(), CommitError> {
        self.backend.absorb_extensions(tags::VALUES, &proof.values);
        let key = self.key;
        let mut weights: Vec<_> = key.matrices().iter().map(|_| self.constant(Goldilocks::ZERO)).collect();
        for ((block, claim), tau) in key.blocks().iter().zip(claims).zip(&point.claims) {
            let weight = self.block_weight(block, &claim.point, point);
            let weight = self.backend.mul(&weight, tau);
            weights[block.matrix] = self.backend.add(&weights[block.matrix], &weight);
        }
        let mut total = self.constant(Goldilocks::ZERO);
        for ((matrix, weight), value) in key.matrices().iter().zip(weights).zip(&proof.values) {
            let mut term = self.backend.mul(&weight, value);
            for x in &point.rows[matrix.height..] {
                let rest = self.complement(x);
                term = self.backend.mul(&term, &rest);
            }
            total = self.backend.add(&total, &term);
        }
        self.backend.equal(Step::Values, &total, &claim)
    }

    /// The extension of a block's weights eq(point, ·) in its matrix, at the common point.
    fn block_weight(&mut self, block: &Block, claimed: &[B::Ext], point: &Point<B::Ext>) -> B::Ext {
        let height = self.key.matrices()[block.matrix].height;
        let place: Vec<_> = point.columns.iter().chain(&point.rows[..height]).cloned().collect();
        let (prefix, mut inner) = place.split_at(place.len() - block.variables());
        let mut outer = claimed;
        let mut weight = self.constant(Goldilocks::ONE);
        for (index, x) in prefix.iter().enumerate() {
            let bit = block.start >> (place.len() - 1 - index) & 1;
            let factor = if bit == 1 { x.clone() } else { self.complement(x) };
            weight = self.backend.mul(&weight, &factor);
        }
        for &size in &block.shape {
            let (x, y);
            (x, outer) = outer.split_at(variables(size));
            (y, inner) = inner.split_at(variables(size));
            let factor = self.eq_below(size, x, y);
            weight = self.backend.mul(&weight, &factor);
        }
        weight
    }

    /// Σ eq(x, i)·eq(y, i) over i < size.
    fn eq_below(&mut self, size: usize, x: &[B::Ext], y: &[B::Ext]) -> B::Ext {
        let bits = x.len();
        let mut zeros_and_ones = Vec::with_capacity(bits);
        for (x, y) in x.iter().zip(y) {
            let one = self.backend.mul(x, y);
            let (x, y) = (self.complement(x), self.complement(y));
            zeros_and_ones.push((self.backend.mul(&x, &y), one));
        }
        // The sum over the lowest bits, from the last up: over all of them, and over those below `size`'s.
        let mut all = self.constant(Goldilocks::ONE);
        let mut below = self.constant(Goldilocks::ZERO);
        for (index, (zero, one)) in zeros_and_ones.iter().enumerate().rev() {
            let bit = size >> (bits - 1 - index) & 1;
            below = if bit == 1 {
                let lower = self.backend.mul(zero, &all);
                let upper = self.backend.mul(one, &below);
                self.backend.add(&lower, &upper)
            } else {
                self.backend.mul(zero, &below)
            };
            let either = self.backend.add(zero, one);
            all = self.backend.mul(&either, &all);
        }
        if size >> bits == 1 { all } else { below }
    }

    /// 5. One word's value at a point, variable by variable, while the word is folded with the same challenges.
    fn folding(
        &mut self,
        proof: &Proof<B::Base, B::Ext, B::Digest>,
        point: &Point<B::Ext>,
    ) -> Result<Folding<B::Ext>, CommitError> {
        let (key, grinding) = (self.key, self.key.parameters().challenge_grinding);
        let width = key.matrices().iter().map(|matrix| matrix.width).max().unwrap_or(0);
        let columns = self.eq_table(&point.columns, width);
        let mut weights: Vec<_> = key.matrices().iter().map(|_| self.constant(Goldilocks::ONE)).collect();
        let mut value = proof.values[key.first()].clone();
        let mut challenges: Vec<_> = point.rows.iter().map(|_| self.constant(Goldilocks::ZERO)).collect();
        let (mut entry_nonces, mut fold_nonces) = (proof.entry_nonces.iter(), proof.fold_nonces.iter());
        let mut caps = proof.caps.iter();
        let stops = key.stops();
        let ends = stops.iter().map(|stop| stop.height).chain([0]);
        for (number, height) in ends.enumerate() {
            let entering = key.entering(height);
            if !entering.is_empty()
                && let Some(nonce) = entry_nonces.next()
            {
                self.backend.check_grinding(grinding, nonce)?;
            }
            for matrix in entering {
                weights[matrix] = self.backend.challenge();
                let term = self.backend.mul(&weights[matrix], &proof.values[matrix]);
                value = self.backend.add(&value, &term);
            }
            let Some(&Stop { next, .. }) = stops.get(number) else {
                break;
            };
            if let Some(cap) = caps.next() {
                self.backend.absorb_digests(tags::WORD, cap);
            }
            for variable in (next..height).rev() {
                let [at_zero, at_one] = &proof.folds[key.rows() - 1 - variable];
                self.backend
                    .absorb_extensions(tags::FOLD, &[at_zero.clone(), at_one.clone()]);
                let between = self.between(at_zero, at_one, &point.rows[variable]);
                self.backend.equal(Step::Fold { variable }, &between, &value)?;
                // The first word's nonces are as many as its variables.
                if let Some(nonce) = fold_nonces.next() {
                    self.backend.check_grinding(grinding, nonce)?;
                }
                challenges[variable] = self.backend.challenge();
                value = self.between(at_zero, at_one, &challenges[variable]);
            }
        }
        Ok(Folding {
            columns,
            weights,
            challenges,
            constant: value,
        })
    }

    /// 6. Where words are compared: the lowest bit first.
    fn places(&mut self, proof: &Proof<B::Base, B::Ext, B::Digest>) -> Result<Vec<Vec<B::Bit>>, CommitError> {
        let parameters = self.key.parameters();
        self.backend
            .check_grinding(parameters.query_grinding, &proof.query_nonce)?;
        let bits = self.key.rows() + parameters.log_blowup;
        (0..parameters.queries)
            .map(|_| self.backend.challenge_bits(bits))
            .collect()
    }

    /// 7. All words at one place.
    fn query(
        &mut self,
        caps: &[Vec<B::Digest>],
        proof: &Proof<B::Base, B::Ext, B::Digest>,
        folding: &Folding<B::Ext>,
        number: usize,
        place: &[B::Bit],
        query: &Query<B::Base, B::Ext, B::Digest>,
    ) -> Result<(), CommitError> {
        let (key, rows) = (self.key, self.key.rows());
        let mut entering: Vec<_> = (0..=rows).map(|_| self.constant(Goldilocks::ZERO)).collect();
        for (index, (leaf, cap)) in query.rows.iter().zip(caps).enumerate() {
            let height = key.matrices()[index].height;
            let salt = leaf.salt.as_deref();
            let tree = key.tree(index);
            self.backend
                .check_leaf(&tree, cap, &place[rows - height..], &leaf.row, salt, &leaf.path)?;
            let mut value = self.constant(Goldilocks::ZERO);
            for (weight, x) in folding.columns.iter().zip(&leaf.row) {
                let term = self.backend.scale(weight, x);
                value = self.backend.add(&value, &term);
            }
            let value = self.backend.mul(&value, &folding.weights[index]);
            entering[height] = self.backend.add(&entering[height], &value);
        }
        // What stands at this place of the word before, folded. Nothing is before the first.
        let mut folded = self.constant(Goldilocks::ZERO);
        for ((stop, (leaf, path)), cap) in key.stops().into_iter().zip(&query.words).zip(&proof.caps) {
            let place = &place[rows - stop.height..];
            let (within, index) = place.split_at(stop.bits());
            let row: Vec<_> = leaf.iter().flat_map(|x| self.backend.coefficients(x)).collect();
            self.backend.check_leaf(&key.word(stop), cap, index, &row, None, path)?;
            let expected = self.backend.add(&folded, &entering[stop.height]);
            let found = self.pick(leaf, within);
            let height = stop.height;
            self.backend
                .equal(Step::Word { query: number, height }, &found, &expected)?;
            folded = self.fold_leaf(stop, leaf, index, &folding.challenges)?;
        }
        let last = self.backend.add(&folded, &entering[0]);
        let step = Step::Word {
            query: number,
            height: 0,
        };
        self.backend.equal(step, &last, &folding.constant)
    }

    /// The entry with this number, its lowest bit first.
    fn pick(&mut self, entries: &[B::Ext], bits: &[B::Bit]) -> B::Ext {
        let mut entries = entries.to_vec();
        for bit in bits {
            let pairs = entries.as_chunks().0.iter();
            entries = pairs.map(|[zero, one]| self.backend.select(bit, one, zero)).collect();
        }
        entries[0].clone()
    }

    /// Folds the values of a coset of 2^bits points to one, a variable a time.
    fn fold_leaf(
        &mut self,
        stop: Stop,
        leaf: &[B::Ext],
        index: &[B::Bit],
        challenges: &[B::Ext],
    ) -> Result<B::Ext, CommitError> {
        let log = stop.height + self.key.parameters().log_blowup;
        let root = Goldilocks::root_of_unity(log)?;
        let inverse = root.pow((1 << log) - 1);
        let (half, one) = (self.backend.base(half()), self.backend.base(Goldilocks::ONE));
        // 1/x for the point x of the leaf's first value: bit l of the value's number is worth ω^2^(log − 1 − l).
        let mut point = one.clone();
        for (bit, l) in index.iter().zip(stop.bits()..) {
            let power = self.backend.base(inverse.pow(1 << (log - 1 - l)));
            let factor = self.backend.select_base(bit, &power, &one);
            point = self.backend.base_mul(&point, &factor);
        }
        let mut values = leaf.to_vec();
        for (level, variable) in (stop.next..stop.height).rev().enumerate() {
            let (log, inverse) = (log - level, inverse.pow(1 << level));
            let mut next = Vec::with_capacity(values.len() / 2);
            for (pair, [a, b]) in values.as_chunks().0.iter().enumerate() {
                let exponent = trainproof_field::ntt::reverse_bits(2 * pair, log) as u64;
                let shift = self.backend.base(inverse.pow(exponent));
                let x = self.backend.base_mul(&point, &shift);
                let x = self.backend.base_mul(&x, &half);
                let (sum, difference) = (self.backend.add(a, b), self.backend.sub(a, b));
                let even = self.backend.scale(&sum, &half);
                let odd = self.backend.scale(&difference, &x);
                next.push(self.between(&even, &odd, &challenges[variable]));
            }
            values = next;
            point = self.backend.base_mul(&point, &point.clone());
        }
        Ok(values[0].clone())
    }

    fn constant(&mut self, x: Goldilocks) -> B::Ext {
        self.backend.ext(Extension::from(x))
    }

    /// 1 − x.
    fn complement(&mut self, x: &B::Ext) -> B::Ext {
        let one = self.constant(Goldilocks::ONE);
        self.backend.sub(&one, x)
    }

    /// (1 − x)·a + x·b.
    fn between(&mut self, a: &B::Ext, b: &B::Ext, x: &B::Ext) -> B::Ext {
        let difference = self.backend.sub(b, a);
        let part = self.backend.mul(&difference, x);
        self.backend.add(a, &part)
    }

    fn inner(&mut self, x: &[B::Ext], y: &[B::Ext]) -> B::Ext {
        let mut sum = self.constant(Goldilocks::ZERO);
        for (x, y) in x.iter().zip(y) {
            let term = self.backend.mul(x, y);
            sum = self.backend.add(&sum, &term);
        }
        sum
    }

    /// The first `count` of eq(point, x).
    fn eq_table(&mut self, point: &[B::Ext], count: usize) -> Vec<B::Ext> {
        let mut table = vec![self.constant(Goldilocks::ONE)];
        for (index, coordinate) in point.iter().enumerate() {
            let needed = count.div_ceil(1 << (point.len() - 1 - index));
            let mut next = Vec::with_capacity(2 * table.len());
            for x in &table {
                let one = self.backend.mul(x, coordinate);
                next.push(self.backend.sub(x, &one));
                next.push(one);
            }
            next.truncate(needed);
            table = next;
        }
        table
    }
}

fn half() -> Goldilocks {
    Goldilocks::from_residue(Goldilocks::ORDER.div_ceil(2))
}
