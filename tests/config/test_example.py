"""The commented example and the schema, as they are in the repository."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mux import limits
from mux.config.schema import schema
from mux.config.values import OF_A_SERVER, VALUED
from tests.config.conftest import Place

CONFIGS = Path(__file__).parents[2] / "configs"
EXAMPLE = (CONFIGS / "mux.toml").read_text(encoding="utf-8")


def uncommented() -> str:
    """The example with every setting in force: prose stays a comment."""
    return re.sub(r"(?m)^# (?=[a-z_]+ = |\[)", "", EXAMPLE)


def test_as_it_stands_it_changes_nothing(place: Place) -> None:
    place.write(place.user, EXAMPLE)
    settings = place.load()
    assert (settings.found, settings.limits, settings.complaints) == ({}, {}, [])


def test_with_every_comment_sign_removed_all_of_it_is_well_formed(place: Place) -> None:
    place.write(place.user, uncommented())
    settings = place.load("my-index-server")
    assert settings.complaints == []
    assert set(settings.found) == set(VALUED)
    assert set(settings.limits) == set(limits.CONFIGURABLE)
    assert (set(settings.count), set(settings.ignore)) == ({"TMUX", "TMUX_PANE"}, {"MY_EDITOR_SESSION"})


def test_the_limits_in_it_are_the_defaults(place: Place) -> None:
    place.write(place.user, uncommented())
    found = {name: value for name, (value, _) in place.load().limits.items()}
    assert found == {name: getattr(limits, name.upper()) for name in limits.CONFIGURABLE}


def test_the_schema_in_the_repository_is_the_one_that_the_command_prints() -> None:
    assert json.loads((CONFIGS / "mux.schema.json").read_text(encoding="utf-8")) == schema()


def test_the_schema_knows_every_key_that_is_accepted_and_the_example_uses_each() -> None:
    properties: dict[str, Any] = schema()["properties"]
    assert set(properties) == {name.replace("-", "_") for name in VALUED} | {"env", "limits", "server"}
    section = properties["server"]["items"]["properties"]
    assert set(section) == {name.replace("-", "_") for name in OF_A_SERVER} | {"match"}
    example = tomllib.loads(uncommented())
    assert set(example) == set(properties)
    assert {key for table in example["server"] for key in table} == set(section)


@pytest.mark.parametrize("key", ["anyOf", "type", "enum", "additionalProperties"])
def test_the_schema_says_something_of_each_value(key: str) -> None:
    assert key in json.dumps(schema())
