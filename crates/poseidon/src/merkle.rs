//! Trees over the rows of a matrix (section 3). Who verifies takes nothing about the tree from the opening.

use rayon::prelude::*;
use trainproof_field::{Field, FieldError, Goldilocks, Isa, Kernel, Simd};

use crate::packed::States;
use crate::{Digest, PoseidonError, RATE, SALT, Salt, Tag, hash, node, sponge};

/// Levels of a tree that its cap replaces: a cap has 2^4 nodes.
pub const CAP_HEIGHT: usize = 4;
/// The greatest height of a tree: the field has no larger domain.
pub const MAX_HEIGHT: usize = 32;

/// Nodes or leaves that one thread hashes in a row.
const BLOCK: usize = 64;

/// What a verifier knows of a tree before it sees an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The tree has 2^`height` leaves.
    pub height: usize,
    /// Elements of a row.
    pub width: usize,
    /// Whether every leaf has a salt.
    pub salted: bool,
}

/// What shows that a row is a leaf of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The row.
    pub row: Vec<Goldilocks>,
    /// The leaf's salt, in trees that have salts.
    pub salt: Option<Salt>,
    /// The siblings from the leaf up, without those of the cap.
    pub path: Vec<Digest>,
}

impl Shape {
    /// Checks that `opening` opens leaf `index` of the tree with this cap. Lengths are checked before anything is hashed.
    ///
    /// # Errors
    /// [`PoseidonError::Height`], [`PoseidonError::NoColumns`], [`PoseidonError::RowLength`],
    /// [`PoseidonError::SaltPresence`], [`PoseidonError::CapLength`], [`PoseidonError::LeafIndex`],
    /// [`PoseidonError::PathLength`], [`PoseidonError::CapMismatch`]
    pub fn verify(&self, cap: &[Digest], index: usize, opening: &Opening) -> Result<(), PoseidonError> {
        if self.width == 0 {
            return Err(PoseidonError::NoColumns);
        }
        if opening.row.len() != self.width {
            return Err(PoseidonError::RowLength {
                expected: self.width,
                got: opening.row.len(),
            });
        }
        if opening.salt.is_some() != self.salted {
            return Err(PoseidonError::SaltPresence { expected: self.salted });
        }
        check_lengths(cap, self.height, index, &opening.path)?;
        let leaf = match &opening.salt {
            Some(salt) => hash(Tag::SALTED_LEAF, &[opening.row.as_slice(), salt].concat()),
            None => hash(Tag::LEAF, &opening.row),
        };
        climb(cap, index, leaf, &opening.path)
    }
}

/// Checks that `leaf` is the digest of leaf `index` in the tree of 2^`height` leaves with this cap.
///
/// # Errors
/// [`PoseidonError::Height`], [`PoseidonError::CapLength`], [`PoseidonError::LeafIndex`], [`PoseidonError::PathLength`],
/// [`PoseidonError::CapMismatch`]
pub fn verify_path(
    cap: &[Digest],
    height: usize,
    index: usize,
    leaf: Digest,
    path: &[Digest],
) -> Result<(), PoseidonError> {
    check_lengths(cap, height, index, path)?;
    climb(cap, index, leaf, path)
}

fn check_lengths(cap: &[Digest], height: usize, index: usize, path: &[Digest]) -> Result<(), PoseidonError> {
    if height > MAX_HEIGHT {
        let max = MAX_HEIGHT;
        return Err(PoseidonError::Height { height, max });
    }
    let cap_height = height.min(CAP_HEIGHT);
    if cap.len() != 1 << cap_height {
        return Err(PoseidonError::CapLength {
            expected: 1 << cap_height,
            got: cap.len(),
        });
    }
    let leaves = 1 << height;
    if index >= leaves {
        return Err(PoseidonError::LeafIndex { index, leaves });
    }
    if path.len() != height - cap_height {
        return Err(PoseidonError::PathLength {
            expected: height - cap_height,
            got: path.len(),
        });
    }
    Ok(())
}

fn climb(cap: &[Digest], index: usize, leaf: Digest, path: &[Digest]) -> Result<(), PoseidonError> {
    let (mut digest, mut position) = (leaf, index);
    for sibling in path {
        digest = if position.is_multiple_of(2) {
            node(&digest, sibling)
        } else {
            node(sibling, &digest)
        };
        position /= 2;
    }
    if cap.get(position) == Some(&digest) {
        Ok(())
    } else {
        Err(PoseidonError::CapMismatch { index })
    }
}

/// All digests of a tree.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Digests of the leaves, then of the nodes above them, up to the cap.
    layers: Vec<Vec<Digest>>,
}

