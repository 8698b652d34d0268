"""Pages of presets: the notebooks' inputs."""

from __future__ import annotations

from stablemax.explaining.word_kind import WordKind
from stablemax.hazards.generated import preset
from stablemax.hazards.presets import PRESETS
from stablemax.results.explained import ExplainedPreset

_SHOWN_ROWS, _SHOWN_CLASSES = 2, 6


def preset_page(name: str) -> ExplainedPreset:
    """Explain a preset by what it shows and what is in it.

    >>> preset_page("notebook-c").largest
    1002.0
    """
    logits = preset(name).logits
    return ExplainedPreset(
        name=name,
        about=PRESETS[name].about,
        dtype=logits.dtype.name,
        shape=logits.shape,
        smallest=float(logits.min()),
        largest=float(logits.max()),
        logits=tuple(map(tuple, logits[:_SHOWN_ROWS, :_SHOWN_CLASSES].astype(float).tolist())),
        see=(
            f"stablemax {PRESETS[name].command}",
            f"stablemax loss --preset {name}",
            f"stablemax inspect --preset {name}",
            "stablemax list presets",
        ),
    )


PRESET = WordKind(
    "preset",
    "presets",
    "inputs of the notebooks that this program grew from",
    ExplainedPreset,
    preset_page,
    names=lambda: tuple(PRESETS),
)
