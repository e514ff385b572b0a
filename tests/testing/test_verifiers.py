"""Verifiers in this process, in place of a pool."""

from explore_rl.testing import InProcessVerifiers, digit_problems
from explore_rl.types import Status
from explore_rl.verifiers.pool import Item


def test_a_verifier_that_raises_is_an_error_and_options_reach_the_built_in_ones():
    def broken(completion, problem, *, truncated=False):
        raise KeyError("answer")

    problem = digit_problems()[0]
    verifiers = InProcessVerifiers({"gsm8k": {"kind": "numeric"}}, {"digits": broken})
    named = Item(problem, "The answer is 1", verifier="gsm8k")
    found = verifiers.verify_all([Item(problem, "01"), named])
    assert [verdict.status for verdict in found] == [Status.ERROR, Status.CORRECT]
    assert found[0].score is None and "KeyError" in found[0].reason
