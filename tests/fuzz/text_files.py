"""Tables, tables with lists, long tables, printed arrays and JSON lines, built cell by cell."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

from .mutations import often

ODD_NUMBERS = (
    *("nan", "NaN", "-nan", "inf", "-inf", "Infinity", "+infinity", "1e400", "-1e400", "1e-400", "5e-324", "2e-324"),
    *(
        "0x10",
        "1_000",
        "",
        " ",
        "1,5",
        "1,000",
        "abc",
        "true",
        "null",
        "NA",
        "-",
        "--",
        "?",
        ".",
        "+",
        "e5",
        "1e",
        "1e+",
    ),
    *("1.", ".5", "+1", "--1", "1E5", "1e+05", "1d5", "1f", "nan(1)", "1.#INF", "1.#QNAN", "infinit", "in", "1+2j"),
    *(
        "\uff11",
        "\u0661",
        "\u22121",
        "1\u00a0",
        "\u00a01",
        "1\t",
        "\t",
        "1\0",
        "\v1",
        "1\f",
        "\u20281",
        "1\x1c",
        "\x85",
    ),
    *("1e99999999999", "0e99999999999999999999", "1e-99999999999999999999", "-0", "-0.0", "00012", "1e00000000005"),
    *(
        "9007199254740993",
        "9007199254740992.5",
        "0.1000000000000000055511151231257827",
        "179769313486231580" + "0" * 291,
    ),
    *("2.2250738585072011e-308", "1.7976931348623158e308", "1.7976931348623159e308", "4.9406564584124654e-324"),
    *("9" * 400, "0." + "0" * 400 + "1", "1" + "0" * 999, "1" + "0" * 1_000, "0" * 1_001, "1 2", "1;2", "1|2", "'1'"),
    *(
        '"1"',
        '""',
        '"1',
        '1"',
        '"1""2"',
        '"a,b"',
        "[1 2]",
        "[1]",
        "[",
        "]",
        "{",
        "}",
        "tensor(1)",
        "np.float64(1)",
        "...",
    ),
    *("#", "%", "\\", "=1", "NULL", "None", "\ud7ff", "\U0001f600", "a" * 2_000, "1/2", "50%", "$1"),
)
HUGE_NUMBERS = ("7" * 100_000, "0." + "3" * 100_000, "1e" + "9" * 5_000, "-" * 100_000, "x" * 200_000)
TITLES = (
    "cat",
    "dog",
    "bird",
    "id",
    "",
    "Unnamed: 0",
    "index",
    "label",
    "y",
    "row",
    "class",
    "logit",
    "1",
    "nan",
    "x[0]",
    "_",
)
_LONG_TITLES = (
    ("row", "class", "logit"),
    ("sample", "column", "value"),
    ("i", "j", "score"),
    ("Row", "CLASS", "Value"),
)
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf\xef\xbb\xbf")
_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1", "utf-32", "cp1252")


def number(rng: random.Random) -> str:
    """Print a number, or what is none."""
    if rng.random() < 0.015:
        return rng.choice(HUGE_NUMBERS) if rng.random() < 0.03 else rng.choice(ODD_NUMBERS)
    value = rng.choice((rng.gauss(0, 3), rng.randrange(-9, 10), rng.uniform(-1, 1) * 10.0 ** rng.randrange(-300, 300)))
    form: Callable[[float], str] = rng.choice(
        (repr, repr, "{:.3f}".format, "{:.17g}".format, "{:e}".format, "{:g}".format)
    )
    return form(value)


def _encoded(rng: random.Random, text: str) -> bytes:
    if rng.random() < 0.04:
        return text.encode(rng.choice(_ENCODINGS), "replace")
    content = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.04:
        content = rng.choice(_MARKS) + content
    if rng.random() < 0.01:
        at = rng.randrange(len(content) + 1)
        content = (
            content[:at]
            + rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0", b"\xf5", b"\xe2\x80\xa8"))
            + content[at:]
        )
    return content


def _joined(rng: random.Random, lines: Sequence[str], comment: str = "#") -> bytes:
    """Put lines together, with ends of any system, blank lines, comments and ends that are missing."""
    end = often(rng, "\n", ("\r\n", "\r", "\n\r", "\n\n", "\v", "\x85", "\u2028"), 0.15)
    whole = list(lines)
    if rng.random() < 0.06:
        odd = ("", " ", "\t", f"{comment} said", f" {comment}", ",", ",,", '"', "\0", "\ufeff", "   ", "\u3000")
        whole.insert(rng.randrange(len(whole) + 1), rng.choice(odd))
    if rng.random() < 0.03:  # ends that differ
        return _encoded(rng, "".join(line + rng.choice(("\n", "\r\n", "\r")) for line in whole))
    text = end.join(whole)
    tail = often(rng, end, ("", "\n\n\n", " \n", "\x1a", "\r", "\0"), 0.2)
    return _encoded(rng, text + tail)


def _cell(rng: random.Random, text: str, delimiter: str, style: str) -> str:
    if style == "quoted" or rng.random() < 0.01:
        text = '"' + text.replace('"', '""') + '"'
    if style == "blanks" or rng.random() < 0.01:
        text = often(rng, f" {text}", (f"{text} ", f"  {text}  ", f"\t{text}"), 0.3)
    return text


def _line(rng: random.Random, cells: Sequence[str], delimiter: str, style: str) -> str:
    if rng.random() < 0.01 and cells:
        cells = rng.choice((cells[:-1], [*cells, "1"], [*cells, ""], cells[1:]))
    sign = delimiter if delimiter != " " else rng.choice((" ", " ", "  ", "\t"))
    return sign.join(_cell(rng, cell, delimiter, style) for cell in cells)


def _styled(rng: random.Random) -> tuple[str, str]:
    delimiter = often(rng, ",", (";", "\t", "|", " ", ":"), 0.4)
    return delimiter, often(rng, "plain", ("quoted", "blanks"), 0.2)


def table(rng: random.Random) -> bytes:
    """Build a table of numbers, perhaps with a header, an index and labels."""
    delimiter, style = _styled(rng)
    rows, columns = rng.choice((1, 2, 3, 4, 60)), rng.choice((1, 2, 3, 4, 5))
    lines = [[number(rng) for _ in range(columns)] for _ in range(rows)]
    titles = rng.sample(TITLES, columns)
    if rng.random() < 0.5:
        titles = [f"c{n}" for n in range(columns)] if rng.random() < 0.7 else [str(n) for n in range(columns)]
    if rng.random() < 0.25:
        titles, lines = ["", *titles], [[str(row), *line] for row, line in enumerate(lines)]
    if rng.random() < 0.3:
        words = [title for title in titles if title] or ["x"]
        titles = [*titles, "label"]
        by_name = rng.random() < 0.3
        lines = [
            [*line, often(rng, rng.choice(words) if by_name else str(rng.randrange(3)), ODD_NUMBERS, 0.04)]
            for line in lines
        ]
    if rng.random() < 0.5:
        lines.insert(0, titles)
    return _joined(rng, [_line(rng, line, delimiter, style) for line in lines])


def long_table(rng: random.Random) -> bytes:
    """Build a table of row, class and value."""
    delimiter, style = _styled(rng)
    rows, classes = rng.choice((1, 2, 3)), rng.choice((1, 2, 3))
    row_names = [f"r{n}" if rng.random() < 0.5 else f"{n}a" for n in range(rows)]
    class_names = rng.sample(("cat", "dog", "bird", "\u00e4", "b b", "0"), classes)
    by_row, by_class = rng.random() < 0.3, rng.random() < 0.4
    lines = [
        [row_names[row] if by_row else str(row), class_names[k] if by_class else str(k), number(rng)]
        for row in range(rows)
        for k in range(classes)
    ]
    if rng.random() < 0.5:
        rng.shuffle(lines)
    if rng.random() < 0.15:
        odd = (*ODD_NUMBERS, "0.5", "1e0", "1.0", "99", "-1", "18446744073709551616")
        lines[rng.randrange(len(lines))][rng.randrange(2)] = rng.choice(odd)
    if rng.random() < 0.05:
        lines.append(list(rng.choice(lines)))
    if rng.random() < 0.05:
        del lines[rng.randrange(len(lines))]
    lines.insert(0, list(rng.choice(_LONG_TITLES)))
    return _joined(rng, [_line(rng, line, delimiter, style) for line in lines])


_LIST_FORMS = (
    "[{}]",
    "tensor([{}])",
    "array([{}], dtype=float32)",
    "np.array([{}])",
    "[[{}]]",
    "torch.tensor([{}], grad_fn=<X>)",
)
_ODD_LISTS = (
    "[]",
    "[",
    "]",
    "[[1],[2]]",
    "[1]]",
    "x[1]",
    "tensor(",
    "[1 2",
    "1 2]",
    "[...]",
    "[1, ..., 2]",
    "",
    "[,]",
    "[1][2]",
    "[a]",
)


def _list(rng: random.Random, width: int, form: str) -> str:
    if rng.random() < 0.01:
        return rng.choice(_ODD_LISTS)
    width = width if rng.random() < 0.99 else width + 1
    wrap = "{}" if rng.random() < 0.95 else "np.float32({})"
    sign = rng.choice((", ", " ", ",", "\n ", ",\n"))
    return form.format(sign.join(wrap.format(number(rng)) for _ in range(width)))


def lists(rng: random.Random) -> bytes:
    """Build a table with a column of lists, lists a line, or a printed array."""
    rows, width, form = rng.choice((1, 2, 3)), rng.choice((1, 2, 3)), rng.choice(_LIST_FORMS)
    every = [_list(rng, width, form) for _ in range(rows)]
    if rng.random() < 0.2:
        return _joined(rng, every)
    if rng.random() < 0.2:
        inner = ",\n ".join(_list(rng, width, "[{}]") for _ in range(rows))
        return _joined(rng, [often(rng, form, ("[{}", "{}]", "[[{}]]", "tensor([{}]), 1"), 0.1).format(inner)])
    delimiter = often(rng, ",", (";", "\t", "|", " "), 0.3)
    is_quoted = rng.random() < 0.8
    lines = [
        [
            rng.choice(("a", "b c", '"q"', "1", "")),
            f'"{text}"' if is_quoted else text,
            often(rng, str(rng.randrange(3)), ODD_NUMBERS, 0.06),
        ]
        for text in every
    ]
    kept = rng.choice((slice(0, 3), slice(1, 3), slice(1, 2), slice(0, 2)))
    if rng.random() < 0.6:
        lines.insert(0, ["name", "logits", often(rng, "label", TITLES, 0.1)])
    return _joined(rng, [delimiter.join(line[kept]) for line in lines])


_ODD_JSON = (
    *(
        "null",
        "true",
        "false",
        "NaN",
        "Infinity",
        "-Infinity",
        '"NaN"',
        '"inf"',
        '"1.5"',
        '"x"',
        "{}",
        "[]",
        "[[1]]",
        '""',
    ),
    *(
        '"\\ud800"',
        '"\\u0000"',
        "1e400",
        "-0",
        "01",
        ".5",
        "1.",
        "+1",
        "0x1",
        "1e99999",
        "9" * 400,
        "'1'",
        "nan",
        '"\x01"',
    ),
    *("[" * 100 + "]" * 100, "[" * 5_000, '{"a":' * 5_000, "1" + "0" * 5_000, '"' + "9" * 400 + '"', '" 1"', '"1\\n"'),
)


def _json_number(rng: random.Random) -> str:
    if rng.random() < 0.03:
        return rng.choice(HUGE_NUMBERS) if rng.random() < 0.02 else rng.choice(_ODD_JSON)
    return rng.choice(
        (
            json.dumps(rng.gauss(0, 3)),
            str(rng.randrange(9)),
            repr(rng.uniform(-1, 1) * 10.0 ** rng.randrange(-300, 300)),
        )
    )


def _json_rows(rng: random.Random, rows: int, width: int) -> list[str]:
    key = often(rng, '"logits"', ('"scores"', '"\\ud800"', '""', '"\\u001b[31m"', '"label"'), 0.15)
    label = rng.choice(('"label"', '"y"'))
    as_object = rng.choice(("list", "object", "object", "columns"))
    lines = []
    for _ in range(rows):
        count = width if rng.random() < 0.98 else width + 1
        numbers = [_json_number(rng) for _ in range(count)]
        if as_object == "list":
            lines.append(f"[{', '.join(numbers)}]")
            continue
        fields = [f"{key}: [{', '.join(numbers)}]"]
        if as_object == "columns":
            fields = [f'"c{n}": {one}' for n, one in enumerate(numbers)]
        fields.append(f"{label}: {often(rng, str(rng.randrange(3)), (*_ODD_JSON, json.dumps('c0')), 0.06)}")
        if rng.random() < 0.2:
            fields.append(
                rng.choice(('"text": "a\\nb"', f"{label}: 1", '"more": [1, 2]', '"id": 7', '"": 0', '"x": {"y": [1]}'))
            )
        if rng.random() < 0.1:
            rng.shuffle(fields)
        if rng.random() < 0.01:
            fields.pop(0)
        lines.append("{" + ", ".join(fields) + "}")
    return lines


def jsonl(rng: random.Random) -> bytes:
    """Build rows of JSON: lines, a list of them, or columns."""
    rows, width = rng.choice((1, 2, 3)), rng.choice((1, 2, 3))
    if rng.random() < 0.15:
        columns = [[_json_number(rng) for _ in range(width)] for _ in range(rows)]
        whole = ", ".join(f"[{', '.join(line)}]" for line in columns)
        labels = ", ".join(str(rng.randrange(3)) for _ in range(rows if rng.random() < 0.95 else rows + 1))
        return _joined(rng, [f'{{"logits": [{whole}], "label": [{labels}]}}'])
    lines = _json_rows(rng, rows, width)
    if rng.random() < 0.2:
        return _joined(rng, ["[" + ", \n".join(lines) + "]"])
    return _joined(rng, lines, comment="//")
