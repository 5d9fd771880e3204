"""Near duplicates: perceptual hashes, and the search for close ones among millions.

    hashes = np.stack([perceptual_hash(pixels, turned=False) for pixels in pictures])     # uint64 (n, 1, 2)
    groups, pairs = near_duplicates(hashes, bits=6)

Two pictures are near duplicates if one of two hashes differs in at most `bits` of its 64 bits. With 6 bits and 900
photographs, each hash alone missed 1 to 2 % of copies that were 20 % brighter and 7 to 9 % of copies cropped by 2 % at
every edge; together they missed 0 and 1 %, and joined no two different photographs (nor did 10 bits).

The search is exact and compares few pairs. If 64 bits are cut into b bands, hashes that differ in d bits agree in at
least b - d bands, so sorting by every choice of b - d bands brings each such pair together (Manku et al., "Detecting
near-duplicates for web crawling", 2007). More bands mean more sorting and fewer chance collisions; the number of bands
is chosen by the number of hashes.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from math import comb

import numpy as np
import numpy.typing as npt
from imagehash import dhash, phash
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

BITS = 64

_HASHED_SIDE = 128  # pixels; a picture is first scaled to this size, since the hashes ignore finer detail
_MOST_EXTRA_BANDS = 5  # beyond the number of differing bits
_SORTING = 20  # cost of sorting one hash, in comparisons
_MOST_PENDING = 2**20  # pairs before they are joined into groups
_AT_ONCE = 2**15  # hashes compared with the next ones

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.intp]


def perceptual_hash(pixels: npt.NDArray[np.uint8], turned: bool) -> Hashes:
    """Hash a picture so that resizing, compression or a little more brightness hardly change the hash.

    Args:
        pixels: uint8 (H, W, 3).
        turned: whether to hash its flips and rotations as well.

    Returns:
        uint64 (1, 2), or (8, 2) with flips and rotations: pHash (the lowest 8 x 8 frequencies, each above or below
        their median; Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010) and dHash
        (whether brightness rises from each of 9 x 8 fields to the next).
    """
    side = (_HASHED_SIDE, _HASHED_SIDE)
    grey = Image.fromarray(pixels).convert("L").resize(side, Image.Resampling.BOX)
    ways = [grey, *(grey.transpose(way) for way in Image.Transpose)] if turned else [grey]
    return np.array([[_as_number(phash(way).hash), _as_number(dhash(way).hash)] for way in ways], np.uint64)


def as_text(hashes: Sequence[int]) -> str:
    """Write the two hashes of an upright picture as 32 hexadecimal digits.

    Args:
        hashes: of `perceptual_hash`, flat; flips and rotations are left out.
    """
    return "".join(f"{kind:016x}" for kind in hashes[:2])


def from_text(texts: Sequence[str]) -> Hashes:
    """Parse the output of `as_text`: uint64 (n, 1, 2)."""
    digits = [int(text[start : start + 16], 16) for text in texts for start in (0, 16)]
    return np.array(digits, np.uint64).reshape(-1, 1, 2)


def _as_number(bits: npt.NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes())


def near_duplicates(hashes: Hashes, bits: int) -> tuple[Ints, Ints]:
    """Group pictures that are near duplicates, directly or through others.

    Args:
        hashes: uint64 (n, ways, kinds), one `perceptual_hash` a picture; kinds are compared among themselves.
        bits: largest Hamming distance of near duplicates, in 0 ... 64.

    Returns:
        (n,), for each picture the position of the first one in its group; and (m, 2), ascending, pairs of near
        duplicates: of a group of k pictures k - 1 pairs, which connect it.
    """
    count, ways, kinds = hashes.shape
    owners = np.repeat(np.arange(count), ways)
    groups, kept = np.arange(count), [np.empty((0, 2), np.intp)]
    for kind in range(kinds):
        for positions in _close(hashes[:, :, kind].ravel(), bits):
            pairs = np.sort(owners[positions], axis=1)
            pairs = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
            if len(pairs):
                kept.append(_connecting(pairs, groups))
                groups = _components(np.concatenate([kept[-1], np.column_stack([groups, np.arange(count)])]), count)
    return groups, np.unique(np.concatenate(kept), axis=0)


def _connecting(pairs: Ints, groups: Ints) -> Ints:
    """Return the fewest pairs that still join the same groups: a spanning forest, the first pair of any two groups."""
    pairs = np.unique(pairs, axis=0)
    edges, first = np.unique(np.sort(groups[pairs], axis=1), axis=0, return_index=True)
    weights = first + 1  # 0 would be no edge
    graph = coo_array((weights, (edges[:, 0], edges[:, 1])), shape=(len(groups), len(groups)))
    kept: Ints = minimum_spanning_tree(graph.tocsr()).data.astype(np.intp) - 1
    return pairs[np.sort(kept)]


def _components(pairs: Ints, count: int) -> Ints:
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    return np.asarray(first[labels], np.intp)


def _close(hashes: npt.NDArray[np.uint64], bits: int) -> Iterator[Ints]:
    """Yield positions (m, 2) of close hashes, some of them repeatedly."""
    order = np.argsort(hashes, kind="stable")
    unique = hashes[order]
    is_new = np.append(True, unique[1:] != unique[:-1])[: len(hashes)]
    starts, again = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    first, unique = order[starts], unique[starts]
    yield np.column_stack([first[np.searchsorted(starts, again) - 1], order[again]])
    del order, is_new, starts, again  # of millions
    for mask in _masks(bits, len(unique)):
        for near in _agreeing(unique, mask, bits):
            yield first[near]


def _masks(bits: int, count: int) -> list[np.uint64]:
    """Choose the number of bands, and return a bit mask for every choice of bands in which close hashes agree."""
    if bits == 0:
        return []
    if bits >= BITS:
        return [np.uint64(0)]

    def cost(more: int) -> float:
        pairs = count**2 / 2 ** (1 + BITS * more / (bits + more))  # that agree by chance
        return float(comb(bits + more, more) * (_SORTING * count + pairs))

    more = min(range(1, min(_MOST_EXTRA_BANDS, BITS - bits) + 1), key=cost)
    edges = np.linspace(0, BITS, bits + more + 1).round().astype(int).tolist()
    bands = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in combinations(bands, more)]


def _agreeing(hashes: npt.NDArray[np.uint64], mask: np.uint64, bits: int) -> Iterator[Ints]:
    keys = hashes & mask
    order = np.argsort(keys)
    keys, pending = keys[order], 0
    found: list[Ints] = []
    for starts, shift in _equal(keys):
        one, other = order[starts], order[starts + shift]
        near = np.bitwise_count(hashes[one] ^ hashes[other]) <= bits
        found.append(np.column_stack([one[near], other[near]]))
        pending += len(found[-1])
        if pending > _MOST_PENDING:
            yield np.concatenate(found)
            found, pending = [], 0
    if pending:
        yield np.concatenate(found)


def _equal(keys: npt.NDArray[np.uint64]) -> Iterator[tuple[Ints, int]]:
    """Yield positions of sorted keys, some at a time, and how many places later the same key stands again."""
    for start in range(0, len(keys) - 1, _AT_ONCE):
        starts = np.arange(start, min(start + _AT_ONCE, len(keys) - 1))
        for shift in range(1, len(keys)):
            starts = starts[starts + shift < len(keys)]
            starts = starts[keys[starts] == keys[starts + shift]]  # runs of equal keys get shorter with every shift
            if not len(starts):
                break
            yield starts, shift
