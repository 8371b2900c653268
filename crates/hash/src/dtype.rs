//! Element sizes, by torch's names.

use crate::HashError;

/// Bytes of one element of `dtype` (torch's name without `torch.`).
///
/// # Errors
/// [`HashError::UnknownDtype`]
pub fn item_size(dtype: &str) -> Result<u64, HashError> {
    match dtype {
        "bool" | "int8" | "uint8" | "float8_e4m3fn" | "float8_e4m3fnuz" | "float8_e5m2" | "float8_e5m2fnuz"
        | "float8_e8m0fnu" | "float4_e2m1fn_x2" => Ok(1),
        "int16" | "uint16" | "float16" | "bfloat16" => Ok(2),
        "int32" | "uint32" | "float32" | "complex32" => Ok(4),
        "int64" | "uint64" | "float64" | "complex64" => Ok(8),
        "complex128" => Ok(16),
        _ => Err(HashError::UnknownDtype { name: dtype.to_owned() }),
    }
}
