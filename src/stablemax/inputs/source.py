"""An array that was read, before anybody asks what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """An array, and where it comes from.

    Attributes
    ----------
    array : numpy.ndarray
        As stored; memory-mapped where that is possible, and read-only.
    labels : numpy.ndarray or None
        The label column of a table, float64.
    name : str
        The file's name, fit for a message; "standard input" for "-".
    notes : tuple of str
        What was found out while reading, a sentence each.
    format : str
        npy, npz, csv, tsv, safetensors or parquet.
    """

    array: np.ndarray
    labels: np.ndarray | None = None
    name: str = "the array"
    notes: tuple[str, ...] = ()
    format: str = "npy"

    @property
    def size_bytes(self) -> int:
        """The bytes of the array's data."""
        return int(self.array.nbytes)
