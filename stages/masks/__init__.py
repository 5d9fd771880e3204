"""Holes for training, validation and test: `__main__` draws them, `data_report` shows them."""
