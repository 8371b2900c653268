//! Permutations, leaves, grinding and transforms a second, on each instruction set of this machine and the threads of the
//! current pool: `RAYON_NUM_THREADS=1 cargo run --release -p trainproof-poseidon --example throughput`. Times are those of the
//! processor where the system tells them (Linux), so that others' load counts less.

use std::hint::black_box;
use std::time::Instant;

use trainproof_field::{Field, Goldilocks, Isa, ntt};
use trainproof_poseidon::{Tag, Transcript, Tree, WIDTH, permute_all};

/// Seconds that the threads of this process have run, summed.
fn processor_seconds() -> Option<f64> {
    let nanoseconds = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    Some(tasks.map(nanoseconds).sum::<Option<u64>>()? as f64 * 1e-9)
}

/// Times the best of five runs.
fn seconds(mut work: impl FnMut()) -> f64 {
    let mut run = |_| {
        let (start, processor) = (Instant::now(), processor_seconds());
        work();
        let elapsed = start.elapsed().as_secs_f64();
        processor_seconds()
            .zip(processor)
            .map_or(elapsed, |(end, start)| end - start)
    };
    (0..5).map(&mut run).fold(f64::INFINITY, f64::min)
}

fn main() {
    for isa in Isa::available() {
        let name = isa.name();

        // Different states, or else a branch predictor learns them.
        let mut states: Vec<_> = (0..1 << 16).map(|i| [Goldilocks::from_residue(i); WIDTH]).collect();
        let time = seconds(|| permute_all(isa, black_box(&mut states)));
        println!("{name:>6}: {:7.1} ns a permutation", time * 1e9 / states.len() as f64);

        let (log, width) = (15, 32);
        let matrix: Vec<_> = (0..width << log).map(Goldilocks::from_residue).collect();
        let time = seconds(|| drop(black_box(Tree::new(isa, &matrix, width as usize, None))));
        println!(
            "{name:>6}: {:7.1} ns a row in a tree of 2^{log} rows of {width}",
            time * 1e9 / f64::from(1 << log)
        );

        let mut nonce = Ok(Goldilocks::ZERO);
        let time = seconds(|| nonce = black_box(Transcript::new(Tag::new("bench"), &[])).grind(isa, 18));
        println!(
            "{name:>6}: {:7.1} ns a nonce",
            time * 1e9 / nonce.map_or(f64::NAN, |x| x.value() as f64)
        );

        for (log, width) in [(18, 32), (22, 8), (22, 1)] {
            let mut matrix: Vec<_> = (0..(width as u64) << log).map(Goldilocks::from_residue).collect();
            let time = seconds(|| ntt::forward(isa, black_box(&mut matrix), width).unwrap_or_default());
            let rate = matrix.len() as f64 / time / 1e6;
            println!("{name:>6}: {rate:7.1} M elements/s in a transform of 2^{log} rows of {width}, {time:.3} s");
        }
    }
}
