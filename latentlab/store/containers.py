"""Arrays in files that other programs wrote: names, shapes and rows, without running code.

Only headers are read at first. Rows of ``.npy`` and ``.npz`` are then streamed, and those of
``.pt`` and ``.safetensors`` mapped, or streamed from archives, so that memory does not depend on
the size of a file.
"""

from __future__ import annotations

from latentlab.store.arrays import Place, StoredArray, fault_of, readable
from latentlab.store.numpy_files import array_of, arrays_of, members_of
from latentlab.store.tensor_files import safetensors_of, tensors_of

_WEB_PAGES = (b"<!doctyp", b"<html", b"<?xml")
_PICKLE = b"\x80"


def arrays_in(place: Place) -> list[StoredArray]:
    """Return the arrays of a file, by its content; nothing but headers is read.

    Raises
    ------
    FileError : the file is damaged or truncated, wants to run code (a pickle, an array of
        objects), has two arrays of one name, or expands like a zip bomb.
    """
    with readable(place):
        with place.open() as file:
            start = file.read(8)
        if not start:
            raise fault_of(place, "is empty")
        if start.lower().startswith(_WEB_PAGES):
            raise fault_of(place, "is a web page", "download it again, if need be with a login")
        if start.startswith(b"version "):
            raise fault_of(place, "is a Git LFS pointer", "run `git lfs pull` in its folder")
        if start.startswith(b"\x93NUMPY"):
            return [array_of(place, "", place.open, place.size)]
        if start.startswith(b"PK"):
            members = members_of(place)
            of_torch = any(member.filename.endswith("data.pkl") for member in members)
            return tensors_of(place) if of_torch else arrays_of(place, members)
        if place.suffix in (".npy", ".npz") and not start.startswith(_PICKLE):
            raise fault_of(place, f"does not start as NumPy's files do, but with {start!r}")
        if place.suffix == ".safetensors":
            return safetensors_of(place)
        return tensors_of(place)
