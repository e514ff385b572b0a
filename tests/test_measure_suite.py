"""scripts/measure_suite.py counts what a command leaves behind it, and passes on how it ended."""

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
