"""The sandbox: plain data over the wire, and what cannot be started."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explore_rl.verifiers.sandbox import Program, isolation
from explore_rl.verifiers.sandbox_limits import ProgramRaised, SandboxFault, SandboxLimits
from explore_rl.verifiers.sandbox_wire import pack, unpack

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(st.integers())
        | st.frozensets(st.text())
        | st.dictionaries(st.integers() | st.text(), inner)
    ),
    max_leaves=10,
)


def typed(value):
    """The value with the type of every part spelt out, and sets without an order."""
    if isinstance(value, dict):
        return "dict", [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value), {(type(item), item) for item in value}
    if isinstance(value, (list, tuple)):
        return type(value), [typed(item) for item in value]
    return type(value), repr(value)


@settings(max_examples=200, deadline=None)
@given(PLAIN)
def test_plain_data_travels_unchanged(value):
    assert typed(unpack(json.loads(json.dumps(pack(value))))) == typed(value)


TAGS = st.sampled_from(["dict", "set", "tuple", "hex", "bytes", "range", "complex", "type", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(TAGS, x),
    max_leaves=15,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_whatever_comes_over_the_wire_is_plain_or_refused(data):
    kinds = (type(None), bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, range, type)
    try:
        assert type(unpack(data)) in kinds
    except ValueError:
        pass


def test_hostile_exceptions_do_not_stop_the_answer():
    program = "class E(Exception):\n    def __str__(self): raise ValueError\ndef f(): raise E"
    with Program(program, "calls", limits=SandboxLimits(), held_by=isolation()) as running:
        running.define()
        with pytest.raises(ProgramRaised, match="E"):
            running.call("f")


def test_python_that_cannot_be_started_is_a_fault(monkeypatch):
    monkeypatch.setattr("sys.executable", "/no/such/python")
    with (
        pytest.raises(SandboxFault, match="did not start"),
        Program("", "calls", limits=SandboxLimits(), held_by=isolation()),
    ):
        pass
