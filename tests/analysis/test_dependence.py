"""Draws that share a seed, a file or a prefix: the audit notices, warns, and relabels them as wholes."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from calibration_draws import cluster_certificates, cluster_verdicts, clustered, samples_of
from calibration_laws import at_odds

from analysis.__main__ import main
from analysis.audit import AuditSettings, audit
from analysis.cluster_null import cluster_counts
from analysis.clusters import cells_of, joined, multiplicity, one_of_each
from analysis.dependence import homogeneity, look
from analysis.errors import InputError
from analysis.readers import load
from analysis.records import Draws
from analysis.report.support import dependence_table

SHAPE = "half zero, half Beta(.3, 2)"
FAST = AuditSettings(k=(1, 128), replicates=100, maj_repeats=1)


def pair(correlation=0.0, throughout=0.0, clusters=16, problems=120, seed=0):
    rng = np.random.default_rng(seed)
    p = np.where(rng.random(problems) < 0.3, 0.0, rng.beta(0.3, 2, problems))
    return tuple(
        samples_of(clustered(p, rng, sizes=(8,) * clusters, correlation=correlation, throughout=throughout))
        for _ in range(2)
    )


def test_independent_draws_are_relabelled_one_by_one_and_the_test_is_shown():
    found = look(*pair())
    assert found.kind == "seed" and found.unit == "draws" and not found.warnings and not found.sentence
    assert found.base.clusters == 16 and found.base.draws == 8 and found.base.p > 0.05
    assert abs(found.base.correlation) < 0.02


def test_clusters_of_a_problem_and_clusters_throughout_are_told_apart():
    within = look(*pair(correlation=0.2))
    assert within.unit == "clusters in each problem" and within.base.p < 0.01
    assert within.base.correlation == pytest.approx(0.2, abs=0.07)
    throughout = look(*pair(throughout=1.0))
    assert throughout.unit == "clusters over all problems" and throughout.tuned.p_shared < 0.01
    assert "over all problems at once" in throughout.warnings[0]


def test_two_clustered_draws_of_one_model_are_not_called_changed_but_a_gain_is_found():
    called, blind, noticed = cluster_verdicts(12, np.random.default_rng(1), shape=SHAPE, problems=60, correlation=0.4)
    assert not called.missed and blind.share > 0.3 and noticed.share > 0.9
    (found,) = cluster_verdicts(6, np.random.default_rng(2), shape=SHAPE, problems=100, correlation=0.1, gained=0.08)
    assert found.share > 0.9


def test_the_audit_says_what_it_relabelled():
    base, tuned = pair(correlation=0.4, problems=40, seed=1)
    document = audit(base, tuned, settings=FAST)
    block = document["benchmarks"]["b"]
    json.dumps(document, allow_nan=False)
    assert any("draws are not independent" in line for line in document["warnings"])
    assert "whole seeds" in block["evidence"] and block["dependence"]["unit"] == "clusters in each problem"
    assert block["lucky_guesses"] is None and block["verdict"] in ("held", "inconclusive")
    (label,) = block["verdict_detail"]["other_readings"]
    assert "as if they were independent" in label
    # the bounds behind "held" do not profit from a coarser null
    single = audit(base, tuned, settings=AuditSettings(k=(1, 128), replicates=100, maj_repeats=1, clusters="none"))
    bounds = [d["benchmarks"]["b"]["verdict_detail"]["upper_loss"] for d in (document, single)]
    assert bounds[0] == bounds[1]


def test_seeds_that_differ_throughout_are_seen_behind_prefixes_that_agree():
    """Draws of four seeds, in prefixes of eight: relabelling prefixes alone called 43 % of equal models changed."""
    rng = np.random.default_rng(0)
    p = np.where(rng.random(60) < 0.3, 0.0, rng.beta(0.3, 2, 60))
    sides = []
    for _ in range(2):
        by_seed = [np.repeat(at_odds(p, np.exp(shift))[:, None], 4, axis=1) for shift in rng.normal(0, 1.0, 4)]
        q = np.clip(np.concatenate(by_seed, axis=1), 1e-9, 1 - 1e-9)
        correct = rng.binomial(8, rng.beta(q * 4, (1 - q) * 4))  # correlation .2 within a prefix
        side = samples_of(correct)
        prefix = side.draws.clusters["seed"]
        side.draws.clusters = {"cluster": prefix, "seed": prefix // 4}
        sides.append(side)
    found = look(*sides)
    assert (found.kind, found.unit) == ("seed", "clusters over all problems")
    assert [len(np.unique(cells.label)) for cells in found.cells] == [4, 4]
    assert all("seed" in line for line in found.warnings)
    # each kind is told of with figures of its own
    (line,) = found.warnings
    for side, sizes in (("base", (8, 32)), ("tuned", (8, 32))):
        both = [found.failed[kind][side == "tuned"] for kind in ("cluster", "seed")]
        assert [one.draws for one in both] == list(sizes)
        for kind, one in zip(("cluster", "seed"), both, strict=True):
            assert f"draws of one {kind} of the {side}" in line and f"correlation {one.correlation:.2f}" in line
    rows = dependence_table({"dependence": found.document()})["rows"]
    assert [row[0] for row in rows] == [f"{kind}s of the {side}" for kind in found.failed for side in ("base", "tuned")]
    # prefixes that agree, in seeds that do not differ, stay the smaller wholes
    for side in sides:
        side.draws.clusters["seed"] = side.draws.clusters["cluster"] % 4
    assert look(*sides).kind == "cluster"
    # kinds that overlap are relabelled as what they connect
    sides[0].draws.clusters["seed"] = (np.arange(len(sides[0].draws.correct)) // 4 + 1) // 2 % 16
    assert len(np.unique(joined(sides[0].draws, {"cluster": True, "seed": True}))) == 1


def test_numbers_of_many_draws_and_clusters_do_not_outgrow_64_bits():
    # as with 3e7 draws: the product of the three numbers of the last problem is 2^64 and more
    most = 2**31 - 1
    codes = np.tile(np.array([0, most], dtype=np.int32), 5)
    draws = Draws(2 * np.arange(6), np.ones(10, dtype=np.uint8), clusters={"seed": codes})
    kept = one_of_each(draws, codes.astype(np.int64), "seed", rng=np.random.default_rng(0))
    assert np.diff(kept.start).tolist() == [2] * 5


def test_one_seed_a_side_leaves_nothing_to_relabel_and_says_so():
    _, tuned = pair(throughout=2.0, clusters=4)
    base = samples_of(np.zeros((120, 4), dtype=int))
    base.draws.clusters = {}  # one of five relabellings is the observed one: p = .2 at best
    document = audit(base, tuned, settings=AuditSettings(k=(1, 32), replicates=100, maj_repeats=1))
    block = document["benchmarks"]["b"]
    assert block["null"]["observed_expanded"] > 20 and block["null"]["p_expanded"] == pytest.approx(0.2)
    assert block["verdict"] == "inconclusive"
    assert any("the base's draws have no seeds to tell apart" in line for line in document["warnings"])


def write(path, *, seeds=(0, 1), draws=4, problems=30, **more):
    rng = np.random.default_rng(more.pop("seed", 0))
    rows = [
        {"problem_id": str(i), "seed": s, "sample": d, "correct": bool(rng.random() < 0.5), **more}
        for i in range(problems)
        for s in seeds
        for d in range(draws)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def test_seeds_files_and_the_cluster_column_are_read(tmp_path):
    one = load([write(tmp_path / "a.parquet"), write(tmp_path / "b.parquet", seeds=(2,), seed=1)])
    assert set(one.draws.clusters) == {"seed", "file"}
    cells = cells_of(one.draws, "seed")
    assert cells.n.tolist() == [4] * 90 and cells.correct.sum() == one.correct.sum() and cells.shared
    assert cells_of(one.draws, "file").n.tolist() == [8, 4] * 30
    assert not load([write(tmp_path / "c.parquet", draws=1)]).draws.clusters  # a seed for each draw groups nothing
    named = load([write(tmp_path / "d.parquet", cluster="prefix")])
    assert set(named.draws.clusters) == {"seed"}  # one cluster for all says nothing
    part = one.subset(np.array([3, 1]))
    assert cells_of(part.draws, "seed").correct.sum() == one.correct[[3, 1]].sum()


def test_a_single_draw_in_each_cluster_is_homogeneous_and_a_constant_problem_says_nothing():
    base, _ = pair(problems=3)
    base.draws.correct[:] = 1
    found = homogeneity(cells_of(base.draws, "seed"), rng=np.random.default_rng(0))
    assert found.p == 1.0 and found.correlation is None


def test_the_command_takes_clusters_and_refuses_what_is_not_there(tmp_path, capsys):
    base = write(tmp_path / "base.parquet", problems=12)
    tuned = write(tmp_path / "tuned.parquet", problems=12, seed=1)
    arguments = ["audit", "--base", base, "--tuned", tuned, "--replicates", "100", "--no-report"]
    assert main([*arguments, "--clusters", "seed", "--out", str(tmp_path / "out")]) == 0
    assert "so it was asked for" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert document["settings"]["clusters"] == "seed"
    assert main([*arguments, "--clusters", "file", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--clusters file: neither side" in error
    with pytest.raises(InputError, match="clusters"):
        AuditSettings(clusters="moon")


def test_doubled_rows_are_noticed(tmp_path):
    rng = np.random.default_rng(0)
    rows = [{"problem_id": str(i), "correct": bool(rng.random() < 0.4)} for i in range(40) for _ in range(7)]
    path = tmp_path / "once.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert not load([str(path)]).warnings
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.Table.from_pylist(rows + rows), twice)
    found = load([str(twice)])
    assert "every row is there 2 times" in found.warnings[0]
    # the verdict takes them for one draw each, also where the other side's are there once
    for other in (load([str(path)]), found):
        dependence = look(other, found)
        assert dependence.kind == "repeated row" and "repeated row" in dependence.warnings[0]
        assert [side.n.tolist() for side in cluster_counts(dependence.cells, single=dependence.single)] == [
            [7] * 40
        ] * 2
    assert multiplicity(np.arange(50), np.full(50, 8)) == 1  # one answer a problem: greedy, not doubled


def test_draws_that_agree_more_on_one_side_count_one_a_cluster():
    rng = np.random.default_rng(3)
    p = rng.beta(0.3, 2, 150)
    base, tuned = (samples_of(clustered(p, rng, correlation=correlation)) for correlation in (0.4, 0.0))
    found = look(base, tuned)
    assert found.single and "each by one draw of it, since the sides' draws agree to different degrees" in str(
        found.warnings
    )
    # a tuned model whose draws do not agree reaches more with the same success probabilities
    called, blind, _ = cluster_verdicts(10, np.random.default_rng(4), shape=SHAPE, problems=100, correlation=(0.4, 0.0))
    assert not called.missed and blind.share > 0.3
    document = audit(base, tuned, settings=FAST)
    base_row = document["problems_detail"][0]["base"]
    assert base_row["n"] == 128 and base_row["high"] - base_row["low"] > 0.15  # of 16 draws
    assert document["benchmarks"]["b"]["certified"]["eps"] == pytest.approx(np.log(20 * 150) / 16)


@pytest.mark.parametrize("how", [{"correlation": 0.3}, {"throughout": 0.7}])
def test_lucky_guesses_do_not_decide_where_clusters_are_relabelled(how):
    called, blind, _ = cluster_verdicts(8, np.random.default_rng(5), shape=SHAPE, problems=80, rates=(0.01, 0.0), **how)
    assert not called.missed and blind.share > 0.8


def test_certificates_of_clustered_draws_rest_on_one_draw_of_each():
    lines = cluster_certificates(20, np.random.default_rng(6), shape="all at .2", problems=60)
    share = {line.column: line.share for line in lines}
    assert not any(line.missed for line in lines) and max(share.values()) > 0.1  # draw by draw, many are wrong
