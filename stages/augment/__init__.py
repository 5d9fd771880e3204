"""Altered copies of the training tiles: `transforms` alters one, `__main__` all of them, `look` shows some."""
