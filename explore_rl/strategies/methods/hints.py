"""Hints after failure: NuRL (arXiv 2509.25666), Scaf-GRPO (2510.19807) and GHPO (2507.10628) as one method.

Acts at: plan (in rounds: where all draws failed, more are drawn with a hint), inject (how they join the group). They
differ in what the hint is and in what becomes of the hinted draws:

    tiers   shares of a trace that are given one after the other, until a draw succeeds (GHPO .25 .5 .75)
    place   "prefix": the completion begins with it, given; "prompt": the prompt ends with it, in `template`
    use     "join": all hinted draws join the group (NuRL); "replace": the failed ones go, one stays (GHPO);
            "swap": one failed draw goes, one hinted success comes (Scaf-GRPO)

A hinted draw is trained under the hinted prompt that it was drawn with, so that nothing is off the policy.
"""

from __future__ import annotations

from dataclasses import replace

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.prefixes import beginning, go_on, traces_of_failed
from explore_rl.strategies.trace_options import FromTraces
from explore_rl.strategies.traces import UsableTrace, without_success
from explore_rl.types import Group, Problem, Request, Status

HINT = "hint"  # the source of its draws


class Hints(FromTraces):
    """Draws again with a hint what failed without.

    tiers: shares of a trace, rising.
    draws: how many a tier gets.
    place, use: see above.
    template: how a hinted prompt is written, with the slots {prompt} and {hint}; for place "prompt" alone.
    after: share of the run's steps before which no hint is given; .15 in Scaf-GRPO.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`; rate 0: GRPO.
    """

    name = "hints"
    biases = "it hints where the draws failed"
    trial = Trial(on={"draws": 2}, off={"rate": 0.0})

    def __init__(
        self,
        *,
        tiers: tuple[float, ...] | list[float] = (0.25, 0.5, 0.75),
        draws: int = 4,
        place: str = "prefix",
        use: str = "join",
        template: str = "{prompt}{hint}",
        after: float = 0.0,
        **options,
    ):
        super().__init__(**options)
        self.tiers = parameters.rising("tiers", tiers)
        self.draws = parameters.whole("draws", draws, least=1)
        self.place = parameters.choice("place", place, choices=("prefix", "prompt"))
        self.use = parameters.choice("use", use, choices=("join", "replace", "swap"))
        self.template = parameters.text("template", template) or ""
        if "{prompt}" not in self.template or "{hint}" not in self.template:
            raise ValueError(f"template={template!r}: expected the slots {{prompt}} and {{hint}}")
        self.after = parameters.share("after", after)
        self.hinted: dict[tuple[str, str], Problem] = {}  # kept, since the trainer knows prompts by their problem

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        early = context.number < self.after * context.config.run.steps
        if round == 0 or round > len(self.tiers) or early:
            return requests
        if round == 1:
            context.kept["hints"] = traces_of_failed(self, groups, context=context)
        wanted = []
        for index, trace in context.kept["hints"].items():
            if without_success(groups[index]):
                wanted += [
                    self._request(groups[index], index, tier=round - 1, trace=trace, context=context)
                ] * self.draws
        context.metrics["hinted"] = context.metrics.get("hinted", 0.0) + len(wanted)
        return requests + wanted

    def _request(self, group: Group, index: int, *, tier: int, trace: UsableTrace, context: StepContext) -> Request:
        if self.place == "prefix":
            return go_on(group, index, prefix=beginning(trace.tokens, self.tiers[tier]), source=HINT, context=context)
        problem = group.problem
        shown = trace.trace.text[: int(self.tiers[tier] * len(trace.trace.text))]
        hinted = self.hinted.setdefault((problem.id, shown), self._with_hint(problem, shown))
        prompt_ids = context.encode_prompt(hinted)
        return go_on(group, index, prefix=prompt_ids[:0], source=HINT, context=context, prompt_ids=prompt_ids)

    def _with_hint(self, problem: Problem, hint: str) -> Problem:
        if isinstance(problem.prompt, str):
            return replace(problem, prompt=self.template.format(prompt=problem.prompt, hint=hint))
        *before, last = problem.prompt
        content = self.template.format(prompt=last["content"], hint=hint)
        return replace(problem, prompt=[*before, {**last, "content": content}])

    def inject(self, groups: list[Group], context: StepContext) -> None:
        for index in context.kept.pop("hints", {}):
            group = groups[index]
            hinted = [s for s in group.samples if s.rollout.request.source == HINT]
            own = [s for s in group.samples if s.rollout.request.source != HINT]
            if self.use == "replace" and hinted:
                group.samples = [*own[:1], *hinted]
            elif self.use == "swap":
                won = [s for s in hinted if s.verdict.status is Status.CORRECT][:1]
                group.samples = [*own[: len(own) - len(won)], *won]
