//! The terms of section 7.6, at real sizes.

use serde_json::Value;

use crate::{Block, Key, Matrix, Parameters, security, total_bits};

/// Compares with `tests/fixtures/commit_security_v1.json`, which an independent computation is compared with, too.
#[test]
fn terms_are_those_of_the_fixture() {
    let text = include_str!("../../../../tests/fixtures/commit_security_v1.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let matrices = case["matrices"].as_array().unwrap().iter().map(|matrix| Matrix {
            height: number(&matrix[0]),
            width: number(&matrix[1]),
            salted: true,
        });
        let block = Block {
            matrix: 0,
            start: 0,
            shape: vec![],
        };
        let blocks = vec![block; number(&case["claims"])];
        let parameters = &case["parameters"];
        let parameters = Parameters {
            log_blowup: number(&parameters["log_blowup"]),
            queries: number(&parameters["queries"]),
            fold_bits: number(&parameters["fold_bits"]),
            query_grinding: number(&parameters["query_grinding"]),
            challenge_grinding: number(&parameters["challenge_grinding"]),
        };
        let key = Key::new(parameters, matrices.collect(), blocks).unwrap();
        let terms = security(&key);
        let expected = case["terms"].as_array().unwrap();
        assert_eq!(terms.len(), expected.len());
        for (term, expected) in terms.iter().zip(expected) {
            assert_eq!(term.name, expected["name"].as_str().unwrap());
            assert_eq!(term.grinding, number(&expected["grinding"]));
            assert!(
                (term.error - expected["error"].as_f64().unwrap()).abs() < 1e-9,
                "{term:?}"
            );
        }
        let total = total_bits(&terms);
        assert!((total - case["total_bits"].as_f64().unwrap()).abs() < 1e-9, "{total}");
        if case["name"] != "few queries" {
            assert!(total >= 102.0, "{total}");
        }
    }
}
