"""Altered copies of the training tiles: `transforms` alters one, `__main__` all of them, `data_report` shows some."""
