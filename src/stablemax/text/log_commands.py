"""What GitHub's runner obeys in a log, broken: ``##[`` anywhere in a line, and ``::`` where a line begins.

File names, code and what a target printed come from anybody. A command in them could set variables of a job, or hide
what follows (docs.github.com, "Workflow commands").
"""

from __future__ import annotations

import re

_AT_BEGINNING = re.compile(r"^([^\S\n]*):(?=:)", re.MULTILINE)


def broken_in_text(text: str) -> str:
    r"""Escape one character of each command, as Python writes it.

    >>> print(broken_in_text("##[error]a\n  ::error::b, std::c"))
    #\x23[error]a
      \x3a:error::b, std::c
    """
    return _broken(text, r"\x23", r"\x3a")


def broken_in_json(text: str) -> str:
    r"""Escape in JSON: it reads back the same, and no line of it begins with a colon.

    >>> import json
    >>> line = broken_in_json(json.dumps("##[error]"))
    >>> print(line, json.loads(line))
    "#\u0023[error]" ##[error]
    """
    return text.replace("##[", r"#\u0023[")


def broken_in_xml(text: str) -> str:
    """Escape in XML: it reads back the same.

    >>> broken_in_xml("<a>##[error]</a>")
    '<a>#&#35;[error]</a>'
    """
    return _broken(text, "&#35;", "&#58;")


def _broken(text: str, sign: str, colon: str) -> str:
    if "##[" not in text and "::" not in text:
        return text
    return _AT_BEGINNING.sub(lambda found: f"{found[1]}{colon}", text.replace("##[", f"#{sign}["))
