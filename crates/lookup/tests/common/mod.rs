//! Lookups to prove, and a verifier with the columns at hand.

use trainproof_field::{Extension, Goldilocks, Isa};
use trainproof_lookup::{Entries, Layout, LeafClaim, Lookup, Table, Witness, multiplicities, verify};
use trainproof_poseidon::{Tag, Transcript};
use trainproof_sumcheck::{Backend, ProofError, Reader, Writer, naive};

pub(crate) const TAG: Tag = Tag::new("test");
pub(crate) const CLAIM: &str = "a claim on a column";

pub(crate) fn start() -> Transcript {
    Transcript::new(TAG, &[Goldilocks::from(8)])
}

pub(crate) fn element(c0: u64, c1: u64) -> Extension {
    Extension::new(Goldilocks::from_residue(c0), Goldilocks::from_residue(c1))
}

/// A layout and all columns.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) layout: Layout,
    pub(crate) x: Vec<Vec<Goldilocks>>,
    pub(crate) y: Vec<Option<Vec<Goldilocks>>>,
    pub(crate) multiplicities: Vec<Vec<Goldilocks>>,
}

pub(crate) fn range(bits: usize) -> Table {
    let tag = bits as u32;
    Table {
        tag,
        variables: bits,
        second: None,
    }
}

pub(crate) fn pairs(tag: u32, second: &[u32]) -> Table {
    let variables = second.len().ilog2() as usize;
    let second = Some(second.iter().map(|&x| Goldilocks::from(x)).collect());
    Table { tag, variables, second }
}

pub(crate) fn lookup(shape: &[usize], table: usize) -> Lookup {
    let shape = shape.to_vec();
    Lookup { shape, table }
}

impl Case {
    /// Looks up the rows of these numbers, one for each index of the padded shapes; multiplicities are counted.
    pub(crate) fn new(layout: Layout, rows: &[Vec<usize>]) -> Self {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for (lookup, rows) in layout.lookups().iter().zip(rows) {
            let second = &layout.tables()[lookup.table].second;
            x.push(rows.iter().map(|&row| Goldilocks::from_residue(row as u64)).collect());
            y.push(
                second
                    .as_ref()
                    .map(|second| rows.iter().map(|&row| second[row]).collect()),
            );
        }
        let mut case = Self {
            layout,
            x,
            y,
            multiplicities: Vec::new(),
        };
        case.multiplicities = multiplicities(&case.layout, &case.entries()).unwrap();
        case
    }

    pub(crate) fn entries(&self) -> Vec<Entries<'_>> {
        let both = self.x.iter().zip(&self.y);
        both.map(|(x, y)| Entries { x, y: y.as_deref() }).collect()
    }

    pub(crate) fn witness(&self) -> Witness<'_> {
        let multiplicities = self.multiplicities.iter().map(|column| &**column).collect();
        Witness::new(&self.layout, self.entries(), multiplicities).unwrap()
    }

    pub(crate) fn prove(&self) -> Vec<u8> {
        let mut transcript = start();
        let mut writer = Writer::new(&mut transcript);
        trainproof_lookup::prove(Isa::SCALAR, &self.witness(), &mut writer).unwrap();
        writer.finish()
    }

    /// Verifies, and compares every claim with the column that it is about.
    pub(crate) fn verify(&self, proof: &[u8]) -> Result<(), ProofError> {
        let mut transcript = start();
        let mut reader = Reader::new(&mut transcript, proof)?;
        let claims = verify(&mut reader, &self.layout)?;
        let value = |column: &[Goldilocks], point: &[Extension]| naive::evaluate(&column.into(), point);
        for claim in claims {
            match claim {
                LeafClaim::Lookup { lookup, point, x, y } => {
                    reader.require_equal(&x, &value(&self.x[lookup], &point), CLAIM)?;
                    assert_eq!(y.is_some(), self.y[lookup].is_some());
                    for (y, column) in y.iter().zip(&self.y[lookup]) {
                        reader.require_equal(y, &value(column, &point), CLAIM)?;
                    }
                }
                LeafClaim::Table {
                    table,
                    point,
                    multiplicity,
                } => {
                    let expected = value(&self.multiplicities[table], &point);
                    reader.require_equal(&multiplicity, &expected, CLAIM)?;
                }
            }
        }
        reader.finish()
    }
}
