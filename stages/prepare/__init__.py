"""Photographs to square tiles: `sources` finds them, `tiling` cuts one, `selection` says which stay and where."""
