"""Poseidon2 of width 12, its sponge, trees and transcripts: docs/protocol.md, sections 2 and 3.

A digest is a list of four elements, a salt too. Checks raise ValueError.
"""

from collections.abc import Sequence

from blake3 import blake3

from trainproof.reference.field import Extension, P
from trainproof.reference.hashing import u64

WIDTH, RATE, DIGEST, SALT = 12, 8, 4, 4
CAP_HEIGHT, MAX_HEIGHT = 4, 32
MAX_CHALLENGE_BITS = 32

# The numbers of qp-plonky2 1.6.0 (its crate qp-poseidon-core 3.1.0).
INITIAL = [
    [
        0xC002E770975B1607,
        0xBCA51A8DFE14593A,
        0x72938DFBE774F7F9,
        0xE4F2FE29E03234AC,
        0xD5E0BA2F541B6449,
        0xEC33B868F3CC46C1,
        0x486DCB55419D475A,
        0x6C1CB2A358CC24F1,
        0xE3F30D509A1436BB,
        0xD9A64F068DCA7C29,
        0xE59B3F57AABBA1AE,
        0x2A3DD4505B478FDC,
    ],
    [
        0xADA1F8DC7676ED25,
        0x2711AA8B5509D516,
        0x4AE6ACD0C9C92897,
        0x56EB3D6B5256D67A,
        0x1F7A9D55923BF51E,
        0x3600427D397A7F68,
        0xE5076DF75B72C3D0,
        0xFCD59AA12C6090AD,
        0xCD895E8C68B57A9E,
        0x41DF7EF9D730AE3E,
        0xEE3E2B889ABE977D,
        0xD29BB7EDBEB9C405,
    ],
    [
        0x7D5C08EEF608E382,
        0x89AE889CAAF0802C,
        0xB35A8E976D2AF617,
        0xDB14234EAFAF5173,
        0x78F04462D48B1C98,
        0x265293B0E47CE88A,
        0x999A649B69B9D32F,
        0x64B0A186698E01D3,
        0xEE0B22D0DFAE8BB8,
        0x4FD53E50CA04A7EE,
        0x5762BFE181F25047,
        0xF51593E2BEB5E3BD,
    ],
    [
        0x1E5E2B5760E32477,
        0x622462A1F9AAAEED,
        0xAA284B3ECDB222AE,
        0x63C8E72F542BF3FC,
        0x3BA588CACB43B5E0,
        0x23EDA6F3C99150DD,
        0xAAD3BEA4BAAC9A5A,
        0xE9DA8D699B94184A,
        0xCDB13F4CD93E024C,
        0x902CBD0956F655E3,
        0x5B4E40FFC759532F,
        0xDE795C20A2357AF7,
    ],
]
INTERNAL = [
    0x97F7798A784AD863,
    0xD1D2BF082F60D4F0,
    0x69A377A79F9AD206,
    0xA9D06906A3858E24,
    0x295275001EEDE5B5,
    0x5874E441117BD746,
    0x8A084BBBA8ED86CC,
    0x3DEFD7645CDE6425,
    0x3998CFE6871CC137,
    0x3E52EF8BCA48314A,
    0x964A209F85DC9ECC,
    0x3FCC9EE82CC4577E,
    0x8E79B4A5D0096D6D,
    0x8492362AD2392556,
    0xEE72F470262574D6,
    0x1E0E18496DA2444A,
    0x0F3A74BF215EAAC6,
    0x1B061B76A1C0DED3,
    0x192C42D86803D7A6,
    0xF6D49FF997AE0260,
    0x3EC372E7A0FA3786,
    0x5538CDF4F23445D3,
]
TERMINAL = [
    [
        0x7B72C539E0EA4C6E,
        0x144573DAE2CE9976,
        0x802028B68F35FC88,
        0x6D36C5022C4FE7C2,
        0xA205D0FFA9B9DEF3,
        0xF6E7E38B1EA6BA2F,
        0x34F7909AE5258D64,
        0xB0464D9D77B97FCA,
        0x64DDB9D5DE7E00A6,
        0x0ED0D75C27975D97,
        0x1CBB36F11127338B,
        0x6673E505CFD0B6BA,
    ],
    [
        0x605F902830872E01,
        0x3FD5EB927E95FE4F,
        0xE81025B5A24C69CD,
        0xF7D0CE75DE23F74E,
        0xF39942B6A8585089,
        0x6D808A08F7B71DF6,
        0xF8806B6588F49A8B,
        0x57DF2D8C2A32107A,
        0x16E7C2074D654A2D,
        0x213DE241FCF33835,
        0xB0F2B8905A0976F6,
        0xD8E3CF2BBD355417,
    ],
    [
        0xE498691679D9330F,
        0x763B45D2A3821B28,
        0x0908BF65EB0A1F0D,
        0x7691EB2D194B24F4,
        0x0E43551233AE13B2,
        0x93C393DBFC2FE76F,
        0x98F607485D48CDEA,
        0xE3D95F30309819C0,
        0x1EF581A93EAF6ACF,
        0x0B24C1B7A030FCA4,
        0x624370BE5670B327,
        0x5F1E28615A11E486,
    ],
    [
        0xFE04051F909E042B,
        0x7257E5B147FD3803,
        0xE6AE134BB82F2E78,
        0x5711FD5CF4784511,
        0xF83A42660C08C0BC,
        0x2CD8C96D9A3CE855,
        0x7D2FFB1BB0E17271,
        0x85AE1528CAEA3811,
        0x52A345D5C7ADB0B8,
        0x504C4C51F3FAEE94,
        0xBCE34A649CFCCAF9,
        0xE0A3389266FB6DC9,
    ],
]
DIAGONAL = [
    0xC3B6C08E23BA9300,
    0xD84B5DE94A324FB6,
    0x0D0C371C5B35B84F,
    0x7964F570E7188037,
    0x5DAF18BBD996604B,
    0x6743BC47B9595257,
    0x5528B9362C59BB70,
    0xAC45E25B7127B68B,
    0xA2077D7DFBB606B5,
    0xF3FAAC6FAEE378AE,
    0x0C6388B51545E883,
    0xD27DBB6944917B60,
]
M = [[2, 3, 1, 1], [1, 2, 3, 1], [1, 1, 2, 3], [3, 1, 1, 2]]


