"""The manifest, a row per tile; written in batches, so that memory does not grow with the number of tiles."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stages.imaging.near import as_text
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


def write_manifest(path: Path, shards: Sequence[Shard], cutting: TilingConfig) -> None:
    """Write the table of all tiles, in the order of the shards.

    Args:
        path: of the file.
        shards: from `sharding.assign_shards`.
        cutting: how the photos are cut.
    """
    with atomic_write(path) as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for table in _batches(shards, cutting):
            writer.write_table(pa.Table.from_pandas(table, SCHEMA, preserve_index=False))


def _batches(shards: Sequence[Shard], cutting: TilingConfig) -> Iterator[pd.DataFrame]:
    waiting: list[pd.DataFrame] = []
    for shard in shards:
        waiting.append(_table_of(shard, cutting))
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            yield pd.concat(waiting)
            waiting = []
    if waiting:
        yield pd.concat(waiting)


def _table_of(shard: Shard, cutting: TilingConfig) -> pd.DataFrame:
    rows = [
        (photo.sha256, photo.source.name, photo.kind, photo.changes, one.group, as_text(photo.hashes))
        for one in shard.members
        for photo in [one.photo]
    ]
    photos = pd.DataFrame(rows, columns=["photo", "source", "kind", "converted", "group", "perceptual_hash"])
    table = photos.loc[photos.index.repeat([one.photo.num_tiles for one in shard.members])].reset_index(drop=True)
    numbers = table.groupby("photo").cumcount().astype(str).str.zfill(3)
    table["id"] = table["photo"].str[:16] + "-" + numbers
    table["split"], table["shard"], table["row"] = shard.split, shard.name, np.arange(len(table))
    tiles = [one.photo.tiles(cutting) for one in shard.members]
    boxes = [each.boxes(one.photo.shape, cutting.tile_size) for each, one in zip(tiles, shard.members, strict=True)]
    table[["x0", "y0", "x1", "y1"]] = np.concatenate(boxes)
    scales = [each.short_sides / min(one.photo.shape) for each, one in zip(tiles, shard.members, strict=True)]
    table["scale"] = np.concatenate(scales)
    ordered: pd.DataFrame = table[SCHEMA.names]
    return ordered
