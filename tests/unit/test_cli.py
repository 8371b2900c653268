"""The command line: documented exit codes, one line an error, one JSON object, nothing from a record obeyed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trainproof.attest import canonical
from trainproof.cli import BUG, INTERRUPTED, main
from trainproof.errors import RecordError
from trainproof.recording.format import Commitment
from trainproof.verification.policy import Policy
from trainproof.verification.verdict import Check, Cost, Outcome, Report, Verdict

VERBS = ["keygen", "check", "train", "record", "inspect", "verify", "dispute", "doctor", "bench"]
COMMAND = [sys.executable, "-c", "import sys; from trainproof.cli import main; sys.exit(main())"]

RECIPE = """
import torch
import trainproof as tp


class Tiny(tp.Recipe):
    batch_size = 8
    optimizer = tp.SGD(lr=0.05, momentum=0.9)

    def build(self):
        return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))

    def dataset(self):
        x = torch.arange(256, dtype=torch.float32).reshape(64, 4) / 256
        return torch.utils.data.TensorDataset(x, (x.sum(1) > 2).long())

    def loss(self, model, batch):
        print("recipes may print what they like")
        x, y = batch
        return torch.nn.functional.cross_entropy(model(x), y)
"""

SCRIPT = """
import sys
import torch

x = torch.arange(256, dtype=torch.float32).reshape(64, 4) / 256
data = torch.utils.data.TensorDataset(x, (x.sum(1) > 2).long())
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
for epoch in range(int(sys.argv[1])):
    for a, b in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(a), b).backward()
        optimizer.step()
