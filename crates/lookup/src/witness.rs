//! What a prover holds: the values that are looked up, and how often each row is (section 6.1).

use rayon::prelude::*;
use trainproof_field::{Extension, Field, Goldilocks};

use crate::LookupError;
use crate::layout::{Content, Layout};

/// Entries from which on threads share the work.
const PARALLEL: usize = 1 << 12;

/// The entries of a lookup, on all indices of its padded shape. What stands in the padding is not looked up.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    /// The first entries.
    pub x: &'a [Goldilocks],
    /// The second entries, if the table has two columns.
    pub y: Option<&'a [Goldilocks]>,
}

/// All lookups and all multiplicities of a layout.
#[derive(Clone, Debug)]
pub struct Witness<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) lookups: Vec<Entries<'a>>,
    pub(crate) multiplicities: Vec<&'a [Goldilocks]>,
}

/// The challenges of an argument. They are drawn when lookups and multiplicities are committed, or the argument is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenges<E> {
    /// What entries are taken off.
    pub alpha: E,
    /// The factor of second entries.
    pub beta: E,
    /// The factor of tags.
    pub gamma: E,
}

/// Numerators and denominators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaves {
    /// 1 for a lookup, minus the multiplicity for a row, 0 elsewhere.
    pub numerators: Vec<Goldilocks>,
    /// α − x − β·y − γ·tag; 1 after the last slot.
    pub denominators: Vec<Extension>,
}

impl<'a> Witness<'a> {
    /// The entries of each lookup and the multiplicities of each table, in the layout's order. They need not be right.
    ///
    /// # Errors
    /// [`LookupError::Length`], [`LookupError::Pair`]
    pub fn new(
        layout: &'a Layout,
        lookups: Vec<Entries<'a>>,
        multiplicities: Vec<&'a [Goldilocks]>,
    ) -> Result<Self, LookupError> {
        check_entries(layout, &lookups)?;
        same("lists of multiplicities", layout.tables().len(), multiplicities.len())?;
        for (table, multiplicities) in layout.tables().iter().zip(&multiplicities) {
            same("multiplicities of a table", 1 << table.variables, multiplicities.len())?;
        }
        Ok(Self {
            layout,
            lookups,
            multiplicities,
        })
    }

    /// The leaves of the tree.
    #[must_use]
    pub fn leaves(&self, challenges: &Challenges<Extension>) -> Leaves {
        let size = 1 << self.layout.variables();
        let mut numerators = Vec::with_capacity(size);
        let mut denominators = Vec::with_capacity(size);
        for slot in self.layout.slots() {
            let table = self.layout.table_of(slot);
            let start = challenges.alpha - challenges.gamma.scale(Goldilocks::from(table.tag));
            let denominator = |x: Goldilocks, y: Goldilocks| start - x.into() - challenges.beta.scale(y);
            match slot.content {
                Content::Lookup(lookup) => {
                    let cells = self.layout.lookups()[lookup].cells();
                    numerators.extend(cells.into_iter().map(Goldilocks::from));
                    let Entries { x, y } = self.lookups[lookup];
                    extend(&mut denominators, x.len(), |i| {
                        denominator(x[i], y.map_or(Goldilocks::ZERO, |y| y[i]))
                    });
                }
                Content::Table(number) => {
                    numerators.extend(self.multiplicities[number].iter().map(|&x| -x));
                    let second = table.second.as_deref();
                    extend(&mut denominators, 1 << slot.variables, |i| {
                        let x = Goldilocks::from_residue(i as u64);
                        denominator(x, second.map_or(Goldilocks::ZERO, |second| second[i]))
                    });
                }
            }
        }
        numerators.resize(size, Goldilocks::ZERO);
        denominators.resize(size, Extension::ONE);
        Leaves {
            numerators,
            denominators,
        }
    }
}

/// How often each row of each table is looked up.
///
/// # Errors
/// [`LookupError::NotInTable`] for the first entry that no row is; [`LookupError::Length`], [`LookupError::Pair`]
pub fn multiplicities(layout: &Layout, lookups: &[Entries<'_>]) -> Result<Vec<Vec<Goldilocks>>, LookupError> {
    check_entries(layout, lookups)?;
    let mut counts: Vec<_> = layout
        .tables()
        .iter()
        .map(|table| vec![0u32; 1 << table.variables])
        .collect();
    for (number, (lookup, entries)) in layout.lookups().iter().zip(lookups).enumerate() {
        let table = &layout.tables()[lookup.table];
        let counts = &mut counts[lookup.table];
        for (cell, _) in lookup.cells().iter().enumerate().filter(|(_, is)| **is) {
            let row = usize::try_from(entries.x[cell].value()).unwrap_or(usize::MAX);
            let second = table.second.as_ref().and_then(|second| second.get(row));
            let same = second.copied() == entries.y.map(|y| y[cell]);
            match counts.get_mut(row).filter(|_| same) {
                // There are at most 2^27 lookups.
                Some(count) => *count += 1,
                None => {
                    return Err(LookupError::NotInTable {
                        lookup: number,
                        cell,
                        tag: table.tag,
                    });
                }
            }
        }
    }
    let elements = |counts: Vec<u32>| counts.into_iter().map(Goldilocks::from).collect();
    Ok(counts.into_iter().map(elements).collect())
}

fn check_entries(layout: &Layout, lookups: &[Entries<'_>]) -> Result<(), LookupError> {
    same("lists of lookups", layout.lookups().len(), lookups.len())?;
    for slot in layout.slots() {
        if let Content::Lookup(lookup) = slot.content {
            let Entries { x, y } = lookups[lookup];
            let expected = layout.table_of(slot).second.is_some();
            if y.is_some() != expected {
                return Err(LookupError::Pair { lookup, expected });
            }
            same("first entries of a lookup", 1 << slot.variables, x.len())?;
            same("second entries of a lookup", x.len(), y.map_or(x.len(), <[_]>::len))?;
        }
    }
    Ok(())
}

fn same(what: &'static str, expected: usize, got: usize) -> Result<(), LookupError> {
    if expected == got {
        Ok(())
    } else {
        Err(LookupError::Length { what, expected, got })
    }
}

fn extend(to: &mut Vec<Extension>, count: usize, value: impl Fn(usize) -> Extension + Sync + Send) {
    if count < PARALLEL {
        to.extend((0..count).map(value));
    } else {
        to.par_extend((0..count).into_par_iter().map(value));
    }
}
