//! The messages are those of the Python specification (`trainproof.reference.iop`), which wrote the fixture: all lookups of
//! a small step of training.

use serde_json::Value;
use trainproof_field::{Extension, Goldilocks, Isa};
use trainproof_lookup::{Entries, Layout, Lookup, Table, Witness, multiplicities, prove, verify};
use trainproof_poseidon::{Tag, Transcript};
use trainproof_sumcheck::{Counter, Reader, Writer};

fn base(value: &Value) -> Goldilocks {
    Goldilocks::from_canonical(value.as_u64().unwrap()).unwrap()
}

fn list(value: &Value) -> Vec<Goldilocks> {
    value.as_array().unwrap().iter().map(base).collect()
}

fn optional(value: &Value) -> Option<Vec<Goldilocks>> {
    (!value.is_null()).then(|| list(value))
}

fn element(value: &Value) -> Extension {
    Extension::new(base(&value[0]), base(&value[1]))
}

#[test]
fn lookups_as_in_the_specification() {
    let fixture: Value = serde_json::from_str(include_str!("../../../tests/fixtures/sumcheck_v1.json")).unwrap();
    let case = &fixture["lookup"];
    let (lookups, tables) = (case["lookups"].as_array().unwrap(), case["tables"].as_array().unwrap());
    let rows = tables.iter().map(|table| Table {
        tag: base(&table["tag"]).value() as u32,
        variables: base(&table["variables"]).value() as usize,
        second: optional(&table["second"]),
    });
    let shapes = lookups.iter().map(|lookup| Lookup {
        shape: list(&lookup["shape"]).iter().map(|x| x.value() as usize).collect(),
        table: tables.iter().position(|table| table["tag"] == lookup["tag"]).unwrap(),
    });
    let layout = Layout::new(shapes.collect(), rows.collect()).unwrap();
    let columns: Vec<_> = lookups
        .iter()
        .map(|lookup| (list(&lookup["x"]), optional(&lookup["y"])))
        .collect();
    let entries: Vec<_> = columns.iter().map(|(x, y)| Entries { x, y: y.as_deref() }).collect();
    let counts: Vec<_> = tables.iter().map(|table| list(&table["multiplicities"])).collect();
    assert_eq!(multiplicities(&layout, &entries).unwrap(), counts);
    let counts = counts.iter().map(|column| &**column).collect();
    let witness = Witness::new(&layout, entries, counts).unwrap();

    let start = Transcript::new(Tag::new("step"), &list(&case["statement"]));
    let mut transcript = start.clone();
    let mut writer = Writer::new(&mut transcript);
    let claims = prove(Isa::SCALAR, &witness, &mut writer).unwrap();
    let messages = case["messages"].as_array().unwrap();
    let sent: Vec<_> = messages
        .iter()
        .flat_map(|message| message[1].as_array().unwrap())
        .map(element)
        .collect();
    assert_eq!(writer.elements(), sent);
    let proof = writer.finish();
    assert_eq!(transcript.challenge_extension(), element(&case["after"]));

    let mut transcript = start;
    let mut reader = Reader::new(&mut transcript, &proof).unwrap();
    assert_eq!(verify(&mut reader, &layout).unwrap(), claims);
    reader.finish().unwrap();

    let mut counter = Counter::default();
    verify(&mut counter, &layout).unwrap();
    let message = |message: &Value| {
        (
            Tag::new(message[0].as_str().unwrap()),
            message[1].as_array().unwrap().len(),
        )
    };
    assert_eq!(counter.messages, messages.iter().map(message).collect::<Vec<_>>());
}
