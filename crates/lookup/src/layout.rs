//! Where each lookup and table stands among the leaves (section 6.2).

use trainproof_field::Goldilocks;
use trainproof_sumcheck::polynomial::{bits, variables};

use crate::LayoutError;

/// The greatest number of variables of the tree.
pub const MAX_VARIABLES: usize = 27;

/// A public table of 2^variables rows. The first entry of row i is i.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What tells it from other tables.
    pub tag: u32,
    /// Logarithm of the number of rows.
    pub variables: usize,
    /// The second entries; 0 in a table of one column.
    pub second: Option<Vec<Goldilocks>>,
}

/// Values that are looked up: one for each cell of a shape, each axis of which is padded to a power of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Cells along each axis.
    pub shape: Vec<usize>,
    /// Number of the table. The lookup has second entries if the table has.
    pub table: usize,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A lookup, by its number.
    Lookup(usize),
    /// A table, by its number.
    Table(usize),
}

/// Leaves `start` to `start` + 2^`variables` − 1; `start` is a multiple of their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What stands there.
    pub content: Content,
    /// Logarithm of the number of leaves.
    pub variables: usize,
    /// The first leaf.
    pub start: usize,
}

/// The statement of a lookup argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    lookups: Vec<Lookup>,
    tables: Vec<Table>,
    slots: Vec<Slot>,
    variables: usize,
}

impl Layout {
    /// Puts lookups and tables, whose tags increase, on leaves: the largest first, among equals lookups before tables, and
    /// each in the order given.
    ///
    /// # Errors
    /// [`LayoutError`], any.
    pub fn new(lookups: Vec<Lookup>, tables: Vec<Table>) -> Result<Self, LayoutError> {
        if tables.is_empty() {
            return Err(LayoutError::Empty);
        }
        let mut sizes = Vec::with_capacity(lookups.len() + tables.len());
        for (lookup, Lookup { shape, table }) in lookups.iter().enumerate() {
            if *table >= tables.len() {
                let (table, tables) = (*table, tables.len());
                return Err(LayoutError::NoTable { lookup, table, tables });
            }
            if shape.contains(&0) {
                return Err(LayoutError::NoCells { lookup });
            }
            sizes.push((variables(shape), Content::Lookup(lookup)));
        }
        for (number, table) in tables.iter().enumerate() {
            if number > 0 && table.tag <= tables[number - 1].tag {
                let (table, tag) = (number, table.tag);
                return Err(LayoutError::Tags { table, tag });
            }
            sizes.push((table.variables, Content::Table(number)));
        }
        let max = MAX_VARIABLES;
        let limit = 1 << max;
        let mut slots = Vec::with_capacity(sizes.len());
        let mut start = 0;
        sizes.sort_by_key(|(variables, _)| std::cmp::Reverse(*variables));
        for (variables, content) in sizes {
            if variables > max || start + (1 << variables) > limit {
                return Err(LayoutError::Leaves { max });
            }
            slots.push(Slot {
                content,
                variables,
                start,
            });
            start += 1 << variables;
        }
        for (number, table) in tables.iter().enumerate() {
            let expected = 1 << table.variables;
            if let Some(got) = table.second.as_ref().map(Vec::len).filter(|&got| got != expected) {
                let table = number;
                return Err(LayoutError::Rows { table, expected, got });
            }
        }
        Ok(Self {
            lookups,
            tables,
            slots,
            variables: bits(start),
        })
    }

    /// The lookups, as given.
    #[must_use]
    pub fn lookups(&self) -> &[Lookup] {
        &self.lookups
    }

    /// The tables, as given.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The slots, in the order of their leaves.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Logarithm of the number of leaves.
    #[must_use]
    pub fn variables(&self) -> usize {
        self.variables
    }

    /// The table that a slot's entries belong to.
    #[must_use]
    pub fn table_of(&self, slot: &Slot) -> &Table {
        match slot.content {
            Content::Lookup(lookup) => &self.tables[self.lookups[lookup].table],
            Content::Table(table) => &self.tables[table],
        }
    }
}

impl Lookup {
    /// For each index of the padded shape whether it is a cell.
    pub(crate) fn cells(&self) -> Vec<bool> {
        self.shape.iter().fold(vec![true], |outer, &size| {
            let padded = 1 << bits(size);
            outer
                .iter()
                .flat_map(|&cell| (0..padded).map(move |index| cell && index < size))
                .collect()
        })
    }
}
