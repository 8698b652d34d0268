from __future__ import annotations

import codecs
import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stablemax.inputs.file_format import OpenedFile, TableOptions
from stablemax.inputs.formats import table as table_module
from stablemax.inputs.formats import text_blocks
from stablemax.inputs.formats.table import open_table
from stablemax.inputs.formats.table_cells import converter
from stablemax.inputs.formats.text_blocks import BLOCK
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from pathlib import Path

    from stablemax.inputs.stored import StoredArray

    from .conftest import Peak, Refusal


def read(text: str | bytes, *, plain: str = ",", **options: Any) -> StoredArray:
    content = text.encode() if isinstance(text, str) else text
    return open_table(OpenedFile(io.BytesIO(content), "x.csv", table=TableOptions(**options)), delimiter=plain)


def rows(text: str | bytes, **options: Any) -> object:
    return read(text, **options).array.tolist()


def notes(text: str | bytes, **options: Any) -> str:
    return "; ".join(read(text, **options).notes)


FLOATS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(width=64))


@settings(deadline=None)
@given(FLOATS, st.sampled_from([",", ";", "\t", "|", " "]), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_what_repr_writes_is_read_bit_for_bit(array: np.ndarray, delimiter: str, end: str, quoted: bool) -> None:
    form = '"{!r}"' if quoted else "{!r}"
    text = end.join(delimiter.join(form.format(x) for x in row) for row in array.tolist())
    result = read(text).array
    assert result.dtype == np.float64
    assert not result.flags.writeable
    assert result.shape == array.shape
    np.testing.assert_array_equal(np.isnan(result), np.isnan(array))
    known = ~np.isnan(array)
    assert result[known].tobytes() == array[known].tobytes()


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(st.text('0123456789.,;e-+_x" \t\n\rnaif#', max_size=40))
def test_fast_and_exact_pass_agree(text: str) -> None:
    def outcome() -> object:
        try:
            return repr(rows(text))
        except StablemaxError as error:
            return error.message

    fast = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_module, "converter", lambda *, large: converter(large=True))
        assert outcome() == fast
        patch.setattr(table_module, "parse_block", lambda *args, **options: None)
        assert outcome() == fast


def test_a_plain_table_needs_no_notes() -> None:
    table = read("1,2\n3,-4e-1\n")
    assert table.array.tolist() == [[1, 2], [3, -0.4]]
    assert table.notes == ()
    assert table.labels is None
    assert read("1\t2\n", plain="\t").notes == ()


@pytest.mark.parametrize(
    ("text", "word"),
    [("1;2\n3;4", "semicolons"), ("1\t2\n3\t4", "tabs"), ("1|2\n3|4", "pipes"), (" 1  2\n3 \t4 ", "blanks")],
)
def test_the_delimiter_is_found_out_and_announced(text: str, word: str) -> None:
    assert rows(text) == [[1, 2], [3, 4]]
    assert notes(text) == f"x.csv: cells are separated by {word}"


@pytest.mark.parametrize(("inside", "between"), [(";", ","), ("|", ";"), ("\t", ","), (",", ";")])
def test_a_sign_within_quotes_separates_nothing(inside: str, between: str) -> None:
    lines = [[f'"a{inside}b{inside}c"', "x", "y"], [f'"d{inside}e"', "1", "2"], [f'"{inside}f"', "3", "4"]]
    assert rows("\n".join(map(between.join, lines)), index_column=True) == [[1, 2], [3, 4]]


def test_a_comma_in_a_tsv_is_announced() -> None:
    assert notes("1,2", plain="\t") == "x.csv: cells are separated by commas"


@pytest.mark.parametrize("word", [";", "semicolon"])
def test_the_delimiter_can_be_set_and_is_then_not_announced(word: str) -> None:
    assert rows("1;2", delimiter=word) == [[1, 2]]
    assert notes("1;2", delimiter=word) == ""


@pytest.mark.parametrize("word", ["", "ab", "1", ".", '"', "\n", "\x1b", "e", "-"])
def test_an_impossible_delimiter_is_refused(word: str, refusal: Refusal) -> None:
    assert refusal(read, "1", delimiter=word).message.startswith("--delimiter")


