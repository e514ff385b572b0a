"""One benchmark of both sides: what every section of the audit document is computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from analysis.counts import Counts
from analysis.dependence import CHOICES
from analysis.errors import InputError
from analysis.intervals import Bootstrap
from analysis.lucky import NONE, FalsePositives
from analysis.records import ModelSamples, Scores
from analysis.verdict import DEFAULT_RULES, Rules

Found = TypeVar("Found")


@dataclass(frozen=True)
class AuditSettings:
    """What an audit is asked to do.

    k: values of k; None takes the powers of two up to n, and n. The support is read at the largest.
    eps: threshold of certified support; None takes ln(20 M)/n.
    confidence: of every interval and certificate.
    rules: of the verdict, with their level and margin (analysis.verdict).
    false_positives: how often the verifier accepts a wrong draw of base and tuned (analysis.lucky).
    clusters: draws that belong together, one of analysis.dependence.CHOICES.
    alpha: a trace of the base counts as kept where the tuned model gives it at least this share of its probability.
    trained_on: benchmarks that the model was tuned on; the others show what became of other tasks.
    replicates: of the bootstrap.
    maj_repeats: draws behind each maj@k.
    seed: of all that is random here.
    """

    k: tuple[int, ...] | None = None
    eps: float | None = None
    confidence: float = 0.95
    rules: Rules = DEFAULT_RULES
    false_positives: tuple[FalsePositives, FalsePositives] = (NONE, NONE)
    clusters: str = "auto"
    alpha: float = 0.1
    trained_on: tuple[str, ...] = ()
    replicates: int = 2000
    maj_repeats: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k is not None and (not self.k or min(self.k) < 1):
            raise InputError(f"k = {list(self.k)}; give at least one k, each at least 1")
        if self.eps is not None and not 0 < self.eps < 1:
            raise InputError(f"eps = {self.eps}; it is a probability between 0 and 1")
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence = {self.confidence}; it must lie between 0 and 1")
        if not 0 < self.alpha <= 1:
            raise InputError(f"alpha = {self.alpha}; it is a share of a probability, above 0 and at most 1")
        if self.clusters not in CHOICES:
            raise InputError(f"clusters = {self.clusters!r}; it should be one of {', '.join(CHOICES)}")
        if self.replicates < 100:
            raise InputError(f"replicates = {self.replicates}; an interval needs at least 100")

    def document(self) -> dict[str, Any]:
        """All settings, the rules' own beside the others."""
        return {name: value for name, value in asdict(self).items() if name != "rules"} | asdict(self.rules)


DEFAULTS = AuditSettings()


def ks_up_to(largest: int) -> np.ndarray:
    """The powers of two up to `largest`, and `largest`.

    >>> ks_up_to(12).tolist()
    [1, 2, 4, 8, 12]
    """
    return np.unique([2**power for power in range(largest.bit_length())] + [largest])


@dataclass
class BenchmarkPair:
    """One benchmark of base and tuned model (and of a second draw of the base, where there is one).

    base, tuned, redraw: aligned samples of its M problems.
    votes: the values of k of maj@k [K], and maj@k of base and tuned [M, K], once they are found.
    scores: log-probabilities of texts under the models.
    b, t: draws and correct draws of base and tuned.
    largest: the largest k that every problem of both sides allows.
    k: values of k that are asked for, ascending.
    settings: the audit's.
    parts: of the pooled problems, the pairs of their benchmarks, so that what is found problem by problem (and with
    random draws, as maj@k) is found once.
    shared: what audits of several runs against one base share, filled as they go (None: nothing).
    rng, bootstrap: shared by all sections, so that differences are paired.
    """

    base: ModelSamples
    tuned: ModelSamples
    redraw: ModelSamples | None = None
    scores: Scores | None = None
    settings: AuditSettings = DEFAULTS
    parts: tuple[tuple[BenchmarkPair, np.ndarray], ...] = ()
    shared: dict[Any, Any] | None = None

    def __post_init__(self) -> None:
        self.votes: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self.b = Counts(self.base.n, self.base.correct)
        self.t = Counts(self.tuned.n, self.tuned.correct)
        self.largest = int(min(self.base.n.min(), self.tuned.n.min()))
        self.k = ks_up_to(self.largest) if self.settings.k is None else np.unique(self.settings.k)
        if self.k[-1] > self.largest:
            where = min((self.base, self.tuned), key=lambda side: side.n.min())
            raise InputError(
                f"k = {self.k[-1]} is above n = {self.largest}, "
                f"the draws of problem {where.problem_ids[int(where.n.argmin())]!r} of {where.name}; "
                "draw more, or ask for a smaller k"
            )
        self.rng = np.random.default_rng(self.settings.seed)
        self.bootstrap = self.of_base("bootstrap", self._bootstrap)

    def _bootstrap(self) -> Bootstrap:
        return Bootstrap.draw(
            len(self.base), self.settings.replicates, rng=self.rng, confidence=self.settings.confidence
        )

    def of_base(self, what: str, find: Callable[[], Found]) -> Found:
        """What depends on the base, its problems and k alone, so that it is found once for all runs against the base.

        The random state afterwards is the same either way, and so are the results.
        """
        if self.shared is None:
            return find()
        key = (what, self.base.problem_ids[0], self.base.benchmarks[0], len(self.base), tuple(self.k.tolist()))
        if key not in self.shared:
            self.shared[key] = (find(), self.rng.bit_generator.state)
        found, self.rng.bit_generator.state = self.shared[key]
        return found

    def __len__(self) -> int:
        return len(self.base)

    @property
    def sides(self) -> tuple[ModelSamples, ModelSamples]:
        """Base and tuned."""
        return self.base, self.tuned
