"""The reference of the Python API: a page for each public name, with the examples that use it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

MORE = {
    "latentlab.latents": "Types that flow",
    "latentlab.errors": "Errors and warnings",
    "latentlab.testing": "Checks of your own VAE",
    "latentlab.sklearn": "PCA as an estimator of scikit-learn",
}
"""Module → heading: what is public beside the names of ``latentlab`` itself."""


def python_pages() -> dict[str, str]:
    """Return page → reStructuredText or Markdown."""
    import latentlab

    names = [*latentlab.__all__, *sorted(latentlab._ALSO)]
    pages = {f"reference/python/{name}.rst": _page(f"latentlab.{name}") for name in names}
    pages |= {
        f"reference/python/{module.split('.')[1]}_module.rst": _module(module) for module in MORE
    }
    pages["reference/python/index.md"] = _index(names)
    return pages


def _page(path: str) -> str:
    thing = _find(path)
    kind = "class" if inspect.isclass(thing) else "function"
    if isinstance(thing, type) and issubclass(thing, Exception):
        kind = "exception"
    members = "\n   :members:" if kind == "class" else ""
    title = path
    return f"""{title}
{"=" * len(title)}

.. auto{kind}:: {path}{members}

.. minigallery:: {path}
   :add-heading: Examples that use it
   :heading-level: -
"""


def _module(module: str) -> str:
    return f"""{MORE[module]}
{"=" * len(MORE[module])}

.. automodule:: {module}
   :members:
   :member-order: bysource
   :show-inheritance:
"""


def _index(names: Iterable[str]) -> str:
    rows = [f"| [`{name}`]({name}.rst) | {_summary(f'latentlab.{name}')} |" for name in names]
    modules = [f"| [`{module}`]({_stem(module)}.rst) | {MORE[module]} |" for module in MORE]
    links = [*names, *map(_stem, MORE)]
    return "\n".join(
        [
            "# Python\n",
            "Every public name, from its docstring. Below each are the examples that use it.\n",
            *("| name | returns |", "|---|---|", *rows, ""),
            *("| module | contents |", "|---|---|", *modules, ""),
            *("```{toctree}", ":hidden:", "", *links, "```", ""),
        ]
    )


def _stem(module: str) -> str:
    return f"{module.split('.')[1]}_module"


def _find(path: str) -> Any:
    import latentlab

    return getattr(latentlab, path.removeprefix("latentlab."))


def _summary(path: str) -> str:
    text = (inspect.getdoc(_find(path)) or "").split("\n\n")[0]
    plain = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", " ".join(text.split()))
    return plain.replace("``", "`").replace("|", "\\|")
