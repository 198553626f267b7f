"""JSON with line numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdd import located
from zdd.errors import ZddError

TEXT = """{
  "a": 1, "b": {"c": [10,
    {"d": 2}, [],
    "}, \\"x\\": {"],
    "e": {}},

  "f": null
}"""


def write(folder: Path, text: str) -> Path:
    path = folder / "x.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_and_list_item_knows_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = {
        located.dotted(key): where.rpartition(":")[2]
        for key, where in located.origins(located.read(write(tmp_path, TEXT))).items()
    }
    assert lines == {
        "": "1",
        "a": "2",
        "b": "2",
        "b.c": "2",
        "b.c.0": "2",
        "b.c.1": "3",
        "b.c.1.d": "3",
        "b.c.2": "3",
        "b.c.3": "4",
        "b.e": "5",
        "f": "7",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  "a": 1,\n}', "x.json:3:1: broken JSON: a comma too many before '}'"),
        ("{\n  'a': 1}", "x.json:2:3: broken JSON: a text stands in double quotes, not in single ones"),
        ('{"a": 1 // one\n}', 'x.json:1:9: broken JSON: JSON has no comments; say it in "about"'),
        ('{"a": 1\n "b": 2}', "x.json:2:2: broken JSON: expecting ',' delimiter, found '\"b\":'"),
        ('{"a": [1, 2', "x.json:1:12: broken JSON: the file ends too early; a bracket or a quote is not closed"),
        ("", "x.json:1:1: broken JSON: the file ends too early; a bracket or a quote is not closed"),
        ("[1, 2]", "x.json:1: must be a JSON object, {...}, not [1, 2]"),
        ('{"a": {"b": NaN}}', "x.json:1: a.b = NaN: JSON knows finite numbers only"),
        ('{"a": [1,\n-Infinity]}', "x.json:2: a.1 = -Infinity: JSON knows finite numbers only"),
        ('{"lr":\n 1e999}', "x.json:2: lr = 1e999: JSON knows finite numbers only"),
        ('{"a": 1,\n "b": 2,\n "a": 3}', "x.json:3: a stands here and in line 1; once is right"),
        ('{"a": {"b": 1}, "c": {"b": 1,\n "b": 1}}', "x.json:2: c.b stands here and in line 1; once is right"),
    ],
)
def test_what_is_no_json_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZddError) as error:
        located.read(write(tmp_path, text))
    assert error.value.lines == (said,)


def test_all_doubled_keys_and_strange_numbers_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ZddError) as error:
        located.read(write(tmp_path, '{"a": NaN, "b": 1, "b": Infinity}'))
    assert len(error.value.lines) == 3


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 30 + "1" + "}" * 30, '{"a": ' + "9" * 5000 + "}"])
def test_hostile_files_are_refused_without_a_traceback(tmp_path: Path, text: str) -> None:
    with pytest.raises(ZddError):
        located.read(write(tmp_path, text))


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa4"}')  # Windows editors put a byte order mark in front
    assert located.plain(located.read(path)) == {"a": "ä"}
    path.write_bytes('{"a": "ä"}'.encode("latin-1"))
    with pytest.raises(ZddError, match="not a text in UTF-8"):
        located.read(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=st.dictionaries(st.text(), json_values, max_size=4), indent=st.sampled_from([None, 0, 2]))
def test_reading_is_python_s_own_and_every_key_has_a_line(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any], indent: int | None
) -> None:
    text = json.dumps(value, indent=indent)
    node = located.read(write(tmp_path_factory.mktemp("h"), text))
    assert located.plain(node) == value
    assert all(where.rpartition(":")[2].isdigit() for where in located.origins(node).values())
