"""Whether a training's numbers are still good: the loss terms and the gradients of every step, a few steps at a time.

Steps leave their numbers on the device, and `fetch` brings those of several over at once, so that a GPU is not made to
wait at every step. What is found depends on the numbers alone, never on when they are fetched.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stages.running.errors import InpaintError

# A gradient explodes when its norm is that many times what it used to be at most, for some steps in a row: Adam divides
# a single large gradient away, and between good steps norms differ by a factor of ten, not of a thousand.
EXPLODED, EXPLODED_STEPS = 1000.0, 3
_FORGOTTEN = 0.02  # of the running mean's logarithm, at each step

# A discriminator has won when its loss is all but zero for that long: it errs nowhere, so it learns no more, and what
# it tells the generator no longer depends on how good the answers are. The other deadlock, a loss at the level of
# chance, is no sign of anything: it is also where a good generator ends.
WON, WON_STEPS = 1e-3, 200

_LEAST = 1e-30  # a norm of zero has no logarithm


@dataclass(frozen=True)
class Numbers:
    """What a step leaves to be judged; as scalars on the device, or fetched.

    Attributes:
        step: counted from 0, as batches are.
        terms: of the loss, by name. One called like an optimiser is that of a rival, which should not stay at zero.
        gradients: their norms, by the optimiser's name.
    """

    step: int
    terms: Mapping[str, Any]
    gradients: Mapping[str, Any]


@dataclass(frozen=True)
class Complaint:
    """What is wrong, and since when.

    Attributes:
        step: at which it shows, counted from 0.
        what: in words.
        optimizer: the name of the one at fault, None for all.
    """

    step: int
    what: str
    optimizer: str | None = None


class BadNumbersError(InpaintError):
    """A training's numbers have gone bad.

    Attributes:
        complaint: what is wrong.
    """

    def __init__(self, complaint: Complaint) -> None:
        super().__init__(complaint.what)
        self.complaint = complaint


def fetch(steps: Sequence[Numbers]) -> list[Numbers]:
    """Bring the numbers of some steps, scalars on the device, over as floats: one copy for all."""
    if not steps:
        return []
    rows: list[Tensor] = [torch.stack([*each.terms.values(), *each.gradients.values()]).float() for each in steps]
    return [
        Numbers(
            each.step,
            dict(zip(each.terms, values, strict=False)),
            dict(zip(each.gradients, values[len(each.terms) :], strict=True)),
        )
        for each, values in zip(steps, torch.stack(rows).tolist(), strict=True)
    ]


class Watch:
    """Sees numbers that are not finite, gradients that explode, and discriminators that have won.

    Attributes:
        state: what it remembers of earlier steps, plain numbers by name; it goes into checkpoints.
    """

    def __init__(self) -> None:
        self.state: dict[str, dict[str, Any]] = {"means": {}, "peaks": {}, "streaks": {}}

    def judge(self, numbers: Numbers) -> Complaint | None:
        """Look at the fetched numbers of the next step, and say what is wrong, if anything is."""
        step, terms, gradients = numbers.step, numbers.terms, numbers.gradients
        named = {**terms, **{f"gradient of the {name}": norm for name, norm in gradients.items()}}
        wrong = [f"{name} is {value}" for name, value in named.items() if not math.isfinite(value)]
        if wrong:
            return Complaint(step, f"the numbers are no longer finite: {', '.join(wrong)}")
        for name, norm in gradients.items():
            usual = self._usual(name, norm)
            if self._lasts(f"gradient {name}", norm > EXPLODED * usual, EXPLODED_STEPS):
                what = f"the gradient of the {name} explodes: its norm is {norm:.3g}, and was {usual:.3g} at most"
                return Complaint(step, what, name)
            if self._lasts(f"rival {name}", terms.get(name, math.inf) < WON, WON_STEPS):
                what = f"the {name} has won: for {WON_STEPS} steps its loss was below {WON}, now {terms[name]:.3g}"
                return Complaint(step, what, name)
        return None

    def _usual(self, name: str, norm: float) -> float:
        """Return the largest running mean of a gradient's norm before this step, then take the norm into the mean."""
        means, peaks = self.state["means"], self.state["peaks"]
        logarithm = math.log(max(norm, _LEAST))
        mean = means.get(name, logarithm)
        peak = max(peaks.get(name, mean), mean)
        means[name], peaks[name] = mean + _FORGOTTEN * (logarithm - mean), peak
        return math.exp(peak)

    def _lasts(self, name: str, wrong: bool, steps: int) -> bool:
        streaks = self.state["streaks"]
        streaks[name] = streaks.get(name, 0) + 1 if wrong else 0
        return bool(streaks[name] >= steps)
