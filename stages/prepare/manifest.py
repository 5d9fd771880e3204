"""The manifest, a row per tile; written in batches, so that memory does not grow with the number of tiles."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.imaging.near import as_text
from stages.prepare.photos import tiles_of
from stages.prepare.sharding import Shard
from stages.prepare.tiling import TilingConfig
from stages.runtime.files import atomic_write

SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("split", pa.string()), ("shard", pa.string()), ("row", pa.int64()),
        ("photo", pa.string()), ("source", pa.string()), ("kind", pa.string()), ("converted", pa.string()),
        ("x0", pa.int64()), ("y0", pa.int64()), ("x1", pa.int64()), ("y1", pa.int64()),
        ("scale", pa.float64()), ("group", pa.string()), ("perceptual_hash", pa.string()),
    ]
)  # fmt: skip
_ROWS_AT_ONCE = 20_000


def write_manifest(
    path: Path, photos: pd.DataFrame, texts: pa.Table, shards: Sequence[Shard], cutting: TilingConfig
) -> None:
    """Write the table of all tiles, in the order of the shards.

    Args:
        path: of the file.
        photos: in the order of their tiles, from `sharding.assign_shards`; so are the next two.
        texts: of the photos.
        shards: of the photos.
        cutting: how the photos are cut.
    """
    with atomic_write(path) as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for table in _batches(photos, texts, shards, cutting):
            writer.write_table(table)


def _batches(
    photos: pd.DataFrame, texts: pa.Table, shards: Sequence[Shard], cutting: TilingConfig
) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for shard in shards:
        waiting.append(_table_of(photos.iloc[shard.rows], texts[shard.rows], shard, cutting))
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _table_of(photos: pd.DataFrame, texts: pa.Table, shard: Shard, cutting: TilingConfig) -> pa.Table:
    shapes = list(zip(photos["height"].to_list(), photos["width"].to_list(), strict=True))
    tiles = [
        tiles_of(sha256, shape, cutting) for sha256, shape in zip(texts["sha256"].to_pylist(), shapes, strict=True)
    ]
    counts = photos["num_tiles"].to_numpy()
    of_photo = {
        "photo": texts["sha256"],
        "source": texts["name"],
        "kind": pa.array(photos["kind"]).cast(pa.string()),
        "converted": pa.array(photos["changes"]).cast(pa.string()),
        "group": texts["alike"],
        "perceptual_hash": [as_text(hashes) for hashes in texts["hashes"].to_pylist()],
    }
    of_tile = pa.table(of_photo).take(np.repeat(np.arange(len(photos)), counts))
    columns = {name: of_tile[name] for name in of_photo}
    numbers = pa.array(np.concatenate([np.arange(count) for count in counts])).cast(pa.string())
    padded = pc.utf8_lpad(numbers, 3, "0")
    columns["id"] = pc.binary_join_element_wise(pc.utf8_slice_codeunits(columns["photo"], 0, 16), padded, "-")
    columns["row"] = np.arange(len(of_tile))
    columns |= {name: pa.repeat(text, len(of_tile)) for name, text in (("split", shard.split), ("shard", shard.name))}
    boxes = [each.boxes(shape, cutting.tile_size) for each, shape in zip(tiles, shapes, strict=True)]
    columns |= zip(("x0", "y0", "x1", "y1"), np.concatenate(boxes).T, strict=True)
    scales = [each.short_sides / min(shape) for each, shape in zip(tiles, shapes, strict=True)]
    columns["scale"] = np.concatenate(scales)
    return pa.table([columns[name] for name in SCHEMA.names], SCHEMA)
