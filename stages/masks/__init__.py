"""Holes for training, validation and test: `__main__` draws them, `look` shows them."""
