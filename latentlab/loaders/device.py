"""The device that a model runs on, chosen by name."""

from __future__ import annotations

import torch

from latentlab.errors import UsageError


def choose_device(name: str | torch.device) -> torch.device:
    """Return a device on which PyTorch can compute here.

    Parameters
    ----------
    name : ``"auto"`` (CUDA, otherwise MPS, otherwise the CPU), or a device of PyTorch, such as
        ``"cpu"``, ``"cuda:1"`` or a torch.device

    Raises
    ------
    UsageError : PyTorch does not know this device, or it is not available here.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen).item()  # also fails on "meta", which has no values
    except (RuntimeError, AssertionError, ImportError, ValueError) as error:
        raise UsageError(
            f"device={name}",
            "auto, cpu, or a device that PyTorch can use here, such as cuda or mps",
            "choose cpu (--device cpu), or install PyTorch for that device",
        ) from error
    return chosen
