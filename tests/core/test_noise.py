"""The list of noise itself: what may stand in it. What it does is shown with `mux.core.environment`."""

from __future__ import annotations

import itertools

import pytest

from mux.core.noise import FORMER_DIRECTORIES, HOST_MARKS, NOISE, PROJECT_DIRECTORIES

ALL = [name for names in NOISE.values() for name in names]
MARKS = {name for names in HOST_MARKS.values() for name in names}


def matches(pattern: bytes, name: bytes) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith(b"*") else name == pattern


@pytest.mark.parametrize("name", sorted({*ALL, *MARKS, *FORMER_DIRECTORIES, *PROJECT_DIRECTORIES}))
def test_an_entry_is_the_name_of_a_variable_with_at_most_a_star_at_its_end(name: bytes) -> None:
    assert name.removesuffix(b"*").replace(b"_", b"a").isalnum()
    assert len(name) > 3 or name == b"_" or not name.endswith(b"*"), "a beginning so short says nothing"


def test_no_name_stands_in_the_list_twice_or_under_the_beginning_of_another() -> None:
    assert not [(a, b) for a, b in itertools.permutations(ALL, 2) if matches(a, b.removesuffix(b"*"))]


@pytest.mark.parametrize(
    "name",
    [
        b"SSH_AUTH_SOCK",
        b"VSCODE_GIT_IPC_HANDLE",
        b"TERM",
        b"DISPLAY",
        b"LANG",
        b"NVIM",
        b"PATH",
        b"HOME",
        b"PWD",
        b"CLAUDE_CONFIG_DIR",
        b"CODEX_HOME",
        b"GEMINI_API_KEY",
        b"OPENCODE_CONFIG",
    ],
)
def test_what_a_server_adapts_to_or_acts_with_is_no_noise(name: bytes) -> None:
    assert not [pattern for pattern in ALL if matches(pattern, name)]


def test_what_tells_the_kind_of_host_and_where_its_project_is_is_not_noise_to_every_server() -> None:
    assert not [name for name in MARKS | PROJECT_DIRECTORIES for pattern in ALL if matches(pattern, name)]


def test_each_list_of_names_says_who_sets_them() -> None:
    assert all(who and names for who, names in (*NOISE.items(), *HOST_MARKS.items()))
