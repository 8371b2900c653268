//! Openings, and their one encoding (section 7.5).

use trainproof_field::{Extension, FieldError, Goldilocks};
use trainproof_poseidon::{Digest, SALT, Shape};

use crate::key::cap_and_path;
use crate::{CommitError, Key};

/// That a block has a value at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<E = Extension> {
    /// One coordinate a variable of the block, the first that of the highest bit.
    pub point: Vec<E>,
    /// The block's multilinear extension there.
    pub value: E,
}

/// What shows that a row is a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<F = Goldilocks, D = Digest> {
    /// The row.
    pub row: Vec<F>,
    /// Its salt, in trees that have salts.
    pub salt: Option<Vec<F>>,
    /// The siblings from the leaf up.
    pub path: Vec<D>,
}

/// What is opened at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<F = Goldilocks, E = Extension, D = Digest> {
    /// A row of each matrix.
    pub rows: Vec<Leaf<F, D>>,
    /// A leaf of each word, and its path.
    pub words: Vec<(Vec<E>, Vec<D>)>,
}

/// An opening of all claims of a key. All lengths follow from the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof<F = Goldilocks, E = Extension, D = Digest> {
    /// The sumcheck's round polynomials at 0 and 2: columns, then rows.
    pub rounds: Vec<[E; 2]>,
    /// Work before each challenge of a column's variable.
    pub column_nonces: Vec<F>,
    /// The values of the matrices at the sumcheck's point.
    pub values: Vec<E>,
    /// Work before the weights of the matrices that enter, the greatest height first.
    pub entry_nonces: Vec<F>,
    /// The caps of the words' trees.
    pub caps: Vec<Vec<D>>,
    /// The two ends of each folded variable, the last variable first.
    pub folds: Vec<[E; 2]>,
    /// Work before each challenge of the first word's folding.
    pub fold_nonces: Vec<F>,
    /// Work before the queries.
    pub query_nonce: F,
    /// What is opened at each place.
    pub queries: Vec<Query<F, E, D>>,
}

fn count(name: &'static str, expected: usize, got: usize) -> Result<(), CommitError> {
    if expected == got {
        Ok(())
    } else {
        Err(CommitError::Count { name, expected, got })
    }
}

impl<F, E, D> Proof<F, E, D> {
    /// Compares all lengths with those that follow from the key.
    pub(crate) fn check(&self, key: &Key) -> Result<(), CommitError> {
        let stops = key.stops();
        count("rounds", key.columns() + key.rows(), self.rounds.len())?;
        count("nonces of columns", key.columns(), self.column_nonces.len())?;
        count("values", key.matrices().len(), self.values.len())?;
        count("nonces of entries", key.entries().len(), self.entry_nonces.len())?;
        count("caps", stops.len(), self.caps.len())?;
        for (cap, &stop) in self.caps.iter().zip(&stops) {
            count("nodes of a cap", cap_and_path(&key.word(stop)).0, cap.len())?;
        }
        count("folds", key.rows(), self.folds.len())?;
        let first = stops.first().map_or(0, |stop| stop.bits());
        count("nonces of folds", first, self.fold_nonces.len())?;
        count("queries", key.parameters().queries, self.queries.len())?;
        for query in &self.queries {
            count("rows", key.matrices().len(), query.rows.len())?;
            for (index, leaf) in query.rows.iter().enumerate() {
                let tree = key.tree(index);
                count("elements of a row", tree.width, leaf.row.len())?;
                let salt = if tree.salted { SALT } else { 0 };
                count("salts", usize::from(tree.salted), usize::from(leaf.salt.is_some()))?;
                count("elements of a salt", salt, leaf.salt.as_ref().map_or(0, Vec::len))?;
                count("nodes of a path", cap_and_path(&tree).1, leaf.path.len())?;
            }
            count("words", stops.len(), query.words.len())?;
            for ((leaf, path), &stop) in query.words.iter().zip(&stops) {
                count("elements of a leaf", 1 << stop.bits(), leaf.len())?;
                count("nodes of a path", cap_and_path(&key.word(stop)).1, path.len())?;
            }
        }
        Ok(())
    }
}

impl Proof {
    /// The length of every encoded opening for this key, in bytes.
    #[must_use]
    pub fn encoded_length(key: &Key) -> usize {
        let (stops, matrices) = (key.stops(), key.matrices().len());
        let first = stops.first().map_or(0, |stop| stop.bits());
        let extensions = 2 * (key.columns() + 2 * key.rows()) + matrices;
        let nonces = key.columns() + key.entries().len() + first + 1;
        let trees = |trees: &[Shape]| -> (usize, usize, usize) {
            trees.iter().fold((0, 0, 0), |(caps, paths, rows), tree| {
                let (cap, path) = cap_and_path(tree);
                let salt = if tree.salted { SALT } else { 0 };
                (caps + cap, paths + path, rows + tree.width + salt)
            })
        };
        let words: Vec<_> = stops.iter().map(|&stop| key.word(stop)).collect();
        let matrices: Vec<_> = (0..matrices).map(|index| key.tree(index)).collect();
        let ((caps, word_paths, leaves), (_, paths, rows)) = (trees(&words), trees(&matrices));
        let query = Goldilocks::BYTES * (rows + leaves) + Digest::BYTES * (paths + word_paths);
        Extension::BYTES * extensions
            + Goldilocks::BYTES * nonces
            + Digest::BYTES * caps
            + key.parameters().queries * query
    }

