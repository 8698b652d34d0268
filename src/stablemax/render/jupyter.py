"""A result as a Jupyter notebook, of format 4.5: plain JSON, which no library has to write."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from stablemax.render import markdown
from stablemax.render.console import Surface
from stablemax.render.forms import NotebookCell


def written(cells: Iterable[NotebookCell]) -> str:
    """Write a notebook; its code has not been run, so that a reader sees the question before the answer."""
    notebook = {
        "cells": [_cell(cell, f"cell-{i}") for i, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: NotebookCell, name: str) -> dict[str, Any]:
    if cell.program:
        source = cell.program
        own: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": []}
    else:
        source = markdown.written(cell.document, Surface()).rstrip("\n")
        own = {"cell_type": "markdown"}
        if cell.title:
            # Jupyter and GitHub unfold it at a click; the empty lines let Markdown begin again.
            source = f"<details><summary>{cell.title}</summary>\n\n{source}\n\n</details>"
    return {**own, "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}
