//! What an opening costs: `cargo run --release -p trainproof-commit --example opening -- 18x36 18x36 18x64 18x129`, matrices
//! as height x columns. With `--sizes` nothing is proven.

use std::error::Error;
use std::time::Instant;

use trainproof_commit::{
    Block, Claim, Key, Matrix, Native, Parameters, Proof, commit, cost, open, security, total_bits, verify,
};
use trainproof_field::{Extension, Field, Goldilocks, Isa};
use trainproof_poseidon::{Tag, Transcript};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let mut matrices = Vec::new();
    for argument in arguments.iter().filter(|argument| *argument != "--sizes") {
        let (height, width) = argument
            .split_once('x')
            .ok_or("matrices are given as height x columns")?;
        matrices.push(Matrix {
            height: height.parse()?,
            width: width.parse()?,
            salted: false,
        });
    }
    // A claim a column.
    let column = |matrix: usize, index: usize| Block {
        matrix,
        start: index << matrices[matrix].height,
        shape: vec![1 << matrices[matrix].height],
    };
    let columns = |matrix: usize| (0..matrices[matrix].width).map(move |index| (matrix, index));
    let blocks: Vec<_> = (0..matrices.len())
        .flat_map(columns)
        .map(|(matrix, index)| column(matrix, index))
        .collect();
    let key = Key::new(Parameters::STANDARD, matrices, blocks)?;
    for term in security(&key) {
        println!(
            "{:24} {:7.2} bits, {} of them work: {}",
            term.name,
            term.bits(),
            term.grinding,
            term.formula
        );
    }
    println!("together {:.2} bits", total_bits(&security(&key)));
    println!(
        "proof of {} bytes, {} claims, {:?}",
        Proof::encoded_length(&key),
        key.blocks().len(),
        cost(&key)?
    );
    if arguments.iter().any(|argument| argument == "--sizes") {
        return Ok(());
    }
    let isa = Isa::active()?;
    let start = Instant::now();
    let (mut committed, mut claims) = (Vec::new(), Vec::new());
    for (number, matrix) in key.matrices().iter().enumerate() {
        let (mut x, step) = (Goldilocks::from(number as u32 + 2), Goldilocks::GENERATOR);
        let values = (0..matrix.width << matrix.height).map(|_| {
            x *= step;
            x
        });
        let values: Vec<_> = values.collect();
        // At the corner of ones a column has the value of its last cell.
        claims.extend(values[values.len() - matrix.width..].iter().map(|&last| Claim {
            point: vec![Extension::ONE; matrix.height],
            value: last.into(),
        }));
        committed.push(commit(isa, key.parameters(), values, matrix.width, None)?);
    }
    println!("commit {:.2} s", start.elapsed().as_secs_f64());
    let (start, mut transcript) = (Instant::now(), Transcript::new(Tag::new("example"), &[]));
    let proof = open(
        isa,
        &key,
        &committed.iter().collect::<Vec<_>>(),
        &claims,
        &mut transcript,
    )?;
    println!("open {:.2} s", start.elapsed().as_secs_f64());
    let bytes = proof.to_bytes(&key)?;
    let caps: Vec<_> = committed.iter().map(|matrix| matrix.cap().to_vec()).collect();
    let (start, mut transcript) = (Instant::now(), Transcript::new(Tag::new("example"), &[]));
    let proof = Proof::from_bytes(&key, &bytes)?;
    verify(&mut Native::new(&mut transcript), &key, &caps, &claims, &proof)?;
    println!("verify {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