def external(state: list[int]) -> list[int]:
    rows = [[M[i % 4][j % 4] * (2 if i // 4 == j // 4 else 1) for j in range(WIDTH)] for i in range(WIDTH)]
    return [sum(a * x for a, x in zip(row, state, strict=True)) % P for row in rows]


def internal(state: list[int]) -> list[int]:
    return [(sum(state) + d * x) % P for d, x in zip(DIAGONAL, state, strict=True)]


def permute(state: list[int]) -> list[int]:
    state = external(state)
    for constants in INITIAL:
        state = external([pow(x + c, 7, P) for x, c in zip(state, constants, strict=True)])
    for constant in INTERNAL:
        state = internal([pow(state[0] + constant, 7, P), *state[1:]])
    for constants in TERMINAL:
        state = external([pow(x + c, 7, P) for x, c in zip(state, constants, strict=True)])
    return state


def tag(name: str) -> int:
    """A name of one to eight visible ASCII characters as an element."""
    if not 1 <= len(name) <= 8 or not all("!" <= c <= "~" for c in name):
        raise ValueError(f"a tag has one to eight visible ASCII characters, got {name!r}")
    return int.from_bytes(name.encode("ascii"), "little")


def digest(name: str, elements: list[int]) -> list[int]:
    """The sponge."""
    state = [0] * RATE + [tag(name), len(elements), 0, 0]
    for start in range(0, max(len(elements), 1), RATE):
        block = elements[start : start + RATE]
        state = permute(block + [0] * (RATE - len(block)) + state[RATE:])
    return state[:DIGEST]


def leaf(row: list[int], salt: list[int] | None = None) -> list[int]:
    return digest("leaf", row) if salt is None else digest("saltleaf", row + salt)


def node(left: list[int], right: list[int]) -> list[int]:
    return digest("node", left + right)


def derive_salt(secret: bytes, tree: int, index: int) -> list[int]:
    """Four words of BLAKE3's extended output; a word that is no encoding is skipped."""
    stream = blake3(b"trainproof.zk-salt.v1\0" + u64(tree) + u64(index), key=secret)
    salt: list[int] = []
    at = 0
    while len(salt) < SALT:
        word = int.from_bytes(stream.digest(length=8, seek=at), "little")
        at += 8
        if word < P:
            salt.append(word)
    return salt


def layers(leaves: list[list[int]]) -> list[list[list[int]]]:
    """Digests of leaves, then of nodes, up to the cap."""
    if not leaves or len(leaves) & (len(leaves) - 1):
        raise ValueError(f"a tree needs a power of two of leaves, got {len(leaves)}")
    result = [leaves]
    while len(result[-1]) > 2**CAP_HEIGHT:
        below = result[-1]
        result.append([node(below[i], below[i + 1]) for i in range(0, len(below), 2)])
    return result


def path(leaves: list[list[int]], index: int) -> list[list[int]]:
    """Siblings of leaf `index` from the leaf up, without those of the cap."""
    return [layer[(index >> level) ^ 1] for level, layer in enumerate(layers(leaves)[:-1])]


def verify_path(
    cap: list[list[int]], height: int, index: int, leaf_digest: list[int], siblings: list[list[int]]
) -> None:
    cap_height = min(height, CAP_HEIGHT)
    if not 0 <= height <= MAX_HEIGHT:
        raise ValueError(f"a tree of height {height}")
    if len(cap) != 2**cap_height:
        raise ValueError(f"the cap has {len(cap)} nodes, the tree needs {2**cap_height}")
    if not 0 <= index < 2**height:
        raise ValueError(f"leaf {index} of a tree of {2**height}")
    if len(siblings) != height - cap_height:
        raise ValueError(f"the path has {len(siblings)} nodes, the tree needs {height - cap_height}")
    reached = leaf_digest
    for level, sibling in enumerate(siblings):
        reached = node(sibling, reached) if index >> level & 1 else node(reached, sibling)
    if reached != cap[index >> len(siblings)]:
        raise ValueError(f"the path of leaf {index} does not lead to the cap")


class Transcript:
    """Challenges from everything absorbed before them."""

    def __init__(self, protocol: str, statement: list[int]) -> None:
        self._state = [0] * RATE + [tag(protocol), 0, 1, 0]
        self._pending: list[int] = []
        self._outputs: list[int] = []
        self.absorb("stmt", statement)

    def absorb(self, name: str, message: list[int]) -> None:
        for x in [tag(name), len(message), *message]:
            self._pending.append(x)
            if len(self._pending) == RATE:
                self._flush()

    def absorb_extensions(self, name: str, message: Sequence[Extension]) -> None:
        self.absorb(name, [c for x in message for c in x])

    def absorb_digests(self, name: str, message: list[list[int]]) -> None:
        self.absorb(name, [x for one in message for x in one])

    def absorb_bytes(self, name: str, message: bytes) -> None:
        words = [int.from_bytes(message[i : i + 4], "little") for i in range(0, len(message), 4)]
        self.absorb(name, [len(message), *words])

    def challenge(self) -> int:
        self._flush()
        if not self._outputs:
            self._permute()
        return self._outputs.pop(0)

    def challenge_extension(self) -> Extension:
        return self.challenge(), self.challenge()

    def challenge_bits(self, bits: int) -> int:
        if not 0 <= bits <= MAX_CHALLENGE_BITS:
            raise ValueError(f"a challenge of {bits} bits")
        return self.challenge() & ((1 << bits) - 1)

    def check_grinding(self, bits: int, nonce: int) -> None:
        if not 1 <= bits <= MAX_CHALLENGE_BITS:
            raise ValueError(f"grinding of {bits} bits")
        self._flush()
        self.absorb("grind", [bits, nonce])
        if self.challenge_bits(bits):
            raise ValueError(f"the nonce {nonce} does not do the work of {bits} bits")

    def grind(self, bits: int) -> int:
        """The least nonce that does the work; it is absorbed."""
        nonce = 0
        while True:
            trial = Transcript("none", [])
            trial._state, trial._pending, trial._outputs = list(self._state), list(self._pending), list(self._outputs)
            try:
                trial.check_grinding(bits, nonce)
            except ValueError:
                nonce += 1
                continue
            self.check_grinding(bits, nonce)
            return nonce

    def _flush(self) -> None:
        if self._pending:
            self._state[:RATE] = self._pending + [0] * (RATE - len(self._pending))
            self._pending = []
            self._permute()

    def _permute(self) -> None:
        self._state = permute(self._state)
        self._outputs = self._state[:RATE]
