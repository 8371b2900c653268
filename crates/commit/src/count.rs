//! The verifier's backend that only counts: what an opening costs to verify, before there is one.

use trainproof_field::{Extension, Goldilocks};
use trainproof_poseidon::{Digest, RATE, SALT, Shape, Tag};

use crate::key::cap_and_path;
use crate::{Backend, Claim, CommitError, Key, Leaf, Proof, Query, Step, verify};

/// What verifying takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Permutations of the hash.
    pub permutations: usize,
    /// Products of two elements of the extension.
    pub products: usize,
    /// Products of an element of the extension or of the base field and one of the base field.
    pub base_products: usize,
    /// Selections by a bit.
    pub selections: usize,
}

/// The cost of verifying any opening for a key.
///
/// # Errors
/// None for a key that [`Key::new`] made: the lists of a blank proof have the lengths that the key says.
pub fn cost(key: &Key) -> Result<Cost, CommitError> {
    let mut counter = Counter {
        cost: Cost::default(),
        held: 0,
        given: RATE,
    };
    let caps: Vec<_> = (0..key.matrices().len())
        .map(|index| vec![(); cap_and_path(&key.tree(index)).0])
        .collect();
    let claim = |variables| Claim {
        point: vec![(); variables],
        value: (),
    };
    let claims: Vec<_> = key.blocks().iter().map(|block| claim(block.variables())).collect();
    verify(&mut counter, key, &caps, &claims, &blank(key))?;
    Ok(counter.cost)
}

/// A proof of the right lengths that says nothing.
fn blank(key: &Key) -> Proof<(), (), ()> {
    let stops = key.stops();
    let leaf = |index| {
        let tree = key.tree(index);
        Leaf {
            row: vec![(); tree.width],
            salt: tree.salted.then(|| vec![(); SALT]),
            path: vec![(); cap_and_path(&tree).1],
        }
    };
    let words = stops
        .iter()
        .map(|&stop| (vec![(); 1 << stop.bits()], vec![(); cap_and_path(&key.word(stop)).1]));
    let query = Query {
        rows: (0..key.matrices().len()).map(leaf).collect(),
        words: words.collect(),
    };
    Proof {
        rounds: vec![[(); 2]; key.columns() + key.rows()],
        column_nonces: vec![(); key.columns()],
        values: vec![(); key.matrices().len()],
        entry_nonces: vec![(); key.entries().len()],
        caps: stops
            .iter()
            .map(|&stop| vec![(); cap_and_path(&key.word(stop)).0])
            .collect(),
        folds: vec![[(); 2]; key.rows()],
        fold_nonces: vec![(); stops.first().map_or(0, |stop| stop.bits())],
        query_nonce: (),
        queries: vec![query; key.parameters().queries],
    }
}

/// Counts. Values are nothing: who verifies does not look at them.
struct Counter {
    cost: Cost,
    /// Elements of the transcript's block that is not full, and those given since its last permutation.
    held: usize,
    given: usize,
}

impl Counter {
    fn permute(&mut self) {
        self.cost.permutations += 1;
        (self.held, self.given) = (0, 0);
    }

    fn message(&mut self, elements: usize) {
        for _ in 0..2 + elements {
            self.held += 1;
            if self.held == RATE {
                self.permute();
            }
        }
    }

    fn draw(&mut self) {
        if self.held > 0 || self.given == RATE {
            self.permute();
        }
        self.given += 1;
    }
}

impl Backend for Counter {
    type Base = ();
    type Ext = ();
    type Digest = ();
    type Bit = ();

    fn base(&mut self, _value: Goldilocks) {}

    fn ext(&mut self, _value: Extension) {}

    fn coefficients(&mut self, (): &()) -> [(); 2] {
        [(); 2]
    }

    fn base_mul(&mut self, (): &(), (): &()) {
        self.cost.base_products += 1;
    }

    fn add(&mut self, (): &(), (): &()) {}

    fn sub(&mut self, (): &(), (): &()) {}

    fn mul(&mut self, (): &(), (): &()) {
        self.cost.products += 1;
    }

    fn scale(&mut self, (): &(), (): &()) {
        self.cost.base_products += 1;
    }

    fn select_base(&mut self, (): &(), (): &(), (): &()) {
        self.cost.selections += 1;
    }

    fn select(&mut self, (): &(), (): &(), (): &()) {
        self.cost.selections += 1;
    }

    fn equal(&mut self, _step: Step, (): &(), (): &()) -> Result<(), CommitError> {
        Ok(())
    }

    fn absorb(&mut self, _tag: Tag, message: &[()]) {
        self.message(message.len());
    }

    fn absorb_extensions(&mut self, _tag: Tag, message: &[()]) {
        self.message(Extension::DEGREE * message.len());
    }

    fn absorb_digests(&mut self, _tag: Tag, message: &[()]) {
        self.message(Digest::ELEMENTS * message.len());
    }

    fn challenge(&mut self) {
        self.draw();
        self.draw();
    }

    fn challenge_bits(&mut self, bits: usize) -> Result<Vec<()>, CommitError> {
        self.draw();
        Ok(vec![(); bits])
    }

    fn check_grinding(&mut self, _bits: usize, (): &()) -> Result<(), CommitError> {
        if self.held > 0 {
            self.permute();
        }
        self.message(2);
        self.draw();
        Ok(())
    }

    fn check_leaf(
        &mut self,
        _tree: &Shape,
        _cap: &[()],
        _index: &[()],
        row: &[()],
        salt: Option<&[()]>,
        path: &[()],
    ) -> Result<(), CommitError> {
        let elements = row.len() + salt.map_or(0, <[_]>::len);
        self.cost.permutations += elements.div_ceil(RATE) + path.len();
        Ok(())
    }
}
