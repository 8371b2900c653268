//! Steps of four rows at a time, in place: decimation in frequency forward, its inverse backward.

use rayon::prelude::*;

use super::PARALLEL_ELEMENTS;
use super::twiddles::Twiddles;
use crate::{Goldilocks, Isa, Kernel, Simd};

/// Which way a transform goes. Backward, twiddles are those of the inverse root, and the result is as many times too large
/// as there are rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Inverse,
}

/// Transforms a matrix of a power of two of rows.
pub(crate) fn transform(isa: Isa, direction: Direction, matrix: &mut [Goldilocks], width: usize, twiddles: &Twiddles) {
    let log = (matrix.len() / width).trailing_zeros() as usize;
    match log {
        0 => {}
        1 => {
            let (first, second) = matrix.split_at_mut(width);
            isa.run(Pair { first, second });
        }
        _ => {
            let parallel = matrix.len() >= PARALLEL_ELEMENTS;
            if direction == Direction::Forward {
                step(isa, direction, matrix, width, twiddles, log, parallel);
            }
            let quarter = matrix.len() / 4;
            if parallel {
                matrix
                    .par_chunks_exact_mut(quarter)
                    .for_each(|part| transform(isa, direction, part, width, twiddles));
            } else {
                for part in matrix.chunks_exact_mut(quarter) {
                    transform(isa, direction, part, width, twiddles);
                }
            }
            if direction == Direction::Inverse {
                step(isa, direction, matrix, width, twiddles, log, parallel);
            }
        }
    }
}

/// One step on all rows of a (part of a) matrix: rows i, i + n/4, i + n/2 and i + 3n/4 belong together.
fn step(
    isa: Isa,
    direction: Direction,
    matrix: &mut [Goldilocks],
    width: usize,
    twiddles: &Twiddles,
    log: usize,
    parallel: bool,
) {
    let quarter = matrix.len() / 4;
    let (upper, lower) = matrix.split_at_mut(2 * quarter);
    let (a, b) = upper.split_at_mut(quarter);
    let (c, d) = lower.split_at_mut(quarter);
    let work = |quarters: [&mut [Goldilocks]; 4], triples: &[[Goldilocks; 3]]| {
        let imaginary = twiddles.imaginary;
        match direction {
            Direction::Forward => isa.run(Forward(Step {
                quarters,
                triples,
                width,
                imaginary,
            })),
            Direction::Inverse => isa.run(Inverse(Step {
                quarters,
                triples,
                width,
                imaginary,
            })),
        }
    };
    let triples = twiddles.step(log);
    if !parallel {
        work([a, b, c, d], triples);
        return;
    }
    let rows = (PARALLEL_ELEMENTS / (4 * width)).max(1);
    let size = rows * width;
    (
        a.par_chunks_mut(size),
        b.par_chunks_mut(size),
        c.par_chunks_mut(size),
        d.par_chunks_mut(size),
        triples.par_chunks(rows),
    )
        .into_par_iter()
        .for_each(|(a, b, c, d, triples)| work([a, b, c, d], triples));
}

/// Consecutive rows of each quarter, and their twiddles.
struct Step<'a> {
    quarters: [&'a mut [Goldilocks]; 4],
    triples: &'a [[Goldilocks; 3]],
    width: usize,
    imaginary: Goldilocks,
}

