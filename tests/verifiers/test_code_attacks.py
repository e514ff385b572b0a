"""Programs that try to pass without solving the problem, or to harm the machine. Each is run under every kind of
confinement there is here.

The problem is a table that nobody can guess: 1 -> 7341, 2 -> 9082. So whoever passes has stolen the answers, or broken
the comparison.
"""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from cheats import CHEATS
from processes import alive, family, gone

from explore_rl.types import Problem, Status
from explore_rl.verifiers.code import CodeVerifier
from explore_rl.verifiers.sandbox import Isolation, Program, isolation
from explore_rl.verifiers.sandbox_limits import ProgramEnded, SandboxLimits

TEST = "def check(candidate):\n    assert candidate(1) == 7341\n    assert candidate(2) == 9082\n"
SECRET = Problem("secret", "What is it?", {"test": TEST, "entry_point": "secret"}, "code")
SOLUTION = "def secret(x):\n    return {1: 7341, 2: 9082}[x]\n"
ECHO = Problem("echo", "Print it.", {"inputs": ["1\n"], "outputs": ["7341\n"]}, "code")


def kinds() -> list:
    found = isolation()
    weaker = Isolation(namespaces=False, seccomp=True, landlock=True)
    can_landlock = found.landlock or not any(text.startswith("Landlock") for text in found.missing)
    return [
        pytest.param(
            found, id="namespaces", marks=pytest.mark.skipif(not found.namespaces, reason="no namespaces here")
        ),
        pytest.param(
            weaker,
            id="landlock",
            marks=pytest.mark.skipif(not (found.seccomp and can_landlock), reason="no Landlock here"),
        ),
    ]


@pytest.fixture(params=kinds())
def held_by(request) -> Isolation:
    return request.param


def verify(held_by: Isolation, program: str, problem: Problem = SECRET, **options):
    verifier = CodeVerifier(time_limit_s=1.0, wall_limit_s=120, **options)
    verifier.held_by = held_by
    return verifier(f"```python\n{textwrap.dedent(program)}\n```", problem)


# --- stealing a verdict ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_found_wrong(name, held_by):
    verdict = verify(held_by, CHEATS[name])
    assert verdict.status is Status.WRONG and verdict.score == 0.0, verdict


@pytest.mark.parametrize("name", CHEATS)
def test_the_attacks_are_real(name, tmp_path):
    """A checker of the common kind (one process, exit code 0 passes) believes every one of them."""
    checker = tmp_path / "checker.py"
    checker.write_text(f"{textwrap.dedent(CHEATS[name])}\n{TEST}\ncheck(secret)\n")
    done = subprocess.run(
        [sys.executable, "-S", checker], cwd=tmp_path, env={"HERE": str(tmp_path)}, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "program",
    [
        "import builtins\nclass Never(BaseException): pass\nbuiltins.AssertionError = Never\ndef secret(x): return 0",
        "import builtins, operator\nbuiltins.all = builtins.isinstance = lambda *a: True\ndef secret(x): return 0",
        'import json\njson.dumps = lambda m: \'{"id": 1, "value": true, "changed": {}}\'\ndef secret(x): return 0',
        "import sys\nmain = sys.modules['__main__']\nmain.pack = lambda v: True\ndef secret(x): 1",
        "import sys\n"
        "sys.modules['__main__'].answer = lambda n, c: {'id': c['id'], 'value': True, 'changed': {}}\n"
        "def secret(x): 1",
        "import sys\nsys.settrace(lambda *a: None)\nsys.modules.clear()\ndef secret(x): return True",
        "def secret(x): return float('nan')",
        "def secret(x): return True",
        "def secret(x): return None",
    ],
)
def test_patching_everything_in_reach_changes_nothing(program, held_by):
    assert verify(held_by, program).status is Status.WRONG


def test_forged_messages_are_no_answers(held_by):
    program = """
        import os, struct
        for fd in range(3, 64):
            try: os.write(fd, struct.pack(">I", 12) + b'{"ready": 1}' + struct.pack(">I", 1 << 31))
            except OSError: pass
        def secret(x): return 0
    """
    assert verify(held_by, program).status is Status.WRONG


def test_files_of_the_machine_cannot_be_read(held_by, tmp_path):
    answers = tmp_path / "answers.txt"
    answers.write_text("7341")
    answers.chmod(0o644)
    program = f"import os\nfor path in ({str(answers)!r}, {str(Path(__file__))!r}, "
    program += f"'/etc/passwd', f'/proc/{os.getpid()}/environ'):\n"
    program += "    try: print(open(path).read()[:4] or 'read')\n    except OSError: pass\n"
    assert answers.read_text() == "7341"
    verdict = verify(held_by, program, ECHO)
    assert (
        verdict.status is Status.WRONG and verdict.reason == "0 lines, expected 1"
    )  # nothing could be opened, so nothing was printed


