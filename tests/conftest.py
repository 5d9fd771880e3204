"""One browser for all tests of a process: Playwright runs but once in each."""

from tests.browser import browser  # noqa: F401 - pytest finds fixtures by name
