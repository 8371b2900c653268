//! Tensor digests (section 1).

use std::iter;

use rayon::prelude::*;

use crate::algorithm::{Algorithm, Digest, Hasher, PARALLEL_BYTES};
use crate::copy::past_cache;
use crate::{HashError, item_size};

/// What is copied before it is hashed: a part of a core's own cache.
const COPY_BYTES: usize = 256 << 10;

const TENSOR_DOMAIN: &[u8] = b"trainproof.tensor.v1\0";

/// A tensor as the format sees it.
#[derive(Clone, Debug)]
pub struct TensorRef<'a> {
    /// torch's name of the dtype without `torch.`.
    pub dtype: &'a str,
    /// Dimensions; empty for a scalar.
    pub shape: &'a [u64],
    /// Row-major contiguous little-endian elements.
    pub data: &'a [u8],
}

impl TensorRef<'_> {
    /// Data of another length than dtype and shape need must not get a digest: it would be of no tensor.
    fn check(&self) -> Result<(), HashError> {
        let expected = self
            .shape
            .iter()
            .try_fold(item_size(self.dtype)?, |bytes, &dim| bytes.checked_mul(dim))
            // A zero dimension makes the product zero, whatever stands beside it.
            .or_else(|| self.shape.contains(&0).then_some(0))
            .ok_or(HashError::TooLarge { dims: self.shape.len() })?;
        let got = self.data.len() as u64;
        if expected == got {
            Ok(())
        } else {
            Err(HashError::DataLength { expected, got })
        }
    }
}

/// Digest of one tensor.
///
/// # Errors
/// [`HashError::UnknownDtype`], [`HashError::TooLarge`], [`HashError::DataLength`]
pub fn tensor_digest(tensor: &TensorRef<'_>, algorithm: Algorithm) -> Result<Digest, HashError> {
    let mut hasher = header(tensor, algorithm)?;
    hasher.update(tensor.data);
    Ok(hasher.finish())
}

/// A hasher that has the tensor's header behind it.
fn header(tensor: &TensorRef<'_>, algorithm: Algorithm) -> Result<Hasher, HashError> {
    tensor.check()?;
    let mut hasher = algorithm.hasher();
    hasher.update(TENSOR_DOMAIN);
    hasher.update_sized(tensor.dtype.as_bytes());
    hasher.update_u64(tensor.shape.len() as u64);
    for &dim in tensor.shape {
        hasher.update_u64(dim);
    }
    Ok(hasher)
}

/// How much [`header`] has fed.
fn header_bytes(tensor: &TensorRef<'_>) -> usize {
    TENSOR_DOMAIN.len() + size_of::<u64>() * (2 + tensor.shape.len()) + tensor.dtype.len()
}

