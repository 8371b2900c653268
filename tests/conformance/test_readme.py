"""README is executed: its Python blocks run in order, its commands work, and the help it quotes is the program's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL))
HELP = re.findall(r"<!-- help:(.*?)-->\n```text\n(.*?)```", README, re.DOTALL)
CLI = "import sys; from trainproof.cli import main; sys.exit(main())"
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


def run(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
            "COLUMNS": "100",
            "XDG_DATA_HOME": str(cwd / "state"),
        },
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def command(line: str, cwd: Path) -> str:
    name, *arguments = shlex.split(line)
    assert name == "trainproof"
    return run("-c", CLI, *arguments, cwd=cwd)


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with README's files, and its key."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (keygen,) = (line for line in COMMANDS if "keygen" in line)
    command(keygen, tmp_path)
    return tmp_path


def test_every_python_block_has_a_file_name() -> None:
    assert len(FILES) == README.count("```python") == 5


def test_the_recipe_is_recorded_verified_and_reported(workplace: Path) -> None:
    run("prove.py", cwd=workplace)
    assert run("check.py", cwd=workplace).startswith("ACCEPT")
    page = (workplace / "report.html").read_text(encoding="utf-8")
    assert "ACCEPT" in page
    assert "http://" not in page.replace("http://www.w3.org", "")  # self-contained


def test_the_loop_is_recorded_and_verified(workplace: Path) -> None:
    run("loop.py", cwd=workplace)
    assert "ACCEPT" in command("trainproof verify loop.tproof --recipe loop.py --policy bitwise", workplace)


def test_the_commands_train_inspect_and_verify(workplace: Path) -> None:
    lines = [line for line in COMMANDS if line.startswith("trainproof") and "run.tproof" in line]
    assert [shlex.split(line)[1] for line in lines] == ["train", "inspect", "verify"]
    *_, output = [command(line, workplace) for line in lines]
    assert "ACCEPT" in output


def test_two_workers_of_one_task_agree(workplace: Path) -> None:
    lines = [line.replace("$TASK", "7" * 64) for line in COMMANDS if "exact_digits.py" in line or "dispute" in line]
    assert [shlex.split(line)[1] for line in lines] == ["train", "dispute"]
    train, dispute = lines
    for worker in ("a", "b"):
        command(f"trainproof keygen {worker}.key", workplace)
        command(train.replace("a.tproof", f"{worker}.tproof").replace("prover.key", f"{worker}.key"), workplace)
    assert command(dispute, workplace).startswith("agree")


@pytest.mark.parametrize(("verb", "quoted"), HELP, ids=[verb.strip() or "trainproof" for verb, _ in HELP])
def test_the_quoted_help_is_the_programs(verb: str, quoted: str, tmp_path: Path) -> None:
    printed = command(f"trainproof {verb} --help", tmp_path)
    assert [line.rstrip() for line in printed.strip().splitlines()] == [
        line.rstrip() for line in quoted.strip().splitlines()
    ]


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", "CHANGELOG.md", *map(str, (ROOT / "docs").glob("*.md"))])
def test_relative_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("https://", "http://")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
