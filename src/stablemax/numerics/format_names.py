"""The names of number formats, and what people type for them; importable without NumPy."""

from __future__ import annotations

from types import MappingProxyType

ORDINARY = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32", "float64")
"""The formats that processors compute in, narrow ones first; `formats.FORMATS` has all."""

_SPELLINGS = {
    "float64": ("fp64", "f64", "double", "e11m52"),
    "float32": ("fp32", "f32", "single", "float"),  # float as in PyTorch and C
    "float16": ("fp16", "f16", "half"),
    "bfloat16": ("bf16",),
    "tf32": ("tensorfloat32",),
    # The narrow names mean what the OCP standards mean by them, not an IEEE format of that shape.
    "float8_e4m3fn": ("fp8", "e4m3", "e4m3fn"),
    "float8_e5m2": ("e5m2",),
    "float8_e3m4": ("e3m4",),
    "float6_e2m3fn": ("fp6", "e2m3", "e2m3fn"),
    "float6_e3m2fn": ("e3m2", "e3m2fn"),
    "float4_e2m1fn": ("fp4", "e2m1", "e2m1fn"),
}
ALIASES = MappingProxyType({spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings})
"""What people type, and the name of the format that they mean by it."""


def canonical(text: str) -> str:
    """Return the name that some text stands for, in lower case; it need not be that of a format.

    >>> canonical("FP16"), canonical("fp8_e4m3"), canonical("E5M10")
    ('float16', 'float8_e4m3fn', 'e5m10')
    """
    name = text.strip().lower()
    # float8_e4m3 is a format of its own; fp8_e4m3 is what people call float8_e4m3fn.
    short = name[4:] if name.startswith(("fp8_", "fp6_", "fp4_")) else name
    return ALIASES.get(short, name)
