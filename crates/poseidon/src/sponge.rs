//! Digests of any number of elements (section 2.2).

use trainproof_field::{Field, Goldilocks};

use crate::{Digest, RATE, Tag, WIDTH, permute};

/// The digest of elements in a domain. Tag and number of elements start in the capacity: no input is the beginning of
/// another.
#[must_use]
pub fn hash(tag: Tag, input: &[Goldilocks]) -> Digest {
    let mut state = initial(tag, input.len());
    let (blocks, last) = input.as_chunks();
    for block in blocks {
        absorb(&mut state, block);
    }
    if !last.is_empty() || blocks.is_empty() {
        let mut block = [Goldilocks::ZERO; RATE];
        block[..last.len()].copy_from_slice(last);
        absorb(&mut state, &block);
    }
    squeeze(&state)
}

/// The inner node above two others: one permutation.
#[must_use]
pub fn node(left: &Digest, right: &Digest) -> Digest {
    let mut state = initial(Tag::NODE, RATE);
    state[..Digest::ELEMENTS].copy_from_slice(&left.0);
    state[Digest::ELEMENTS..RATE].copy_from_slice(&right.0);
    permute(&mut state);
    squeeze(&state)
}

/// The state before the first block: zero but for the tag and the number of elements to come.
pub(crate) fn initial(tag: Tag, length: usize) -> [Goldilocks; WIDTH] {
    let mut state = [Goldilocks::ZERO; WIDTH];
    state[RATE] = tag.element();
    state[RATE + 1] = Goldilocks::from_residue(length as u64);
    state
}

fn absorb(state: &mut [Goldilocks; WIDTH], block: &[Goldilocks; RATE]) {
    state[..RATE].copy_from_slice(block);
    permute(state);
}

fn squeeze(state: &[Goldilocks; WIDTH]) -> Digest {
    let [a, b, c, d, ..] = *state;
    Digest([a, b, c, d])
}
