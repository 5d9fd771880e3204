"""What came of a call, told to people: a page in Markdown, and a message to Slack, Teams or a program.

    notify("https://hooks.slack.com/services/...", result)

An address of this kind is a secret: whoever has it may write. No message or log has more of it than the host.
"""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from stages.runtime.log import log
from stages.tracking.versions import SCORES

_PATIENCE_S = 10
_OF_TEAMS = (".webhook.office.com", ".logic.azure.com", ".powerplatform.com")
_REPORT = "data/report"


def text(result: Mapping[str, Any]) -> str:
    """Say in a few lines what came of a call."""
    lines = [f"Retraining{' on ' + result['batch'] if result['batch'] else ''}: {result['outcome']}"]
    lines += [f"{key}, version {one['version']}: {one['reason']}" for key, one in result["models"].items()]
    return "\n".join([*lines, *filter(None, [result["error"]])])


def markdown(result: Mapping[str, Any]) -> str:
    """Return a report for a pull request: decisions, scores, drift, pictures."""
    lines = [f"# Retraining: {result['outcome']}", "", f"| model | version | decision | {' | '.join(SCORES)} | why |"]
    lines.append("|---" * (4 + len(SCORES)) + "|")
    for key, one in result["models"].items():
        scores = (f"{one['scores'][name]:.2f}" if name in one["scores"] else "" for name in SCORES)
        lines.append(f"| {key} | {one['version']} | {one['decision']} | {' | '.join(scores)} | {one['reason']} |")
    if result["drift"]:
        lines += ["", "New photographs differ from those that were there (0: not at all, 1: entirely):", ""]
        lines += [f"- {name}: {value:.2f}" for name, value in result["drift"].items()]
    lines += ["", *(f"![What {key} fills]({_REPORT}/methods/{key}/photographs.jpg)" for key in result["models"])]
    lines += ["", f"All of it: `{_REPORT}/index.html`", ""]
    return "\n".join(lines)


def notify(url: str, result: Mapping[str, Any]) -> None:
    """Tell an address what came of a call; that it cannot be told ends nothing.

    Args:
        url: of Slack or Teams, which get text, or of a program, which gets all of the result beside it.
        result: as `--result` writes it.
    """
    host = urlsplit(url).hostname
    if urlsplit(url).scheme not in ("http", "https") or not host:
        log("retrain: nobody is told: --notify should be an address that begins with https://")
        return
    request = urllib.request.Request(  # noqa: S310 - one of the two schemes
        url, json.dumps(_body(host, result)).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S):  # noqa: S310
            pass
    except OSError as error:
        log(f"retrain: {host} could not be told what came of it: {getattr(error, 'reason', error)}")


def _body(host: str, result: Mapping[str, Any]) -> dict[str, Any]:
    if host == "hooks.slack.com":
        return {"text": text(result)}
    if host.endswith(_OF_TEAMS):
        blocks = [{"type": "TextBlock", "text": line, "wrap": True} for line in text(result).splitlines()]
        card = {"type": "AdaptiveCard", "version": "1.4", "body": blocks}
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
        return {"type": "message", "attachments": [attachment]}
    return {"text": text(result), **result}
