//! Multilinear polynomials as the tables of their values on the hypercube (section 4).

use std::borrow::Cow;

use rayon::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks, Isa};

use crate::kernel::{Fold, FoldBase};
use crate::lanes::fitting;

/// Entries from which on threads share the work.
const PARALLEL: usize = 1 << 12;

/// Entries that one thread takes at a time.
const BLOCK: usize = 1 << 11;

/// A multilinear polynomial: its value at index x of the hypercube, the first variable being the highest bit of x.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table<'a> {
    /// Values in the base field.
    Base(Cow<'a, [Goldilocks]>),
    /// Values in the extension.
    Extension(Cow<'a, [Extension]>),
}

impl Table<'_> {
    /// Number of entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        match self {
            Self::Base(values) => values.len(),
            Self::Extension(values) => values.len(),
        }
    }

    /// An entry; `None` beyond the last.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<Extension> {
        match self {
            Self::Base(values) => values.get(index).map(|&x| x.into()),
            Self::Extension(values) => values.get(index).copied(),
        }
    }

    /// Puts the first variable to r. A table of one entry has no variable and stays as it is.
    pub fn fold(&mut self, isa: Isa, r: Extension) {
        let half = self.entries() / 2;
        if half == 0 {
            return;
        }
        let isa = fitting(isa, half);
        match self {
            Self::Base(values) => {
                let (low, high) = values.split_at(half);
                let mut folded = vec![Extension::ZERO; half];
                if half < PARALLEL {
                    let to = &mut folded;
                    isa.run(FoldBase { low, high, r, to });
                } else {
                    let blocks = folded.par_chunks_mut(BLOCK).zip(low.par_chunks(BLOCK));
                    blocks
                        .zip(high.par_chunks(BLOCK))
                        .for_each(|((to, low), high)| isa.run(FoldBase { low, high, r, to }));
                }
                *self = folded.into();
            }
            Self::Extension(values) => {
                let (mut owned, borrowed);
                let (low, high) = match values {
                    Cow::Borrowed(values) => {
                        borrowed = values.split_at(half);
                        owned = borrowed.0.to_vec();
                        (&mut *owned, borrowed.1)
                    }
                    Cow::Owned(values) => {
                        owned = std::mem::take(values);
                        let (low, high) = owned.split_at_mut(half);
                        (low, &*high)
                    }
                };
                if half < PARALLEL {
                    isa.run(Fold { low, high, r });
                } else {
                    let blocks = low.par_chunks_mut(BLOCK).zip(high.par_chunks(BLOCK));
                    blocks.for_each(|(low, high)| isa.run(Fold { low, high, r }));
                }
                owned.truncate(half);
                *self = owned.into();
            }
        }
    }

    /// The polynomial's value at a point; `None` if the point has another dimension.
    #[must_use]
    pub fn evaluate(&self, isa: Isa, point: &[Extension]) -> Option<Extension> {
        let fits = 1usize.checked_shl(point.len() as u32) == Some(self.entries());
        let (&first, rest) = match point.split_first() {
            _ if !fits => return None,
            None => return self.entry(0),
            Some(split) => split,
        };
        let mut folded = self.folded(isa, first);
        for &r in rest {
            folded.fold(isa, r);
        }
        folded.entry(0)
    }

    /// A copy with the first variable put to r.
    fn folded(&self, isa: Isa, r: Extension) -> Table<'static> {
        let mut folded = match self {
            Self::Base(values) => Table::Base(Cow::Borrowed(&**values)),
            Self::Extension(values) => Table::Extension(Cow::Borrowed(&**values)),
        };
        folded.fold(isa, r);
        match folded {
            Table::Base(values) => Table::Base(Cow::Owned(values.into_owned())),
            Table::Extension(values) => Table::Extension(Cow::Owned(values.into_owned())),
        }
    }
}

impl From<Vec<Goldilocks>> for Table<'_> {
    fn from(values: Vec<Goldilocks>) -> Self {
        Self::Base(values.into())
    }
}

impl From<Vec<Extension>> for Table<'_> {
    fn from(values: Vec<Extension>) -> Self {
        Self::Extension(values.into())
    }
}

impl<'a> From<&'a [Goldilocks]> for Table<'a> {
    fn from(values: &'a [Goldilocks]) -> Self {
        Self::Base(values.into())
    }
}

impl<'a> From<&'a [Extension]> for Table<'a> {
    fn from(values: &'a [Extension]) -> Self {
        Self::Extension(values.into())
    }
}

/// eq(point, x) for every index x.
#[must_use]
pub fn eq_table(point: &[Extension]) -> Vec<Extension> {
    let mut table = Vec::with_capacity(1 << point.len());
    table.push(Extension::ONE);
    // The coordinate that comes last is that of the highest bit.
    for &coordinate in point.iter().rev() {
        let half = table.len();
        table.resize(2 * half, Extension::ZERO);
        let (low, high) = table.split_at_mut(half);
        let split = |(x, y): (&mut Extension, &mut Extension)| {
            *y = *x * coordinate;
            *x -= *y;
        };
        if half < PARALLEL {
            low.iter_mut().zip(high).for_each(split);
        } else {
            low.par_iter_mut().zip(high).for_each(split);
        }
    }
    table
}

/// Adds the upper half to the lower: from eq(point, x) to the same for the point without its first coordinate, as
/// eq(r, 0) + eq(r, 1) = 1.
pub(crate) fn drop_first(table: &mut Vec<Extension>) {
    let half = table.len() / 2;
    let (low, high) = table.split_at_mut(half);
    if half < PARALLEL {
        low.iter_mut().zip(high.iter()).for_each(|(x, y)| *x += *y);
    } else {
        low.par_iter_mut().zip(&*high).for_each(|(x, y)| *x += *y);
    }
    table.truncate(half);
}
