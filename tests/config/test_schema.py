"""What an editor checks a file by agrees with what the file is checked by when it is read."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from mux import limits
from mux.config.schema import schema
from mux.config.values import CHOICES, NAMES, OF_A_SERVER, TIMES, VALUED, from_file, is_variable, limit
from mux.errors import UsageError

FOUND = schema()
VALUES: list[Any] = [
    *(word for words in CHOICES.values() for word in words),
    *("main", "/run/x.sock", "30", "90s", "15m", "1h", "1.5", "soon", "-1", "1 h", "1e3", "1.5.5", "16 MiB", "1KB"),
    *(0, 1, 7, 30, 1.5, -1, -0.5, True, False, [], ["A"], {}),
]


def allows(document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(FOUND).is_valid(document))


def reads(name: str, value: object) -> bool:
    try:
        from_file(name, value)
    except UsageError:
        return False
    return True


def reads_limit(name: str, value: object) -> bool:
    """Whether it is a number of the right kind: the schema says in words how large it may be."""
    try:
        limit(name, value)
    except UsageError as error:
        return "is between" in str(error)
    return True


def key(name: str) -> str:
    return name.replace("-", "_")


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(FOUND)


@pytest.mark.parametrize("name", VALUED)
def test_it_allows_exactly_the_values_that_a_setting_takes(name: str) -> None:
    assert [v for v in VALUES if allows({key(name): v})] == [v for v in VALUES if reads(name, v)]


@pytest.mark.parametrize("name", limits.CONFIGURABLE)
def test_it_allows_what_a_limit_takes_and_nothing_of_another_kind(name: str) -> None:
    for value in VALUES:
        if reads_limit(name, value) and not isinstance(value, str) and value >= 0:
            assert allows({"limits": {name: value}}), value
        if not reads_limit(name, value):
            assert not allows({"limits": {name: value}}), value
    least, most = limits.CONFIGURABLE[name]
    said = FOUND["properties"]["limits"]["properties"][name]["description"]
    assert said == f"From {least} to {most}; default {getattr(limits, name.upper())}"


@pytest.mark.parametrize("name", ["A", "A*", "*", "", "A=B", "A*B", "**", "=", "*A"])
def test_it_allows_the_variables_that_can_be_named(name: str) -> None:
    for which in ("count", "ignore"):
        assert allows({"env": {which: [name]}}) is is_variable(name)


def test_a_section_of_a_server_says_which_servers_and_what_holds_for_them() -> None:
    assert allows({"server": [{"match": "a"}, {"match": ["a", "b*"], "scope": "user", "grace": "5m"}]})
    assert not allows({"server": [{"scope": "user"}]})
    assert not allows({"server": [{"match": []}]})
    assert not allows({"server": {"match": "a"}})
    for name in {*NAMES} - {*OF_A_SERVER}:
        assert not allows({"server": [{"match": "a", key(name): "x"}]})


@pytest.mark.parametrize(
    "document",
    [{"color": 1}, {"env": {"COUNT": []}}, {"limits": {"everything": 1}}, {"server": [{"match": "a", "color": 1}]}, []],
)
def test_a_name_that_is_none_is_refused_everywhere(document: Any) -> None:
    assert not allows(document)


def test_every_setting_is_described() -> None:
    settings = FOUND["properties"] | FOUND["properties"]["server"]["items"]["properties"]
    assert all(settings[key(name)]["description"] for name in VALUED)
    assert all("90s" in settings[key(name)]["description"] for name in TIMES)
