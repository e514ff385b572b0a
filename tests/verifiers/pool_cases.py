"""Completions that behave badly, as a reward function in verl's form, for the tests of the pool."""

import os
import signal
import sys
import time


def misbehave(data_source, solution_str, ground_truth, extra_info=None):
    word, _, argument = solution_str.partition(" ")
    if word == "hang":  # a loop that no signal but SIGKILL stops
        for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(0.01)
    if word == "spin":
        while True:
            pass
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "exit":
        os._exit(3)
    if word == "systemexit":
        sys.exit(0)
    if word == "raise":
        raise ZeroDivisionError("on purpose")
    if word == "eat":
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * 2**24))
    if word == "gulp":
        bytearray(2**44)
    if word == "child":  # leaves its process id, and a child's, behind
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        with open(argument, "w") as file:
            file.write(str(child))
        while True:
            time.sleep(0.01)
    if word == "once":  # kills its worker the first time it is tried
        if not os.path.exists(argument):
            open(argument, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    if word == "torch":
        return float("torch" in sys.modules)
    if word == "print":
        print("a verifier that prints")
    return 1.0 if solution_str == ground_truth else float(word in ("good", "print"))