def test_a_header_is_found_out_and_announced() -> None:
    table = read("cat,dog\n1,2\n")
    assert table.array.tolist() == [[1, 2]]
    assert table.notes == ("x.csv: line 1 taken as a header (cat, dog)",)


def test_a_header_can_be_forced_and_forbidden(refusal: Refusal) -> None:
    assert rows("1,2\n3,4", header=True) == [[3, 4]]
    assert notes("1,2\n3,4", header=True) == ""
    assert "line 1, column 1: 'a' is not a number" in refusal(read, "a,b\n3,4", header=False).message


@pytest.mark.parametrize("line", ["1.0,abc", "1o", "1_000", "1,5x", "NA,1", "0x10,0x20", "nan,-", "1.5,2.5,"])
def test_a_data_line_with_a_mistake_does_not_pass_for_a_header(line: str, refusal: Refusal) -> None:
    data = ",".join(["1"] * (line.count(",") + 1))
    assert "line 1, column" in refusal(read, f"{line}\n{data}\n").message


def test_numbers_of_columns_as_a_header_are_pointed_out() -> None:
    assert rows("0,1,2\n5,6,7\n") == [[0, 1, 2], [5, 6, 7]]
    assert "--header takes it as names" in notes("0,1,2\n5,6,7\n")
    assert rows("label,0,1\n2,6,7\n") == [[2, 6, 7]]


@pytest.mark.parametrize("title", ["", "Unnamed: 0", "index", "ID"])
def test_the_index_column_of_pandas_is_left_out_and_announced(title: str) -> None:
    text = f"{title},a,b\n0,5,6\n1,7,8\n"
    assert rows(text) == [[5, 6], [7, 8]]
    assert "0 to 1) taken as an index and left out" in notes(text)


def test_a_pandas_table_without_names_is_read() -> None:
    assert rows(",0,1\n0,5,6\n1,7,8\n") == [[5, 6], [7, 8]]


def test_a_column_that_only_counts_is_not_taken_for_an_index() -> None:
    assert rows("0,5\n1,6\n") == [[0, 5], [1, 6]]
    assert rows("a,b\n0,5\n1,6\n") == [[0, 5], [1, 6]]


def test_an_unnamed_column_that_does_not_count_is_asked_about(refusal: Refusal) -> None:
    text = ",a\n0,5\n2,6\n"
    error = refusal(read, text)
    assert "has no name like an index, but row 1 has 2 there" in error.message
    assert "--index-column" in error.hint
    assert rows(text, index_column=True) == [[5], [6]]
    assert rows(text, index_column=False) == [[0, 5], [2, 6]]


@pytest.mark.parametrize("delimiter", [",", " "])
def test_a_forced_index_column_may_hold_text(delimiter: str, refusal: Refusal) -> None:
    text = 'name,a,b\n"row 1",5,6\nrow2,-inf,8\n'.replace(",", delimiter)
    assert rows(text, index_column=True) == [[5, 6], [-np.inf, 8]]
    ragged = text + delimiter.join(["row3", "1", "2", "3"])
    assert "line 4 has 4 cells" in refusal(read, ragged, index_column=True).message
    assert "line 4 has 1 cell," in refusal(read, text + "row3", index_column=True).message


def test_the_index_is_checked_across_blocks_and_never_held_twice(tmp_path: Path, refusal: Refusal) -> None:
    text = ",a\n" + "".join(f"{n},{n}.5\n" for n in range(200_000))
    assert len(text) > 2 * 2**20
    assert read(text).array[-1].tolist() == [199_999.5]
    assert "row 200,000 has 7 there" in refusal(read, text + "7,1\n").message


@pytest.mark.parametrize("column", ["label", "1"])
def test_labels_are_taken_by_name_or_number(column: str) -> None:
    table = read("a,label,b\n1,9,2\n3,8,4\n", label_column=column)
    assert table.array.tolist() == [[1, 2], [3, 4]]
    assert table.labels is not None
    assert table.labels.array.tolist() == [9, 8]


def test_the_number_of_the_label_column_counts_the_index_column_too() -> None:
    table = read(",a,y\n0,5,1\n1,7,0\n", label_column="2")
    assert table.array.tolist() == [[5], [7]]
    assert table.labels is not None
    assert table.labels.array.tolist() == [1, 0]
    forced = read("u,5,1\nv,7,0\n", label_column="2", index_column=True)
    assert (forced.array.tolist(), forced.labels.array.tolist()) == ([[5], [7]], [1, 0])  # type: ignore[union-attr]


