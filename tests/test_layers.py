"""Who may import whom.

A module belongs to the longest name below that it begins with; it may use its own room and whatever stands lower.
"""

import ast

import pytest
from source_files import modules, tree

# From the bottom up; rooms of one line do not know each other.
LAYERS = [
    ["analysis"],
    ["explore_rl", "explore_rl.types", "explore_rl.files", "explore_rl.own_code"],
    ["explore_rl.parts", "explore_rl.fetching", "explore_rl.weight_files", "explore_rl.real.steps"],
    [
        "explore_rl.models",
        "explore_rl.experiments.run_folder",
        "explore_rl.problems.rows",
        "explore_rl.lab.countdown",
        "explore_rl.lab.names",
        "explore_rl.lab.tokenizer",
        "explore_rl.real.families",
    ],
    ["explore_rl.lab.worked", "explore_rl.real"],
    ["explore_rl.lab.worked_evaluation"],
    ["explore_rl.lab.families"],
    ["explore_rl.lab.problems", "explore_rl.verifiers", "explore_rl.config"],
    ["explore_rl.problems", "explore_rl.objectives", "explore_rl.cluster"],
    ["explore_rl.strategies", "explore_rl.learner", "explore_rl.transfer.receiver", "explore_rl.rollout.seeds"],
    ["explore_rl.lab", "explore_rl.rollout"],
    ["explore_rl.transfer"],
    ["explore_rl.training"],
    ["explore_rl.testing"],
    ["explore_rl.strategies.checks"],
    ["explore_rl.experiments"],
    ["explore_rl.commands"],
    ["explore_rl.cli"],
]
ROOMS = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms}


def room_of(module):
    names = [".".join(module.split(".")[:length]) for length in range(module.count(".") + 1, 0, -1)]
    room = next(name for name in names if name in ROOMS)
    # The package's own __init__ is on the ground; nothing else may rely on its name alone.
    assert room != "explore_rl" or module == "explore_rl", f"{module} stands in no room of LAYERS"
    return room


@pytest.fixture(scope="module", autouse=True)
def parsed():
    """Every file is parsed once, before a test is measured."""
    for path in modules().values():
        tree(path)


def imports(path, known):
    """Modules that a file takes something from, and the packages that are imported on the way to them.

    Imports within functions and for type checkers count too.
    """
    used = set()
    passed = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                used.add(full if full in known else node.module)
                passed.add(node.module)
    return used & known.keys(), passed & known.keys()


def test_every_import_goes_down_or_stays_in_its_room():
    known = modules()
    wrong = []
    for module, path in known.items():
        mine = room_of(module)
        for other in sorted(imports(path, known)[0]):
            theirs = room_of(other)
            if mine != theirs and ROOMS[theirs] >= ROOMS[mine]:
                wrong.append(f"{module} uses {other}")
    assert wrong == []


def test_no_files_import_each_other_in_a_circle():
    known = modules()
    uses = {module: set.union(*imports(path, known)) - {module} for module, path in known.items()}
    done = set()

    def visit(module, above):
        assert module not in above, f"a circle: {' -> '.join([*above[above.index(module) :], module])}"
        if module not in done:
            for other in sorted(uses[module]):
                visit(other, [*above, module])
            done.add(module)

    for module in known:
        visit(module, [])


def test_analysis_needs_nothing_of_explore_rl():
    known = modules()
    used = [imports(path, known)[0] for module, path in known.items() if module.startswith("analysis")]
    assert all(other.startswith("analysis") for other in set.union(*used))
