"""The names of number formats, and what people type for them; importable without NumPy."""

from __future__ import annotations

from types import MappingProxyType

ORDINARY = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32", "float64")
"""The formats that processors compute in, narrow ones first; `formats.FORMATS` has all."""

ALIASES = MappingProxyType(
    {
        "fp64": "float64",
        "f64": "float64",
        "double": "float64",
        "e11m52": "float64",
        "fp32": "float32",
        "f32": "float32",
        "single": "float32",
        "float": "float32",  # as in PyTorch and C
        "fp16": "float16",
        "f16": "float16",
        "half": "float16",
        "bf16": "bfloat16",
        "tensorfloat32": "tf32",
        "fp8": "float8_e4m3fn",
        "fp6": "float6_e2m3fn",
        "fp4": "float4_e2m1fn",
        # The narrow names mean what the OCP standards mean by them, not an IEEE format of that shape.
        "e4m3": "float8_e4m3fn",
        "e4m3fn": "float8_e4m3fn",
        "e5m2": "float8_e5m2",
        "e3m4": "float8_e3m4",
        "e2m3": "float6_e2m3fn",
        "e2m3fn": "float6_e2m3fn",
        "e3m2": "float6_e3m2fn",
        "e3m2fn": "float6_e3m2fn",
        "e2m1": "float4_e2m1fn",
        "e2m1fn": "float4_e2m1fn",
    }
)
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