def test_the_environment_holds_no_secret(held_by, monkeypatch):
    monkeypatch.setenv("EXPECTED_ANSWER", "7341")
    assert verify(held_by, "import os\nprint(os.environ['EXPECTED_ANSWER'])", ECHO).reason.startswith("KeyError")


def test_no_network(held_by):
    reached = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def answer():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            reached.append(True)
            connection.sendall(b"7341\n")
            connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        client = f"import socket\nprint(socket.create_connection(('127.0.0.1', {port}), 5).recv(5).decode())"
        verdict = verify(held_by, client, ECHO)
        assert verdict.status is Status.WRONG and not reached
        subprocess.run(
            [sys.executable, "-c", client], check=True, timeout=60
        )  # the very same code reaches it from outside
        thread.join(30)
    assert reached


# --- doing harm ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack",
    [
        "os.kill(os.getppid(), 9)",
        "os.kill(-1, 9)",
        "os.killpg(0, 9)",
        "os.kill(0, 9)",
        "[os.kill(p, 9) for p in range(1, 40000) if p != os.getpid()]",
        "os.kill(VERIFIER, 9)",
        "__import__('fcntl').fcntl(0, 8, VERIFIER)",
        "__import__('resource').prlimit(VERIFIER, 0, (1, 1))",
    ],
)
def test_signals_reach_nobody_else(attack, held_by):
    attack = attack.replace("VERIFIER", str(os.getpid()))
    program = f"import os\ndef secret(x):\n    try: {attack}\n    except OSError: pass\n    return 0"
    assert verify(held_by, program).status is Status.WRONG
    assert verify(held_by, SOLUTION).status is Status.CORRECT


def test_a_fork_bomb_does_not_start(held_by):
    verdict = verify(held_by, "import os\ndef secret(x):\n    while True: os.fork()")
    assert verdict.status is Status.WRONG and "PermissionError" in verdict.reason


def test_a_fork_bomb_that_may_start_processes_stays_small():
    if not isolation().namespaces:
        pytest.skip("no namespaces here")
    bomb = """
import os, time
def bomb():
    started = 0
    while True:
        try: pid = os.fork()
        except OSError: return started
        started += 1
        if pid == 0:
            while True:
                try: os.fork()
                except OSError: time.sleep(60)
"""
    with Program(bomb, "calls", limits=SandboxLimits(cpu_s=5, processes=4, threads=4), held_by=isolation()) as program:
        program.define()
        assert 0 < program.call("bomb") <= 8
        pids = family(program.process.pid)
        assert 2 < len(pids) <= 2 + 8
    assert not alive(pids)


def test_daemons_are_killed_with_the_program():
    if not isolation().namespaces:
        pytest.skip("no namespaces here; without them no process can be started at all")
    daemon = """
import os, signal, time
def start():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            while True: time.sleep(60)
        os._exit(0)
    os.wait()
"""
    with Program(daemon, "calls", limits=SandboxLimits(processes=4), held_by=isolation()) as program:
        program.define()
        program.call("start")
        pids = family(program.process.pid)
        assert len(pids) == 3  # init, the program, its daemon
    assert not alive(pids)


