//! What a verifier knows before it sees an opening, and what follows from it (sections 7.1 and 7.2).

use trainproof_field::Goldilocks;
use trainproof_poseidon::{CAP_HEIGHT, Shape, transcript::MAX_CHALLENGE_BITS};

use crate::multilinear::variables;
use crate::{CommitError, Parameters};

/// The greatest logarithm of a matrix's rows: with rate 1/4, one challenge of 32 bits addresses its code.
pub const MAX_HEIGHT: usize = 30;
/// The greatest number of columns of a matrix.
const MAX_WIDTH: usize = 1 << 16;
/// The greatest number of matrices.
const MAX_MATRICES: usize = 1 << 8;
/// The greatest number of claims.
const MAX_BLOCKS: usize = 1 << 20;
/// The greatest number of axes of a block.
const MAX_AXES: usize = 1 << 5;

/// The shape of a committed matrix of 2^`height` rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// The logarithm of the number of rows.
    pub height: usize,
    /// The number of columns.
    pub width: usize,
    /// Whether the leaves of its tree have salts.
    pub salted: bool,
}

/// Part of a matrix that is one multilinear polynomial. Cells of a matrix are counted column by column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of the matrix.
    pub matrix: usize,
    /// The first cell, a multiple of the padded size.
    pub start: usize,
    /// The sizes of the axes, the first the slowest; each is padded to a power of two. Padding counts as zero, whatever is
    /// committed there.
    pub shape: Vec<usize>,
}

impl Block {
    /// The number of variables.
    #[must_use]
    pub fn variables(&self) -> usize {
        self.shape.iter().map(|&size| variables(size)).sum()
    }

    /// The number of its last cell within the block, padding counted.
    fn last(&self) -> usize {
        let place = |index, &size| index << variables(size) | (size - 1);
        self.shape.iter().fold(0, place)
    }
}

/// A word of the folding: from `height` variables to `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) height: usize,
    pub(crate) next: usize,
}

impl Stop {
    pub(crate) const fn bits(self) -> usize {
        self.height - self.next
    }
}

/// Parameters, matrices and the blocks that claims are about, one claim for each; a block may occur several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    parameters: Parameters,
    matrices: Vec<Matrix>,
    blocks: Vec<Block>,
}

fn size(name: &'static str, index: usize, value: usize, min: usize, max: usize) -> Result<(), CommitError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(CommitError::Size {
            name,
            index,
            value,
            min,
            max,
        })
    }
}

impl Key {
    /// Checks that all sizes are such that nothing overflows and every block lies in its matrix.
    ///
    /// # Errors
    /// [`CommitError::Parameter`], [`CommitError::Size`], [`CommitError::Alignment`], [`CommitError::Cells`]
    pub fn new(parameters: Parameters, matrices: Vec<Matrix>, blocks: Vec<Block>) -> Result<Self, CommitError> {
        parameters.check()?;
        size("the number of matrices, number", 0, matrices.len(), 1, MAX_MATRICES)?;
        size("the number of claims, number", 0, blocks.len(), 1, MAX_BLOCKS)?;
        let max_height = MAX_HEIGHT.min(MAX_CHALLENGE_BITS - parameters.log_blowup);
        for (index, matrix) in matrices.iter().enumerate() {
            size("the height of matrix", index, matrix.height, 0, max_height)?;
            size("the width of matrix", index, matrix.width, 1, MAX_WIDTH)?;
        }
        for (index, block) in blocks.iter().enumerate() {
            size("the matrix of block", index, block.matrix, 0, matrices.len() - 1)?;
            size("the number of axes of block", index, block.shape.len(), 0, MAX_AXES)?;
            let mut bits = 0;
            for &axis in &block.shape {
                size("an axis of block", index, axis, 1, 1 << MAX_CHALLENGE_BITS)?;
                bits += variables(axis);
                size("the number of variables of block", index, bits, 0, MAX_HEIGHT + 16)?;
            }
            let matrix = matrices[block.matrix];
            let cells = matrix.width << matrix.height;
            size("the start of block", index, block.start, 0, cells - 1)?;
            if !block.start.is_multiple_of(1 << bits) {
                return Err(CommitError::Alignment {
                    index,
                    start: block.start,
                    variables: bits,
                });
            }
            let cell = block.start + block.last();
            if cell >= cells {
                return Err(CommitError::Cells { index, cell, cells });
            }
        }
        Ok(Self {
            parameters,
            matrices,
            blocks,
        })
    }

