from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.core.identity import KEY_BYTES, SCOPES, Identity, canonical_initialize, differences, names_relative_path

PLAIN = Identity(
    scope="directory",
    argv=(b"server", b"--stdio"),
    executable=b"/usr/bin/server",
    cwd=b"/home/u/project",
    environment=(b"HOME=/home/u", b"TOKEN=secret"),
    umask=0o022,
    limits=(b"RLIMIT_NOFILE=1024:4096",),
)

# few and short, so that near misses are common: the same bytes cut elsewhere, moved to another part
word = st.text("ab=:[0", max_size=3).map(str.encode)
group = st.lists(word, max_size=3).map(tuple)
identities = st.builds(
    Identity,
    scope=st.sampled_from(SCOPES),
    argv=group,
    executable=word,
    cwd=word,
    environment=group,
    umask=st.integers(0, 3),
    limits=group,
    salt=word,
)


def parts(one: Identity) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(one)[:4], sorted(one.environment), one.umask, sorted(one.limits), one.salt)


@given(identities, identities)
def test_keys_are_equal_exactly_when_all_parts_are(a: Identity, b: Identity) -> None:
    assert (a.base_key() == b.base_key()) == (parts(a) == parts(b))
    assert len(a.base_key()) == KEY_BYTES


@given(identities, st.data())
def test_a_change_of_one_part_changes_the_key(a: Identity, data: st.DataObject) -> None:
    part = data.draw(st.sampled_from(Identity.__struct_fields__))
    b = msgspec.structs.replace(a, **{part: getattr(data.draw(identities), part)})
    assert (a.base_key() == b.base_key()) == (parts(a) == parts(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"argv": (b"ab", b"c")}, {"argv": (b"a", b"bc")}),
        ({"argv": (b"ab",)}, {"argv": (b"a", b"b")}),
        ({"argv": (b"a", b"")}, {"argv": (b"a",)}),
        ({"argv": (b"a", b"b=c"), "environment": ()}, {"argv": (b"a",), "environment": (b"b=c",)}),
        ({"environment": (b"a=b",), "limits": ()}, {"environment": (), "limits": (b"a=b",)}),
        ({"executable": b"/a/b", "cwd": b""}, {"executable": b"/a", "cwd": b"/b"}),
    ],
)
def test_the_same_bytes_in_other_parts_make_another_key(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert msgspec.structs.replace(PLAIN, **a).base_key() != msgspec.structs.replace(PLAIN, **b).base_key()


@given(identities)
def test_the_order_of_environment_and_limits_does_not_count(a: Identity) -> None:
    b = msgspec.structs.replace(a, environment=a.environment[::-1], limits=a.limits[::-1])
    assert a.base_key() == b.base_key()


def test_a_salted_identity_has_a_key_of_its_own() -> None:
    keys = {one.base_key() for one in (PLAIN, PLAIN.salted(b"1"), PLAIN.salted(b"2"))}
    assert len(keys) == 3


@given(identities, identities)
def test_differences_are_named_exactly_when_keys_differ(a: Identity, b: Identity) -> None:
    unique = all(len(set(names)) == len(names) for one in (a, b) for names in (one.environment, one.limits))
    if unique:
        assert bool(differences(a, b)) == (a.base_key() != b.base_key())


def test_differences_are_names_and_never_values() -> None:
    other = Identity(
        scope="user",
        argv=(b"server", b"--password=hunter2"),
        executable=b"/opt/server",
        cwd=b"/elsewhere",
        environment=(b"EMPTY=", b"HOME=/home/u", b"TOKEN=other"),
        umask=0o077,
        limits=(b"RLIMIT_NOFILE=9:9",),
        salt=b"s",
    )
    assert differences(PLAIN, other) == [
        "argv",
        "cwd",
        "environment EMPTY",
        "environment TOKEN",
        "executable",
        "limit RLIMIT_NOFILE",
        "scope",
        "session",
        "umask",
    ]
    assert differences(PLAIN, PLAIN) == []


@pytest.mark.parametrize(
    ("argv", "relative"),
    [
        ([b"node", b"/abs/server.js"], False),
        ([b"node", b"./server.js"], True),
        ([b"node", b".."], True),
        ([b"node", b".env"], True),
        ([b"node", b"--root=."], True),
        ([b"node", b"--root=/abs"], False),
        ([b"node", b"--file=there.js"], True),
        ([b"node", b"there.js"], True),
        ([b"node", b"absent.js"], False),
        ([b"node", b""], False),
        ([b"there.js"], False),
        ([b"./run"], True),
        ([b"bin/run"], True),
        ([b"/bin/run"], False),
    ],
)
def test_a_relative_path_in_the_command_line_is_seen(argv: list[bytes], *, relative: bool) -> None:
    there = {b"there.js", b"bin/run"}
    assert names_relative_path(argv, there.__contains__) is relative


def test_the_order_of_keys_and_white_space_of_an_initialize_do_not_count() -> None:
    a = b'{"protocolVersion":"2025-11-25","capabilities":{"roots":{},"elicitation":{}},"clientInfo":{"name":"x"}}'
    b = b'{ "clientInfo":{"name":"x"},"capabilities":{"elicitation":{}, "roots":{}},"protocolVersion":"2025-11-25"}'
    assert canonical_initialize(a) == canonical_initialize(b)


@pytest.mark.parametrize(
    "other",
    [
        {"protocolVersion": "2", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
        {"protocolVersion": "1", "capabilities": {"roots": {}}, "clientInfo": {"name": "x", "version": "1"}},
        {"protocolVersion": "1", "capabilities": {}, "clientInfo": {"name": "x", "version": "2"}},
        {"protocolVersion": "1", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}, "_meta": {"a": 1}},
        {"protocolVersion": "1", "capabilities": [], "clientInfo": {"name": "x", "version": "1"}},
    ],
)
def test_everything_else_of_an_initialize_counts(other: dict[str, Any]) -> None:
    one = {"protocolVersion": "1", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    assert canonical_initialize(json.dumps(one).encode()) != canonical_initialize(json.dumps(other).encode())


def test_the_progress_token_of_an_initialize_does_not_count_and_the_rest_of_meta_does() -> None:
    assert canonical_initialize(b'{"a":1,"_meta":{"progressToken":7}}') == canonical_initialize(b'{"a":1}')
    with_more = canonical_initialize(b'{"a":1,"_meta":{"progressToken":7,"k":2}}')
    assert with_more == canonical_initialize(b'{"_meta":{"k":2},"a":1}')
    assert with_more != canonical_initialize(b'{"a":1}')


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a":NaN}', b"[" * 100_000, b'{"a":"\xff"}', b'{"_meta":'])
def test_what_the_parser_refuses_counts_as_it_is(raw: bytes) -> None:
    assert canonical_initialize(raw) == raw


@pytest.mark.parametrize("raw", [b"null", b"[]", b"3", b'{"_meta":null}', b'{"_meta":[]}', b'{"_meta":3}'])
def test_odd_params_are_no_error(raw: bytes) -> None:
    assert canonical_initialize(raw) == raw


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text("ab_"), inner)))
def test_the_canonical_form_is_a_fixed_point(value: Any) -> None:
    once = canonical_initialize(json.dumps(value, ensure_ascii=False).encode())
    assert canonical_initialize(once) == once
