//! Openings of small matrices: honest ones, and all that is refused.

mod cheats;
mod forms;
mod generic;
mod golden;
mod honest;
mod soundness;

use trainproof_field::{Extension, Field, Goldilocks, Isa};
use trainproof_poseidon::{Digest, SECRET_BYTES, Tag, Transcript, salt};

use crate::open::{Conduct, open_as};
use crate::{Block, Claim, CommitError, Committed, Key, Matrix, Native, Parameters, Proof, commit, naive, verify};

/// Few queries and little work: what is rejected here is rejected for another reason than work.
pub(super) const SMALL: Parameters = Parameters {
    log_blowup: 2,
    queries: 24,
    fold_bits: 3,
    query_grinding: 3,
    challenge_grinding: 2,
};

/// A deterministic stream of elements.
pub(super) struct Stream(u64);

impl Stream {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    pub(super) fn element(&mut self) -> Goldilocks {
        Goldilocks::from_residue(self.word())
    }

    pub(super) fn elements(&mut self, count: usize) -> Vec<Goldilocks> {
        (0..count).map(|_| self.element()).collect()
    }

    pub(super) fn extension(&mut self) -> Extension {
        Extension::new(self.element(), self.element())
    }

    pub(super) fn point(&mut self, bits: usize) -> Vec<Extension> {
        (0..bits).map(|_| self.extension()).collect()
    }
}

/// Matrices, their key, and true claims.
pub(super) struct Case {
    pub(super) key: Key,
    pub(super) matrices: Vec<Committed>,
    pub(super) claims: Vec<Claim>,
}

/// A matrix of random values; all salts of a test come from one secret.
pub(super) fn matrix(shape: Matrix, number: u64, stream: &mut Stream) -> Committed {
    let Matrix { height, width, salted } = shape;
    let values = stream.elements(width << height);
    let secret = [7; SECRET_BYTES];
    let salts = salted.then(|| (0..4_u64 << height).map(|leaf| salt(&secret, number, leaf)).collect());
    commit(Isa::SCALAR, &SMALL, values, width, salts).unwrap()
}

impl Case {
    /// Random matrices of these shapes, and a claim on each block at a random point.
    pub(super) fn new(shapes: &[Matrix], blocks: Vec<Block>, seed: u64) -> Self {
        Self::with(SMALL, shapes, blocks, seed)
    }

    pub(super) fn with(parameters: Parameters, shapes: &[Matrix], blocks: Vec<Block>, seed: u64) -> Self {
        let mut stream = Stream::new(seed);
        let matrices: Vec<_> = (0..)
            .zip(shapes)
            .map(|(number, &shape)| matrix(shape, number, &mut stream))
            .collect();
        let claim = |block: &Block| {
            let point = stream.point(block.variables());
            let matrix = &matrices[block.matrix];
            let value = naive::evaluate(&matrix.values, matrix.matrix.height, block, &point);
            Claim { point, value }
        };
        let claims = blocks.iter().map(claim).collect();
        let key = Key::new(parameters, shapes.to_vec(), blocks).unwrap();
        Self { key, matrices, claims }
    }

    /// Two matrices of one height and two lower ones, of which one has one row; several claims, on columns and parts.
    pub(super) fn small() -> Self {
        let shape = |height, width, salted| Matrix { height, width, salted };
        let shapes = [
            shape(2, 3, false),
            shape(5, 5, true),
            shape(5, 2, false),
            shape(0, 2, true),
        ];
        let block = |matrix, start, shape: &[usize]| Block {
            matrix,
            start,
            shape: shape.to_vec(),
        };
        let blocks = vec![
            block(0, 4, &[4]),
            block(0, 2, &[2]),
            block(1, 0, &[3, 5, 3]),
            block(1, 128, &[32]),
            block(2, 0, &[2, 32]),
            block(1, 0, &[3, 5, 3]),
            block(3, 1, &[]),
            block(1, 7, &[]),
        ];
        Self::new(&shapes, blocks, 5)
    }

    /// Of all kinds, with few queries: a slow verifier has the same proof.
    pub(super) fn golden() -> Self {
        let Self { key, .. } = Self::small();
        let parameters = Parameters { queries: 4, ..SMALL };
        Self::with(parameters, key.matrices(), key.blocks().to_vec(), 7)
    }

    /// So few bytes that each can be changed.
    pub(super) fn tiny() -> Self {
        let parameters = Parameters { queries: 3, ..SMALL };
        let shape = |height, width, salted| Matrix { height, width, salted };
        let block = |matrix, start, shape: &[usize]| Block {
            matrix,
            start,
            shape: shape.to_vec(),
        };
        let blocks = vec![block(0, 0, &[2, 16]), block(1, 0, &[3])];
        Self::with(parameters, &[shape(4, 2, true), shape(2, 1, false)], blocks, 6)
    }

    pub(super) fn caps(&self) -> Vec<Vec<Digest>> {
        self.matrices.iter().map(|matrix| matrix.cap().to_vec()).collect()
    }

    pub(super) fn transcript(&self) -> Transcript {
        let mut transcript = Transcript::new(Tag::new("test"), &[Goldilocks::ONE]);
        for claim in &self.claims {
            transcript.absorb_extensions(Tag::new("point"), &claim.point);
        }
        transcript
    }

    pub(super) fn open_as(&self, conduct: &impl Conduct) -> Result<Proof, CommitError> {
        let matrices: Vec<_> = self.matrices.iter().collect();
        let transcript = &mut self.transcript();
        open_as(conduct, Isa::SCALAR, &self.key, &matrices, &self.claims, transcript)
    }

    pub(super) fn open(&self) -> Proof {
        struct Honest;
        impl Conduct for Honest {}
        self.open_as(&Honest).unwrap()
    }

    pub(super) fn verify(&self, proof: &Proof) -> Result<(), CommitError> {
        self.verify_with(&self.caps(), proof)
    }

    pub(super) fn verify_with(&self, caps: &[Vec<Digest>], proof: &Proof) -> Result<(), CommitError> {
        let mut transcript = self.transcript();
        verify(&mut Native::new(&mut transcript), &self.key, caps, &self.claims, proof)
    }
}