def test_everything_dies_with_the_verifier(held_by, tmp_path):
    """Also when it is killed and can clean up nothing."""
    script = tmp_path / "verifier.py"
    script.write_text(
        "from explore_rl.verifiers.sandbox import *\n"
        "program = Program('def spin():\\n    while True: pass', 'calls', "
        f"limits=SandboxLimits(cpu_s=300), held_by={held_by!r}).__enter__()\n"
        "program.define()\nprogram._send({'id': 1, 'name': 'spin', 'args': {'tuple': []}, 'kwargs': {}})\n"
        "print('spinning', flush=True)\ninput()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, script], cwd=Path(__file__).parents[2], **pipes) as verifier:
        assert verifier.stdout.readline() == b"spinning\n"
        pids = family(verifier.pid)
        assert len(pids) >= 2
        verifier.send_signal(signal.SIGKILL)
        verifier.wait(30)
    assert gone(pids)


def test_threads_that_keep_running_are_killed(held_by):
    program = SOLUTION + "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin).start()"
    with Program(program, "calls", limits=SandboxLimits(), held_by=held_by) as running:
        running.define()
        assert running.call("secret", (1,)) == 7341
        pids = family(running.process.pid)
        assert pids
    assert not alive(pids)


def test_a_script_whose_threads_never_end_is_out_of_time(held_by):
    program = "import threading\ndef spin():\n    while True: pass\n"
    program += "threading.Thread(target=spin).start()\nprint(7341, flush=True)"
    verdict = verify(held_by, program, ECHO)
    assert verdict.status is Status.WRONG and verdict.reason.startswith("time limit")


@pytest.mark.parametrize(
    "loop",
    ["while True: pass", "import signal\n    signal.signal(signal.SIGXCPU, lambda *a: 0)\n    while True: pass"],
    ids=["plain", "deaf"],
)
def test_an_endless_loop_is_wrong_and_says_so(loop, held_by):
    verdict = verify(held_by, f"def secret(x):\n    {loop}")
    assert verdict.status is Status.WRONG and verdict.reason.startswith("time limit: more than 1 s of processor time")


def test_sleeping_is_no_way_out(held_by):
    with Program(
        "import time\ndef nap(): time.sleep(300)", "calls", limits=SandboxLimits(wall_s=1.0), held_by=held_by
    ) as program:
        program.define()
        with pytest.raises(ProgramEnded, match="time limit: 1 s passed"):
            program.call("nap")


@pytest.mark.parametrize("bomb", ["bytearray(10**11)", "[0] * 10**9", "list(range(10**9))"])
def test_a_memory_bomb_is_wrong(bomb, held_by):
    verdict = verify(held_by, f"def secret(x): return len({bomb})", memory_mb=256)
    assert verdict.status is Status.WRONG and "MemoryError" in verdict.reason


def test_the_disk_cannot_be_filled(held_by):
    program = """
import os
def fill():
    written = 0
    try:
        for number in range(10_000):
            with open(f"/tmp/{number}", "wb", buffering=0) as file:
                written += file.write(bytes(1 << 20))
    except OSError as error:
        return written, error.errno
"""
    with Program(program, "calls", limits=SandboxLimits(scratch_mb=8), held_by=held_by) as running:
        running.define()
        written, _ = running.call("fill")
    assert written <= 8 << 20 and (written > 0) == held_by.namespaces
    assert not Path("/tmp/0").exists()


@pytest.mark.parametrize(
    "flood", ["while True: print('x' * 10_000)", "import sys\nwhile True: sys.stderr.write('x' * 10_000)"]
)
def test_a_flood_of_output_is_cut(flood, held_by):
    verdict = verify(held_by, flood, ECHO, output_mb=1)
    assert verdict.status is Status.WRONG and verdict.reason.startswith("output limit")


def test_a_flood_as_a_result_is_cut(held_by):
    verdict = verify(held_by, "def secret(x): return 'x' * 5_000_000", output_mb=1)
    assert verdict.status is Status.WRONG and verdict.reason.startswith("output limit")


def test_a_result_too_deep_or_endless_is_wrong(held_by):
    deep = "def secret(x):\n    value = []\n    for _ in range(100_000): value = [value]\n    return value"
    endless = "import itertools\ndef secret(x): return itertools.count()"
    itself = "def secret(x):\n    value = []\n    value.append(value)\n    return value"
    for program in (deep, endless, itself):
        assert verify(held_by, program).status is Status.WRONG


@pytest.mark.parametrize(
    "call",
    [
        "os.setuid(0)",
        "os.chroot('/')",
        "os.mkfifo('/usr/lib/x')",
        "os.mknod('/tmp/x', 0o60600, 0x801)",
        "open('/usr/lib/x', 'w')",
        "os.execv('/bin/sh', ['sh'])",
        "os.memfd_create('x')",
    ],
)
def test_rights_are_gone(call, held_by):
    if call == "os.setuid(0)" and not held_by.namespaces and os.geteuid() == 0:
        pytest.skip("stays the same user, without its capabilities")
    program = (
        f"import os\ndef secret(x):\n    try: {call}\n    except OSError: return {{1: 7341, 2: 9082}}[x]\n    return 0"
    )
    assert (
        verify(held_by, program).status is Status.CORRECT
    )  # the call was refused, so the program goes on to give the answers


def test_a_script_that_shuts_its_output_and_goes_on_is_out_of_time(held_by):
    verdict = verify(held_by, "import os\nprint(7341, flush=True)\nos.close(1), os.close(2)\nwhile True: pass", ECHO)
    assert verdict.status is Status.WRONG and verdict.reason.startswith("time limit")


def test_nothing_stays_open(held_by):
    """Neither descriptors nor processes, whatever the programs did."""
    programs = [
        SOLUTION,
        "import os\nos._exit(1)",
        "def secret(x): return object()",
        "def secret(x): return 'x' * 2_000_000",
        "1 +",
    ]
    before, children = len(os.listdir("/proc/self/fd")), family(os.getpid())
    for program in programs:
        verify(held_by, program, output_mb=1)
        verify(held_by, program, ECHO, output_mb=1)
    assert len(os.listdir("/proc/self/fd")) == before and family(os.getpid()) <= children
