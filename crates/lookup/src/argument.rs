//! The lookup argument from its challenges to claims on what is looked up (section 6.4).

use trainproof_field::{Extension, Goldilocks, Isa};
use trainproof_poseidon::Tag;
use trainproof_sumcheck::polynomial::{eq_index, listed, mask, number};
use trainproof_sumcheck::{Backend, ProofError, Table, Writer};

use crate::layout::{Content, Layout};
use crate::tree::{array, prove_tree, verify_tree};
use crate::{Challenges, LookupError, Witness};

/// The message with the value of what is looked up.
pub const LEAF: Tag = Tag::new("leaf");

/// The message with the value of a committed column.
pub const VALUE: Tag = Tag::new("value");

/// What the argument leaves for a slot: claims at a point of the slot's variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafClaim<E> {
    /// What is looked up has this value.
    Lookup {
        /// Number of the lookup.
        lookup: usize,
        /// The point.
        point: Vec<E>,
        /// The value of the first entries.
        x: E,
        /// The value of the second entries, a committed column.
        y: Option<E>,
    },
    /// The multiplicities, a committed column, have this value.
    Table {
        /// Number of the table.
        table: usize,
        /// The point.
        point: Vec<E>,
        /// The value.
        multiplicity: E,
    },
}

/// Sends the argument, whether it holds or not. Lookups and multiplicities are committed in the transcript already.
///
/// # Errors
/// [`LookupError::Sum`]
pub fn prove(
    isa: Isa,
    witness: &Witness<'_>,
    writer: &mut Writer<'_>,
) -> Result<Vec<LeafClaim<Extension>>, LookupError> {
    let challenges = Challenges {
        alpha: writer.challenge(),
        beta: writer.challenge(),
        gamma: writer.challenge(),
    };
    let leaf = prove_tree(isa, witness.leaves(&challenges), writer)?;
    Ok(send_claims(isa, witness, &leaf.point, writer))
}

/// Sends the values of each slot at the tree's point.
pub(crate) fn send_claims(
    isa: Isa,
    witness: &Witness<'_>,
    point: &[Extension],
    writer: &mut Writer<'_>,
) -> Vec<LeafClaim<Extension>> {
    let slots = witness.layout.slots().iter();
    let claims = slots.map(|slot| {
        let point = point[point.len() - slot.variables..].to_vec();
        let value = |column: &[Goldilocks]| {
            let value = Table::from(column).evaluate(isa, &point);
            value.expect("a witness has an entry for each leaf of a slot")
        };
        match slot.content {
            Content::Lookup(lookup) => {
                let entries = &witness.lookups[lookup];
                let (x, y) = (value(entries.x), entries.y.map(value));
                writer.send(LEAF, &[x]);
                if let Some(y) = y {
                    writer.send(VALUE, &[y]);
                }
                LeafClaim::Lookup { lookup, point, x, y }
            }
            Content::Table(table) => {
                let multiplicity = value(witness.multiplicities[table]);
                writer.send(VALUE, &[multiplicity]);
                LeafClaim::Table {
                    table,
                    point,
                    multiplicity,
                }
            }
        }
    });
    claims.collect()
}

/// Reads an argument. What it leaves, in the order of the slots, is to be consumed: claims on what is looked up, on second
/// entries and on multiplicities.
///
/// # Errors
/// [`ProofError::Ends`], [`ProofError::Check`]
pub fn verify<B: Backend>(backend: &mut B, layout: &Layout) -> Result<Vec<LeafClaim<B::Element>>, ProofError> {
    // 1. Independent challenges.
    let [alpha, beta, gamma] = array(backend.challenges(3))?;
    // 2. The tree.
    let leaf = verify_tree(backend, layout.variables())?;
    // 3. The values of the slots give those of the leaves, which are 0/1 where no slot is.
    let one = backend.one();
    let (mut numerator, mut denominator) = (backend.zero(), one.clone());
    let mut claims = Vec::with_capacity(layout.slots().len());
    for slot in layout.slots() {
        let (upper, place) = leaf.point.split_at(leaf.point.len() - slot.variables);
        let weight = eq_index(backend, upper, slot.start >> slot.variables);
        let table = layout.table_of(slot);
        let point = place.to_vec();
        let (top, x, y) = match slot.content {
            Content::Lookup(lookup) => {
                let [x] = array(backend.receive(LEAF, 1)?)?;
                let y = match table.second {
                    Some(_) => backend.receive(VALUE, 1)?.pop(),
                    None => None,
                };
                let top = mask(backend, &layout.lookups()[lookup].shape, place)?;
                claims.push(LeafClaim::Lookup {
                    lookup,
                    point,
                    x: x.clone(),
                    y: y.clone(),
                });
                (top, x, y)
            }
            Content::Table(number_) => {
                let [multiplicity] = array(backend.receive(VALUE, 1)?)?;
                let zero = backend.zero();
                let top = backend.sub(&zero, &multiplicity);
                let x = number(backend, place);
                let y = match &table.second {
                    Some(second) => Some(listed(backend, second, place)?),
                    None => None,
                };
                claims.push(LeafClaim::Table {
                    table: number_,
                    point,
                    multiplicity,
                });
                (top, x, y)
            }
        };
        let product = backend.mul(&weight, &top);
        numerator = backend.add(&numerator, &product);
        let tag = backend.scale(&gamma, Goldilocks::from(table.tag));
        let mut bottom = backend.sub(&alpha, &tag);
        bottom = backend.sub(&bottom, &x);
        if let Some(y) = y {
            let product = backend.mul(&beta, &y);
            bottom = backend.sub(&bottom, &product);
        }
        let excess = backend.sub(&bottom, &one);
        let product = backend.mul(&weight, &excess);
        denominator = backend.add(&denominator, &product);
    }
    // 4. Both are the tree's.
    backend.require_equal(&numerator, &leaf.numerator, "leaves: numerator")?;
    backend.require_equal(&denominator, &leaf.denominator, "leaves: denominator")?;
    Ok(claims)
}
