"""MLflow webhooks: the server posts every new version and every alias change to a URL."""

from typing import Any

from stages.runtime.errors import InputError
from stages.tracking import store

EVENTS = ("model_version.created", "model_version_alias.created", "model_version_alias.deleted")
_NAME = "inpaint"


def set_up(url: str, secret: str) -> str:
    """Create the project's webhook, or change its URL, and send a first message.

    Args:
        url: that accepts MLflow's JSON; servers require https and a public address.
        secret: signs the messages; "" for none.

    Returns:
        the error of the first message, "" if it succeeded.

    Raises:
        InputError: the registry is a local file, which sends nothing.
        TrackingError: the server cannot be reached, has no webhooks or refuses this one.
    """
    if (file := store.registry_file()) is not None:
        raise InputError(
            f"webhooks need a tracking server, but the registry is the file {file}; set "
            "MLFLOW_TRACKING_URI to a server's address, or use inpaint retrain --notify"
        )
    with store.reached():
        client = store.connect()
        facts: dict[str, Any] = {"url": url, "events": list(EVENTS), "secret": secret or None}
        known = [hook.webhook_id for hook in client.list_webhooks() if hook.name == _NAME]
        hook = client.update_webhook(known[0], **facts) if known else client.create_webhook(_NAME, **facts)
        result = client.test_webhook(hook.webhook_id)
    return "" if result.success else str(result.error_message or f"status {result.response_status}")
