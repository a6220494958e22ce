"""Packages without what nobody asked for, and with all of their names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from latentlab.loaders.lean_imports import homes_of

PACKAGES = ("models.autoencoders", "models.unets", "models.transformers", "hooks", "quantizers")
_HEAVY = (
    "torch._dynamo",
    "transformers",
    "scipy.stats",
    "sklearn",
    "sympy",
    "diffusers.schedulers",
    "accelerate",
    "requests",
    "huggingface_hub.hf_api",
    "huggingface_hub.file_download",
    "numpy.f2py.crackfortran",
)
_LEAN = """
import json, sys
import latentlab
from latentlab.cli.main import import_lean
import_lean()
import_lean()  # twice is no more than once
latentlab.encode(latentlab.load_vae("mini"), "sample:flower", size=64)
import matplotlib.lines, scipy.special
imported = sorted(sys.modules)
line = matplotlib.lines.Line2D([0], [0])
line.set(lw=3, color="red")
import numpy.f2py
facts = {
    "imported": imported,
    "finders": sum("latentlab" in type(finder).__module__ for finder in sys.meta_path),
    "documented": bool(type(line).set.__doc__),
    "line": [line.get_linewidth(), line.get_color()],
    "used later": numpy.f2py.get_include().endswith("src"),
}
print(json.dumps(facts))
"""
_COMPLETE = """
import importlib, json
import latentlab
from latentlab.loaders.lean_imports import import_only_what_is_used
import_only_what_is_used()
import huggingface_hub
hub_finds = huggingface_hub.__getattr__
latentlab.load_vae("mini")
import diffusers
from diffusers.utils import hub_utils
from diffusers.loaders import lora_base, single_file_utils
from diffusers.models.attention_processor import Attention
from diffusers.hooks.group_offloading import ModuleGroup
from diffusers.utils import import_utils
import importlib.metadata
import torch, torch._dynamo, transformers, diffusers.schedulers
found = {}
for name in json.loads(%r):
    package = importlib.import_module(f"diffusers.{name}")
    found[name] = [each for each in dir(package) if getattr(package, each).__name__ == each]
import inspect, accelerate
from accelerate import infer_auto_device_map
from diffusers.models import model_loading_utils
from diffusers.utils import accelerate_utils
mapped = model_loading_utils.infer_auto_device_map
stand_in, real = lora_base.PreTrainedModel, transformers.PreTrainedModel
config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
    intermediate_size=8, vocab_size=8)
model = transformers.BertModel(config)
scheduler = single_file_utils.DDIMScheduler()
signature_of = inspect.signature
facts = {
    "names": found,
    "allowed": id(Attention) in torch._dynamo.trace_rules._allowed_callable_ids.function_ids,
    "disabled": ModuleGroup.onload_.__wrapped__.__name__,
    "is_a_model": [isinstance(model, stand_in), issubclass(type(model), stand_in)],
    "is_none": [isinstance(3, stand_in), issubclass(int, stand_in)],
    "doc": stand_in.from_pretrained.__doc__ == real.from_pretrained.__doc__,
    "version": accelerate_utils.accelerate.__version__ == accelerate.__version__,
    "signature": inspect.signature(mapped) == inspect.signature(infer_auto_device_map),
    "mapped": mapped(torch.nn.Linear(2, 2)) == infer_auto_device_map(torch.nn.Linear(2, 2)),
    "scheduler": type(scheduler) is diffusers.schedulers.DDIMScheduler,
    "hub": signature_of(hub_utils.hf_hub_download) == signature_of(huggingface_hub.hf_hub_download),
    "commit": hub_utils.extract_commit_hash(None, "0" * 40) == "0" * 40,
    "hub is itself": hub_finds is huggingface_hub.__getattr__,
    "map": dict(import_utils._package_map) == importlib.metadata.packages_distributions(),
}
print(json.dumps(facts))
"""


def answer_of(program: str) -> Any:
    """Return what a program prints as JSON in a new process."""
    command = [sys.executable, "-W", "ignore", "-c", program]
    quiet = os.environ | {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def source_of(package: str) -> str:
    """Return the source of a package of diffusers."""
    found = find_spec("diffusers")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / package.replace(".", "/") / "__init__.py"
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_a_package_is_known(package: str) -> None:
    source = source_of(package)
    homes = homes_of(source)
    assert homes is not None
    # Lines and parentheses, not the syntax tree: "from .x import A, B" and "from .x import (".
    body = re.sub(r"#.*", "", source)
    pattern = r"^ *from \.([a-z_0-9]+) import (?:\(([^)]*)\)|(.*))$"
    expected = {
        name: module
        for module, many, few in re.findall(pattern, body, re.MULTILINE)
        for name in re.findall(r"\w+", many or few)
    }
    assert homes == expected


@pytest.mark.parametrize(
    "source",
    [
        "from .x import *",
        "from .x import a as b",
        "x = 3",
        "def f(): ...",
        "if a: pass\nelse: pass",
    ],
)
def test_a_package_that_does_anything_else_is_imported_as_it_is(source: str) -> None:
    assert homes_of(source) is None


def test_imports_from_elsewhere_and_comments_are_no_names() -> None:
    source = '"""Text."""\nfrom ...utils import b\nimport c\nif b():\n    from .x import (\n  A, B)'
    assert homes_of(source) == {"A": "x", "B": "x"}


@pytest.mark.slow
def test_one_autoencoder_is_imported_and_nothing_that_it_does_without() -> None:
    facts = answer_of(_LEAN)
    imported = facts.pop("imported")
    below = {name for name in imported if name.startswith("diffusers.models.autoencoders.")}
    assert {name.rpartition(".")[2] for name in below} == {"autoencoder_kl", "vae"}
    assert [name for name in _HEAVY if name in imported] == []
    line = {"documented": False, "line": [3.0, "red"]}
    assert facts == {"finders": 3, "used later": True, **line}


@pytest.mark.slow
def test_what_was_put_off_is_there_when_it_is_used() -> None:
    pytest.importorskip("transformers")
    facts = answer_of(_COMPLETE % json.dumps(PACKAGES))
    for package, names in facts.pop("names").items():
        assert names == sorted(homes_of(source_of(package)) or {}), package
    yes = {"allowed": True, "doc": True, "scheduler": True, "map": True}
    yes |= {"version": True, "signature": True, "mapped": True}
    yes |= {"hub": True, "commit": True, "hub is itself": True}
    assert facts == yes | {
        "disabled": "onload_",
        "is_a_model": [True, True],
        "is_none": [False, False],
    }
