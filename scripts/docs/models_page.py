"""The page of model classes: which open, how their latents are scaled, and how that was verified."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from staging import ROOT

_PIPELINES = "encoder, decoder and scale equal diffusers' own pipeline to 1e-5"
CHECKS = {
    "tests/test_loaders_normalization.py": _PIPELINES,
    "tests/tiny_families.py": _PIPELINES,
    "tests/test_loaders_taesd.py": "equals diffusers' `AutoencoderTiny` with the same weights",
}
"""Test, or what one runs over → what it compares, for the classes that it names."""
OWN = {"PatchTransform": "equals NumPy's projection of the patches (`test_built_in.py`)"}
"""Class of latentlab's own → what it is compared with."""
RUNS_IN = {"tests/tiny_families.py": "tests/test_loaders_pipelines.py"}


def models_page() -> str:
    """Return the page as Markdown."""
    from latentlab.loaders import FAMILIES
    from latentlab.loaders.built_in import BUILT_IN
    from latentlab.loaders.catalogue import CATALOGUE
    from latentlab.loaders.refused import REFUSED

    classes = [_row(name, FAMILIES[name]) for name in sorted(FAMILIES)]
    named = [
        f"| `{one.name}` | `{one.family}` | {one.channels} | {one.stride} | {one.size_mb:g} | {one.note} |"
        for one in CATALOGUE.values()
    ]
    parts = {
        "built_in": [f"| `{name}` | {what} |" for name, what in BUILT_IN.items()],
        "named": named,
        "classes": classes,
        "refused": [f"| `{name}` | {what} |" for name, what in sorted(REFUSED.items())],
    }
    return _PAGE.format(**{name: "\n".join(rows) for name, rows in parts.items()})


def _row(name: str, family: Any) -> str:
    summary = (inspect.getdoc(family) or "").splitlines()[0].replace("|", "\\|")
    return f"| `{name}` | {summary} | {_scale(family)} | {verified(name)} |"


def _scale(family: Any) -> str:
    text = " ".join((inspect.getdoc(family.read_normalization) or "").split())
    plain = re.sub(r"^Return (the )?", "", text).rstrip(".")
    return plain.replace("``", "`").replace("|", "\\|")


def verified(name: str) -> str:
    """Return what a test compares this class with, and the test; KeyError if there is none."""
    for file, what in CHECKS.items():
        if f'"{name}"' in (ROOT / file).read_text(encoding="utf-8"):
            return f"{what} (`{Path(RUNS_IN.get(file, file)).name}`)"
    return OWN[name]


_PAGE = """# Models

`latentlab models` prints those that have a name. `--model` also takes a hub id, a folder or a file.

## Built in

| name | what it is |
|---|---|
{built_in}

Their cards: [mini](../models/mini.md), [digits](../models/digits.md) (a small VAE of handwritten digits,
for `latentlab digits`).

```{{toctree}}
:hidden:

../models/mini
../models/digits
```

## Models with a name

| name | class | channels | stride | MB | note |
|---|---|---|---|---|---|
{named}

## Classes that open

The contract holds for every class, on a small model with random weights: shapes, batches, gradients,
determinism, precision, and `latentlab.testing.check_vae`. It is `tests/test_loaders_contract.py`. The
last column is what was compared besides. Weights of another architecture, or with missing keys, are
refused before anything is computed.

| class | what it is | model space | verified how |
|---|---|---|---|
{classes}

## Classes that are refused

diffusers has these autoencoders too. They have no images, or no encoder.

| class | what it is |
|---|---|
{refused}
"""
