"""Augmented training tiles: `transforms` alters one tile, `__main__` all of them, `data_report` shows some."""
