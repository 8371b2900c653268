"""Fills: docs/hashing.md, section 7. Python's floats are binary64, rounded after every operation, never fused."""

import math
import struct

from trainproof.reference.stream import Stream

LN2_HI = 6.93147180369123816490e-01
LN2_LO = 1.90821492927058770002e-10

# Wichura's algorithm AS 241, PPND16: numerators and denominators, lowest coefficient first.
CENTRE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
MIDDLE = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
TAIL = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def ln(x: float) -> float:
    """The natural logarithm of a positive finite number."""
    scale = 0
    if x < 2.0**-1022:
        x *= 2.0**54
        scale = 54
    (bits,) = struct.unpack("<Q", struct.pack("<d", x))
    e = (bits >> 52) - 1023 - scale
    m_bits = bits & (1 << 52) - 1 | 1023 << 52
    (m,) = struct.unpack("<d", struct.pack("<Q", m_bits))
    if m_bits >= 0x3FF6A09E667F3BCD:
        m *= 0.5
        e += 1
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    t = 0.0
    for k in range(11, 0, -1):
        t = (t + 2.0 / (2 * k + 1)) * z
    h = 0.5 * f * f
    return float(e * LN2_HI - ((h - (s * (h + t) + e * LN2_LO)) - f))


def ratio(polynomials: tuple[tuple[float, ...], tuple[float, ...]], r: float) -> tuple[float, float]:
    values = []
    for coefficients in polynomials:
        value = 0.0
        for coefficient in reversed(coefficients):
            value = value * r + coefficient
        values.append(value)
    return values[0], values[1]


def inverse_normal(p: float) -> float:
    q = p - 0.5
    if abs(q) <= 0.425:
        above, below = ratio(CENTRE, 0.180625 - q * q)
        return q * above / below
    r = math.sqrt(-ln(p if q < 0.0 else 1.0 - p))
    above, below = ratio(MIDDLE, r - 1.6) if r <= 5.0 else ratio(TAIL, r - 5.0)
    z = above / below
    return -z if q < 0.0 else z


def unit(x: int) -> float:
    return (x >> 11) * 2.0**-53


def uniform(seed: bytes, counter: int, count: int, lo: float, hi: float) -> list[float]:
    stream = Stream("fill", seed, counter, 0)
    return [lo + unit(stream.word()) * (hi - lo) for _ in range(count)]


def normal(seed: bytes, counter: int, count: int, mean: float, std: float) -> list[float]:
    stream = Stream("fill", seed, counter, 0)
    return [mean + std * inverse_normal(((stream.word() >> 12) + 0.5) * 2.0**-52) for _ in range(count)]


def integers(seed: bytes, counter: int, count: int, lo: int, hi: int) -> list[int]:
    stream = Stream("fill", seed, counter, 0)
    return [lo + stream.below(hi - lo) for _ in range(count)]


def bernoulli(seed: bytes, counter: int, count: int, p: float) -> list[int]:
    stream = Stream("fill", seed, counter, 0)
    return [int(unit(stream.word()) < p) for _ in range(count)]


def to_float32(x: float) -> float:
    """Rounded to nearest even; beyond float32's range, infinite."""
    try:
        (rounded,) = struct.unpack("<f", struct.pack("<f", x))
    except OverflowError:
        return math.copysign(math.inf, x)
    return float(rounded)
