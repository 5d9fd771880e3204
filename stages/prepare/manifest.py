"""The manifest, a row per tile; written in batches, so that memory does not grow with the number of tiles."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
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
        table = _table_of(photos.iloc[shard.rows].assign(**texts[shard.rows].to_pydict()), shard, cutting)
        waiting.append(pa.Table.from_pandas(table, SCHEMA, preserve_index=False))
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _table_of(photos: pd.DataFrame, shard: Shard, cutting: TilingConfig) -> pd.DataFrame:
    shapes = list(zip(photos["height"].to_list(), photos["width"].to_list(), strict=True))
    tiles = [tiles_of(sha256, shape, cutting) for sha256, shape in zip(photos["sha256"], shapes, strict=True)]
    called = {"sha256": "photo", "name": "source", "kind": "kind", "changes": "converted", "alike": "group"}
    table = photos[list(called)].rename(columns=called).astype(object)
    table["perceptual_hash"] = [as_text(hashes) for hashes in photos["hashes"]]
    table = table.loc[table.index.repeat(photos["num_tiles"])].reset_index(drop=True)
    numbers = table.groupby("photo").cumcount().astype(str).str.zfill(3)
    table["id"] = table["photo"].str[:16] + "-" + numbers
    table["split"], table["shard"], table["row"] = shard.split, shard.name, np.arange(len(table))
    boxes = [each.boxes(shape, cutting.tile_size) for each, shape in zip(tiles, shapes, strict=True)]
    table[["x0", "y0", "x1", "y1"]] = np.concatenate(boxes)
    scales = [each.short_sides / min(shape) for each, shape in zip(tiles, shapes, strict=True)]
    table["scale"] = np.concatenate(scales)
    ordered: pd.DataFrame = table[SCHEMA.names]
    return ordered
