"""Who may import whom. A module belongs to the longest name below that it begins with; it may use its own room and whatever stands lower."""

import ast
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

# From the bottom up; rooms of one line do not know each other.
LAYERS = [
    ["analysis"],
    ["explore_rl", "explore_rl.types", "explore_rl.files"],
    [
        "explore_rl.models",
        "explore_rl.experiments.run_folder",
        "explore_rl.problems.rows",
        "explore_rl.lab.countdown",
        "explore_rl.lab.tokenizer",
    ],
    ["explore_rl.lab.problems", "explore_rl.verifiers", "explore_rl.config"],
    ["explore_rl.problems", "explore_rl.objectives", "explore_rl.cluster"],
    ["explore_rl.strategies", "explore_rl.learner", "explore_rl.transfer.receiver", "explore_rl.rollout.seeds"],
    ["explore_rl.lab", "explore_rl.rollout"],
    ["explore_rl.transfer"],
    ["explore_rl.training"],
    ["explore_rl.testing"],
    ["explore_rl.experiments"],
    ["explore_rl.commands"],
    ["explore_rl.cli"],
]
ROOMS = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms}


def modules():
    files = [path for package in ("analysis", "explore_rl") for path in sorted((REPOSITORY / package).rglob("*.py"))]
    return {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path for path in files
    }


def room_of(module):
    names = [".".join(module.split(".")[:length]) for length in range(module.count(".") + 1, 0, -1)]
    room = next(name for name in names if name in ROOMS)
    # The package's own __init__ is on the ground; nothing else may rely on its name alone.
    assert room != "explore_rl" or module == "explore_rl", f"{module} stands in no room of LAYERS"
    return room


def imports(path, known):
    """Modules of the project that a file takes something from, imports within functions and for type checkers included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module)
    return found & known.keys()


def test_every_import_goes_down_or_stays_in_its_room():
    known = modules()
    wrong = []
    for module, path in known.items():
        mine = room_of(module)
        for other in sorted(imports(path, known)):
            theirs = room_of(other)
            if mine != theirs and ROOMS[theirs] >= ROOMS[mine]:
                wrong.append(f"{module} uses {other}")
    assert wrong == []


def test_no_files_import_each_other_in_a_circle():
    known = modules()
    uses = {}
    for module, path in known.items():
        # Importing a module runs its package's __init__ first.
        packages = {name.rpartition(".")[0] for name in imports(path, known)}
        uses[module] = (imports(path, known) | packages & known.keys()) - {module, module.rpartition(".")[0]}
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
    reached = {
        other for module, path in known.items() if module.startswith("analysis") for other in imports(path, known)
    }
    assert all(other.startswith("analysis") for other in reached)
