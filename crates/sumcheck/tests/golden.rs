//! The messages are those of the Python specification (`trainproof.reference.iop`), which wrote the fixture.

use serde_json::Value;
use trainproof_field::{Extension, Goldilocks, Isa};
use trainproof_poseidon::{Tag, Transcript};
use trainproof_sumcheck::{Reader, Sum, Term, Writer, naive, prove, verify};

const STEP: Tag = Tag::new("step");

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/sumcheck_v1.json")).unwrap()
}

fn base(value: &Value) -> Goldilocks {
    Goldilocks::from_canonical(value.as_u64().unwrap()).unwrap()
}

fn list(value: &Value) -> Vec<Goldilocks> {
    value.as_array().unwrap().iter().map(base).collect()
}

fn element(value: &Value) -> Extension {
    Extension::new(base(&value[0]), base(&value[1]))
}

fn size(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

/// All messages, one after the other.
fn elements(messages: &Value) -> Vec<Extension> {
    let messages = messages.as_array().unwrap().iter();
    let lists = messages.flat_map(|message| message[1].as_array().unwrap());
    lists.map(element).collect()
}

#[test]
fn sums_as_in_the_specification() {
    let fixture = fixture();
    for case in fixture["sums"].as_array().unwrap() {
        let (variables, degree) = (size(&case["variables"]), size(&case["degree"]));
        let tables: Vec<_> = case["tables"].as_array().unwrap().iter().map(list).collect();
        let terms = case["terms"].as_array().unwrap().iter().map(|term| Term {
            coefficient: base(&term["coefficient"]).into(),
            factors: term["factors"].as_array().unwrap().iter().map(size).collect(),
        });
        let tables = tables.into_iter().map(Into::into).collect();
        let sum = Sum::new(variables, tables, terms.collect()).unwrap();
        assert_eq!(naive::total(&sum, &[]), element(&case["claim"]));
        let start = Transcript::new(STEP, &list(&case["statement"]));

        let mut transcript = start.clone();
        let mut writer = Writer::new(&mut transcript);
        let proven = prove(Isa::SCALAR, sum.clone(), degree, &mut writer).unwrap();
        assert_eq!(writer.elements(), elements(&case["messages"]));
        let proof = writer.finish();
        assert_eq!(transcript.challenge_extension(), element(&case["after"]));

        let mut transcript = start;
        let mut reader = Reader::new(&mut transcript, &proof).unwrap();
        let reduced = verify(&mut reader, variables, degree, &element(&case["claim"])).unwrap();
        reader.finish().unwrap();
        assert_eq!(reduced.point, proven.point);
        assert_eq!(reduced.value, element(&case["value"]));
        assert_eq!(naive::summand(&sum, &reduced.point), reduced.value);
    }
}
