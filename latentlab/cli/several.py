"""One command for several images: a run each, the failures, and one table at the end."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import typer

from latentlab.cli.console import print_json, print_parts, say, table
from latentlab.cli.failures import explain
from latentlab.cli.inputs import check_image
from latentlab.cli.options import Output
from latentlab.encoding.scale import Scales

Facts: TypeAlias = Mapping[str, Any]
RunOne: TypeAlias = Callable[[str, Path | None], Facts]
"""From an image and the folder for its results to what a command prints as JSON."""
Begin: TypeAlias = Callable[[str, Scales | None], RunOne]
"""From the first image, and what gathers the scale of several, to what runs one image."""
Columns: TypeAlias = Mapping[str, Callable[[Facts], str]]
"""Heading of a column → its cell for one image."""


def run_each(
    context: typer.Context,
    images: Sequence[str],
    output: Output,
    begin: Begin,
    show: Callable[[Facts], None],
    columns: Columns,
    *,
    brief: bool = False,
) -> None:
    """Run a command for every image and print the results; one image is the command as it is.

    An image that fails does not stop the others. The exit code is that of the first failure.

    Parameters
    ----------
    context : of the command
    images : the arguments, of which some may be no images
    output : where results go; with several images, into a folder each inside ``--out``
    begin : called once, with the first image that can be read: checks the options, loads the model
        and returns what runs one image; given Scales, this leaves the scale of latents to it
    show : prints one result, for people
    columns : of the table
    brief : print no more than the files of each of several images before the table
    """
    if len(images) == 1:
        check_image(images[0], context.info_name)
        _show_one(begin(images[0], None)(images[0], output.out), output, show)
        return
    debug = bool(context.find_root().params.get("debug"))
    failures = _Failures(debug, context.info_name)
    readable = [index for index, image in enumerate(images) if failures.passes(image)]
    done: list[tuple[str, Facts]] = []
    run: RunOne | None = None
    scales = Scales(partial(say, quiet=output.quiet))
    for index in readable:
        run = run or begin(images[index], scales)
        image, folder = images[index], folder_of(index, images, output.out)
        say(f"image {index + 1} of {len(images)}: {image}", quiet=output.quiet)
        with failures.noted(image):
            facts = run(image, folder)
            done.append((image, facts))
            if not output.json:
                _show_one(facts, output, _print_files if brief else show)
    scales.close()
    _print_all(done, failures.failed, output, columns)
    if failures.failed:
        raise typer.Exit(failures.failed[0]["code"])


def _show_one(facts: Facts, output: Output, show: Callable[[Facts], None]) -> None:
    if output.json:
        print_json(facts)
    elif not output.quiet:
        show(facts)


def _print_files(facts: Facts) -> None:
    print(*facts["files"], sep="\n")


def folder_of(index: int, images: Sequence[str], out: Path | None) -> Path | None:
    """Return the folder for one of several images: a folder of its own inside ``--out``."""
    if out is None:
        return None
    names = [Path(image).stem.replace(":", "-") for image in images]
    alone = names.count(names[index]) == 1
    return out / (names[index] if alone else f"{names[index]}-{index + 1}")


class _Failures:
    """What went wrong with which image."""

    def __init__(self, debug: bool, command: str | None) -> None:
        self.failed: list[dict[str, Any]] = []
        self._debug, self._command = debug, command

    @contextmanager
    def noted(self, image: str) -> Iterator[None]:
        """Report and keep an error of this image, and go on after the block."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (one image must not stop the others)
            message, code = explain(error)
            if self._debug:
                traceback.print_exception(error)
            say(f"error: {message}" if image in message else f"error: {image}: {message}")
            self.failed.append({"image": image, "error": message, "code": code})

    def passes(self, image: str) -> bool:
        """Return whether an argument is an image that can be read; if not, its error is noted."""
        before = len(self.failed)
        with self.noted(image):
            check_image(image, self._command)
        return len(self.failed) == before


def _print_all(
    done: Sequence[tuple[str, Facts]],
    failed: Sequence[Facts],
    output: Output,
    columns: Columns,
) -> None:
    if output.json:
        print_json({"images": [facts for _, facts in done], "failed": failed})
    elif not output.quiet:
        rows = [
            (image, *(cell(facts) for cell in columns.values()), _folder(facts))
            for image, facts in done
        ]
        rest = ("–",) * len(columns)
        rows += [(one["image"], *rest, f"failed, code {one['code']}") for one in failed]
        print_parts(["", table(rows, ("", *columns, "run"), left=(0, len(columns) + 1))])


def _folder(facts: Facts) -> str:
    return str(Path(facts["files"][-1]).parent)