/// What a step does to four rows that belong together: vectors of columns, then the rest.
macro_rules! on_rows {
    ($simd:ident, $step:expr, $four:ident) => {{
        let Step {
            quarters: [a, b, c, d],
            triples,
            width,
            imaginary,
        } = $step;
        let imaginary = $simd.splat(imaginary);
        let rows = a
            .chunks_exact_mut(width)
            .zip(b.chunks_exact_mut(width))
            .zip(c.chunks_exact_mut(width).zip(d.chunks_exact_mut(width)))
            .zip(triples);
        for (((a, b), (c, d)), triple) in rows {
            let twiddles = [
                $simd.splat(triple[0]),
                $simd.splat(triple[1]),
                $simd.splat(triple[2]),
                imaginary,
            ];
            let whole = width - width % S::LANES;
            for at in (0..whole).step_by(S::LANES) {
                let at = at..at + S::LANES;
                let x = [
                    $simd.load(&a[at.clone()]),
                    $simd.load(&b[at.clone()]),
                    $simd.load(&c[at.clone()]),
                    $simd.load(&d[at.clone()]),
                ];
                let y = $four($simd, x, twiddles);
                $simd.store(y[0], &mut a[at.clone()]);
                $simd.store(y[1], &mut b[at.clone()]);
                $simd.store(y[2], &mut c[at.clone()]);
                $simd.store(y[3], &mut d[at]);
            }
            if whole < width {
                let x = [
                    $simd.load_part(&a[whole..]),
                    $simd.load_part(&b[whole..]),
                    $simd.load_part(&c[whole..]),
                    $simd.load_part(&d[whole..]),
                ];
                let y = $four($simd, x, twiddles);
                $simd.store_part(y[0], &mut a[whole..]);
                $simd.store_part(y[1], &mut b[whole..]);
                $simd.store_part(y[2], &mut c[whole..]);
                $simd.store_part(y[3], &mut d[whole..]);
            }
        }
    }};
}

struct Forward<'a>(Step<'a>);

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        on_rows!(simd, self.0, forward);
    }
}

struct Inverse<'a>(Step<'a>);

impl Kernel for Inverse<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        on_rows!(simd, self.0, backward);
    }
}

/// With ω = w and I = w^(n/4): a + b + c + d, ((a + c) − (b + d))·w^2i, ((a − c) + I(b − d))·w^i and
/// ((a − c) − I(b − d))·w^3i, the coefficients of the four sub-transforms in bit-reversed order.
#[inline(always)]
fn forward<S: Simd>(simd: S, [a, b, c, d]: [S::Vector; 4], [w, w2, w3, imaginary]: [S::Vector; 4]) -> [S::Vector; 4] {
    let (even, odd) = (simd.add(a, c), simd.add(b, d));
    let (low, high) = (simd.sub(a, c), simd.mul(simd.sub(b, d), imaginary));
    [
        simd.add(even, odd),
        simd.mul(simd.sub(even, odd), w2),
        simd.mul(simd.add(low, high), w),
        simd.mul(simd.sub(low, high), w3),
    ]
}

/// Four times what `forward` took, given what it gave and the inverse roots.
#[inline(always)]
fn backward<S: Simd>(simd: S, [a, b, c, d]: [S::Vector; 4], [w, w2, w3, imaginary]: [S::Vector; 4]) -> [S::Vector; 4] {
    let (b, c, d) = (simd.mul(b, w2), simd.mul(c, w), simd.mul(d, w3));
    let (even, odd) = (simd.add(a, b), simd.sub(a, b));
    let (low, high) = (simd.add(c, d), simd.mul(simd.sub(c, d), imaginary));
    [
        simd.add(even, low),
        simd.add(odd, high),
        simd.sub(even, low),
        simd.sub(odd, high),
    ]
}

/// Sum and difference of two rows: the transform of two rows, and twice its own inverse.
struct Pair<'a> {
    first: &'a mut [Goldilocks],
    second: &'a mut [Goldilocks],
}

impl Kernel for Pair<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (x, y) in self.first.chunks_mut(S::LANES).zip(self.second.chunks_mut(S::LANES)) {
            let (a, b) = (simd.load_part(x), simd.load_part(y));
            simd.store_part(simd.add(a, b), x);
            simd.store_part(simd.sub(a, b), y);
        }
    }
}

/// A geometric sequence of factors.
#[derive(Clone, Copy)]
pub(crate) struct Scaling {
    pub(crate) first: Goldilocks,
    pub(crate) ratio: Goldilocks,
}

/// Multiplies row i of a block by first · ratio^i.
pub(crate) struct ScaleRows<'a> {
    pub(crate) block: &'a mut [Goldilocks],
    pub(crate) width: usize,
    pub(crate) scaling: Scaling,
}

impl Kernel for ScaleRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut factor = self.scaling.first;
        for row in self.block.chunks_exact_mut(self.width) {
            let lanes = simd.splat(factor);
            for part in row.chunks_mut(S::LANES) {
                simd.store_part(simd.mul(simd.load_part(part), lanes), part);
            }
            factor *= self.scaling.ratio;
        }
    }
}