def test_a_name_comes_before_a_number() -> None:
    table = read("label,1,0\n7,8,9\n", label_column="0", header=True)
    assert table.labels is not None
    assert table.labels.array.tolist() == [9]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("-1", "counted from 0"),
        ("3", "the table has 3 columns"),
        ("lable", "no column is named lable"),
        ("", "no column"),
    ],
)
def test_a_label_column_that_is_not_there_is_refused(column: str, says: str, refusal: Refusal) -> None:
    assert says in refusal(read, "a,b,label\n1,2,0\n", label_column=column).message


def test_a_label_column_that_is_mistyped_is_suggested_even_if_it_is_the_last_of_thousands(refusal: Refusal) -> None:
    names = [f"class {n}" for n in range(5000)]
    text = f"{','.join([*names, 'label'])}\n{','.join(['1'] * 5001)}\n"
    assert refusal(read, text, label_column="lable").hint.startswith("did you mean label? ")


def test_a_label_column_named_twice_or_alone_is_refused(refusal: Refusal) -> None:
    assert "2 columns are named y" in refusal(read, "y,y\n1,2\n", label_column="y").message
    assert "no column is left" in refusal(read, "y\n1\n", label_column="y").message
    assert "cannot be both" in refusal(read, "y,a\n1,2\n", label_column="y", index_column=True).message


def test_a_column_named_like_an_index_may_hold_the_labels() -> None:
    table = read("id,a\n4,5\n2,6\n", label_column="id")
    assert (table.array.tolist(), table.labels.array.tolist()) == ([[5], [6]], [4, 2])  # type: ignore[union-attr]


def test_a_column_of_labels_read_as_logits_is_pointed_out() -> None:
    assert "--label-column label takes it as labels" in notes("a,label\n1,0\n")


def test_comment_lines_are_left_out_and_counted() -> None:
    text = "# made by x, inf\n1,2\n  # more\n3,-inf\n\n# end\n"
    assert rows(text) == [[1, 2], [3, -np.inf]]
    assert notes(text) == "x.csv: 3 comment lines left out (beginning with '#')"
    assert rows("% x\n1,2", comment="%") == [[1, 2]]


def test_without_comments_such_a_line_is_no_row(refusal: Refusal) -> None:
    assert "line 2, column 1: '# x' is not a number" in refusal(read, "1\n# x", comment="").message


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")],
)
def test_a_byte_order_mark_is_taken_off_and_announced(mark: bytes, encoding: str) -> None:
    text = mark + "1,2\r\n3,4\r\n".encode(encoding)
    assert rows(text) == [[1, 2], [3, 4]]
    assert "byte order mark taken off" in notes(text)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_byte_order_mark_is_read_and_announced(encoding: str, refusal: Refusal) -> None:
    text = "cat,dog\n" + "1.5,-2\n" * 3000
    assert rows(text.encode(encoding)) == [[1.5, -2]] * 3000
    assert "read as UTF-16, which begins without a byte order mark" in notes(text.encode(encoding))
    assert "NUL" in refusal(rows, b"1\x002,3\n").message


def test_text_in_another_encoding_is_refused_with_its_line(refusal: Refusal) -> None:
    assert "line 2: the byte 0xe9 is not UTF-8" in refusal(read, b"1,2\ncaf\xe9,4\n").message
    assert "line 1: the byte 0x31 is not UTF-16" in refusal(read, codecs.BOM_UTF16_LE + b"1").message
    assert (
        "line 3: the byte 0x31 is not UTF-16"
        in refusal(read, codecs.BOM_UTF16_LE + "1\r2\r\n".encode("utf-16-le") + b"1").message
    )
    assert "line 2: the byte 0xe2 is not UTF-8" in refusal(read, b"1,2\r\xe2\x82").message
    assert "NUL" in refusal(read, b"1,2\n" + "3,4\n".encode("utf-16-le")).message


