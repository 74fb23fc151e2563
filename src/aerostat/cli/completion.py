"""The verb `completion`."""

from __future__ import annotations

from typing import Literal

from aerostat.cli.app import app


@app.command(sort_key=13, usage="Usage: aerostat completion SHELL")
def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that lets a shell complete verbs and options.

    bash: add eval "$(aerostat completion bash)" to ~/.bashrc.
    zsh: write it to a file _aerostat in a folder of $fpath.
    fish: write it to ~/.config/fish/completions/aerostat.fish.

    Parameters
    ----------
    shell:
        The shell.
    """
    print(app.generate_completion(shell=shell), end="")
