//! The opening of `tests/fixtures/commit_v1.json`, which `trainproof.reference.commit` verifies, too.

use serde_json::{Value, json};
use trainproof_field::{Extension, Goldilocks};

use super::Case;
use crate::Proof;

fn words(elements: &[Goldilocks]) -> Vec<u64> {
    elements.iter().map(|x| x.value()).collect()
}

fn pairs(elements: &[Extension]) -> Vec<Vec<u64>> {
    elements.iter().map(|x| words(&x.coefficients())).collect()
}

/// The case and its proof as the fixture spells them.
fn spelled(case: &Case, proof: &Proof) -> Value {
    let parameters = case.key.parameters();
    let matrices = case.matrices.iter().map(|matrix| {
        let rows = matrix.values.chunks_exact(matrix.matrix().width).map(words);
        let caps: Vec<_> = matrix.cap().iter().map(|digest| words(&digest.0)).collect();
        json!({"salted": matrix.matrix().salted, "rows": rows.collect::<Vec<_>>(), "cap": caps})
    });
    let claims = case.key.blocks().iter().zip(&case.claims).map(|(block, claim)| {
        json!({
            "matrix": block.matrix,
            "start": block.start,
            "shape": block.shape,
            "point": pairs(&claim.point),
            "value": words(&claim.value.coefficients()),
        })
    });
    let bytes = proof.to_bytes(&case.key).unwrap();
    json!({
        "parameters": [
            parameters.log_blowup,
            parameters.queries,
            parameters.fold_bits,
            parameters.query_grinding,
            parameters.challenge_grinding,
        ],
        "secret": "07".repeat(32),
        "matrices": matrices.collect::<Vec<_>>(),
        "claims": claims.collect::<Vec<_>>(),
        "proof": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
    })
}

#[test]
fn proofs_are_those_of_the_fixture() {
    let text = include_str!("../../../../tests/fixtures/commit_v1.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    let case = Case::golden();
    assert_eq!(spelled(&case, &case.open()), fixture);
}
