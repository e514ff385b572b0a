"""scripts/measure_suite.py counts what a command leaves behind it, and passes on how it ended."""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import measure_suite
import pytest

BURNS = "import time\nwhile time.process_time() < 0.2: pass"
LEAVES = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True).wait()
sys.exit(3)
"""


def measured(*changes):
    """What the script says of a process that starts a daemon and waits for it."""
    code = "\n".join(["import measure_suite, sys", *changes, "sys.exit(measure_suite.main())"])
    script = Path(measure_suite.__file__)
    return subprocess.run(
        [sys.executable, "-c", code, "--", sys.executable, "-c", LEAVES, BURNS],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("changes", [(), ("measure_suite.WAYS = ()",)], ids=["as it can here", "without groups"])
def test_a_daemon_is_counted_and_the_exit_status_passed_on(changes):
    ended = measured(*changes)
    assert ended.returncode == 3, ended.stderr
    found = re.fullmatch(r"([0-9.]+) s wall, ([0-9.]+) CPU seconds of all processes; counted by .+\n", ended.stdout)
    assert found and float(found[2]) >= 0.2


def test_without_a_command_it_is_the_suite():
    assert measure_suite.command_of(["tests/lab", "-x"])[1:] == ["-m", "pytest", "tests/lab", "-x"]
    assert measure_suite.command_of(["--", "ls"]) == ["ls"]


@pytest.mark.parametrize(
    ("words", "cpu", "status"),
    [
        ([], 1501.0, 1),
        (["-q", "--durations=20"], 1501.0, 1),
        ([], 1500.0, 0),
        (["tests/lab"], 9000.0, 0),
        (["-q", "-k", "loss"], 9000.0, 0),
        (["-x"], 9000.0, 0),
        (["--", "ls"], 9000.0, 0),
    ],
)
def test_a_whole_suite_above_its_budget_fails_with_one_line(monkeypatch, capsys, tmp_path, words, cpu, status):
    budget = tmp_path / "budget.json"
    budget.write_text('{"suite_cpu_seconds": 1500}')
    monkeypatch.setattr(measure_suite, "BUDGET", budget)
    stand_in(monkeypatch, words, cpu=cpu, command=["true"])
    assert measure_suite.main() == status
    told = f"the whole suite took {cpu:.0f} CPU seconds; tests/budget.json allows 1500 (suite_cpu_seconds)\n"
    assert capsys.readouterr().err == (told if status else "")


def test_a_suite_that_failed_keeps_its_own_status(monkeypatch):
    stand_in(monkeypatch, [], cpu=9000.0, command=["sh", "-c", "exit 2"])
    assert measure_suite.main() == 2


def stand_in(monkeypatch, words, *, cpu, command):
    """Of the script all but the command it runs and what that took."""
    meter = measure_suite.Meter("a stand-in", lambda: None, lambda: cpu)
    monkeypatch.setattr(measure_suite, "meter", lambda: contextlib.nullcontext(meter))
    monkeypatch.setattr(measure_suite, "command_of", lambda words: command)
    monkeypatch.setattr(sys, "argv", ["measure_suite.py", *words])