    /// Cost and soundness.
    #[must_use]
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The matrices.
    #[must_use]
    pub fn matrices(&self) -> &[Matrix] {
        &self.matrices
    }

    /// The blocks that claims are about.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The variables of rows: the greatest height.
    pub(crate) fn rows(&self) -> usize {
        self.matrices.iter().map(|matrix| matrix.height).max().unwrap_or(0)
    }

    /// The variables of columns: those of the widest matrix.
    pub(crate) fn columns(&self) -> usize {
        self.matrices
            .iter()
            .map(|matrix| variables(matrix.width))
            .max()
            .unwrap_or(0)
    }

    /// The variables that number the claims.
    pub(crate) fn claims(&self) -> usize {
        variables(self.blocks.len())
    }

    /// The words, the longest first: each is folded to the next, the last to a constant.
    pub(crate) fn stops(&self) -> Vec<Stop> {
        let (mut stops, mut height) = (Vec::new(), self.rows());
        while height > 0 {
            let entry = self
                .matrices
                .iter()
                .map(|matrix| matrix.height)
                .filter(|&h| h < height)
                .max();
            let next = height.saturating_sub(self.parameters.fold_bits).max(entry.unwrap_or(0));
            stops.push(Stop { height, next });
            height = next;
        }
        stops
    }

    /// The numbers of the matrices that enter at a height. The very first matrix has weight one; those that this returns are
    /// weighted by challenges.
    pub(crate) fn entering(&self, height: usize) -> Vec<usize> {
        let at = |&index: &usize| self.matrices[index].height == height;
        let entering = (0..self.matrices.len()).filter(at);
        entering.skip(usize::from(height == self.rows())).collect()
    }

    /// The number of the matrix of weight one: the first of those of the greatest height.
    pub(crate) fn first(&self) -> usize {
        let rows = self.rows();
        let is_first = |matrix: &Matrix| matrix.height == rows;
        self.matrices.iter().position(is_first).unwrap_or(0)
    }

    /// The heights at which matrices are weighted by challenges, the greatest first.
    pub(crate) fn entries(&self) -> Vec<usize> {
        let heights = (0..=self.rows()).rev();
        heights.filter(|&height| !self.entering(height).is_empty()).collect()
    }

    /// The tree of a matrix.
    pub(crate) fn tree(&self, matrix: usize) -> Shape {
        let Matrix { height, width, salted } = self.matrices[matrix];
        let height = height + self.parameters.log_blowup;
        Shape { height, width, salted }
    }

    /// The tree of a word: a leaf holds what is folded into one.
    pub(crate) fn word(&self, stop: Stop) -> Shape {
        Shape {
            height: stop.next + self.parameters.log_blowup,
            width: 2 << stop.bits(),
            salted: false,
        }
    }

    /// The first message: everything that the key says.
    pub(crate) fn describe(&self) -> Vec<Goldilocks> {
        let Parameters {
            log_blowup,
            queries,
            fold_bits,
            query_grinding,
            challenge_grinding,
        } = self.parameters;
        let mut words = vec![log_blowup, queries, fold_bits, query_grinding, challenge_grinding];
        words.push(self.matrices.len());
        for matrix in &self.matrices {
            words.extend([matrix.height, matrix.width, usize::from(matrix.salted)]);
        }
        words.push(self.blocks.len());
        for block in &self.blocks {
            words.extend([block.matrix, block.start, block.shape.len()]);
            words.extend(&block.shape);
        }
        words
            .into_iter()
            .map(|word| Goldilocks::from_residue(word as u64))
            .collect()
    }
}

/// Nodes of the cap and of a path of a tree.
pub(crate) fn cap_and_path(tree: &Shape) -> (usize, usize) {
    let cap = tree.height.min(CAP_HEIGHT);
    (1 << cap, tree.height - cap)
}
