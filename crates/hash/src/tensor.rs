//! Tensor digests (section 1).

use rayon::prelude::*;

use crate::algorithm::{Algorithm, Digest, PARALLEL_BYTES};
use crate::{HashError, item_size};

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
    tensor.check()?;
    let mut hasher = algorithm.hasher();
    hasher.update(TENSOR_DOMAIN);
    hasher.update_sized(tensor.dtype.as_bytes());
    hasher.update_u64(tensor.shape.len() as u64);
    for &dim in tensor.shape {
        hasher.update_u64(dim);
    }
    hasher.update(tensor.data);
    Ok(hasher.finish())
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
