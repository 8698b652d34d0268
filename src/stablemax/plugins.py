"""What a plugin imports.

A plugin is an installed package with an entry point in the group ``stablemax.plugins`` that names a module::

    [project.entry-points."stablemax.plugins"]
    example = "stablemax_example"

Each record at the top level of that module is registered: an operation (with its variants), a variant of any
operation, a hazard, a number format, a file format, a writer, a library, a term. The command line, Python and JSON know
them as they know ours. A name that is taken is left out with a warning; a module that cannot be imported is one
warning, and everything else works.

Nothing may be asked of stablemax while the module is imported but what stands here: the module declares, and is asked
later.

Examples
--------
>>> from stablemax.plugins import Format, Outcome, get_operation, variant
>>> FP24 = Format("fp24", precision=16, emax=127, emin=-126)
>>> @variant(get_operation("softmax"), "mean-shifted", formula="exp(x - mean(x)) / sum(exp(x - mean(x)))")
... def mean_shifted(x, xp):
...     e = xp.exp(x - xp.sum(x) / xp.number(float(x.shape[-1])))
...     return e / xp.sum(e)
>>> mean_shifted.id, FP24.u == 2.0**-16
('softmax/mean-shifted', True)
"""

from __future__ import annotations

from stablemax.glossary.term import Term
from stablemax.hazards.cases import HazardCase
from stablemax.hazards.hazard import Hazard, every_operation, of_cells, of_softmax, with_labels, with_upstream
from stablemax.inputs.file_format import FileFormat, OpenedFile
from stablemax.inputs.stored import StoredArray
from stablemax.libraries import Library
from stablemax.libraries.declaration import built_in
from stablemax.numerics.formats import Array, Format
from stablemax.operations import get_operation
from stablemax.operations.bounds import Bound
from stablemax.operations.operation import Given, Gives, Operation, Second
from stablemax.operations.variant import Variant, variant
from stablemax.render.forms import Form, Page, ResultKind
from stablemax.render.writers import Writer
from stablemax.results import Outcome
from stablemax.results.explained import Computed, Figure, FigureRow

__all__ = [
    "Array",
    "Bound",
    "Computed",
    "Figure",
    "FigureRow",
    "FileFormat",
    "Form",
    "Format",
    "Given",
    "Gives",
    "Hazard",
    "HazardCase",
    "Library",
    "OpenedFile",
    "Operation",
    "Outcome",
    "Page",
    "ResultKind",
    "Second",
    "StoredArray",
    "Term",
    "Variant",
    "Writer",
    "built_in",
    "every_operation",
    "get_operation",
    "of_cells",
    "of_softmax",
    "variant",
    "with_labels",
    "with_upstream",
]
