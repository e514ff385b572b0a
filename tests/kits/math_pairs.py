"""Values of every kind, each in several dresses: for property tests, and for comparing verifiers on random pairs."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

# A value is a kind and a tuple of numbers; equal tuples are equal values, and all others are unequal.
Value = tuple[str, tuple]


def integer(n: int) -> list[str]:
    forms = [str(n), f"{n}.0", f"{{{n}}}", rf"\text{{{n}}}", rf"\mathbf{{{n}}}", f"x = {n}"]
    return forms + (
        [f"{n:,}", f"{n:,}".replace(",", "{,}")] if abs(n) > 999 else [rf"{n - 1} + 1 = {n}" if n > 1 else f"({n})"]
    )


def fraction(top: int, bottom: int) -> list[str]:
    value = Fraction(top, bottom)
    top, bottom = value.numerator, value.denominator
    sign, size = ("-" if top < 0 else ""), abs(top)
    forms = [
        rf"\frac{{{top}}}{{{bottom}}}",
        rf"{sign}\dfrac{{{size}}}{{{bottom}}}",
        f"{top}/{bottom}",
        rf"\frac{{{2 * top}}}{{{2 * bottom}}}",
    ]
    whole, rest = divmod(size, bottom)
    return forms + (
        [rf"{sign}{whole}\frac{{{rest}}}{{{bottom}}}", f"{sign}{whole} {rest}/{bottom}"] if whole and rest else []
    )


def root(a: int, b: int) -> list[str]:
    return [
        rf"{a}\sqrt{{{b}}}",
        rf"{a}\cdot\sqrt{{{b}}}",
        rf"\sqrt{{{b}}} \times {a}",
        rf"{a}√{b}",
        rf"\frac{{{a * b}}}{{\sqrt{{{b}}}}}",
    ]


def polynomial(a: int, b: int, c: int) -> list[str]:
    return [
        f"{a}x^2 + {b}x + {c}",
        f"{c} + {b}x + {a}x^{{2}}",
        f"{a}x² + {b}x + {c}",
        rf"x({a}x + {b}) + {c}",
        rf"y = {a}x^2+{b}x+{c}",
    ]


def closed(a: int, b: int) -> list[str]:
    return [
        f"[{a}, {b}]",
        rf"\left[{a},{b}\right]",
        rf"{a} \le x \le {b}",
        rf"x \in [{a},{b}]",
        rf"\{{x \mid {a} \leq x \leq {b}\}}",
    ]


def half_open(a: int, b: int) -> list[str]:
    return [f"[{a}, {b})", rf"{a} \le x < {b}", rf"x \ge {a} \text{{ and }} x < {b}", rf"{b} > x \geq {a}"]


def ray(a: int) -> list[str]:
    return [rf"({a}, \infty)", f"x > {a}", f"{a} < x", rf"\{{x : x > {a}\}}", rf"-x < {-a}"]


def without(a: int) -> list[str]:
    return [
        rf"x \neq {a}",
        rf"(-\infty,{a})\cup({a},\infty)",
        rf"\mathbb{{R}}\setminus\{{{a}\}}",
        rf"x < {a} \text{{ or }} x > {a}",
    ]


def pair(a: int, b: int) -> list[str]:
    return [
        f"({a}, {b})",
        rf"\left({a}, {b}\right)",
        f"({a};{b})",
        f"(x,y)=({a},{b})",
        f"x={a}, y={b}",
        f"y={b}, x={a}",
    ]


def triple(a: int, b: int, c: int) -> list[str]:
    return [
        f"({a},{b},{c})",
        rf"\left({a}, {b}, {c}\right)",
        rf"\begin{{pmatrix}} {a} \\ {b} \\ {c} \end{{pmatrix}}",
        f"z={c}, x={a}, y={b}",
    ]


def set_of(*numbers: int) -> list[str]:
    turned = numbers[::-1]
    plain, back = ", ".join(map(str, numbers)), ", ".join(map(str, turned))
    return [
        plain,
        back,
        rf"\{{{plain}\}}",
        " and ".join(map(str, turned)),
        r" \text{ or } ".join(f"x={n}" for n in numbers),
    ]


def unknowns(a: int, b: int) -> list[str]:
    return [f"m={a}, n={b}", f"n={b}, m={a}", f"(m,n)=({a},{b})", rf"n = {b} \text{{ and }} m = {a}"]


def matrix(a: int, b: int, c: int, d: int) -> list[str]:
    cells = rf"{a} & {b} \\ {c} & {d}"
    array = rf"\left(\begin{{array}}{{cc}} {cells} \end{{array}}\right)"
    return [rf"\begin{{pmatrix}} {cells} \end{{pmatrix}}", rf"\begin{{bmatrix}} {cells} \\ \end{{bmatrix}}", array]


def length(a: int) -> list[str]:
    return [rf"{a}\text{{ m}}", f"{a} meters", f"{a} m", rf"{100 * a}\text{{ cm}}", rf"{a}\ \mathrm{{m}}"]


def speed(a: int) -> list[str]:
    return [
        rf"{a}\text{{ m/s}}",
        rf"{a}\ \mathrm{{m\,s^{{-1}}}}",
        f"{a} meters per second",
        rf"{a}\,\text{{m}}/\text{{s}}",
    ]


def area(a: int) -> list[str]:
    return [rf"{a}\text{{ cm}}^2", f"{a} square centimeters", f"{a} cm²", rf"{a}\mathrm{{~cm}}^{{2}}"]


def money(cents: int) -> list[str]:
    return [
        rf"\${cents // 100}.{cents % 100:02d}",
        rf"{cents}\text{{ cents}}",
        f"{cents // 100}.{cents % 100:02d} dollars",
    ]


def millions(a: int) -> list[str]:
    return [rf"{a}\text{{ million people}}", rf"{a} million people", f"{a},000,000 people"]


def line(a: int, b: int) -> list[str]:
    return [f"{a}x + {b}y = 1", f"{2 * a}x+{2 * b}y-2=0", rf"1 = {b}y + {a}x", rf"{a}x + {b}y - 1 = 0"]


def based(n: int, base: int) -> list[str]:
    digits, left = "", n
    while left:
        digits, left = "0123456789"[left % base] + digits, left // base
    return [f"{digits}_{base}", f"{digits}_{{{base}}}", f"({digits})_{{{base}}}"]


# kind -> (how it is written, ranges of its numbers). Ranges are chosen so that no two kinds hold equal values
KINDS: dict[str, tuple[Callable[..., list[str]], tuple[range, ...]]] = {
    "integer": (integer, (range(-50, 3000),)),
    "root": (root, (range(2, 20), range(2, 4))),
    "polynomial": (polynomial, (range(2, 9), range(2, 9), range(2, 9))),
    "closed": (closed, (range(-9, 0), range(1, 9))),
    "half open": (half_open, (range(-9, 0), range(1, 9))),
    "ray": (ray, (range(1, 30),)),
    "without": (without, (range(1, 30),)),
    "pair": (pair, (range(-9, 9), range(10, 30))),
    "triple": (triple, (range(-9, 9), range(10, 19), range(20, 29))),
    "set": (set_of, (range(-9, 0), range(1, 9), range(10, 19))),
    "unknowns": (unknowns, (range(1, 9), range(10, 19))),
    "matrix": (matrix, (range(-9, 9),) * 4),
    "length": (length, (range(2, 90),)),
    "speed": (speed, (range(2, 90),)),
    "area": (area, (range(2, 90),)),
    "money": (money, (range(101, 2000, 2),)),
    "millions": (millions, (range(2, 90),)),
    "line": (line, (range(2, 9), range(11, 19))),
    "based": (based, (range(100, 900), range(4, 9))),
}


def any_value(generator: random.Random) -> Value:
    kind = generator.choice([*KINDS, "fraction"])
    if kind == "fraction":
        top, bottom = generator.choice([t for t in range(-20, 60) if t % 7]), 7
        return kind, (top, bottom)
    return kind, tuple(generator.choice(numbers) for numbers in KINDS[kind][1])


def dresses(value: Value) -> list[str]:
    kind, numbers = value
    return fraction(*numbers) if kind == "fraction" else KINDS[kind][0](*numbers)


def near(value: Value, generator: random.Random) -> Value:
    """Another value of the same kind: one number is another one, or two of them change places."""
    kind, numbers = value
    changed = list(numbers)
    if kind in ("pair", "triple", "unknowns", "matrix") and generator.random() < 0.5 and changed[0] != changed[1]:
        changed[0], changed[1] = changed[1], changed[0]
    else:
        place = generator.randrange(1) if kind in ("fraction", "based") else generator.randrange(len(changed))
        changed[place] += 7 if kind == "fraction" else 2 if kind == "money" else 1
    return kind, tuple(changed)


def distinct(count: int, seed: int) -> list[Value]:
    """So many values, no two of them equal."""
    generator, found = random.Random(seed), {}
    while len(found) < count:
        value = any_value(generator)
        found[value] = None
    return list(found)


# units may be left out and labels too, so these kinds are met by a bare number of theirs, or hold it
LOOSE = {"integer", "length", "speed", "area", "money", "millions", "based", "fraction"}


def comparable(one: Value, other: Value) -> bool:
    """Whether two unequal values must be told apart.

    A bare number may answer one with a unit, a pair one with labels.
    """
    kinds = {one[0], other[0]}
    return len(kinds) == 1 or not ((kinds <= LOOSE and "integer" in kinds) or kinds == {"pair", "unknowns"})