/// Copies each tensor's data to its target and returns the digests: each byte is read from memory once.
///
/// # Errors
/// Those of [`tensor_digest`], and [`HashError::DataLength`] for a target of another length; some targets may be written.
pub fn copy_digests(tensors: Vec<(TensorRef<'_>, &mut [u8])>, algorithm: Algorithm) -> Result<Vec<Digest>, HashError> {
    let total: usize = tensors.iter().map(|(tensor, _)| tensor.data.len()).sum();
    let one = |(tensor, target): (TensorRef<'_>, &mut [u8])| -> Result<Digest, HashError> {
        let (expected, got) = (tensor.data.len() as u64, target.len() as u64);
        if expected != got {
            return Err(HashError::DataLength { expected, got });
        }
        let mut hasher = header(&tensor, algorithm)?;
        // BLAKE3 is at its fastest on whole subtrees: with the header in front, the first piece ends where one does.
        let first = tensor.data.len().min(COPY_BYTES - header_bytes(&tensor) % COPY_BYTES);
        let (from, to) = (tensor.data.split_at(first), target.split_at_mut(first));
        let pieces = from.1.chunks(COPY_BYTES).zip(to.1.chunks_mut(COPY_BYTES));
        for (from, to) in iter::once((from.0, to.0)).chain(pieces) {
            past_cache(from, to);
            // The copying has just brought the source into the cache.
            hasher.update(from);
        }
        Ok(hasher.finish())
    };
    if total < PARALLEL_BYTES {
        return tensors.into_iter().map(one).collect();
    }
    tensors.into_par_iter().with_max_len(1).map(one).collect()
}

/// Digests of many tensors, in their order; parallel across them and inside the large ones.
///
/// # Errors
/// Those of [`tensor_digest`], of one of the tensors that have any.
pub fn tensor_digests(tensors: &[TensorRef<'_>], algorithm: Algorithm) -> Result<Vec<Digest>, HashError> {
    let total: usize = tensors.iter().map(|tensor| tensor.data.len()).sum();
    if total < PARALLEL_BYTES {
        return tensors.iter().map(|tensor| tensor_digest(tensor, algorithm)).collect();
    }
    tensors
        .par_iter()
        .with_max_len(1)
        .map(|tensor| tensor_digest(tensor, algorithm))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(dtype: &str, shape: &[u64], data: &[u8]) -> Result<Digest, HashError> {
        tensor_digest(&TensorRef { dtype, shape, data }, Algorithm::Blake3)
    }

    #[test]
    fn rejects_data_of_another_length() {
        assert_eq!(
            digest("float32", &[2], &[0; 7]),
            Err(HashError::DataLength { expected: 8, got: 7 })
        );
    }

    #[test]
    fn copies_equal_and_their_digests_are_the_tensors() {
        for length in [
            0,
            1,
            COPY_BYTES - 50,
            COPY_BYTES,
            COPY_BYTES + 1,
            3 * PARALLEL_BYTES + 5,
        ] {
            let data: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
            for algorithm in [Algorithm::Blake3, Algorithm::Sha256] {
                let (mut a, mut b) = (vec![1; length], vec![2; length]);
                let shape = [length as u64];
                let tensor = TensorRef {
                    dtype: "uint8",
                    shape: &shape,
                    data: &data,
                };
                let wanted = tensor_digest(&tensor, algorithm).unwrap();
                let found = copy_digests(vec![(tensor.clone(), &mut a), (tensor, &mut b)], algorithm).unwrap();
                assert_eq!(found, [wanted, wanted]);
                assert!(a == data && b == data);
            }
        }
    }

    #[test]
    fn rejects_a_target_of_another_length() {
        let tensor = TensorRef {
            dtype: "uint8",
            shape: &[2],
            data: &[0; 2],
        };
        assert_eq!(
            copy_digests(vec![(tensor, &mut [0; 3])], Algorithm::Blake3),
            Err(HashError::DataLength { expected: 2, got: 3 })
        );
    }

    #[test]
    fn rejects_shapes_beyond_64_bits() {
        assert_eq!(
            digest("uint8", &[u64::MAX, 2], &[]),
            Err(HashError::TooLarge { dims: 2 })
        );
    }

    #[test]
    fn a_zero_dimension_beats_an_overflow() {
        assert!(digest("uint8", &[u64::MAX, 2, 0], &[]).is_ok());
    }

    #[test]
    fn shape_and_dtype_are_part_of_the_digest() {
        let data = [0; 8];
        let all = [
            digest("float32", &[2], &data),
            digest("float32", &[2, 1], &data),
            digest("float64", &[], &data),
            digest("int64", &[], &data),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
    }

    #[test]
    fn many_equal_one_by_one_whatever_the_size() {
        let large: Vec<u8> = (0..3 * PARALLEL_BYTES + 5).map(|i| (i % 251) as u8).collect();
        let shape = [large.len() as u64];
        let tensors = [
            TensorRef {
                dtype: "uint8",
                shape: &shape,
                data: &large,
            },
            TensorRef {
                dtype: "float32",
                shape: &[],
                data: &[1, 2, 3, 4],
            },
        ];
        for algorithm in [Algorithm::Blake3, Algorithm::Sha256] {
            let singly: Vec<_> = tensors.iter().map(|t| tensor_digest(t, algorithm).unwrap()).collect();
            assert_eq!(tensor_digests(&tensors, algorithm).unwrap(), singly);
        }
    }
}
