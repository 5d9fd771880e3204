"""Photographs to tiles: `photos` decodes, `tiling` cuts, `selection` chooses splits, `sharding` writes shards."""
