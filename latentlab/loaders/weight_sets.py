"""Which of the sets of weights in one file is the VAE's, whatever trainers put before its names.

``{"state_dict": {"module._orig_mod.encoder…"}}`` and ``{"model": …, "ema": …}`` become dotted names
in :func:`latentlab.loaders.pickles.named_tensors`. A set is everything behind the same prefix, and
is known by a name that its family must have. Weights averaged over the training (EMA) are taken
if they are asked for, or if there are no others.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from latentlab.errors import UsageError

AVERAGE = "ema"
"""What the user calls averaged weights, as in ``FILE#ema``."""

_AVERAGED = re.compile(r"(^|[_\-.])(ema\d*|averaged?|swa|shadow)($|[_\-.])")
_TAESD = "taesd_"


@dataclass(frozen=True)
class WeightSet:
    """The tensors behind one prefix, without it.

    Parameters
    ----------
    prefix : str, such as ``"state_dict.vae."``
    tensors : name → Tensor
    averaged : bool, whether they are averages over the training
    """

    prefix: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    averaged: bool = False

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return self.prefix.rstrip("._") or "the rest"


def find_sets(tensors: Mapping[str, Tensor], signs: Iterable[str]) -> list[WeightSet]:
    """Return the sets that have one of the signs, each once, in the order of the file.

    Parameters
    ----------
    tensors : name → Tensor, all of a file
    signs : names that tell a family, without prefix
    """
    prefixes: list[str] = []
    for sign in signs:
        for name in tensors:
            prefix = name.removesuffix(sign)
            known = prefix == name or prefix in prefixes
            # Half of a TAESD is a set only where nothing whole was found.
            half = sign[:1].isdigit() and bool(prefixes)
            if not known and _ends_well(prefix) and not half:
                prefixes.append(prefix)
    order = {prefix: place for place, prefix in enumerate(_parents(tensors))}
    prefixes.sort(key=lambda prefix: order.get(prefix, 0))
    return [*(_cut_out(tensors, one, prefixes) for one in prefixes), *_dotless(tensors, prefixes)]


def choose_set(
    sets: list[WeightSet], where: Path | str, wanted: str | None = None
) -> tuple[WeightSet, tuple[str, ...]]:
    """Return one of several sets, and what ``run.json`` notes about the choice.

    A UserWarning says what was taken if there were others, or only averages.

    Parameters
    ----------
    sets : at least one
    where : Path of the file, for messages
    wanted : ``"ema"`` for averaged weights, or a part of the prefix; None for the trained ones

    Raises
    ------
    UsageError : there is no such set.
    """
    names = ", ".join(one.name for one in sets)
    if wanted is not None:
        found = [one for one in sets if _answers(one, wanted)]
        if not found:
            raise UsageError(
                f"#{wanted} for {where}, whose weights are {names}",
                "one of these sets",
                f"leave out #{wanted}, or choose another",
            )
        return found[0], (f"weights: {found[0].name} of {names}, as asked for",)
    chosen = next((one for one in sets if not one.averaged), sets[0])
    if len(sets) == 1 and not chosen.averaged:
        return chosen, ()
    if len(sets) == 1:
        said = f"only averaged weights ({chosen.name}), which were taken"
    else:
        others = [one for one in sets if one is not chosen]
        label = next((AVERAGE for one in others if one.averaged), others[0].name)
        said = f"{len(sets)} sets of weights, {names}: {chosen.name} was taken"
        warnings.warn(f"{where} has {said}; {where}#{label} takes the other", stacklevel=2)
        return chosen, (f"the file has {said}",)
    warnings.warn(f"{where} has {said}", stacklevel=2)
    return chosen, (f"the file has {said}",)


def _answers(one: WeightSet, wanted: str) -> bool:
    if wanted == AVERAGE and one.averaged:
        return True
    return wanted in {one.name, *one.prefix.rstrip(".").split(".")}


def _ends_well(prefix: str) -> bool:
    return prefix in ("", _TAESD) or prefix.endswith(".")


def _parents(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return every prefix of the names that ends at a dot, in order of appearance."""
    found = dict.fromkeys(("", _TAESD))
    for name in tensors:
        parts = name.split(".")
        for depth in range(1, min(len(parts), 12)):
            found.setdefault(".".join(parts[:depth]) + ".")
    return [*found]


def _cut_out(tensors: Mapping[str, Tensor], prefix: str, others: list[str]) -> WeightSet:
    inner = tuple(one for one in others if one != prefix and one.startswith(prefix))
    inside = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) and not (inner and name.startswith(inner))
    }
    # torch.optim.swa_utils.AveragedModel counts its updates beside the module.
    counted = f"{prefix.removesuffix('module.')}n_averaged"
    averaged = prefix.endswith("module.") and counted in tensors
    return WeightSet(prefix, inside, averaged or _AVERAGED.search(prefix.rstrip(".")) is not None)


def _dotless(tensors: Mapping[str, Tensor], prefixes: list[str]) -> list[WeightSet]:
    """Return the averages that latent-diffusion keeps under names without dots."""
    found = []
    for prefix in prefixes:
        kept = f"{prefix}model_ema."
        names = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
        averages = {
            name: tensors[key] for name in names if (key := kept + name.replace(".", "")) in tensors
        }
        if averages:
            found.append(WeightSet(kept, averages, averaged=True))
    return found