    /// The encoding: all fields in order, without lengths.
    ///
    /// # Errors
    /// [`CommitError::Count`] for a proof that is not one for this key.
    pub fn to_bytes(&self, key: &Key) -> Result<Vec<u8>, CommitError> {
        self.check(key)?;
        let mut writer = Writer(Vec::with_capacity(Self::encoded_length(key)));
        writer.pairs(&self.rounds);
        writer.elements(&self.column_nonces);
        writer.extensions(&self.values);
        writer.elements(&self.entry_nonces);
        self.caps.iter().for_each(|cap| writer.digests(cap));
        writer.pairs(&self.folds);
        writer.elements(&self.fold_nonces);
        writer.elements(&[self.query_nonce]);
        for query in &self.queries {
            for leaf in &query.rows {
                writer.elements(&leaf.row);
                writer.elements(leaf.salt.as_deref().unwrap_or_default());
                writer.digests(&leaf.path);
            }
            for (leaf, path) in &query.words {
                writer.extensions(leaf);
                writer.digests(path);
            }
        }
        Ok(writer.0)
    }

    /// The opening that these bytes encode. Their number is compared before anything is allocated.
    ///
    /// # Errors
    /// [`CommitError::Count`] for other than [`encoded_length`](Self::encoded_length) bytes, [`CommitError::Field`] for
    /// words that encode no element.
    pub fn from_bytes(key: &Key, bytes: &[u8]) -> Result<Self, CommitError> {
        count("bytes", Self::encoded_length(key), bytes.len())?;
        let (stops, mut reader) = (key.stops(), Reader(bytes));
        let rounds = reader.pairs(key.columns() + key.rows())?;
        let column_nonces = reader.elements(key.columns())?;
        let values = reader.extensions(key.matrices().len())?;
        let entry_nonces = reader.elements(key.entries().len())?;
        let caps = stops
            .iter()
            .map(|&stop| reader.digests(cap_and_path(&key.word(stop)).0));
        let caps = caps.collect::<Result<_, _>>()?;
        let folds = reader.pairs(key.rows())?;
        let fold_nonces = reader.elements(stops.first().map_or(0, |stop| stop.bits()))?;
        let query_nonce = reader.element()?;
        let mut queries = Vec::with_capacity(key.parameters().queries);
        for _ in 0..key.parameters().queries {
            let mut rows = Vec::with_capacity(key.matrices().len());
            for index in 0..key.matrices().len() {
                let tree = key.tree(index);
                let row = reader.elements(tree.width)?;
                let salt = if tree.salted {
                    Some(reader.elements(SALT)?)
                } else {
                    None
                };
                let path = reader.digests(cap_and_path(&tree).1)?;
                rows.push(Leaf { row, salt, path });
            }
            let mut words = Vec::with_capacity(stops.len());
            for &stop in &stops {
                let leaf = reader.extensions(1 << stop.bits())?;
                words.push((leaf, reader.digests(cap_and_path(&key.word(stop)).1)?));
            }
            queries.push(Query { rows, words });
        }
        Ok(Self {
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
}

struct Writer(Vec<u8>);

impl Writer {
    fn elements(&mut self, elements: &[Goldilocks]) {
        self.0.extend(elements.iter().flat_map(|x| x.to_bytes()));
    }

    fn extensions(&mut self, elements: &[Extension]) {
        self.0.extend(elements.iter().flat_map(|x| x.to_bytes()));
    }

    fn pairs(&mut self, pairs: &[[Extension; 2]]) {
        self.extensions(pairs.as_flattened());
    }

    fn digests(&mut self, digests: &[Digest]) {
        self.0.extend(digests.iter().flat_map(|digest| digest.to_bytes()));
    }
}

/// Reads from bytes whose number has been compared with what will be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], CommitError> {
        let Some((bytes, rest)) = self.0.split_first_chunk() else {
            return Err(FieldError::BytesLength {
                element: N,
                got: self.0.len(),
            }
            .into());
        };
        self.0 = rest;
        Ok(*bytes)
    }

    fn element(&mut self) -> Result<Goldilocks, CommitError> {
        Ok(Goldilocks::from_bytes(self.bytes()?)?)
    }

    fn extension(&mut self) -> Result<Extension, CommitError> {
        Ok(Extension::from_bytes(self.bytes()?)?)
    }

    fn elements(&mut self, count: usize) -> Result<Vec<Goldilocks>, CommitError> {
        (0..count).map(|_| self.element()).collect()
    }

    fn extensions(&mut self, count: usize) -> Result<Vec<Extension>, CommitError> {
        (0..count).map(|_| self.extension()).collect()
    }

    fn pairs(&mut self, count: usize) -> Result<Vec<[Extension; 2]>, CommitError> {
        (0..count).map(|_| Ok([self.extension()?, self.extension()?])).collect()
    }

    fn digests(&mut self, count: usize) -> Result<Vec<Digest>, CommitError> {
        (0..count).map(|_| Ok(Digest::from_bytes(self.bytes()?)?)).collect()
    }
}
