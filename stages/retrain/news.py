"""Tells people the result of a call: a report in Markdown, and a message to Slack, Teams or a program.

    notify("https://hooks.slack.com/services/...", result)

Whoever has such a URL may write there, so it is a secret: messages and logs show only its host.
"""

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stages.runtime.log import log
from stages.tracking.versions import SCORES

_TIMEOUT_S = 10
_TEAMS_HOSTS = (".webhook.office.com", ".logic.azure.com", ".powerplatform.com")
PAGE = Path("data/report/index.html")


def text(result: Mapping[str, Any]) -> str:
    """Summarise a result in a few lines."""
    lines = [f"Retraining{' on ' + result['batch'] if result['batch'] else ''}: {result['outcome']}"]
    lines += [f"{key}, version {one['version']}: {one['reason']}" for key, one in result["models"].items()]
    return "\n".join([*lines, *filter(None, [result["error"]])])


def markdown(result: Mapping[str, Any]) -> str:
    """Write a report for a pull request: decisions, scores, drift, pictures.

    Its links are relative to a folder of the project, such as `.retrain`: CML uploads the pictures that they name.
    """
    lines = [f"# Retraining: {result['outcome']}", "", f"| model | version | decision | {' | '.join(SCORES)} | why |"]
    lines.append("|---" * (4 + len(SCORES)) + "|")
    for key, one in result["models"].items():
        scores = (f"{one['scores'][name]:.2f}" if name in one["scores"] else "" for name in SCORES)
        lines.append(f"| {key} | {one['version']} | {one['decision']} | {' | '.join(scores)} | {one['reason']} |")
    if result["drift"]:
        lines += ["", "How new photographs differ from the known ones, 0 to 1:", ""]
        lines += [f"- {name}: {value:.2f}" for name, value in result["drift"].items()]
    pictures = [(key, PAGE.parent / f"methods/{key}/photographs.jpg") for key in result["models"]]
    lines += ["", *(f"![Photographs filled by {key}](../{path})" for key, path in pictures if path.exists())]
    lines += ["", f"Everything: `{PAGE}`", ""]
    return "\n".join(lines)


def notify(url: str, result: Mapping[str, Any]) -> None:
    """Tell a URL the result; if that fails, it is only logged.

    Args:
        url: of Slack or Teams, which get text, or of a program, which also gets the whole result.
        result: as `--result` writes it.
    """
    host = urlsplit(url).hostname
    if urlsplit(url).scheme not in ("http", "https") or not host:
        log("retrain: nobody is told the result: --notify should be a URL that begins with https://")
        return
    request = urllib.request.Request(  # noqa: S310 - one of the two schemes
        url, json.dumps(_body(host, result)).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
            pass
    except OSError as error:
        log(f"retrain: {host} could not be told the result: {getattr(error, 'reason', error)}")


def _body(host: str, result: Mapping[str, Any]) -> dict[str, Any]:
    if host == "hooks.slack.com":
        return {"text": text(result)}
    if host.endswith(_TEAMS_HOSTS):
        blocks = [{"type": "TextBlock", "text": line, "wrap": True} for line in text(result).splitlines()]
        card = {"type": "AdaptiveCard", "version": "1.4", "body": blocks}
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
        return {"type": "message", "attachments": [attachment]}
    return {"text": text(result), **result}
