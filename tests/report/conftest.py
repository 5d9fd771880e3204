"""The browser that the tests of the page share."""

from tests.browser import browser as browser  # noqa: PLC0414 - pytest finds fixtures by name