@pytest.mark.parametrize(
    ("text", "place", "hints"),
    [
        ("1,2\n3\n", "line 2 has 1 cell, but the first line has 2: '3'", "give every row as many cells"),
        ("1,2,3\n1,2\n", "line 2 has 2 cells, but the first line has 3: '1,2'", "give every row as many cells"),
        ('"1","2","3"\n"1", "2"\n', 'line 2 has 2 cells, but the first line has 3: \'"1", "2"\'', "give every row"),
        ("1,2\n3,4,5\n", "line 2 has 3 cells", "give every row as many cells"),
        ("a,b\n3,4,5\n", "line 2 has 3 cells", "header"),
        ("1;2\n3|4\n", "line 2 has 1 cell", "--delimiter '|'"),
        ("1,2\n3,4,\n", "line 2 has 3 cells", "ends in ','"),
        ("1,2\n3;4\n", "line 2 has 1 cell", "--delimiter ';'"),
        ("a,b\n1,\n", "line 2, column 2 (b): the cell is empty", "nan"),
        ("1,,3\n", "line 1, column 2: the cell is empty", "nan"),
        ("1,2,\n3,4,\n", "line 1, column 3: the cell is empty", "does every line end in ','"),
        ('1,""\n', "line 1, column 2: the cell is empty", "nan"),
        ("1\t2\n\t\n", "line 2, column 1: the cell is empty", "nan"),
        ("a,b\n1,two\n", "line 2, column 2 (b): 'two' is not a number", "decimal"),
        ("a,b\nx,2\n", "line 2, column 1 (a): 'x' is not a number", "--index-column"),
        ("1,2\n1,NA\n", "line 2, column 2: 'NA'", "write nan"),
        ("1,2\n1,1_000\n", "line 2, column 2: '1_000'", "underscores"),
        ("1,2\n1,0x10\n", "line 2, column 2: '0x10'", "hexadecimal"),
        ("1,2\n1,1+2j\n", "line 2, column 2: '1+2j'", "complex"),
        ("1,2\n1,True\n", "line 2, column 2: 'True'", "1 and 0"),
        ("1;2\n1,5;2,5\n", "line 2, column 1: '1,5'", "decimal points instead of commas: sed 's/,/./g'"),
        ('1,2\n"1,5",2\n', "line 2, column 1: '1,5'", "write it without the comma"),
        ('1,2\n"1,000",2\n', "line 2, column 1: '1,000'", "1000 for 1,000"),
        ("1;2\n1,000;2\n", "line 2, column 1: '1,000'", "between thousands? sed 's/,//g'"),
        ("1;2\n1,000,000;2\n", "line 2, column 1: '1,000,000'", "no commas between thousands"),
        ("1;2\n0,125;2\n", "line 2, column 1: '0,125'", "decimal points instead of commas"),
        ("1,2\n1,\u0661\n", "line 2, column 2: '\u0661'", "decimal"),
        ("1,2\n1,\u22121\n", "line 2, column 2: '\u22121'", "decimal"),
        ("1,2\n1,1e400\n", "line 2, column 2: '1e400' is outside float64", "inf"),
        ("-inf,2\n1,-1e400\n", "line 2, column 2: '-1e400' is outside float64", "inf"),
        ("1,2\n1,\x1b[31m[red]\n", r"line 2, column 2: '\x1b[31m[red]'", "decimal"),
        ('1,2\n"1"2,3\n', "line 2: the quotes do not match", "quote"),
        ('1,2,3\n1,"2"3,"4"\n', "line 2: the quotes do not match", "quote"),
        ('1,2\n"1,3\n4",5\n', "line 2: the quotes do not match", "quote"),
        ("1,2\n\n3,4\n", "line 2 is blank", "delete"),
        ("1\n  \n3\n", "line 2 is blank", "nan"),
        ("\n1,2\n", "line 1 is blank", "delete"),
        ("1,2\n# c\n\n3,4\n", "line 3 is blank", "delete"),
        ("# c\n1,2\n# d\n3,x\n", "line 4, column 2", "decimal"),
        ("1,2\n1," + "9" * 5000 + "\n", "line 2, column 2: '999", "delimiter"),
    ],
    ids=ascii,
)
def test_mistakes_are_refused_with_their_place(text: str, place: str, hints: str, refusal: Refusal) -> None:
    error = refusal(read, text)
    assert error.message.startswith(f"x.csv: {place}"), error.message
    assert hints in error.hint


