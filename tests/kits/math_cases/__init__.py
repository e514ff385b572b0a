r"""Answers for the math verifier by the kind of mistake that they try: (reference, answer in a box, whether it is
right).

The first lines of each kind come from public bug reports, in our own words; the others are further inputs of the same
kind.
"""

from math_cases import forms, further, said, units, values

__all__ = ["CASES", "SAID"]

CASES = values.CASES | units.CASES | forms.CASES | further.CASES
SAID = said.SAID | further.SAID
