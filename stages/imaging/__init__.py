"""Pixels on disk and in memory: images, holes, shards, splits, features."""