@pytest.mark.parametrize("text", ['1,2\n"1,5",2\n', "1,2\n3\n", "1,2\n3,4,5\n"])
def test_no_hint_names_a_sign_that_the_line_does_not_hold_or_spoils_the_file(text: str, refusal: Refusal) -> None:
    hint = refusal(read, text).hint
    assert not any(word in hint for word in ("sed", "--delimiter", "header")), hint


@pytest.mark.slow
def test_the_place_is_right_far_into_a_file(refusal: Refusal) -> None:
    text = "# c\nu,v\n" + "1.25,2.5\n" * 300_000
    assert len(text) > 2 * 2**20
    assert read(text).array.shape == (300_000, 2)
    assert "line 300,003, column 2 (v): 'x'" in refusal(read, text + "1,x\n").message
    assert "line 300,003 is blank" in refusal(read, text + "\n" * 2**21 + "1,2\n").message
    assert "line 300,003: the byte 0xff" in refusal(read, text.encode() + b"\xff\n").message


@pytest.mark.slow
@pytest.mark.parametrize("shift", range(12))
@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_a_line_end_may_fall_on_the_end_of_a_block(shift: int, end: str) -> None:
    count = 2 * BLOCK // len(f"1.25,2{end}")
    table = read(f"{'1' * (shift + 1)},2{end}" + f"1.25,2{end}" * count).array
    assert table.shape == (count + 1, 2)
    assert (table[1:] == [1.25, 2]).all()


@pytest.mark.parametrize("between", ["", "# a comment\n", '"3",4\n'])
def test_every_row_of_a_table_of_several_blocks_is_read(between: str) -> None:
    count = BLOCK // len("1.25,2\n")
    found = read(("1.25,2\n" * count + between) * 3 + "5,6\n").array
    plain = found[(found == [1.25, 2]).all(axis=1)]
    assert len(plain) == 3 * count
    assert len(found) == 3 * count + (3 if between.startswith('"') else 0) + 1
    assert found[-1].tolist() == [5, 6]


def test_lines_that_a_comment_begins_are_left_out_of_every_block_even_where_they_are_numbers() -> None:
    count = BLOCK // len("-1.25,2\n")
    found = read("-1.25,2\n5,6\n" * count * 2, comment="-").array
    assert found.shape == (2 * count, 2)
    assert (found == [5, 6]).all()


@pytest.mark.parametrize("byte", [0x80, 0xC3, 0xFF])
@pytest.mark.parametrize("before", [0, 1, 7])
def test_a_byte_that_is_no_text_is_named_with_its_line(byte: int, before: int, refusal: Refusal) -> None:
    message = refusal(read, b"1,2\n" * before + b"3," + bytes([byte]) + b"4\n").message
    assert message == f"x.csv: line {before + 1}: the byte 0x{byte:02x} is not UTF-8 text"


@pytest.mark.parametrize("before", [0, 1, 7])
def test_a_line_that_is_too_long_is_named_by_its_number(
    before: int, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_blocks, "LINE_LIMIT", 1000)
    text = "1,2\n" * before + "1," * 2000
    assert refusal(read, text).message == f"x.csv: line {before + 1} is longer than 1,000 bytes"


def test_a_blank_line_is_remembered_across_blocks(refusal: Refusal) -> None:
    text = "1,2\n\n# c\n# " + "x" * 2**20 + "\n"
    assert rows(text) == [[1, 2]]
    assert "line 2 is blank" in refusal(read, text + "3,4\n").message


def test_blank_lines_at_the_end_are_fine() -> None:
    assert rows("1,2\n\n  \n\n") == [[1, 2]]


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n", "\ufeff"])
def test_no_rows_are_refused(text: str, refusal: Refusal) -> None:
    assert "holds no rows" in refusal(read, text).message


def test_a_header_alone_is_refused(refusal: Refusal) -> None:
    assert "no rows but a header" in refusal(read, "a,b\n").message


def test_values_that_are_no_numbers_to_arithmetic_are_kept() -> None:
    array = read("nan,inf,-inf\nNaN,Infinity,-INF\n").array
    assert np.isnan(array[:, 0]).all()
    assert array[:, 1:].tolist() == [[np.inf, -np.inf]] * 2


