"""Errors that a user can fix.

    InpaintError
    ├── ParamsError     a setting in params.yaml is missing, unknown or invalid
    ├── InputError      a photo folder, a model or the output of an earlier stage is missing or unusable
    │   └── NotRegisteredError  the registry has no such model
    ├── TrackingError   MLflow cannot be reached or refuses a request
    │   └── LoginError      MLflow rejects the credentials
    └── BusyError       another process holds the lock

A message says what was expected, what was found, and what to do. Stages print it without a traceback and exit with code
2 (75 for `BusyError`). A function that gets a wrong argument raises `ValueError`.
"""

import re

_LOGIN = re.compile(r"(?<=://)[^/\s'\"]+@")


class InpaintError(Exception):
    """Base class of errors whose message is for the user."""

    exit_code = 2

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_passwords(each) if isinstance(each, str) else each for each in args))


def without_passwords(text: str) -> str:
    """Replace user names and passwords in URLs with `***`."""
    return _LOGIN.sub("***@", text)


class ParamsError(InpaintError):
    """A key of params.yaml is missing or unknown, or its value is out of range."""


class InputError(InpaintError):
    """An input is missing or unusable."""


class NotRegisteredError(InputError):
    """The registry has no model with this name, alias or version."""


class TrackingError(InpaintError):
    """MLflow cannot be reached or refuses a request."""


class LoginError(TrackingError):
    """MLflow rejects the credentials, so a retry will not help."""


class BusyError(InpaintError):
    """Another process holds the lock."""

    exit_code = 75


def os_reason(error: OSError) -> str:
    """Return in words why a file cannot be used."""
    return "it does not exist" if isinstance(error, FileNotFoundError) else f"{error.strerror or error}"
