"""What a stage tells the person at the terminal."""

import sys


def log(text: str) -> None:
    """Print a line at once, also when the output goes to a file."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
