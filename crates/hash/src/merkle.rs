//! The Merkle tree over leaves (section 4): the shape of RFC 6962, with the number of leaves bound into the root.

use crate::HashError;
use crate::algorithm::{DIGEST_BYTES, Digest, PARALLEL_BYTES};

const NODE_TAG: u8 = 0x01;
const ROOT_TAG: u8 = 0x02;
const TREE_VERSION: u8 = 0x01;

/// Root of the tree over `leaves`.
///
/// # Errors
/// [`HashError::EmptyTree`]
pub fn root(leaves: &[Digest]) -> Result<Digest, HashError> {
    if leaves.is_empty() {
        return Err(HashError::EmptyTree);
    }
    Ok(seal(leaves.len() as u64, &top(leaves)))
}

/// Siblings of leaf `index`, from the leaf's own up to the top's child.
///
/// # Errors
/// [`HashError::EmptyTree`], [`HashError::LeafIndex`]
pub fn path(leaves: &[Digest], index: u64) -> Result<Vec<Digest>, HashError> {
    if leaves.is_empty() {
        return Err(HashError::EmptyTree);
    }
    let mut rest = leaves;
    let mut at = usize::try_from(index)
        .ok()
        .filter(|&at| at < leaves.len())
        .ok_or(HashError::LeafIndex {
            index,
            leaves: leaves.len() as u64,
        })?;
    let mut siblings = Vec::new();
    while rest.len() > 1 {
        let (left, right) = rest.split_at(split(rest.len() as u64) as usize);
        if at < left.len() {
            siblings.push(top(right));
            rest = left;
        } else {
            siblings.push(top(left));
            at -= left.len();
            rest = right;
        }
    }
    siblings.reverse();
    Ok(siblings)
}

/// Number of siblings on the path of leaf `index` in a tree of `leaves`; `None` when there is no such leaf.
#[must_use]
pub fn path_length(mut leaves: u64, mut index: u64) -> Option<usize> {
    if index >= leaves {
        return None;
    }
    let mut length = 0;
    while leaves > 1 {
        let left = split(leaves);
        if index < left {
            leaves = left;
        } else {
            index -= left;
            leaves -= left;
        }
        length += 1;
    }
    Some(length)
}

/// Whether `leaf` is leaf `index` of the tree of `leaves` leaves with this root. A path of another length than the tree
/// gives that leaf is refused before anything is hashed: it would let one node stand for a leaf.
#[must_use]
pub fn verify(root: &Digest, leaves: u64, index: u64, leaf: &Digest, path: &[Digest]) -> bool {
    if path_length(leaves, index) != Some(path.len()) {
        return false;
    }
    // RFC 9162, 2.1.3.2: `position` and `last` are the leaf's and the last leaf's number on the current level.
    let (mut position, mut last) = (index, leaves - 1);
    let mut digest = *leaf;
    for sibling in path {
        if position % 2 == 1 || position == last {
            digest = node(sibling, &digest);
            // A node without a right sibling is its own parent until it becomes a right child.
            while position.is_multiple_of(2) && position != 0 {
                position /= 2;
                last /= 2;
            }
        } else {
            digest = node(&digest, sibling);
        }
        position /= 2;
        last /= 2;
    }
    seal(leaves, &digest) == *root
}

/// Cuts a concatenation of digests.
///
/// # Errors
/// [`HashError::LeavesLength`]
pub fn split_digests(bytes: &[u8]) -> Result<&[Digest], HashError> {
    match bytes.as_chunks() {
        (digests, []) => Ok(digests),
        _ => Err(HashError::LeavesLength {
            leaf: DIGEST_BYTES,
            got: bytes.len(),
        }),
    }
}

/// The largest power of two below `leaves`, which is at least 2.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

fn top(leaves: &[Digest]) -> Digest {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
            let (left, right) = if size_of_val(leaves) >= PARALLEL_BYTES {
                rayon::join(|| top(left), || top(right))
            } else {
                (top(left), top(right))
            };
            node(&left, &right)
        }
    }
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [NODE_TAG; 1 + 2 * DIGEST_BYTES];
    bytes[1..=DIGEST_BYTES].copy_from_slice(left);
    bytes[1 + DIGEST_BYTES..].copy_from_slice(right);
    blake3::hash(&bytes).into()
}

fn seal(leaves: u64, top: &Digest) -> Digest {
    blake3::Hasher::new()
        .update(&[ROOT_TAG, TREE_VERSION])
        .update(&leaves.to_le_bytes())
        .update(top)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(n: u64) -> Vec<Digest> {
        (0..n).map(|i| blake3::hash(&i.to_le_bytes()).into()).collect()
    }

    #[test]
    fn rejects_an_empty_tree() {
        assert_eq!(root(&[]), Err(HashError::EmptyTree));
        assert_eq!(path(&[], 0), Err(HashError::EmptyTree));
        assert!(!verify(&[0; 32], 0, 0, &[0; 32], &[]));
    }

    #[test]
    fn rejects_a_missing_leaf() {
        assert_eq!(path(&leaves(3), 3), Err(HashError::LeafIndex { index: 3, leaves: 3 }));
    }

    #[test]
    fn every_path_of_small_trees_verifies() {
        for n in 1..=70 {
            let leaves = leaves(n);
            let root = root(&leaves).unwrap();
            for i in 0..n {
                let path = path(&leaves, i).unwrap();
                assert_eq!(path_length(n, i), Some(path.len()));
                assert!(verify(&root, n, i, &leaves[i as usize], &path), "leaf {i} of {n}");
            }
        }
    }

    #[test]
    fn parallel_and_serial_roots_agree() {
        let leaves = leaves(PARALLEL_BYTES as u64 / 32 + 3);
        let (left, right) = leaves.split_at(PARALLEL_BYTES / 32);
        let expected = seal(leaves.len() as u64, &node(&top(left), &top(right)));
        assert_eq!(root(&leaves), Ok(expected));
    }

    #[test]
    fn rejects_a_cut_leaf() {
        assert_eq!(
            split_digests(&[0; 33]),
            Err(HashError::LeavesLength { leaf: 32, got: 33 })
        );
    }

    proptest! {
        #[test]
        fn rejects_a_path_for_another_leaf_index_or_size(n in 1_u64..200, i in 0_u64..200, m in 1_u64..200, j in 0_u64..200) {
            let i = i % n;
            let leaves = leaves(n);
            let root = root(&leaves).unwrap();
            let path = path(&leaves, i).unwrap();
            prop_assert_eq!(verify(&root, m, j, &leaves[i as usize], &path), (m, j) == (n, i));
        }

        #[test]
        fn never_panics(n: u64, i: u64, length in 0_usize..70) {
            let path = vec![[0; 32]; length];
            prop_assert!(!verify(&[0; 32], n, i, &[0; 32], &path));
        }
    }
}
