"""Names and places of the user's own: trackers, the Hub, chat templates, a job's scratch, the command line."""

import http.server
import json
import shutil
import sys
import threading
import types

import pytest

from analysis.errors import InputError
from explore_rl.cli import main
from explore_rl.cluster import connection
from explore_rl.commands.export import push
from explore_rl.commands.sample import template_of
from explore_rl.config.loading import load_config
from explore_rl.experiments import tracking
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.models import LAB_BASE


class Stub:
    """What wandb and trackio are asked for, and how."""

    def __init__(self):
        self.asked, self.logged, self.tables, self.step = {}, [], [], 0

    def init(self, **asked):
        self.asked = asked
        return self

    def log(self, metrics, step):
        self.logged.append((step, metrics))

    def finish(self):
        self.logged.append("finished")

    def login(self, prompt):
        return self.has_login

    has_login = False
    Settings = dict

    def Table(self, columns, data):
        return (columns, data)


@pytest.fixture
def stub(monkeypatch):
    made = Stub()
    for name in ("wandb", "trackio"):
        module = types.ModuleType(name)
        for word in ("init", "log", "finish", "login", "Settings", "Table"):
            setattr(module, word, getattr(made, word))
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("MODE", "PROJECT", "NAME", "RUN_GROUP", "TAGS", "API_KEY"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    return made


def named(folder, kind, *overrides):
    return tracking.make_tracker(load_config("lab/grpo", [f"run.tracker={kind}", *overrides]), folder)


def test_wandb_takes_names_from_the_config_then_from_its_own_variables(tmp_path, monkeypatch, stub):
    folder = RunFolder.create(tmp_path / "run", "", environment={})
    named(folder, "wandb", "seed=3")
    plain = {"project": "explore-rl", "entity": None, "group": "grpo", "name": "grpo-seed3", "mode": "offline"}
    assert {key: stub.asked[key] for key in plain} == plain and stub.asked["tags"] is None
    for key, value in {"PROJECT": "p", "NAME": "n", "RUN_GROUP": "g", "TAGS": "a,b"}.items():
        monkeypatch.setenv(f"WANDB_{key}", value)
    stub.has_login = True  # as wandb itself finds it: netrc of any server, WANDB_API_KEY
    named(folder, "wandb", "tracking.tags=[c]")
    by_variables = {"project": "p", "name": "n", "group": "g", "tags": ["c", "a", "b"], "mode": "online"}
    assert {key: stub.asked[key] for key in by_variables} == by_variables
    named(folder, "wandb", "tracking.project=q", "tracking.entity=e", "tracking.group=h", "tracking.run_name=m")
    assert [stub.asked[key] for key in ("project", "entity", "group", "name")] == ["q", "e", "h", "m"]


def test_trackio_logs_no_step_twice_over_a_resume(tmp_path, stub):
    folder = RunFolder.create(tmp_path / "run", "", environment={})
    tracker = named(folder, "trackio")
    for step in range(3):
        folder.append("metrics.jsonl", {"step": step, "loss": 0.5})
        tracker.log(step + 1, {"loss": 0.5})
    tracker.close()
    named(folder, "trackio").log(4, {"loss": 0.25})
    assert [entry[0] for entry in stub.logged if entry != "finished"] == [1, 2, 3, 4]
    assert stub.asked["resume"] == "allow" and stub.asked["project"] == "explore-rl"


def test_trackio_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(InputError, match="pip install trackio"):
        tracking.refuse_tracker(load_config(None, ["run.tracker=trackio"]))


def test_a_chat_model_is_not_asked_without_its_template(tmp_path):
    assert template_of(None, None, model="lab:base") == "none" and template_of("chat", None, model="x") == "chat"
    shutil.copytree(LAB_BASE, tmp_path / "chat")
    settings = tmp_path / "chat" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"chat_template": "{{ messages }}"}))
    with pytest.raises(InputError, match="has a chat template; say how it is to be asked: --template chat"):
        template_of(None, None, model=str(tmp_path / "chat"))


def test_a_scratch_folder_that_is_too_deep_for_sockets_is_one_line(monkeypatch, tmp_path, capsys):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(deep))
    with pytest.raises(InputError, match="too long a path for Ray's sockets.*set RAY_TMPDIR=/tmp"):
        connection.refuse_long_sockets()
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    connection.refuse_long_sockets()
    monkeypatch.setenv("RAY_TMPDIR", "/no/such/folder")
    with pytest.raises(InputError, match="cannot write there"):
        connection.refuse_long_sockets()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "lab/grpo", "--seed", "3"], "settings are given as key=value: seed=3"),
        (["train", "lab/grpo", "--learner.learning_rate=1e-4"], "key=value: learner.learning_rate=1e-4"),
        (["train", "lab/grpo", "--num_generations", "8"], "key=value: algorithm.group_size=8"),
    ],
)
def test_settings_written_as_options_are_shown_as_they_are_given(capsys, words, said):
    with pytest.raises(SystemExit):
        main(words)
    assert said in capsys.readouterr().err


def test_the_command_alone_helps_and_knows_its_version(capsys):
    assert main([]) == 2 and "COMMAND" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--version"])
    assert "torch" in capsys.readouterr().out
    assert main(["train", "lab/grpo", "--fields"]) == 0
    assert any(line.split()[:2] == ["learner.learning_rate", "0.0003"] for line in capsys.readouterr().out.splitlines())


# --- the Hub ----------------------------------------------------------------------------------------------------------


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as an upload of small files asks for."""

    seen = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        Hub.seen.append((self.path, body))
        if self.path.endswith("/repos/create"):
            answer = {"url": f"http://{self.headers['Host']}/me/mine"}
        elif "preupload" in self.path:
            files = json.loads(body)["files"]
            answer = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif "/commit/" in self.path:
            answer = {
                "commitUrl": f"http://{self.headers['Host']}/me/mine/commit/1",
                "commitOid": "1" * 40,
                "pullRequestUrl": None,
            }
        else:
            answer = {}
        self._say(answer)

    def do_GET(self):
        Hub.seen.append((self.path, b""))
        self._say({"id": "me/mine", "sha": "1" * 40, "siblings": []})

    def _say(self, answer):
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def test_an_exported_folder_is_uploaded_under_the_users_name(tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        from huggingface_hub import HfApi

        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: HfApi(endpoint=endpoint, token="hf_x"))
        (tmp_path / "README.md").write_text("# card")
        (tmp_path / "config.json").write_text("{}")
        assert "me/mine" in push(tmp_path, "me/mine", private=True)
        created = next(body for path, body in Hub.seen if path.endswith("/repos/create"))
        assert "private" in (json.loads(created).get("visibility"), *json.loads(created))
        committed = b"".join(body for path, body in Hub.seen if "/commit/" in path)
        assert b"README.md" in committed and b"config.json" in committed
    finally:
        server.shutdown()
        server.server_close()
