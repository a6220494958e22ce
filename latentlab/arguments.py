"""Names of arguments that other libraries use, and what latentlab calls the same thing."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches
from functools import cache, wraps
from typing import Any

from latentlab.errors import ArgumentError

_CALLED = {
    "seed": (
        "random_state random_seed rng generator manual_seed",
        "seed=0 (--seed 0)",
        "latentlab.neighborhood, find_directions or analyze",
    ),
    "n_samples": (
        "samples num_samples sample_size n_draws n count",
        "n_samples=64 (--samples 64)",
        "latentlab.neighborhood or analyze",
    ),
    "n_components": (
        "components num_components ncomponents n_comp k q rank n_directions num_directions",
        "n_components=8 (--components 8)",
        "latentlab.fit_pca, find_directions or traverse",
    ),
    "solver": (
        "svd_solver algorithm method",
        'solver="randomized" (--randomized)',
        "latentlab.fit_pca or analyze",
    ),
    "size": (
        "image_size img_size resolution res resize height width side",
        "size=256 (--size 256)",
        "latentlab.encode or analyze",
    ),
    "value_range": (
        "input_range data_range normalize range",
        "value_range=(0, 1)",
        "latentlab.encode or analyze",
    ),
    "device": (
        "device_map gpu cuda use_gpu",
        'device="cuda" (--device cuda)',
        "latentlab.load_vae",
    ),
    "dtype": (
        "torch_dtype weight_dtype precision half fp16 bf16",
        'dtype="bfloat16" (--dtype bfloat16)',
        "latentlab.load_vae",
    ),
    "offline": ("local_files_only", "offline=True (--offline)", "latentlab.load_vae"),
    "revision": ("branch tag commit", 'revision="main"', "latentlab.load_vae"),
    "compiled": ("compile torch_compile", "compiled=True (--compile)", "latentlab.load_vae"),
    "tile": (
        "tiling tile_size use_tiling enable_tiling tile_sample_min_size",
        "tile=512 (--tile 512)",
        "latentlab.load_vae",
    ),
    "steps": (
        "n_steps num_steps num_inference_steps frames n_frames num_frames",
        "steps=16 (--steps 16)",
        "latentlab.traverse or interpolate",
    ),
    "span": (
        "sigma sigmas n_sigmas limits max_alpha",
        "span=3.0 (--span 3)",
        "latentlab.traverse",
    ),
    "path": ("mode slerp interpolation", 'path="slerp" (--path slerp)', "latentlab.interpolate"),
    "finder": ("kind method", 'finder="ica" (--finder ica)', "latentlab.find_directions"),
    "neighborhood": (
        "neighbourhood sampler sampling",
        'neighborhood="gaussian" (--neighborhood gaussian)',
        "latentlab.analyze",
    ),
    "nulls": (
        "null null_model null_models",
        'nulls=["parallel"] (--nulls parallel)',
        "latentlab.judge or analyze",
    ),
    "folder": (
        "out output output_dir out_dir save_dir save_path",
        'folder="run" (--out run)',
        "latentlab.analyze or save",
    ),
    "out": ("folder output output_dir", 'out="store" (--out store)', "latentlab.encode_folder"),
    "batch": ("batch_size chunk_size", "batch=8 (--batch 8)", "latentlab.encode_folder"),
    "workers": ("num_workers n_workers n_jobs", "workers=2", "latentlab.encode_folder"),
    "store_dtype": ("save_dtype", 'store_dtype="float32"', "latentlab.encode_folder"),
    "progress": ("callback verbose tqdm show_progress progress_bar", "progress=print", ""),
    "fps": ("framerate frame_rate duration", "fps=12 (--fps 12)", "latentlab.save"),
    "figure_format": (
        "format fmt dpi",
        'figure_format="pdf" (--figure-format pdf)',
        "latentlab.save or analyze",
    ),
    "vae": ("model autoencoder", 'vae=latentlab.load_vae("mini")', ""),
}
"""Our name → names that others use, an example, and what takes it."""

_WITHOUT = {
    **dict.fromkeys(
        ("n_iter", "max_iter", "iterated_power", "tol", "n_oversamples"),
        "leave it out: the randomized solver makes six passes and returns error_bounds",
    ),
    "whiten": "leave it out, and divide pca.transform(x) by pca.explained_variance.sqrt()",
    **dict.fromkeys(
        ("standardize", "with_mean", "with_std", "center"),
        "leave it out: rows are centered, not scaled; scale them before",
    ),
    **dict.fromkeys(("copy", "overwrite_a"), "leave it out: nothing is changed in place"),
    **dict.fromkeys(
        ("batch_size", "chunk_size"), "leave it out: batches are chosen for the memory there is"
    ),
    **dict.fromkeys(
        ("token", "use_auth_token"), "leave it out, and set HF_TOKEN or run `hf auth login`"
    ),
    "cache_dir": "leave it out, and set HF_HOME",
    "subfolder": 'write the source as "owner/name:subfolder"',
    **dict.fromkeys(
        ("use_safetensors", "low_cpu_mem_usage", "trust_remote_code", "weights_only"),
        "leave it out: weights are always loaded safely, and no remote code runs",
    ),
}
"""Names without a counterpart → what to do."""


def unknown_argument(name: str, known: Collection[str], got: str) -> ArgumentError:
    """Return the error for an argument of this name, with what latentlab calls it.

    Parameters
    ----------
    name : str
    known : names that would have been right
    got : str, the argument and what it was given to

    Examples
    --------
    >>> print(unknown_argument("random_state", ["x", "seed"], "argument 'random_state' for fit"))
    Got argument 'random_state' for fit, but expected one of x, seed. Pass seed=0 (--seed 0).
    """
    expected = f"one of {', '.join(known)}" if known else "none"
    return ArgumentError(got, expected, _advice(name, known))


def option_for(name: str, options: Collection[str]) -> str:
    """Return the option for what others call ``name``, with an example; "" if there is none.

    Examples
    --------
    >>> option_for("random_state", ["--seed", "--size"])
    '--seed 0'
    """
    for own, (others, example, _) in _CALLED.items():
        shown = example.partition("(--")[2].rstrip(")")
        if name in (own, *others.split()) and f"--{shown.split(' ')[0]}" in options:
            return f"--{shown}"
    return ""


def _advice(name: str, known: Collection[str]) -> str:
    called = {
        own: (example, where)
        for own, (others, example, where) in _CALLED.items()
        if name == own or name in others.split()
    }
    if here := next((called[own] for own in called if own in known), None):
        return f"pass {here[0]}"
    if name in _WITHOUT:
        return _WITHOUT[name]
    for example, where in called.values():
        return f"pass {example} to {where}" if where else "leave it out"
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else "remove or correct it"


def check_arguments(function: Callable[..., Any], given: Iterable[str], name: str) -> None:
    """Raise ArgumentError for the first name that a function does not take as a keyword."""
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return
    known = [one.name for one in parameters if one.kind is not one.POSITIONAL_ONLY]
    for one in given:
        if one not in known:
            raise unknown_argument(one, known, f"argument {one!r} for {name}")


_FUNCTIONS = {
    "fit_pca": "pca principal_components decompose",
    "load_vae": "load_model from_pretrained load_autoencoder vae model models",
    "neighborhood": "sample samples sampling neighbourhood augment perturb",
    "find_directions": "directions finder ica",
    "traverse": "walk traversal animate traversals",
    "interpolate": "slerp lerp morph interpolation",
    "encode": "encode_image encode_images embed",
    "decode": "decode_latent decode_latents",
    "open_store": "store load_store",
    "encode_folder": "encode_dataset encode_directory",
}
"""Our function → names that people try."""


def other_name(name: str, names: Collection[str]) -> str:
    """Return a question about what a name that does not exist may have meant; "" if unknown.

    Examples
    --------
    >>> other_name("load_model", ["load_vae"]), other_name("travers", ["traverse"])
    (': did you mean load_vae?', ': did you mean traverse?')
    """
    if name.startswith("_"):
        return ""
    meant = [own for own, others in _FUNCTIONS.items() if name in others.split()]
    near = meant or get_close_matches(name, names, n=1, cutoff=0.75)
    return f": did you mean {near[0]}?" if near else ""


def _check_model(given: object, rest: Sequence[object]) -> None:
    """Raise ArgumentError for something else in the place of a model, with how to get one."""
    if _is_model(given) or (isinstance(given, list | tuple) and all(map(_is_model, given))):
        return
    kind = type(given).__name__
    if rest and _is_model(rest[0]):
        got, advice = f"a {kind} before the model", "write the model first, then the image"
    elif isinstance(given, str | os.PathLike):
        got, advice = repr(given), f"pass latentlab.load_vae({given!r})"
    else:
        got, advice = f"a {kind}", "pass what latentlab.load_vae or latentlab.wrap_vae returns"
    raise ArgumentError(got, "a model that latentlab has opened", advice)


def _is_model(given: object) -> bool:
    # By its attributes: to import the class would import torch.
    return hasattr(given, "spec") and hasattr(given, "encode") and hasattr(given, "decode")


@cache
def naming_arguments(function: Any) -> Any:
    """Return a public function that answers wrong names of arguments with the right ones.

    Anything other than a function is returned as it is.
    """
    if not inspect.isfunction(function):
        return function
    name = function.__name__
    takes_model = next(iter(inspect.signature(function).parameters), "") == "vae"

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        check_arguments(function, kwargs, f"latentlab.{name}")
        if takes_model and (args or "vae" in kwargs):
            _check_model(args[0] if args else kwargs["vae"], args[1:])
        return function(*args, **kwargs)

    # So that help() and pickle find it where users do.
    call.__module__, call.__qualname__ = "latentlab", name
    return call
