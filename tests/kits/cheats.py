"""Programs that steal a verdict from a checker that runs program and tests in one process."""

# What a checker that runs program and tests in one process would believe: see test_the_attacks_are_real
CHEATS = {
    "exit in the module": "import sys\ndef secret(x): return 0\nsys.exit(0)",
    "hard exit in the module": "import os\nos._exit(0)",
    "exit in the function": "import sys\ndef secret(x): sys.exit(0)",
    "hard exit in the function": "import os\ndef secret(x): os._exit(0)",
    "exit at exit": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef secret(x): raise ValueError",
    "an object equal to everything": """
        class Yes:
            def __eq__(self, other): return True
        def secret(x): return Yes()""",
    "an int equal to everything": """
        class Yes(int):
            def __eq__(self, other): return True
            __hash__ = int.__hash__
        def secret(x): return Yes(0)""",
    "a claim to be an int": """
        class Yes:
            __class__ = int
            def __eq__(self, other): return True
            def __int__(self): return 0
        def secret(x): return Yes()""",
    "patched checker": """
        import sys
        def secret(x):
            frame = sys._getframe(1)
            while frame:
                for value in list(frame.f_globals.values()) + list(frame.f_locals.values()):
                    if getattr(value, "__name__", "") == "check":
                        value.__code__ = (lambda candidate: None).__code__
                frame = frame.f_back
            raise SystemExit(0)""",
    "the caller's frames": """
        import sys
        def secret(x):
            frame = sys._getframe()
            while frame:
                for constant in frame.f_code.co_consts:
                    if isinstance(constant, int) and constant > 7000:
                        found = [c for c in frame.f_code.co_consts if isinstance(c, int) and c > 7000]
                        return found[x - 1]
                frame = frame.f_back""",
    "all objects there are": """
        import gc, re
        def secret(x):
            functions = [o for o in gc.get_objects() if hasattr(o, "__code__") and hasattr(o.__code__, "co_consts")]
            for function in functions:
                found = [c for c in function.__code__.co_consts if c in (7340 + 1, 9081 + 1)]
                if len(found) == 2: return found[x - 1]""",
    "the test file": """
        import re, os, glob
        def secret(x):
            for path in glob.glob(os.environ.get("HERE", "/tmp") + "/**/*", recursive=True) + glob.glob("*"):
                if os.path.isfile(path):
                    found = re.findall(r"== (\\d{4})", open(path, errors="ignore").read())
                    if found: return int(found[x - 1])""",
}
