//! Salted leaves of a dataset (section 4).

use rayon::prelude::*;

use crate::HashError;
use crate::algorithm::{Digest, PARALLEL_BYTES};

const SALT_DOMAIN: &[u8] = b"trainproof.salt.v1\0";
const LEAF_TAG: u8 = 0x00;
const LEAF_VERSION: u8 = 0x01;

/// Length of the secret that salts derive from.
pub const SECRET_BYTES: usize = 32;

/// One column of a table of samples: `rows × width` bytes, and what stands before each row in the payload.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Bytes before every row, such as the header of a tensor in the value encoding.
    pub prefix: &'a [u8],
    /// Number of rows.
    pub rows: usize,
    /// All rows, one after the other.
    pub data: &'a [u8],
}

impl<'a> Field<'a> {
    fn row(&self, row: usize) -> &'a [u8] {
        let width = self.data.len() / self.rows;
        &self.data[row * width..(row + 1) * width]
    }
}

/// Salt of sample `index`. It hides samples of low entropy, and is opened for challenged samples only.
#[must_use]
pub fn salt(secret: &[u8; SECRET_BYTES], index: u64) -> Digest {
    blake3::Hasher::new_keyed(secret)
        .update(SALT_DOMAIN)
        .update(&index.to_le_bytes())
        .finalize()
        .into()
}

/// Leaf of sample `index`, whose value encoding is `payload`.
#[must_use]
pub fn leaf(secret: &[u8; SECRET_BYTES], index: u64, payload: &[u8]) -> Digest {
    salted(secret, index, |hasher| crate::update_blake3(hasher, payload))
}

/// Leaves of consecutive samples from index `first`, concatenated. A sample's payload is `prefix`, then for each field its
/// prefix and its row.
///
/// # Errors
/// [`HashError::NoFields`], [`HashError::RowCount`], [`HashError::IndexOverflow`]
pub fn leaves_rows(
    secret: &[u8; SECRET_BYTES],
    first: u64,
    prefix: &[u8],
    fields: &[Field<'_>],
) -> Result<Vec<Digest>, HashError> {
    let rows = fields.first().ok_or(HashError::NoFields)?.rows;
    for (field, columns) in fields.iter().enumerate() {
        if columns.rows != rows {
            return Err(HashError::RowCount {
                field,
                expected: rows,
                got: columns.rows,
            });
        }
    }
    if first.checked_add(rows as u64).is_none() {
        return Err(HashError::IndexOverflow { first, rows });
    }
    let row_leaf = |row: usize| {
        salted(secret, first + row as u64, |hasher| {
            hasher.update(prefix);
            for field in fields {
                hasher.update(field.prefix).update(field.row(row));
            }
        })
    };
    let bytes: usize = fields.iter().map(|field| field.data.len()).sum();
    Ok(if bytes < PARALLEL_BYTES {
        (0..rows).map(row_leaf).collect()
    } else {
        (0..rows).into_par_iter().with_min_len(16).map(row_leaf).collect()
    })
}

fn salted(secret: &[u8; SECRET_BYTES], index: u64, payload: impl FnOnce(&mut blake3::Hasher)) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[LEAF_TAG, LEAF_VERSION]).update(&index.to_le_bytes());
    payload(&mut hasher);
    hasher.update(&salt(secret, index)).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; SECRET_BYTES] = [7; SECRET_BYTES];

    #[test]
    fn rows_equal_leaves_one_by_one() {
        let images: Vec<u8> = (0..2 * PARALLEL_BYTES).map(|i| (i % 253) as u8).collect();
        let labels: Vec<u8> = (0..64).collect();
        let fields = [
            Field {
                prefix: b"image",
                rows: 64,
                data: &images,
            },
            Field {
                prefix: b"label",
                rows: 64,
                data: &labels,
            },
        ];
        let leaves = leaves_rows(&SECRET, 1000, b"L", &fields).unwrap();
        for (row, got) in leaves.iter().enumerate() {
            let payload = [b"Limage", fields[0].row(row), b"label", fields[1].row(row)].concat();
            assert_eq!(*got, leaf(&SECRET, 1000 + row as u64, &payload));
        }
    }

    #[test]
    fn rejects_fields_of_different_length() {
        let fields = [
            Field {
                prefix: b"",
                rows: 2,
                data: b"ab",
            },
            Field {
                prefix: b"",
                rows: 3,
                data: b"abc",
            },
        ];
        let error = HashError::RowCount {
            field: 1,
            expected: 2,
            got: 3,
        };
        assert_eq!(leaves_rows(&SECRET, 0, b"", &fields), Err(error));
    }

    #[test]
    fn rejects_indices_beyond_64_bits() {
        let fields = [Field {
            prefix: b"",
            rows: 2,
            data: b"ab",
        }];
        let error = HashError::IndexOverflow {
            first: u64::MAX,
            rows: 2,
        };
        assert_eq!(leaves_rows(&SECRET, u64::MAX, b"", &fields), Err(error));
    }

    #[test]
    fn no_rows_have_no_leaves() {
        let fields = [Field {
            prefix: b"x",
            rows: 0,
            data: b"",
        }];
        assert_eq!(leaves_rows(&SECRET, 0, b"", &fields), Ok(Vec::new()));
    }

    #[test]
    fn rejects_no_fields() {
        assert_eq!(leaves_rows(&SECRET, 0, b"", &[]), Err(HashError::NoFields));
    }
}
