"""MLflow's own webhooks: its server tells an address of every new version and every alias that is set or taken away."""

import os
from typing import Any

from stages.runtime.errors import InputError
from stages.tracking import store

EVENTS = ("model_version.created", "model_version_alias.created", "model_version_alias.deleted")
_NAME = "inpaint"


def set_up(url: str, secret: str) -> str:
    """Have the registry's server tell an address, in place of the one that it told before, and try that once.

    Args:
        url: of a program that takes MLflow's JSON; servers want https and a public address.
        secret: signs what is sent; "" for none.

    Returns:
        what was wrong when it was tried; "" where the address took it.

    Raises:
        InputError: the registry is a file, which tells nobody anything.
        TrackingError: the server cannot be reached, has no webhooks or refuses this one.
    """
    if store.database() is not None and not os.environ.get("MLFLOW_REGISTRY_URI"):
        raise InputError(
            f"webhooks are sent by a tracking server, but the registry is the file {store.database()}; set "
            "MLFLOW_TRACKING_URI to a server's address, or use inpaint retrain --notify"
        )
    with store.reached():
        client = store.connect()
        facts: dict[str, Any] = {"url": url, "events": list(EVENTS), "secret": secret or None}
        known = [hook.webhook_id for hook in client.list_webhooks() if hook.name == _NAME]
        hook = client.update_webhook(known[0], **facts) if known else client.create_webhook(_NAME, **facts)
        tried = client.test_webhook(hook.webhook_id)
    return "" if tried.success else str(tried.error_message or f"it answered with status {tried.response_status}")
