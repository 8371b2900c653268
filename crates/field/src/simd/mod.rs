//! Vectors of field elements, and kernels written once for all of them.
//!
//! A lane holds any 64-bit word and stands for its residue modulo p; only [`Simd::store`] brings it below p. So sums and
//! products need no final comparison, and every instruction set stores the same bits.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod scalar;

pub(crate) use scalar::Scalar;

use crate::Goldilocks;
use crate::goldilocks::{words, words_mut};

/// Lanes of the longest vector.
pub const MAX_LANES: usize = 8;

/// The operations of one instruction set. A value of this type proves that the machine has it.
///
/// Every method must be inlined into a kernel's entry, which alone is compiled for the instruction set: code that calls
/// them has to be `#[inline(always)]` and must not call them in closures.
pub trait Simd: Copy + sealed::Sealed {
    /// A vector; each lane is any word, standing for its residue.
    type Vector: Copy;
    /// Lanes of a vector, at most [`MAX_LANES`].
    const LANES: usize;

    /// Runs a routine out of line: its code exists once for each instruction set, however many kernels call it.
    fn call<R: Routine<Self>>(self, routine: R) -> R::Output;

    /// One element in every lane.
    fn splat(self, x: Goldilocks) -> Self::Vector;

    /// The residues of the first words.
    ///
    /// # Panics
    /// If there are fewer than lanes.
    fn residues(self, from: &[u64]) -> Self::Vector;

    /// Writes the words below p that are congruent to the lanes.
    ///
    /// # Panics
    /// If there is less room than lanes.
    fn write(self, x: Self::Vector, to: &mut [u64]);

    /// Lane by lane, x + y.
    fn add(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;

    /// Lane by lane, x − y.
    fn sub(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;

    /// Lane by lane, x · y + z.
    fn mul_add(self, x: Self::Vector, y: Self::Vector, z: Self::Vector) -> Self::Vector;

    /// Lane by lane, x · y.
    fn mul(self, x: Self::Vector, y: Self::Vector) -> Self::Vector;

    /// Lane by lane, x².
    fn square(self, x: Self::Vector) -> Self::Vector;

    /// The first elements.
    ///
    /// # Panics
    /// If there are fewer than lanes.
    #[inline(always)]
    fn load(self, from: &[Goldilocks]) -> Self::Vector {
        self.residues(words(from))
    }

    /// Writes the lanes.
    ///
    /// # Panics
    /// If there is less room than lanes.
    #[inline(always)]
    fn store(self, x: Self::Vector, to: &mut [Goldilocks]) {
        self.write(x, words_mut(to));
    }

    /// At most as many elements as lanes, and zeros after them.
    ///
    /// # Panics
    /// If there are more than [`MAX_LANES`].
    #[inline(always)]
    fn load_part(self, from: &[Goldilocks]) -> Self::Vector {
        if from.len() == Self::LANES {
            return self.load(from);
        }
        let mut lanes = [0; MAX_LANES];
        lanes[..from.len()].copy_from_slice(words(from));
        self.residues(&lanes)
    }

    /// Writes as many lanes as there is room for.
    ///
    /// # Panics
    /// If there is room for more than [`MAX_LANES`].
    #[inline(always)]
    fn store_part(self, x: Self::Vector, to: &mut [Goldilocks]) {
        if to.len() == Self::LANES {
            return self.store(x, to);
        }
        let mut lanes = [0; MAX_LANES];
        self.write(x, &mut lanes);
        let lanes = &lanes[..to.len()];
        words_mut(to).copy_from_slice(lanes);
    }
}

/// Work that an [`Isa`](crate::Isa) runs with its instructions. `run`, and all that it hands vectors to, must be
/// `#[inline(always)]`.
pub trait Kernel {
    /// What the work gives.
    type Output;

    /// Does the work.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A part of kernels, large enough to be called instead of inlined. `run`, and all that it hands vectors to, must be
/// `#[inline(always)]`.
pub trait Routine<S: Simd> {
    /// What the part gives.
    type Output;

    /// Does the part.
    fn run(self, simd: S) -> Self::Output;
}

mod sealed {
    /// Only this crate makes tokens of instruction sets.
    pub trait Sealed {}
}

#[cfg(test)]
mod tests;
