//! Matrices that a prover has encoded and hashed (section 7.2).

use trainproof_field::{Field, FieldError, Goldilocks, Isa, ntt};
use trainproof_poseidon::{Digest, Salt, Tree};

use crate::{CommitError, Leaf, MAX_HEIGHT, Matrix, Parameters};

/// A matrix, its code and its tree: what opens it.
#[derive(Clone, Debug)]
pub struct Committed {
    pub(crate) matrix: Matrix,
    pub(crate) values: Vec<Goldilocks>,
    code: Vec<Goldilocks>,
    salts: Option<Vec<Salt>>,
    pub(crate) tree: Tree,
}

/// Encodes each column of a row-major matrix of 2^k rows and hashes the rows of the code, with one salt each if there are
/// salts.
///
/// # Errors
/// [`CommitError::Field`] for elements that are no such matrix, [`CommitError::Size`], [`CommitError::Parameter`],
/// [`CommitError::Poseidon`] for another number of salts.
pub fn commit(
    isa: Isa,
    parameters: &Parameters,
    values: Vec<Goldilocks>,
    width: usize,
    salts: Option<Vec<Salt>>,
) -> Result<Committed, CommitError> {
    parameters.check()?;
    if width == 0 {
        return Err(FieldError::NoColumns.into());
    }
    let rows = values.len() / width;
    if rows > 1 << MAX_HEIGHT {
        return Err(CommitError::Size {
            name: "the number of rows of matrix",
            index: 0,
            value: rows,
            min: 1,
            max: 1 << MAX_HEIGHT,
        });
    }
    let code = ntt::extend(isa, &values, width, parameters.log_blowup, Goldilocks::ONE)?;
    Committed::new(isa, values, width, code, salts)
}

impl Committed {
    /// Hashes what is to be the code of a matrix.
    pub(crate) fn new(
        isa: Isa,
        values: Vec<Goldilocks>,
        width: usize,
        code: Vec<Goldilocks>,
        salts: Option<Vec<Salt>>,
    ) -> Result<Self, CommitError> {
        let tree = Tree::new(isa, &code, width, salts.as_deref())?;
        let matrix = Matrix {
            height: (values.len() / width).trailing_zeros() as usize,
            width,
            salted: salts.is_some(),
        };
        Ok(Self {
            matrix,
            values,
            code,
            salts,
            tree,
        })
    }

    /// The matrix's shape.
    #[must_use]
    pub const fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// The cap that stands for the matrix.
    #[must_use]
    pub fn cap(&self) -> &[Digest] {
        self.tree.cap()
    }

    /// What opens row `index` of the code.
    pub(crate) fn leaf(&self, index: usize) -> Result<Leaf, CommitError> {
        let path = self.tree.path(index)?;
        let width = self.matrix.width;
        Ok(Leaf {
            row: self.code[index * width..(index + 1) * width].to_vec(),
            salt: self.salts.as_ref().map(|salts| salts[index].to_vec()),
            path,
        })
    }
}
