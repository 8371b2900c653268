//! Which instructions kernels use: the best this machine has, or those that a variable of the environment names.

use std::ffi::OsStr;
use std::fmt;
use std::sync::OnceLock;

use crate::FieldError;
use crate::simd::{Kernel, Scalar};

/// The variable of the environment that forces an instruction set.
pub const ISA_VARIABLE: &str = "TRAINPROOF_ISA";

/// An instruction set that this machine has. Only such a value exists, so that running a [`Kernel`] on it is safe.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Every name that exists on any machine.
const NAMES: [&str; 3] = ["scalar", "avx2", "avx512"];

impl Isa {
    /// Plain integer instructions, which every machine has.
    pub const SCALAR: Self = Self(Level::Scalar);

    /// All instruction sets of this machine, the best last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut all = vec![Self::SCALAR];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                all.push(Self(Level::Avx2));
                if is_x86_feature_detected!("avx512f") {
                    all.push(Self(Level::Avx512));
                }
            }
        }
        all
    }

    /// The instruction set of this process: the one that `TRAINPROOF_ISA` names, or else the best. The variable is read
    /// once.
    ///
    /// # Errors
    /// [`FieldError::UnknownIsa`], [`FieldError::UnavailableIsa`]
    pub fn active() -> Result<Self, FieldError> {
        static ACTIVE: OnceLock<Result<Isa, FieldError>> = OnceLock::new();
        ACTIVE
            .get_or_init(|| Self::choose(std::env::var_os(ISA_VARIABLE).as_deref()))
            .clone()
    }

    /// The instruction set of this name: `scalar`, `avx2` or `avx512`.
    ///
    /// # Errors
    /// [`FieldError::UnknownIsa`], [`FieldError::UnavailableIsa`]
    pub fn named(name: &str) -> Result<Self, FieldError> {
        let Some(&known) = NAMES.iter().find(|&&known| known == name) else {
            return Err(FieldError::UnknownIsa { name: name.to_owned() });
        };
        Self::pick(known, &Self::available())
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => NAMES[0],
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => NAMES[1],
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => NAMES[2],
        }
    }

    /// Runs a kernel with these instructions.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Scalar => kernel.run(Scalar::TOKEN),
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // SAFETY: a value of this level is made only where the machine was found to have AVX2.
            Level::Avx2 => unsafe { crate::simd::avx2::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // SAFETY: a value of this level is made only where the machine was found to have AVX-512F.
            Level::Avx512 => unsafe { crate::simd::avx512::run(kernel) },
        }
    }

    /// The widest of this and lesser instruction sets whose vectors are no longer than `width`.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub(crate) fn at_most(self, width: usize) -> Self {
        match self.0 {
            Level::Scalar => self,
            #[cfg(target_arch = "x86_64")]
            _ if width < 4 => Self::SCALAR,
            // AVX-512 contains AVX2.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 if width < 8 => Self(Level::Avx2),
            #[cfg(target_arch = "x86_64")]
            _ => self,
        }
    }

    fn choose(variable: Option<&OsStr>) -> Result<Self, FieldError> {
        match variable {
            Some(name) => Self::named(&name.to_string_lossy()),
            None => Ok(Self::available().pop().unwrap_or(Self::SCALAR)),
        }
    }

    fn pick(name: &'static str, available: &[Self]) -> Result<Self, FieldError> {
        let found = available.iter().find(|isa| isa.name() == name);
        found.copied().ok_or_else(|| FieldError::UnavailableIsa {
            name,
            available: available.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_variable_the_best_is_taken() {
        assert_eq!(Isa::choose(None).ok(), Isa::available().pop());
    }

    #[test]
    fn the_variable_forces_each_that_is_there() {
        for isa in Isa::available() {
            assert_eq!(Isa::choose(Some(OsStr::new(isa.name()))), Ok(isa));
        }
    }

    #[test]
    fn rejects_an_unknown_name() {
        for name in ["", "sse2", "AVX2", "avx512 "] {
            let error = FieldError::UnknownIsa { name: name.to_owned() };
            assert_eq!(Isa::choose(Some(OsStr::new(name))), Err(error));
        }
    }

    #[test]
    fn rejects_a_name_that_is_not_there() {
        let error = FieldError::UnavailableIsa {
            name: "avx512",
            available: "scalar".to_owned(),
        };
        assert_eq!(Isa::pick("avx512", &[Isa::SCALAR]), Err(error));
    }

    #[test]
    fn narrow_rows_take_short_vectors() {
        for isa in Isa::available() {
            assert_eq!(isa.at_most(3), Isa::SCALAR);
            assert_eq!(isa.at_most(8), isa);
        }
        if let Ok(avx512) = Isa::named("avx512") {
            assert_eq!(avx512.at_most(7).name(), "avx2");
        }
    }
}
