"""Damage files of every format at random and see that the loader answers with a picture or with a `BadImageError`.

    python -m tests.bench.fuzz 100000        # how many files; prints what came of them, a few minutes

A hundred thousand take minutes; the test suite takes twenty thousand of other seeds.
"""

import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from io import BytesIO

import numpy as np

from stages.imaging.formats import FORMATS
from stages.imaging.images import BadImageError, decode
from tests.bad_files import animation, encoded, photo, see_through, swapped_profile, turned

MEGAPIXELS = 1.0


def seeds() -> dict[str, list[bytes]]:
    """Return sound files of every format, of the kinds that its decoder has branches for."""
    small = photo(24, 32)
    files = {name: [encoded(small, name)] for name in FORMATS}
    files["JPEG"] += [
        encoded(small, "JPEG", progressive=True, **turned(6)),
        encoded(small.convert("CMYK"), "JPEG"),
        encoded(small, "JPEG", icc_profile=swapped_profile()),
        encoded(small, "MPO", save_all=True, append_images=[small]),
    ]
    files["PNG"] += [encoded(small.quantize(8), "PNG", transparency=1), encoded(see_through(0.2), "PNG", **turned(8))]
    files["PNG"] += [animation("PNG"), encoded(small.convert("I;16"), "PNG")]
    compressions = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "tiff_ccitt")
    files["TIFF"] += [
        encoded(small.convert("1" if "ccitt" in c else "RGB"), "TIFF", compression=c) for c in compressions
    ]
    files["TIFF"] += [animation("TIFF"), encoded(small, "TIFF", **turned(5))]
    files["WEBP"] += [animation("WEBP"), encoded(see_through(0.2), "WEBP", lossless=True)]
    files["GIF"] += [animation("GIF")]
    files["BMP"] += [encoded(small.quantize(8), "BMP"), encoded(small.convert("1"), "BMP")]
    files["PPM"] += [encoded(small.convert(mode), "PPM") for mode in ("1", "L")]
    files["PPM"] += [b"P3\n2 2\n255\n" + b"1 2 3 " * 4, b"P2\n3 1\n9\n1 2 3\n", b"Pf\n2 2\n-1.0\n" + b"\0" * 16]
    return files


def mutated(whole: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file: bytes changed, cut out, doubled or moved, runs of one value, the end cut off."""
    content = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        start, length = int(rng.integers(len(content))), int(rng.integers(1, 33))
        match int(rng.integers(6)):
            case 0:
                content[start] = int(rng.integers(256))
            case 1:
                content[start] ^= 1 << int(rng.integers(8))
            case 2:
                del content[start : start + length]
            case 3:
                content[start:start] = content[start : start + length]
            case 4:
                content[start : start + length] = bytes([rng.choice([0, 1, 127, 128, 255])]) * length
            case 5:
                content = content[: max(start, 8)] if rng.random() < 0.3 else content
        content = content or bytearray(b"\0")
    return bytes(content)


def outcome(content: bytes) -> str:
    """Return what the loader makes of a file; what it may not raise comes out as it is."""
    try:
        decoded = decode(BytesIO(content), MEGAPIXELS, short_side=8)
    except BadImageError as bad:
        return bad.code
    pixels = decoded.pixels
    sound = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
    return "picture" if sound else f"wrong: {pixels.dtype} {pixels.shape}"


def outcomes(count: int, seed: int, name: str) -> Iterator[tuple[str, float]]:
    """Yield what came of each of `count` damaged files of a format, and in how many seconds."""
    rng = np.random.default_rng([seed, *name.encode()])
    files = seeds()[name]
    for number in range(count):
        content = mutated(files[number % len(files)], rng)
        start = time.perf_counter()
        result = outcome(content)
        yield result, time.perf_counter() - start


def main() -> None:
    """Print a line a format, then the memory that all took."""
    each = int(sys.argv[1]) // len(FORMATS) if len(sys.argv) == 2 else sys.exit(__doc__)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in FORMATS:
        results = list(outcomes(each, 1, name))
        counts = ", ".join(f"{n} {result}" for result, n in Counter(result for result, _ in results).most_common())
        print(f"{name}: {counts}; slowest {max(taken for _, taken in results) * 1000:.0f} ms", flush=True)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{each * len(FORMATS)} files; memory at most {after // 1024} MiB, {(after - before) // 1024} more than before"
    )


if __name__ == "__main__":
    main()
