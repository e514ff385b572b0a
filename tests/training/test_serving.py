"""Completions are verified as their texts end, while others are drawn; one that is drawn again is verified again."""

import threading

from explore_rl.rollout.answers import EndedText
from explore_rl.rollout.dealing import EndedTexts
from explore_rl.testing import digits_config, make_trainer, run_steps


class Verifiers:
    """Notes what it is handed, and that a verdict was there before it was asked for."""

    def __init__(self, verifiers, drawn):
        self.verifiers, self.drawn, self.begun = verifiers, drawn, []

    def verify_all(self, items):
        return self.verifiers.verify_all(items)

    def begin(self, items):
        self.begun.append((len(items), self.drawn.is_set()))
        return self.verifiers.begin(items)


def in_halves(trainer, change=lambda text: text):
    """The engines tell of the first half of a draw before they draw the second."""
    drawn = threading.Event()
    verifiers = trainer.actors.verifiers = Verifiers(trainer.actors.verifiers, drawn)
    engines = trainer.actors.engines
    generate = engines.generate

    def halves(requests, on_texts=None):
        drawn.clear()
        middle = len(requests) // 2
        first = generate(requests[:middle])
        if on_texts is not None:
            on_texts([EndedText(i, change(r.text), r.finish_reason) for i, r in enumerate(first)])
        drawn.set()
        return first + generate(requests[middle:])

    engines.generate = halves
    return verifiers


def test_the_first_texts_are_verified_while_the_last_are_drawn(tmp_path):
    config = digits_config("run.steps=2", "run.ahead=1")
    expected = run_steps(tmp_path / "plain", config=config)
    for name, change, again in (("as drawn", str, 16), ("otherwise in the end", lambda text: text + "?", 32)):
        trainer = make_trainer(tmp_path / name, config=config)
        trainer.start()
        verifiers = in_halves(trainer, change)
        trainer.run()
        assert verifiers.begun == [(16, False), (again, True)] * 2
        assert (trainer.actors.learner.policy.logits == expected.table).all()


class Handle:
    """An engine's actor, whose texts come when they are set. Ray is not asked: an answer is there at once."""

    def __init__(self):
        self.ended, self.texts = [], self

    def remote(self, draw, begin):
        return self.ended[begin:] if draw == 7 else []


def test_texts_are_told_once_and_by_the_index_of_their_request(monkeypatch):
    from explore_rl.rollout import dealing

    monkeypatch.setattr(dealing.ray, "wait", lambda refs, timeout: (refs, []))
    monkeypatch.setattr(dealing.ray, "get", lambda ref, timeout: ref)
    one, other, told = Handle(), Handle(), []
    asking = EndedTexts([(one, [0, 2]), (other, [3, 1])], 7, on_texts=told.extend)
    one.ended = [EndedText(1, "c", "stop")]
    asking.tell()
    other.ended = [EndedText(0, "d", "stop")]
    for _ in range(3):
        asking.tell()
    one.ended.append(EndedText(0, "a", "length"))
    for _ in range(3):
        asking.tell()
    assert told == [EndedText(2, "c", "stop"), EndedText(3, "d", "stop"), EndedText(0, "a", "length")]
