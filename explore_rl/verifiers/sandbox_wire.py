"""Plain data on the wire between the two sides of the sandbox. The far side loads it: the standard library alone."""

from __future__ import annotations

import itertools
import json
import os
import struct
from typing import Any, cast

MAX_DECIMAL_BITS = 10_000  # above this an int travels in hexadecimal: Python limits the digits of decimal conversion
TYPES = {
    kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, range)
}
MAX_ITERATED = 100_000  # items of an iterator that is returned


class NotPlain(Exception):
    """The value is not made of None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, range,
    iterators and these types themselves."""


def pack(value: Any) -> Any:
    """The value as JSON can hold it, with its type. Subclasses (Counter, named tuples, enums of int) travel as the type
    they extend.

    >>> pack({1: (2, 3)})
    {'dict': [[1, {'tuple': [2, 3]}]]}
    """
    if value is None or isinstance(value, (bool, float)):
        return value if value is None or type(value) in (bool, float) else float(value)
    if isinstance(value, int):
        value = int(value)
        return value if value.bit_length() <= MAX_DECIMAL_BITS else {"hex": hex(value)}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [pack(item) for item in list.__iter__(value)]
    if isinstance(value, dict):
        return {"dict": [[pack(key), pack(item)] for key, item in dict.items(value)]}
    kind: Any  # or a checker takes each one's __iter__ for the others' too
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [pack(item) for item in kind.__iter__(value)]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, type) and TYPES.get(value.__name__) is value:
        return {"type": value.__name__}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():  # a numpy scalar
        return pack(value.item())
    if hasattr(type(value), "__next__"):  # a generator, map, filter, zip, ...: what it gives, still as an iterator
        items = list(itertools.islice(cast(Any, value), MAX_ITERATED + 1))
        if len(items) <= MAX_ITERATED:
            return {"iterator": [pack(item) for item in items]}
    raise NotPlain(f"{type(value).__module__}.{type(value).__qualname__}")


def unpack(data: Any) -> Any:
    """The value again, of exactly the built-in types. Raises ValueError for anything that `pack` does not write.

    >>> unpack({'dict': [[1, {'tuple': [2, 3]}]]})
    {1: (2, 3)}
    """
    if data is None or type(data) in (bool, int, float, str):
        return data
    if type(data) is list:
        return [unpack(item) for item in data]
    if type(data) is not dict or len(data) != 1:
        raise ValueError("not one tagged value")
    ((tag, body),) = data.items()
    if tag in ("hex", "bytes") and type(body) is str:
        return int(body, 16) if tag == "hex" else bytes.fromhex(body)
    if tag == "type" and type(body) is str and body in TYPES:
        return TYPES[body]
    if type(body) is list:
        if tag == "complex" and [type(part) for part in body] == [float, float]:
            return complex(*body)
        items = [unpack(item) for item in body]
        try:
            if tag == "dict" and all(type(pair) is list and len(pair) == 2 for pair in items):
                return dict(items)
            if tag in ("tuple", "set", "frozenset", "iterator"):
                return {"tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter}[tag](items)
            if tag == "range":
                return range(*items)
        except TypeError as error:  # unhashable, or not the arguments of a range
            raise ValueError(str(error)) from error
    raise ValueError(f"unknown tag {tag!r}")


def send(fd: int, message: dict) -> None:
    body = json.dumps(message).encode()
    data = memoryview(struct.pack(">I", len(body)) + body)
    while data:
        data = data[os.write(fd, data) :]


def receive(fd: int) -> dict | None:
    """The next message, or None when the other side has gone."""

    def exactly(count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count and (part := os.read(fd, min(1 << 20, count - len(parts)))):
            parts += part
        return bytes(parts)

    head = exactly(4)
    if len(head) < 4:
        return None
    return json.loads(exactly(struct.unpack(">I", head)[0]))