impl Tree {
    /// Hashes the rows of a row-major matrix, each followed by its salt if there are salts.
    ///
    /// # Errors
    /// [`PoseidonError::NoColumns`], [`PoseidonError::Field`] for elements that are no whole number of rows,
    /// [`PoseidonError::Leaves`], [`PoseidonError::SaltCount`]
    pub fn new(isa: Isa, matrix: &[Goldilocks], width: usize, salts: Option<&[Salt]>) -> Result<Self, PoseidonError> {
        if width == 0 {
            return Err(PoseidonError::NoColumns);
        }
        if !matrix.len().is_multiple_of(width) {
            let elements = matrix.len();
            return Err(FieldError::Rows { elements, width }.into());
        }
        let leaves = matrix.len() / width;
        check_leaves(leaves)?;
        if let Some(salts) = salts
            && salts.len() != leaves
        {
            return Err(PoseidonError::SaltCount {
                expected: leaves,
                got: salts.len(),
            });
        }
        let mut digests = vec![Digest::default(); leaves];
        digests.par_chunks_mut(BLOCK).enumerate().for_each(|(block, to)| {
            let rows = block * BLOCK..block * BLOCK + to.len();
            let salts = salts.map(|salts| &salts[rows.clone()]);
            let matrix = &matrix[rows.start * width..rows.end * width];
            isa.run(Leaves {
                matrix,
                width,
                salts,
                to,
            });
        });
        Self::above(isa, digests)
    }

    /// The tree above digests of leaves.
    ///
    /// # Errors
    /// [`PoseidonError::Leaves`]
    pub fn above(isa: Isa, leaves: Vec<Digest>) -> Result<Self, PoseidonError> {
        check_leaves(leaves.len())?;
        let mut layers = vec![leaves];
        while let Some(below) = layers.last()
            && below.len() > 1 << CAP_HEIGHT
        {
            let mut layer = vec![Digest::default(); below.len() / 2];
            let blocks = layer.par_chunks_mut(BLOCK).zip(below.par_chunks(2 * BLOCK));
            blocks.for_each(|(to, below)| isa.run(Nodes { below, to }));
            layers.push(layer);
        }
        Ok(Self { layers })
    }

    /// The nodes that stand for the tree: sixteen, or all leaves if there are fewer.
    #[must_use]
    pub fn cap(&self) -> &[Digest] {
        &self.layers[self.layers.len() - 1]
    }

    /// The logarithm of the number of leaves.
    #[must_use]
    pub fn height(&self) -> usize {
        self.layers[0].len().trailing_zeros() as usize
    }

    /// Siblings of leaf `index`, from the leaf up, without those of the cap.
    ///
    /// # Errors
    /// [`PoseidonError::LeafIndex`]
    pub fn path(&self, index: usize) -> Result<Vec<Digest>, PoseidonError> {
        let leaves = self.layers[0].len();
        if index >= leaves {
            return Err(PoseidonError::LeafIndex { index, leaves });
        }
        let below_cap = &self.layers[..self.layers.len() - 1];
        Ok(below_cap
            .iter()
            .enumerate()
            .map(|(level, layer)| layer[index >> level ^ 1])
            .collect())
    }
}

fn check_leaves(leaves: usize) -> Result<(), PoseidonError> {
    if leaves.is_power_of_two() && leaves.trailing_zeros() as usize <= MAX_HEIGHT {
        Ok(())
    } else {
        Err(PoseidonError::Leaves { leaves })
    }
}

/// Digests of leaves: the sponge in every lane.
struct Leaves<'a> {
    matrix: &'a [Goldilocks],
    width: usize,
    salts: Option<&'a [Salt]>,
    to: &'a mut [Digest],
}

impl Kernel for Leaves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self {
            matrix,
            width,
            salts,
            to,
        } = self;
        let (tag, length) = match salts {
            Some(_) => (Tag::SALTED_LEAF, width + SALT),
            None => (Tag::LEAF, width),
        };
        let initial = sponge::initial(tag, length);
        let count = States::<S>::COUNT;
        for (group, to) in to.chunks_mut(count).enumerate() {
            let (first, count) = (group * count, to.len());
            let mut states = States::new(simd, &initial);
            for start in (0..length).step_by(RATE) {
                for i in 0..RATE {
                    let column = start + i;
                    if column < width {
                        states.set(i, count, |leaf| matrix[(first + leaf) * width + column]);
                    } else if let Some(salts) = salts
                        && column < length
                    {
                        states.set(i, count, |leaf| salts[first + leaf][column - width]);
                    } else {
                        states.set(i, 0, |_| Goldilocks::ZERO);
                    }
                }
                states.permute();
            }
            squeeze(&states, to);
        }
    }
}

/// Digests of nodes above twice as many: one permutation each.
struct Nodes<'a> {
    below: &'a [Digest],
    to: &'a mut [Digest],
}

impl Kernel for Nodes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let initial = sponge::initial(Tag::NODE, RATE);
        let count = States::<S>::COUNT;
        for (to, below) in self.to.chunks_mut(count).zip(self.below.chunks(2 * count)) {
            let mut states = States::new(simd, &initial);
            for i in 0..RATE {
                let (side, element) = (i / Digest::ELEMENTS, i % Digest::ELEMENTS);
                states.set(i, to.len(), |node| below[2 * node + side].0[element]);
            }
            states.permute();
            squeeze(&states, to);
        }
    }
}

/// Takes the digest from each state.
#[inline(always)]
fn squeeze<S: Simd>(states: &States<S>, to: &mut [Digest]) {
    for i in 0..Digest::ELEMENTS {
        for (digest, x) in to.iter_mut().zip(states.get(i)) {
            digest.0[i] = x;
        }
    }
}
