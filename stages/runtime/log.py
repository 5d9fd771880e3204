"""Output for the terminal."""

import sys


def log(text: str) -> None:
    """Print a line and flush, so that it appears at once in files, too."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
