"""Pixels on disk and in memory: decoding, photos, masks, shards, splits, classifier features."""
