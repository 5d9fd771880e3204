"""Settings for a kind of machine, applied to params.yaml; its comments and other values stay.

python -m stages.runtime.profile gpu       # applies profiles/gpu.yaml; git shows the changes and can undo them
"""

import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.runtime import guard
from stages.runtime.errors import ParamsError
from stages.runtime.files import write_text
from stages.runtime.log import log
from stages.runtime.params import PARAMS_FILE

PROFILES = Path("profiles")


def apply(name: str, params_path: str | Path = PARAMS_FILE) -> list[str]:
    """Apply a profile to a params file.

    Args:
        name: of a file in `PROFILES`, without its suffix.
        params_path: the params file, replaced atomically.

    Returns:
        the changes, each as "dotted.key: old -> new".

    Raises:
        ParamsError: there is no such profile, or it sets a key that the params file does not have.
    """
    path = PROFILES / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in PROFILES.glob("*.yaml")))
        raise ParamsError(f"there is no profile {name!r}; there are {known}")
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    params = yaml.load(Path(params_path))
    changes = list(_merge(params, YAML(typ="safe").load(path), ""))
    yaml.dump(params, text := StringIO())
    write_text(params_path, text.getvalue())
    return changes


def _merge(params: Any, profile: Any, above: str) -> Iterator[str]:
    for key, value in profile.items():
        if key not in params:
            raise ParamsError(f"the profile sets `{above}{key}`, which is not a key of params.yaml")
        if isinstance(value, dict):
            yield from _merge(params[key], value, f"{above}{key}.")
        elif params[key] != value:
            yield f"{above}{key}: {params[key]} -> {value}"
            params[key] = value


def main(name: str) -> None:
    """Apply the profile to params.yaml and print the changes."""
    log("\n".join(apply(name)) or f"params.yaml already has all values of the profile {name}")


if __name__ == "__main__":
    sys.exit(guard.run_with_key("profile", main))
