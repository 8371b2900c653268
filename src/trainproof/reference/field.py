"""The Goldilocks field, its quadratic extension and transforms: docs/protocol.md, section 1.

Elements of the base field are ints below P; those of the extension are pairs (c0, c1), c0 + c1·X with X² = 7.
"""

P = 2**64 - 2**32 + 1
GENERATOR = 14293326489335486720
NON_RESIDUE = 7
TWO_ADICITY = 32

Extension = tuple[int, int]


def parse(data: bytes) -> list[int]:
    """The elements that a concatenation of encodings holds: eight bytes each, little endian, below P."""
    if len(data) % 8:
        raise ValueError(f"{len(data)} bytes are not a whole number of elements of 8 bytes")
    elements = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
    for x in elements:
        if x >= P:
            raise ValueError(f"{x:#018x} is not the canonical encoding of a field element")
    return elements


def encode(elements: list[int]) -> bytes:
    return b"".join(x.to_bytes(8, "little") for x in elements)


def inverse(x: int) -> int:
    if x % P == 0:
        raise ZeroDivisionError("zero has no inverse")
    return pow(x, -1, P)


def root_of_unity(log: int) -> int:
    """A primitive root of unity of order 2^log."""
    if not 0 <= log <= TWO_ADICITY:
        raise ValueError(f"the field has no root of unity of order 2^{log}")
    return pow(GENERATOR, (P - 1) >> log, P)


def ext_add(x: Extension, y: Extension) -> Extension:
    return (x[0] + y[0]) % P, (x[1] + y[1]) % P


def ext_sub(x: Extension, y: Extension) -> Extension:
    return (x[0] - y[0]) % P, (x[1] - y[1]) % P


def ext_mul(x: Extension, y: Extension) -> Extension:
    return (x[0] * y[0] + NON_RESIDUE * x[1] * y[1]) % P, (x[0] * y[1] + x[1] * y[0]) % P


def ext_inverse(x: Extension) -> Extension:
    factor = inverse(x[0] * x[0] - NON_RESIDUE * x[1] * x[1])
    return x[0] * factor % P, -x[1] * factor % P


def reverse_bits(x: int, bits: int) -> int:
    """The integer whose `bits` binary digits are those of x, reversed."""
    return sum((x >> i & 1) << (bits - 1 - i) for i in range(bits))


def evaluate(coefficients: list[int], point: int) -> int:
    value = 0
    for c in reversed(coefficients):
        value = (value * point + c) % P
    return value


def extend(coefficients: list[int], log_blowup: int, shift: int) -> list[int]:
    """One column of coefficients, evaluated on the coset shift·H in bit-reversed order.

    H has 2^log_blowup times as many elements as there are coefficients, a power of two.
    """
    log = len(coefficients).bit_length() - 1 + log_blowup
    root = root_of_unity(log)
    return [evaluate(coefficients, shift * pow(root, reverse_bits(i, log), P) % P) for i in range(2**log)]
