//! Squared distance of two tensors in binary64, in one fixed order of additions: the same bits on every machine.
//!
//! Elements go to eight lanes by index; blocks of [`BLOCK`] elements are summed on their own and then in order, so that
//! blocks may be computed in parallel without changing the result. No fused multiply-add.

use rayon::prelude::*;

use crate::algorithm::PARALLEL_BYTES;
use crate::dtype::item_size;
use crate::error::HashError;

/// Elements summed as one unit.
const BLOCK: usize = 1 << 16;
const LANES: usize = 8;

/// Sum over all elements of (a − b)², for raw little-endian tensors of equal length.
///
/// # Errors
/// A dtype without a floating-point value, or lengths that differ or are no multiple of the element's size.
pub fn squared_distance(dtype: &str, a: &[u8], b: &[u8]) -> Result<f64, HashError> {
    let read: fn(&[u8]) -> f64 = match dtype {
        "float32" => |x| f64::from(f32::from_le_bytes([x[0], x[1], x[2], x[3]])),
        "float64" => |x| f64::from_le_bytes([x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]]),
        "bfloat16" => |x| f64::from(f32::from_bits(u32::from(u16::from_le_bytes([x[0], x[1]])) << 16)),
        "float16" => |x| half(u16::from_le_bytes([x[0], x[1]])),
        _ => return Err(HashError::UnknownDtype { name: dtype.to_owned() }),
    };
    let size = item_size(dtype)? as usize;
    if a.len() != b.len() || !a.len().is_multiple_of(size) {
        return Err(HashError::DataLength {
            expected: a.len() as u64,
            got: b.len() as u64,
        });
    }
    let sum = |(x, y): (&[u8], &[u8])| block(size, read, x, y);
    let bytes = BLOCK * size;
    let parts: Vec<f64> = if a.len() >= PARALLEL_BYTES {
        a.par_chunks(bytes).zip(b.par_chunks(bytes)).map(sum).collect()
    } else {
        a.chunks(bytes).zip(b.chunks(bytes)).map(sum).collect()
    };
    Ok(parts.iter().fold(0.0, |sum, part| sum + part)) // sum() of nothing is -0.0
}

fn block(size: usize, read: fn(&[u8]) -> f64, a: &[u8], b: &[u8]) -> f64 {
    if size == 4 {
        return block_of(a, b, |x: &[u8; 4]| f64::from(f32::from_le_bytes(*x)));
    }
    let mut lanes = [0.0; LANES];
    for (i, (x, y)) in a.chunks_exact(size).zip(b.chunks_exact(size)).enumerate() {
        let d = read(x) - read(y);
        lanes[i % LANES] += d * d;
    }
    total(lanes)
}

/// The same sum for a fixed element size, in a form that the compiler vectorizes.
fn block_of<const N: usize>(a: &[u8], b: &[u8], read: impl Fn(&[u8; N]) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a, _) = a.as_chunks::<N>();
    let (b, _) = b.as_chunks::<N>();
    let (a8, a_rest) = a.as_chunks::<LANES>();
    let (b8, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a8.iter().zip(b8) {
        for lane in 0..LANES {
            let d = read(&x[lane]) - read(&y[lane]);
            lanes[lane] += d * d;
        }
    }
    for (lane, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        let d = read(x) - read(y);
        lanes[lane] += d * d;
    }
    total(lanes)
}

fn total(lanes: [f64; LANES]) -> f64 {
    ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
}

/// The value of an IEEE binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious twin: one lane after the other, element by element.
    fn naive(a: &[f32], b: &[f32]) -> f64 {
        let mut sum = 0.0;
        let mut parts = Vec::new();
        for (x, y) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            let mut lanes = [0.0; LANES];
            for i in 0..x.len() {
                let d = f64::from(x[i]) - f64::from(y[i]);
                lanes[i % LANES] += d * d;
            }
            parts.push(total(lanes));
        }
        for part in parts {
            sum += part;
        }
        sum
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    proptest! {
        #[test]
        fn equals_the_naive_sum(pairs in prop::collection::vec((-1e3f32..1e3, -1e3f32..1e3), 0..300)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            prop_assert_eq!(squared_distance("float32", &bytes(&a), &bytes(&b)).unwrap(), naive(&a, &b));
        }
    }

    #[test]
    fn parallel_blocks_equal_the_naive_sum() {
        let a: Vec<f32> = (0..1_000_003).map(|i| (i as f32).sin()).collect();
        let b: Vec<f32> = (0..1_000_003).map(|i| (i as f32).cos()).collect();
        assert_eq!(
            squared_distance("float32", &bytes(&a), &bytes(&b)).unwrap(),
            naive(&a, &b)
        );
    }

    #[test]
    fn small_formats_have_their_ieee_values() {
        assert_eq!(
            squared_distance("float16", &0x3c00u16.to_le_bytes(), &0xc000u16.to_le_bytes()).unwrap(),
            9.0
        );
        assert_eq!(
            squared_distance("float16", &0x0001u16.to_le_bytes(), &[0, 0]).unwrap(),
            2f64.powi(-48)
        );
        assert_eq!(
            squared_distance("bfloat16", &0x3f80u16.to_le_bytes(), &[0, 0]).unwrap(),
            1.0
        );
        assert_eq!(
            squared_distance("float64", &3f64.to_le_bytes(), &1f64.to_le_bytes()).unwrap(),
            4.0
        );
    }

    #[test]
    fn rejects_integers_and_unequal_lengths() {
        assert!(squared_distance("int64", &[0; 8], &[0; 8]).is_err());
        assert!(squared_distance("float32", &[0; 8], &[0; 4]).is_err());
        assert!(squared_distance("float32", &[0; 6], &[0; 6]).is_err());
    }
}
