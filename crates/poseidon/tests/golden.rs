//! The examples of `tests/fixtures/poseidon2_v1.json`, which the Python twin gives too. Its permutations were printed by
//! qp-plonky2 1.6.0, by the program in `crates/poseidon/golden`.

use serde_json::Value;
use trainproof_field::{Extension, Field, Goldilocks, Isa};
use trainproof_poseidon::{
    Digest, Opening, Salt, Shape, Tag, Transcript, Tree, WIDTH, hash, naive, node, permute, permute_all, salt,
    verify_path,
};

fn golden(name: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/poseidon2_v1.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(all["version"], 1);
    let examples = all[name].as_array().unwrap().clone();
    assert!(!examples.is_empty());
    examples
}

fn element(value: &Value) -> Goldilocks {
    let word = u64::from_str_radix(value.as_str().unwrap(), 16).unwrap();
    Goldilocks::from_canonical(word).unwrap()
}

fn list<T>(value: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(item).collect()
}

fn elements(value: &Value) -> Vec<Goldilocks> {
    list(value, element)
}

fn array<const N: usize>(value: &Value) -> [Goldilocks; N] {
    elements(value).try_into().unwrap()
}

fn digest(value: &Value) -> Digest {
    Digest(array(value))
}

fn extension(value: &Value) -> Extension {
    let [c0, c1] = array(value);
    Extension::new(c0, c1)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = text(value);
    (0..digits.len() / 2)
        .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn tag(value: &Value) -> Tag {
    Tag::new(text(value))
}

#[test]
fn permutation_is_that_of_qp_plonky2() {
    let examples = golden("permutation");
    assert!(examples.len() >= 40);
    let before: Vec<[_; WIDTH]> = examples.iter().map(|example| array(&example[0])).collect();
    let after: Vec<[_; WIDTH]> = examples.iter().map(|example| array(&example[1])).collect();
    for (before, after) in before.iter().zip(&after) {
        let mut state = *before;
        permute(&mut state);
        assert_eq!(state, *after);
        assert_eq!(naive::permute(&naive::Constants::default(), before), *after);
    }
    for isa in Isa::available() {
        // Every number of states that fills the lanes or not.
        for count in 0..=before.len() {
            let mut states = before[..count].to_vec();
            permute_all(isa, &mut states);
            assert_eq!(states, after[..count], "{isa:?}, {count} states");
        }
    }
}

/// Each constant changed by one: the examples must tell.
#[test]
fn every_constant_matters() {
    let example = golden("permutation").pop().unwrap();
    let (before, after): ([_; WIDTH], [_; WIDTH]) = (array(&example[0]), array(&example[1]));
    let honest = naive::Constants::default();
    let mut changed = 0;
    let mut check = |change: &dyn Fn(&mut naive::Constants) -> &mut Goldilocks| {
        let mut constants = honest.clone();
        *change(&mut constants) += Goldilocks::ONE;
        assert_ne!(naive::permute(&constants, &before), after);
        changed += 1;
    };
    for round in 0..4 {
        for i in 0..WIDTH {
            check(&|constants| &mut constants.initial[round][i]);
            check(&|constants| &mut constants.terminal[round][i]);
        }
    }
    for round in 0..22 {
        check(&|constants| &mut constants.internal[round]);
    }
    for i in 0..WIDTH {
        check(&|constants| &mut constants.diagonal[i]);
    }
    assert_eq!(changed, 130);
}

#[test]
fn tags() {
    for example in &golden("tags") {
        assert_eq!(tag(&example[0]).element(), element(&example[1]));
    }
    let named = [
        ("leaf", Tag::LEAF),
        ("saltleaf", Tag::SALTED_LEAF),
        ("node", Tag::NODE),
        ("stmt", Tag::STATEMENT),
    ];
    for (name, tag) in named {
        assert_eq!(Tag::new(name), tag);
    }
    assert_eq!(Tag::new("grind"), Tag::GRIND);
}

#[test]
fn sponge() {
    for example in &golden("sponge") {
        assert_eq!(hash(tag(&example[0]), &elements(&example[1])), digest(&example[2]));
    }
}

#[test]
fn nodes() {
    for example in &golden("nodes") {
        assert_eq!(node(&digest(&example[0]), &digest(&example[1])), digest(&example[2]));
    }
}

#[test]
fn salts() {
    for example in &golden("salts") {
        let secret = bytes(&example[0]).try_into().unwrap();
        let got = salt(&secret, example[1].as_u64().unwrap(), example[2].as_u64().unwrap());
        assert_eq!(got, array(&example[3]));
    }
}

#[test]
fn trees() {
    let secret = std::array::from_fn(|i| i as u8);
    for example in &golden("trees") {
        let (height, width) = (number(&example["height"]), number(&example["width"]));
        let salted = example["salted"].as_bool().unwrap();
        let matrix = elements(&example["matrix"]);
        let salts: Vec<Salt> = (0..1 << height)
            .map(|leaf| salt(&secret, height as u64, leaf))
            .collect();
        let cap = list(&example["cap"], digest);
        let shape = Shape { height, width, salted };
        for isa in Isa::available() {
            let tree = Tree::new(isa, &matrix, width, salted.then_some(&salts)).unwrap();
            assert_eq!(tree.cap(), cap, "{isa:?}, height {height}");
            assert_eq!(tree.height(), height);
            for leaf in example["leaves"].as_array().unwrap() {
                let (index, path) = (number(&leaf[0]), list(&leaf[2], digest));
                assert_eq!(tree.path(index).unwrap(), path);
                verify_path(&cap, height, index, digest(&leaf[1]), &path).unwrap();
                let row = matrix[index * width..][..width].to_vec();
                let salt = salted.then_some(salts[index]);
                shape.verify(&cap, index, &Opening { row, salt, path }).unwrap();
            }
        }
    }
}

#[test]
fn transcripts() {
    for example in &golden("transcripts") {
        let mut transcript = Transcript::new(tag(&example["protocol"]), &elements(&example["statement"]));
        for said in example["said"].as_array().unwrap() {
            match text(&said[0]) {
                "absorb" => transcript.absorb(tag(&said[1]), &elements(&said[2])),
                "extensions" => transcript.absorb_extensions(tag(&said[1]), &list(&said[2], extension)),
                "digests" => transcript.absorb_digests(tag(&said[1]), &list(&said[2], digest)),
                "bytes" => transcript.absorb_bytes(tag(&said[1]), &bytes(&said[2])),
                "challenge" => assert_eq!(transcript.challenge(), element(&said[1])),
                "extension" => assert_eq!(transcript.challenge_extension(), extension(&said[1])),
                "bits" => assert_eq!(transcript.challenge_bits(number(&said[1])), Ok(number(&said[2]))),
                "grind" => {
                    let (bits, nonce) = (number(&said[1]), element(&said[2]));
                    for isa in Isa::available() {
                        let mut prover = transcript.clone();
                        assert_eq!(prover.grind(isa, bits), Ok(nonce));
                        let mut verifier = transcript.clone();
                        verifier.check_grinding(bits, nonce).unwrap();
                        assert_eq!(prover, verifier);
                    }
                    transcript.check_grinding(bits, nonce).unwrap();
                }
                verb => panic!("unknown verb {verb}"),
            }
        }
    }
}
