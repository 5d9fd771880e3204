"""Ready settings for a kind of machine: laid over params.yaml, whose comments and other values stay as they are.

python -m stages.runtime.profile gpu       # lays profiles/gpu.yaml over params.yaml; git shows and undoes it
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
    """Lay a profile over a params file.

    Args:
        name: of a file in `PROFILES`, without its suffix.
        params_path: what is changed, atomically.

    Returns:
        what changed, "dotted.key: old -> new" each.

    Raises:
        ParamsError: there is no such profile, or it names a key that the params do not have.
    """
    path = PROFILES / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in PROFILES.glob("*.yaml")))
        raise ParamsError(f"there is no profile {name!r}; there are {known}")
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    params = yaml.load(Path(params_path))
    changes = list(_lay_over(params, YAML(typ="safe").load(path), ""))
    yaml.dump(params, text := StringIO())
    write_text(params_path, text.getvalue())
    return changes


def _lay_over(params: Any, profile: Any, above: str) -> Iterator[str]:
    for key, value in profile.items():
        if key not in params:
            raise ParamsError(f"the profile sets `{above}{key}`, which is no key of params.yaml")
        if isinstance(value, dict):
            yield from _lay_over(params[key], value, f"{above}{key}.")
        elif params[key] != value:
            yield f"{above}{key}: {params[key]} -> {value}"
            params[key] = value


def main(name: str) -> None:
    """Lay the profile over params.yaml and say what changed."""
    log("\n".join(apply(name)) or f"params.yaml has all that the profile {name} says")


if __name__ == "__main__":
    sys.exit(guard.run_with_key("profile", main))
