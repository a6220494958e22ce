"""The model that a command runs: which, where and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentlab.cli.console import progress_bar, say, tiling
from latentlab.cli.defaults import ChosenModel, choose_model

if TYPE_CHECKING:
    from latentlab.loaders import LatentVAE


@dataclass(frozen=True)
class Machine:
    """What the options that all commands share say of the model."""

    model: str | None
    device: str
    dtype: str
    offline: bool
    quiet: bool
    tile: int | None = None
    compiled: bool = False

    def load(
        self,
        chosen: ChosenModel | None = None,
        *,
        dtype: str | None = None,
        revision: str | None = None,
    ) -> LatentVAE:
        """Return the model, showing the download where there is one; compiled and tiled if asked.

        Parameters
        ----------
        chosen : ChosenModel, optional; by default what ``--model`` or the settings name
        dtype, revision : instead of the machine's dtype and the model's newest revision
        """
        return self.prepare(self.fetch(chosen, dtype=dtype, revision=revision))

    def fetch(
        self,
        chosen: ChosenModel | None = None,
        *,
        dtype: str | None = None,
        revision: str | None = None,
    ) -> LatentVAE:
        """Return the model as :meth:`load` does, neither compiled nor tiled."""
        from latentlab import load_vae
        from latentlab.encoding.precision import use_exact_float32

        use_exact_float32()
        chosen = chosen or choose_model(self.model)
        say(chosen.announce(), quiet=self.quiet)
        with progress_bar(quiet=self.quiet, in_bytes=True) as progress:
            return load_vae(
                chosen.name,
                device=self.device,
                dtype=dtype or self.dtype,
                revision=revision,
                offline=self.offline,
                progress=progress,
            )

    def prepare(self, vae: LatentVAE) -> LatentVAE:
        """Return a model compiled and tiled, if asked."""
        from latentlab import compile_vae, tiled

        if self.compiled:
            compile_vae(vae)
            say(f"compiling {vae.spec.name}: the first pictures take longer", quiet=self.quiet)
        return tiled(vae, self.tile) if self.tile else vae


def say_tiling(vae: LatentVAE, *, quiet: bool) -> None:
    """Say how much tiles differed where they meet, if there were any."""
    if vae.tiling:
        say(f"tiled {tiling(vae.tiling)}", quiet=quiet)