print("trained")
"""


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_DATA_HOME": str(cwd / "xdg"), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key, a recipe and the record ``run.tproof`` of 16 steps in 2 segments."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.py").write_text(RECIPE)
    (folder / "script.py").write_text(SCRIPT)
    assert main(["keygen", str(folder / "prover.key")]) == 0
    arguments = ["--out", "run.tproof", "--epochs", "2", "--every", "8", "--key", "prover.key", "--json"]
    done = run("train", "tiny.py:Tiny", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "train.json").write_text(done.stdout)
    return folder


def one_line(captured: Any) -> str:
    """The error that was printed: one line, no traceback, no control characters."""
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("trainproof: error: ")
    assert line.isprintable()
    return str(line)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: trainproof {verb} ")
    assert "--json" in text
    codes = "Exit codes: 0 verified, agreed or done, 1 refuted, 2 usage, 3 inconclusive, 4 input or output."
    assert codes in " ".join(text.split())
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_help_lists_the_verbs_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert [word for word in listed if word in VERBS] == VERBS


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import trainproof

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"trainproof {trainproof.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["keygn"], 'Did you mean "keygen"'),
        (["\x1b[2J"], "Unknown command"),
        (["keygen"], "requires an argument"),
        (["keygen", "a", "b"], "Unused"),
        (["keygen", "a", "--scheme", "rsa"], "Invalid value"),
        (["keygen", "a", "--", "b"], "takes no arguments after --"),
        (["doctor", "--", "b"], "takes no arguments after --"),
        (["inspect", "r", "--segment", "x"], "Invalid value"),
        (["train", "f.py"], "requires an argument"),
        (["train", "f.py", "--out", "o", "--epochs", "1.5", "--every", "1", "--key", "k"], "Invalid value"),
        (["record", "--out", "o", "--every", "1", "--key", "k"], "no command"),
        (["record", "--out", "o", "--every", "1", "--key", "k", "--"], "no command"),
        (["check"], "give a recipe, or a command"),
        (["check", "a.py", "--", "python", "b.py"], "not both"),
        (["verify", "r", "--recipe", "f.py"], "--policy"),
        (["verify", "r", "--policy", "bitwise"], "--recipe"),
        (["verify", "r", "s", "--recipe", "f.py", "--policy", "bitwise"], "Unused"),
        (["verify", "r", "--recipe", "f.py", "--policy", "missing.toml"], "cannot be read"),
        (["verify", "r", "--recipe", "f.py", "--policy", "bitwise", "--jobs", "0"], "at least 1"),
        (["verify", "r", "--recipe", "f", "--policy", "bitwise", "--ledger", "l", "--no-ledger"], "not both"),
        (["bench", "verify"], "Invalid value"),
    ],
)
def test_usage_errors_are_one_line_and_code_2(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert reason in one_line(capsys.readouterr())


def test_errors_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "nowhere", "--json"]) == 4
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "error": "nowhere: no record folder here; give the folder that train or record wrote",
        "exit_code": 4,
        "kind": "RecordError",
        "mend": "give the folder that train or record wrote",
        "name": "nowhere",
    }
    assert main(["verify", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2


def test_keygen_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = str(tmp_path / "k")
    assert main(["keygen", key, "--scheme", "ecdsa-p256", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["key_id"].startswith("ecdsa-p256:")
    before = Path(key).read_bytes()
    assert main(["keygen", key]) == 4
    assert "never overwritten" in one_line(capsys.readouterr())
    assert Path(key).read_bytes() == before


def test_keygen_encrypts_with_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINPROOF_KEY_PASSWORD", "secret")
    assert main(["keygen", str(tmp_path / "k"), "--encrypt"]) == 0
    assert b"ENCRYPTED" in (tmp_path / "k").read_bytes()


def test_keygen_does_not_guess_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRAINPROOF_KEY_PASSWORD", raising=False)
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert main(["keygen", str(tmp_path / "k"), "--encrypt"]) == 2
    assert "no terminal" in one_line(capsys.readouterr())
    assert not list(tmp_path.iterdir())
    sys.stdin.close()


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (RecordError("broken\x1b[2J", name="x"), 4, "broken"),
        (ValueError("surprise\r\n\x1b[2J"), BUG, "this is a bug"),
        (KeyError(), BUG, "KeyError; this is a bug"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (SystemExit(0), 2, "ended the process"),
    ],
)
def test_exceptions_become_one_line(
    error: BaseException, code: int, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: object) -> None:
        raise error

    # Its frame is in this file, which is nobody's recipe.
    monkeypatch.setattr("trainproof.cli.terminal.user_frame", lambda error: None)
    monkeypatch.setattr("trainproof.recording.reader.Record.open", fail)
    monkeypatch.delenv("TRAINPROOF_DEBUG", raising=False)
    assert main(["inspect", "r"]) == code
    assert reason in one_line(capsys.readouterr())
    monkeypatch.setenv("TRAINPROOF_DEBUG", "1")
    assert main(["inspect", "r"]) == code
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_exception_in_the_users_file_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text("import json\n\njson.loads('{')\n")
    assert main(["check", str(tmp_path / "bad.py")]) == 2
    assert "bad.py, line 3: JSONDecodeError" in one_line(capsys.readouterr())


def test_a_reader_that_leaves_is_not_an_error_message(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "doctor"], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, timeout=120, check=False
    )
    os.close(write)
    assert done.returncode == 4
    assert done.stderr == b""


def test_doctor_shows_confinement_and_limits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {"landlock", "seccomp"} <= set(facts["sandbox"])
    assert facts["limits"]["POLICY_BYTES"] == 65536
    assert "KIB" not in facts["limits"]
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "policy bytes" in text
    assert facts["processor"]["capability"] in text


# -- verify, against a verification that is prepared ------------------------------------------------------------------


def prepared(verdict: Verdict) -> Report:
    outcome = {Verdict.ACCEPT: Outcome.PASS, Verdict.REJECT: Outcome.FAIL}.get(verdict, Outcome.INCONCLUSIVE)
    return Report(
        record="r",
        verdict=verdict,
        level=1 if verdict is Verdict.ACCEPT else None,
        comparison="bitwise",
        coverage="sampled",
        checks=(Check("V6", "replay", outcome, "evidence", segment=3),),
        units=(),
        cost=Cost(1, 2, 3.0),
        policy={},
        policy_digest="0" * 64,
        nonce="1" * 64,
        root="2" * 64,
        prover="ed25519:" + "3" * 64,
    )


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Calls of verification.verify.run; ``verdict`` is what it answers."""
    calls: dict[str, Any] = {"verdict": Verdict.ACCEPT}
    module = types.ModuleType("trainproof.verification.verify")

    def answer(record: Path, **options: Any) -> Report:
        calls.update(options, record=record)
        print("a library prints")
        options["on_progress"]("plan: 2 steps", 1, 4)
        options["on_progress"]("replay", 1, 1)
        return prepared(calls["verdict"])

    module.run = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trainproof.verification.verify", module)
    monkeypatch.setattr("trainproof.verification.verify", module, raising=False)
    return calls


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.ACCEPT, 0), (Verdict.REJECT, 1), (Verdict.INCONCLUSIVE, 3)])
def test_verify_exits_by_the_verdict(
    verdict: Verdict, code: int, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    called["verdict"] = verdict
    assert main(["verify", "r", "--recipe", "f.py", "--policy", "bitwise"]) == code
    captured = capsys.readouterr()
    assert captured.out.rstrip().splitlines()[-1].startswith(verdict.value)
    assert "plan: 2 steps" in captured.err
    assert main(["verify", "r", "--recipe", "f.py", "--policy", "strict", "--json"]) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"] == verdict.value
    assert "a library prints" in captured.err
    assert called["policy"] == Policy.strict()


def test_verify_passes_its_options_on(called: dict[str, Any], tmp_path: Path) -> None:
    ledger, page = tmp_path / "ledger", tmp_path / "report.html"
    options = ["--recipe", "f.py:Class", "--policy", "bitwise", "--jobs", "2", "--nonce", "ab", "--salts", "s"]
    options += ["--parent", "p", "--parent", "q", "--ledger", str(ledger), "--report", str(page)]
    assert main(["verify", "r", *options, "--", "--epochs", "3", "--", "x"]) == 0
    assert called["record"] == Path("r")
    assert called["recipe"] == "f.py:Class"
    assert called["arguments"] == ["--epochs", "3", "--", "x"]
    assert called["parents"] == [Path("p"), Path("q")]
    assert (called["jobs"], called["nonce"], called["salts"]) == (2, "ab", Path("s"))
    assert called["ledger"].path == ledger
    assert page.read_text().startswith("<!doctype html>")
    assert main(["verify", "r", "--recipe", "f.py", "--policy", "bitwise", "--no-ledger"]) == 0
    assert called["ledger"] is None
    assert called["arguments"] == []


def test_verify_reads_a_policy_file(called: dict[str, Any], tmp_path: Path) -> None:
    import trainproof.verification

    folder = Path(next(iter(trainproof.verification.__path__))) / "policies"
    text = (folder / "bitwise.toml").read_text().replace('name = "bitwise"', 'name = "mine"')
    (tmp_path / "mine.toml").write_text(text)
    assert main(["verify", "r", "--recipe", "f.py", "--policy", str(tmp_path / "mine.toml")]) == 0
    assert called["policy"].name == "mine"


# -- the real thing ---------------------------------------------------------------------------------------------------


def test_train_prints_one_json_object(made: Path) -> None:
    facts = json.loads((made / "train.json").read_text())
    assert (facts["steps"], facts["segments"], facts["ended"]) == (16, 2, "complete")
    assert facts["seal"] == "signature valid"
    assert {replay["outcome"] for replay in facts["self_replays"]} == {"bitwise"}


def test_inspect_shows_the_record(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(made / "run.tproof")]) == 0
    text = capsys.readouterr().out
    for wanted in ("Tiny", "64 samples", "batches of 8", "SGD", "signature valid", "0–8", "8–16", "freely chosen"):
        assert wanted in text, wanted
    assert main(["inspect", str(made / "run.tproof"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [segment["steps"] for segment in facts["segments"]] == [0, 8, 8]
    assert facts["dataset"]["samples"] == 64
    assert facts["model"]["parameter"]["elements"] == 58
    assert facts["seal"]["chain"] == facts["segments"][-1]["chain"]


def test_inspect_shows_a_segment(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(made / "run.tproof"), "--segment", "1"]) == 0
    text = capsys.readouterr().out
    assert "step 7: loss" in text
    assert "model/0.weight" in text
    assert main(["inspect", str(made / "run.tproof"), "--segment", "1", "--json"]) == 0
    detail = json.loads(capsys.readouterr().out)
    assert len(detail["log"]) == 8
    assert sorted(i for step in detail["log"] for b in step["batches"] for i in b["indices"]) == list(range(64))
    assert main(["inspect", str(made / "run.tproof"), "--segment", "7"]) == 4
    assert "no such segment" in one_line(capsys.readouterr())


def test_inspect_obeys_nothing_in_a_record(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    hostile = "\x1b[2J\u202eevil [bold]x[/bold] :smile:" + "W" * 4000
    copy = tmp_path / "hostile.tproof"
    shutil.copytree(made / "run.tproof", copy)
    commitment = canonical.decode((copy / "commitment.json").read_bytes(), Commitment, "commitment")
    closure = msgspec.structs.replace(commitment.closure, qualname=hostile[:500], arguments=[hostile[:4000]])
    changed = msgspec.structs.replace(commitment, note=hostile[:4000], closure=closure)
    (copy / "commitment.json").write_bytes(canonical.encode(changed))
    assert main(["inspect", str(copy)]) == 0
    text = capsys.readouterr().out
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert "[bold]x[/bold] :smile:" in text
    assert "\\u{1b}[2J\\u{202e}evil" in text
    assert "INVALID: signed for another commitment" in text
    assert len(text) < 20_000
    assert main(["inspect", str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seal"] == {"state": "INVALID: signed for another commitment"}


@pytest.mark.parametrize("name", ["commitment.json", "segments/00000001.json", "seal.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff" * 99, b"[" * 100_000])
def test_inspect_of_a_broken_record_is_no_traceback(
    name: str, content: bytes, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = tmp_path / "broken.tproof"
    shutil.copytree(made / "run.tproof", copy)
    (copy / name).write_bytes(content)
    code = main(["inspect", str(copy)])
    captured = capsys.readouterr()
    if name == "seal.json":
        assert code == 0
        assert "INVALID" in captured.out
    else:
        assert code == 4
        (line,) = captured.err.splitlines()
        assert line.startswith("trainproof: error: ")


def test_verify_accepts_what_train_recorded(made: Path) -> None:
    done = run(
        "verify", "run.tproof", "--recipe", "tiny.py", "--policy", "bitwise", "--report", "r.html", "--json", cwd=made
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "ACCEPT"
    assert "ACCEPT" in (made / "r.html").read_text()
    assert (made / "xdg" / "trainproof" / "ledger.jsonl").is_file()


def test_check_and_record_a_script(made: Path) -> None:
    assert run("check", "tiny.py", cwd=made).returncode == 0
    done = run("check", "--json", "--", "python", "script.py", "1", cwd=made)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"recordable": True, "findings": []}
    options = ["--out", "script.tproof", "--every", "4", "--key", "prover.key", "--json"]
    done = run("record", *options, "--", "python", "script.py", "1", cwd=made)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["steps"], facts["seal"]) == (8, "signature valid")
    assert "trained" in done.stderr


def test_check_names_what_cannot_be_recorded(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "adagrad.py").write_text(SCRIPT.replace("optim.SGD", "optim.Adagrad"))
    done = run("check", "--", "python", "adagrad.py", "1", cwd=made)
    assert done.returncode == 2
    assert "✗ optimizer: Adagrad is not supported" in done.stdout
    assert "instead: use one of" in done.stdout
