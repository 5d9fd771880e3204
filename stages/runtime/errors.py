"""What can go wrong in a way that a person can mend.

    InpaintError
    ├── ParamsError     params.yaml says something that cannot be done
    ├── InputError      a photo folder, a model, an earlier stage's output is missing or unusable
    │   └── NotRegisteredError  the registry has no such model
    ├── TrackingError   MLflow cannot be reached, or refuses
    │   └── LoginError      because of who asks
    └── BusyError       another process is doing the same thing

Each message says what was wanted, what came, and what to do; a stage prints it without a traceback. A wrong argument
of a function is a `ValueError`, as everywhere.
"""

import re

_LOGIN = re.compile(r"(?<=://)[^/\s'\"]+@")


class InpaintError(Exception):
    """A failure whose message is meant for the person at the keyboard."""

    exit_code = 2

    def __init__(self, *said: object) -> None:
        super().__init__(*(without_passwords(each) if isinstance(each, str) else each for each in said))


def without_passwords(text: str) -> str:
    """Return a text in which the addresses keep to themselves who logs in, and by what."""
    return _LOGIN.sub("***@", text)


class ParamsError(InpaintError):
    """A key or value of params.yaml is missing, unknown or out of range."""


class InputError(InpaintError):
    """Something that a stage reads is missing or cannot be used."""


class NotRegisteredError(InputError):
    """The registry has no model of that name, alias or number."""


class TrackingError(InpaintError):
    """MLflow cannot be reached, or refuses what it is asked."""


class LoginError(TrackingError):
    """MLflow refuses whoever asks: waiting does not help."""


class BusyError(InpaintError):
    """Another process holds the lock."""

    exit_code = 75
