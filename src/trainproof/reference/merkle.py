"""Leaves and trees of datasets: docs/hashing.md, section 4."""

from blake3 import blake3

from trainproof.reference.hashing import digest, u64


def salt(secret: bytes, index: int) -> bytes:
    return blake3(b"trainproof.salt.v1\0" + u64(index), key=secret).digest()


def leaf(secret: bytes, index: int, payload: bytes) -> bytes:
    return digest("blake3", b"\0\1" + u64(index) + payload + salt(secret, index))


def node(left: bytes, right: bytes) -> bytes:
    return digest("blake3", b"\1" + left + right)


def seal(count: int, top_digest: bytes) -> bytes:
    return digest("blake3", b"\2\1" + u64(count) + top_digest)


def split(count: int) -> int:
    """The largest power of two below `count`."""
    power = 1
    while 2 * power < count:
        power *= 2
    return power


def top(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node(top(leaves[:k]), top(leaves[k:]))


def root(leaves: list[bytes]) -> bytes:
    if not leaves:
        raise ValueError("a tree needs at least one leaf")
    return seal(len(leaves), top(leaves))


def path(leaves: list[bytes], index: int) -> list[bytes]:
    """Siblings of leaf `index`, from the leaf up."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"leaf {index} of a tree of {len(leaves)}")
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(leaves[:k], index), top(leaves[k:])]
    return [*path(leaves[k:], index - k), top(leaves[:k])]


def climb(count: int, index: int, leaf_digest: bytes, siblings: list[bytes]) -> bytes | None:
    """The top that a path leads to; None if its length is not that of leaf `index` of `count`."""
    if count == 1:
        return None if siblings else leaf_digest
    if not siblings:
        return None
    k = split(count)
    if index < k:
        left = climb(k, index, leaf_digest, siblings[:-1])
        return None if left is None else node(left, siblings[-1])
    right = climb(count - k, index - k, leaf_digest, siblings[:-1])
    return None if right is None else node(siblings[-1], right)


def verify(root_digest: bytes, count: int, index: int, leaf_digest: bytes, siblings: list[bytes]) -> bool:
    if not 0 <= index < count:
        return False
    reached = climb(count, index, leaf_digest, siblings)
    return reached is not None and seal(count, reached) == root_digest
