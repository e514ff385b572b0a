"""Every loss: autograd against finite differences, in float64, away from the kinks of clipping."""

import pytest
import torch

from explore_rl.objectives import divergences, losses


def columns(seed=0, count=64):
    generator = torch.Generator().manual_seed(seed)

    def draw(scale=1.0, shift=0.0):
        return scale * torch.randn(count, generator=generator, dtype=torch.float64) + shift

    old = -torch.rand(count, generator=generator, dtype=torch.float64) * 3 - 0.05
    return {
        "old": old,
        "logprob": old + draw(0.3),
        "advantage": draw(),
        "reference": old + draw(0.3),
        "entropy": draw().abs(),
    }


def cases():
    c = columns()
    ratio = (c["logprob"] - c["old"]).exp()
    off_the_bounds = ((ratio - 0.8).abs() > 1e-3) & ((ratio - 1.28).abs() > 1e-3)
    yield "ppo_clip", lambda x: losses.ppo_clip(x, c["old"], c["advantage"], 0.2, 0.28), off_the_bounds
    yield (
        "ppo_clip dual",
        lambda x: losses.ppo_clip(x, c["old"], c["advantage"], 0.2, 0.28, dual_clip=1.5),
        off_the_bounds & ((ratio - 1.5).abs() > 1e-3),
    )
    everywhere = torch.ones_like(ratio, dtype=torch.bool)
    yield "likelihood", losses.likelihood, everywhere
    yield "shaped_trace", lambda x: losses.shaped_trace(x, c["advantage"], 0.1), everywhere
    shaped = c["logprob"].exp() / (c["logprob"].exp() + 0.1)
    yield (
        "shaped_trace clipped",
        lambda x: losses.shaped_trace(x, c["advantage"], 0.1, clip=0.7),
        (shaped - 0.7).abs() > 1e-3,
    )
    for name in ("k1", "k2", "k3"):
        yield name, lambda x, function=name: getattr(divergences, function)(x, c["reference"]), everywhere


@pytest.mark.parametrize("name, loss, smooth", cases(), ids=lambda x: x if isinstance(x, str) else "")
def test_autograd_agrees_with_finite_differences(name, loss, smooth):
    x = columns()["logprob"].requires_grad_()
    [gradient] = torch.autograd.grad(loss(x).sum(), x)
    step = 1e-6
    with torch.no_grad():
        differences = (loss(x + step) - loss(x - step)) / (2 * step)
    assert smooth.sum() > 50
    torch.testing.assert_close(gradient[smooth], differences[smooth], atol=1e-8, rtol=1e-7)


def test_entropy_bonus_has_gradient_through_the_entropy_alone():
    logprob, entropy = torch.zeros(3, requires_grad=True), torch.ones(3, requires_grad=True)
    losses.entropy_bonus(logprob, entropy).sum().backward()
    assert entropy.grad.tolist() == [-1, -1, -1] and logprob.grad is None