def test_blanks_around_quotes_do_not_matter() -> None:
    assert rows('"1" , "2" \n "3","4"') == [[1, 2], [3, 4]]
    assert rows('a, "b" \n1,2') == [[1, 2]]


@pytest.mark.parametrize("text", ["\xa0", "\u2028\n1 2", "\t\t\n"])
def test_lines_of_other_blanks_are_refused_in_words(text: str, refusal: Refusal) -> None:
    refusal(read, text, delimiter="space")


def test_one_column_and_one_row_are_tables() -> None:
    assert rows("1\n2\n") == [[1], [2]]
    assert rows("1,2") == [[1, 2]]


def test_a_sparse_terabyte_is_refused_at_once(tmp_path: Path, peak: Peak) -> None:
    (tmp_path / "x.csv").touch()
    os.truncate(tmp_path / "x.csv", 10**12)
    memory, output = peak("refused(sys.argv[1])", str(tmp_path / "x.csv"))
    assert "line 1 holds a NUL character" in output
    assert memory < 150


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path: Path, peak: Peak) -> None:
    line = ",".join("1234567890" * 10) + "\n"
    path = tmp_path / "x.csv"
    code = "array = open_array(sys.argv[1]).array; print(array.shape, array[-1, -3:].tolist())"
    found = []
    # The text has more than one block, so that pyarrow is loaded for both where it is installed.
    for rows in (11_000, 200_000):
        path.write_text(line * rows)
        memory, output = peak(code, str(path))
        assert output == f"({rows}, 100) [8.0, 9.0, 0.0]"
        found.append(memory)
    # 160 MB of numbers, of which 64 MiB are kept in memory before they go to a file.
    assert found[1] < found[0] + 64 + 32


@pytest.mark.slow
def test_a_line_of_millions_of_delimiters_is_refused_without_much_memory(tmp_path: Path, peak: Peak) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"1,2\n" * 2**18 + b"," * (2**24 - 1) + b"\n")
    memory, output = peak("refused(sys.argv[1])", str(path))
    assert output == f"{path}: line 262,145: more than 1,048,576 columns"
    assert memory < 200


ENDLESS = """
class Endless:
    def __init__(self, piece): self.piece, self.total = piece, 0
    def read(self, size=-1):
        self.total += size
        return (self.piece * size)[:size]
    def isatty(self): return False
stream = Endless(sys.argv[1].encode().decode('unicode_escape').encode('latin-1'))
refused('-', input_format='csv', stdin=stream)
print(stream.total)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("piece", "says", "most"),
    [
        (r"\0", "line 1 holds a NUL", 1),
        ("1,", "line 1 is longer than 16,777,216 bytes", 18),
        ("#\\n", "more than 1,048,576 comment lines", 3),
        ("\\n", "more than 16,777,216 blanks and blank lines", 18),
    ],
)
def test_an_endless_stream_is_given_up_on(piece: str, says: str, most: int, peak: Peak) -> None:
    memory, output = peak(ENDLESS, piece)
    message, total = output.splitlines()
    assert says in message
    assert int(total) <= most * 2**20
    assert memory < 400


def test_too_many_columns_are_refused(refusal: Refusal) -> None:
    assert "more than 1,048,576 columns" in refusal(read, "1," * 2**20 + "1\n").message
    assert "more than 1,048,576 columns" in refusal(read, "1 " * 2**20 + "1\n", delimiter="space").message


@pytest.mark.slow
def test_a_wide_table_is_read() -> None:
    assert read(",".join(["1.5"] * 2**19) + "\n" + ",".join(["2.5"] * 2**19)).array.shape == (2, 2**19)


def test_columns_that_are_taken_out_leave_the_others_in_their_order() -> None:
    # The commonest file of all: an index of pandas' in front, labels at the end.
    text = "".join([",a,b,c,label\n", *(f"{i},{i}.5,-{i}.25,{i}e3,{i % 3}\n" for i in range(200))])
    table = read(text, label_column="label")
    assert table.array.tolist() == [[i + 0.5, -(i + 0.25), i * 1e3] for i in range(200)]
    assert table.labels is not None
    assert table.labels.array.tolist() == [i % 3 for i in range(200)]
