"""Files from a stranger: cut, oversized, misspelt, swapped for links, pipes and pickles.

Each gives one typed error with its exit code, one line without a traceback on the command line, and nothing else: no
report, no ledger entry, no memory beyond its limits, and none of what a pickle would do.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conformance.forge import RECIPE, Bench, Honest, as_a_process, door_1
from trainproof import limits
from trainproof.attest.keys import Signer
from trainproof.cli import main
from trainproof.errors import (
    DatasetError,
    KeyFileError,
    LimitError,
    PolicyError,
    RecordError,
    TrainproofError,
    UsageError,
)
from trainproof.recording.reader import COMMITMENT, LEAVES, SEAL, Record
from trainproof.recording.train import train
from trainproof.verification.policy import Policy
from trainproof.verification.verdict import Verdict

SEGMENT, STATE = "segments/00000001.json", "states/00000001.safetensors"
FILES = (COMMITMENT, LEAVES, SEAL, SEGMENT, STATE)
JSON = (COMMITMENT, SEAL, SEGMENT)

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("bench")) as found:
        yield found


@pytest.fixture(scope="module")
def honest(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Honest:
    found = door_1(tmp_path_factory.mktemp("honest"))
    bench.verify(found, found.path)  # imports everything once: later, only a record can have code loaded
    return found


@pytest.fixture
def record(honest: Honest, tmp_path: Path) -> Path:
    """A copy of the honest record, to be damaged."""
    return Path(shutil.copytree(honest.path, tmp_path / "record"))


def refused(bench: Bench, honest: Honest, path: Path, kind: type[TrainproofError] = RecordError) -> str:
    """Assert that a verification ends in one typed error, by the API; return what it says."""
    with pytest.raises(kind) as caught:
        bench.verify(honest, path)
    assert caught.value.exit_code == 4
    line = str(caught.value)
    assert line
    assert line.isprintable(), line
    return line


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command line in this process; return exit code, standard output, standard error."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def one_line(error: str) -> None:
    """Assert that standard error is one line that says what is wrong."""
    assert re.fullmatch(r"trainproof: error: [^\n]+\n", error), error
    assert "this is a bug" not in error


def refused_by_the_command_line(capsys: pytest.CaptureFixture[str], honest: Honest, path: Path, folder: Path) -> None:
    """Assert that ``verify`` says one line, and leaves neither report nor ledger behind."""
    report, ledger = folder / "report.html", folder / "ledger"
    options = ["--recipe", honest.recipe, "--policy", "bitwise", "--ledger", ledger, "--report", report]
    code, out, error = command(capsys, "verify", path, *options)
    assert (code, out) == (4, ""), error
    one_line(error)
    assert not report.exists()
    assert not ledger.exists()
    code, out, error = command(capsys, "inspect", path)
    assert code in (0, 4), error
    if code == 4:
        one_line(error)


# -- honest ----------------------------------------------------------------------------------------------------------


def test_an_untouched_copy_is_accepted(bench: Bench, honest: Honest, record: Path) -> None:
    report = bench.verify(honest, record)
    assert (report.verdict, report.level) == (Verdict.ACCEPT, 3), report.headline()


# -- contents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_files_cut_anywhere(name: str, bench: Bench, honest: Honest, record: Path) -> None:
    data = (record / name).read_bytes()
    for sixteenth in range(16):
        (record / name).write_bytes(data[: len(data) * sixteenth // 16])
        refused(bench, honest, record)
    (record / name).write_bytes(data[:-1])
    refused(bench, honest, record)


@pytest.mark.parametrize("name", FILES)
def test_files_with_more_at_the_end(name: str, bench: Bench, honest: Honest, record: Path) -> None:
    data = (record / name).read_bytes()
    for more in (b"\0", b"\n", b" ", data):
        (record / name).write_bytes(data + more)
        refused(bench, honest, record)


@pytest.mark.parametrize("name", [name for name in FILES if name != LEAVES])
def test_files_of_random_bytes(name: str, bench: Bench, honest: Honest, record: Path) -> None:
    size = (record / name).stat().st_size
    for seed in range(5):
        (record / name).write_bytes(random.Random(seed).randbytes(size))
        refused(bench, honest, record)


def test_random_leaves_are_no_error_but_refuted(bench: Bench, honest: Honest, record: Path) -> None:
    (record / LEAVES).write_bytes(random.Random(1).randbytes((record / LEAVES).stat().st_size))
    report = bench.verify(honest, record)
    assert report.verdict is Verdict.REJECT
    assert "committed root" in report.headline()


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"0" + b"}" * depth


def respelt(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    """Return a change of a file's text that must change it."""

    def edit(data: bytes) -> bytes:
        new = change(data.decode()).encode("utf-8", "surrogatepass")
        assert new != data
        return new

    return edit


SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "null": lambda data: b"null",
    "another type": lambda data: b"[]",
    "brackets without end": lambda data: b"[" * 200_000,
    "objects without end": lambda data: nested(100_000),
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "not UTF-8": lambda data: data.replace(b'"', b'"\xff', 1),
    "spaces": respelt(lambda text: text.replace(":", ": ", 1)),
    "a key twice": respelt(lambda text: text.replace("{", '{"version":1,', 1)),
    "a key twice, at the end": lambda data: data[:-1] + b',"version":1}',
    "an unknown key": lambda data: data[:-1] + b',"zz":1}',
    "an escape that is not needed": respelt(
        lambda text: re.sub(r'"([a-z])', lambda m: f'"\\u{ord(m[1]):04x}', text, count=1)
    ),
    "a lone surrogate": respelt(lambda text: text.replace('":"', '":"\\ud800', 1)),
    "NUL": respelt(lambda text: text.replace('":"', '":"\\u0000', 1)),
    "a comment": lambda data: data + b"// ok",
    "another order": lambda data: json.dumps(dict(reversed(json.loads(data).items())), separators=(",", ":")).encode(),
    "indented": lambda data: json.dumps(json.loads(data), indent=1).encode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", JSON)
def test_json_in_any_but_the_one_spelling(name: str, spelling: str, bench: Bench, honest: Honest, record: Path) -> None:
    data = (record / name).read_bytes()
    (record / name).write_bytes(SPELLINGS[spelling](data))
    refused(bench, honest, record)


NUMBERS = ["1e400", "-0", "1.0", "1E0", "NaN", "Infinity", "-1", "0x1", "01", str(2**53), str(2**64), "9" * 5000, '"1"']


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:12])
def test_numbers_that_are_none_of_this_format(number: str, bench: Bench, honest: Honest, record: Path) -> None:
    for name, key in ((COMMITMENT, "every"), (COMMITMENT, "threads"), (SEGMENT, "first_step"), (SEGMENT, "hyper")):
        data = (record / name).read_bytes()
        text, count = re.subn(rf'"{key}":\d+', f'"{key}":{number}', data.decode(), count=1)
        assert count == 1
        (record / name).write_bytes(text.encode())
        refused(bench, honest, record)
        (record / name).write_bytes(data)


@pytest.mark.parametrize("depth", [33, 200, 20_000])
def test_trees_nested_too_deep(depth: int, bench: Bench, honest: Honest, record: Path) -> None:
    data = (record / SEGMENT).read_bytes()
    deep = b'{"t":"l","tuple":false,"v":[' * depth + b'{"t":"n"}' + b"]}" * depth
    at = data.index(b'"tree":') + 7
    (record / SEGMENT).write_bytes(data[:at] + deep + b"}" + data[at:])
    refused(bench, honest, record)
    # The same where the rest of the file is what it was.
    segment = json.loads(data)
    segment["state"]["tree"] = "HERE"
    text = json.dumps(segment, sort_keys=True, separators=(",", ":")).encode()
    (record / SEGMENT).write_bytes(text.replace(b'"HERE"', deep))
    assert "nested" in refused(bench, honest, record) or depth > 1000


# -- sizes -----------------------------------------------------------------------------------------------------------

SIZES = {
    COMMITMENT: limits.COMMITMENT_BYTES,
    LEAVES: limits.LEAVES_BYTES,
    SEAL: limits.SEAL_BYTES,
    SEGMENT: limits.SEGMENT_BYTES,
    STATE: limits.STATE_BYTES,
}


@pytest.mark.parametrize("name", FILES)
def test_files_beyond_their_limit_are_not_read(name: str, bench: Bench, honest: Honest, record: Path) -> None:
    bench.verify(honest, honest.path)  # whatever is imported only once
    os.truncate(record / name, SIZES[name] + 1)  # sparse: it takes no disk
    tracemalloc.start()
    try:
        assert "limit" in refused(bench, honest, record, LimitError)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 * limits.MIB


def test_a_record_that_names_huge_sizes_takes_no_memory(honest: Honest, record: Path) -> None:
    """In a process that can have one GiB: shapes, numbers of tensors and leaves, header lengths."""
    state = record / STATE
    data = state.read_bytes()
    claims = [
        struct.pack("<Q", 2**63) + data[8:],
        struct.pack("<Q", 2**63 - 1) + data[8:],
        struct.pack("<Q", len(data)) + data[8:],
        _header({"model/0.bias": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}),
        _header({"model/0.bias": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}),
    ]
    files = []
    for number, claim in enumerate(claims):
        copy = shutil.copytree(record, record.with_name(f"claim-{number}"))
        (copy / STATE).write_bytes(claim)
        files.append(str(copy))
    shape = shutil.copytree(record, record.with_name("shape"))
    text = (shape / SEGMENT).read_text()
    (shape / SEGMENT).write_text(re.sub(r'"shape":\[8\]', '"shape":[1000000000]', text, count=1))
    leaves = shutil.copytree(record, record.with_name("leaves"))
    text = (leaves / COMMITMENT).read_text()
    (leaves / COMMITMENT).write_text(re.sub(r'"size":24', '"size":100000000', text, count=1))
    code = """
import resource, sys
from trainproof.errors import RecordError
from trainproof.recording.reader import Record
import torch, safetensors
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)))
for path in sys.argv[1:]:
    record = Record.open(path)
    try:
        record.leaves()
        record.tensors(1)
    except RecordError as error:
        print("refused", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *files, str(shape), str(leaves)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused ") == len(files) + 2, done.stdout


def _header(header: dict[str, Any]) -> bytes:
    data = json.dumps(header).encode()
    return struct.pack("<Q", len(data)) + data


# -- states ----------------------------------------------------------------------------------------------------------


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def reheaded(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """Return a change of a safetensors file's header."""

    def edit(data: bytes) -> bytes:
        header, rest = _parts(data)
        change(header)
        return _header(header) + rest

    return edit


def _without(header: dict[str, Any]) -> None:
    del header["model/0.bias"]


STATES: dict[str, Callable[[bytes], bytes]] = {
    "metadata": reheaded(lambda header: header.update(__metadata__={"payload": "x" * 1000})),
    "another tensor": reheaded(
        lambda header: header.update(extra={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})
    ),
    "a tensor less": reheaded(_without),
    "overlapping tensors": reheaded(lambda header: header["model/0.bias"].update(data_offsets=[32, 64])),
    "offsets beyond the end": reheaded(lambda header: header["model/0.bias"].update(data_offsets=[0, 10**15])),
    "offsets that go back": reheaded(lambda header: header["model/0.bias"].update(data_offsets=[32, 0])),
    "another shape": reheaded(lambda header: header["model/0.bias"].update(shape=[4, 2])),
    "another dtype": reheaded(lambda header: header["model/0.bias"].update(dtype="I32")),
    "an unknown dtype": reheaded(lambda header: header["model/0.bias"].update(dtype="Q7")),
    "the same header, spelt otherwise": reheaded(lambda header: None),
    "a header that is not JSON": lambda data: struct.pack("<Q", 8) + b"not json" + data,
    "a header without end": lambda data: struct.pack("<Q", 2**63) + data[8:],
    "a header beyond its limit": lambda data: struct.pack("<Q", limits.STATE_HEADER_BYTES + 1) + data[8:],
    "no header": lambda data: data[:7],
}


@pytest.mark.parametrize("state", STATES)
def test_state_files_that_are_not_the_manifests(state: str, bench: Bench, honest: Honest, record: Path) -> None:
    data = (record / STATE).read_bytes()
    (record / STATE).write_bytes(STATES[state](data))
    refused(bench, honest, record)


# -- what a pickle would do ------------------------------------------------------------------------------------------

_seen: list[str] = []
_watching: list[Path] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event.startswith(("pickle.", "marshal.", "ctypes.dlopen", "os.system", "os.exec", "subprocess.")):
        _seen.append(f"{event} {arguments}")
    elif event in ("exec", "compile") or event == "open":
        where = str(getattr(arguments[0], "co_filename", arguments[1 if event == "compile" else 0]))
        inside = where.startswith(str(_watching[0]))
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE != os.O_RDONLY
        if inside and (event != "open" or writes):
            _seen.append(f"{event} {where}")


@pytest.fixture
def watched(record: Path) -> Iterator[list[str]]:
    """What was unpickled, loaded or started, and what of the record was run or written, meanwhile."""
    if not getattr(sys, "_trainproof_audited", False):
        sys.addaudithook(_audit)  # for good, so it only looks while somebody watches
        sys._trainproof_audited = True  # type: ignore[attr-defined]
    _seen.clear()
    _watching.append(record)
    yield _seen
    _watching.clear()


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def _pickled(mark: Path) -> bytes:
    return pickle.dumps({"model/0.bias": Bomb(mark)})


def _saved(mark: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"model/0.bias": Bomb(mark), "t": torch.ones(8)}, file)
    return file.getvalue()


def _saved_as_it_was(mark: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"model/0.bias": Bomb(mark)}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def _arrays(mark: Path) -> bytes:
    file = io.BytesIO()
    np.savez(file, bias=np.array([Bomb(mark)], dtype=object))
    return file.getvalue()


def _zipped(mark: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../" * 20 + str(mark.resolve())[1:], b"\0" * 10_000_000)
    return file.getvalue()


BOMBS = (_pickled, _saved, _saved_as_it_was, _arrays, _zipped)


def test_bombs_do_go_off_where_they_are_loaded(tmp_path: Path, watched: list[str]) -> None:
    mark = tmp_path / "mark"
    pickle.loads(_pickled(mark))
    assert mark.exists()
    assert any(event.startswith("pickle.find_class") for event in watched)


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__.strip("_"))
@pytest.mark.parametrize("name", FILES)
def test_nothing_in_a_record_is_unpickled(
    name: str,
    bomb: Callable[[Path], bytes],
    bench: Bench,
    honest: Honest,
    record: Path,
    tmp_path: Path,
    watched: list[str],
) -> None:
    mark = tmp_path / "mark"
    (record / name).write_bytes(bomb(mark))
    watched.clear()
    refused(bench, honest, record)
    # And in the body of an otherwise perfect file.
    shutil.copy(honest.path / name, record / name)
    data = (record / name).read_bytes()
    body = bomb(mark)[: len(data) // 2]
    (record / name).write_bytes(data[: len(data) - len(body)] + body)
    watched.clear()
    with contextlib.suppress(RecordError):  # states and leaves can be read, and are refuted
        assert bench.verify(honest, record).verdict is Verdict.REJECT
    assert watched == []
    assert not mark.exists()


def test_an_honest_verification_unpickles_nothing_and_writes_nothing_into_the_record(
    bench: Bench, honest: Honest, record: Path, watched: list[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in record.rglob("*")}
    assert bench.verify(honest, record).verdict is Verdict.ACCEPT
    assert watched == []
    assert {path: path.stat().st_mtime_ns for path in record.rglob("*")} == before


# -- the file system -------------------------------------------------------------------------------------------------


def swapped(name: str, make: Callable[[Path, Path], object]) -> Damage:
    """Return a damage that moves a file or folder away, and has ``make(where, original)`` put something there."""

    def damage(record: Path) -> None:
        away = record.parent / "away"
        (record / name).rename(away)
        make(record / name, away)

    return damage


def bound(where: Path, _: Path) -> None:
    """Make a socket there (its own path may be too long for one)."""
    saved = os.getcwd()
    os.chdir(where.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(where.name)
    finally:
        os.chdir(saved)


def renamed(old: str, new: str) -> Damage:
    """Return a damage that renames a file."""
    return lambda record: (record / old).rename(record / new)


def added(name: str, data: bytes = b"x") -> Damage:
    """Return a damage that adds a file."""

    def damage(record: Path) -> None:
        (record / name).parent.mkdir(exist_ok=True)
        (record / name).write_bytes(data)

    return damage


SWAPS: dict[str, Callable[[Path, Path], object]] = {
    "missing": lambda where, original: None,
    "a link to itself": lambda where, original: where.symlink_to(original),
    "a link to nowhere": lambda where, original: where.symlink_to("nowhere"),
    "a link in a circle": lambda where, original: where.symlink_to(where),
    "a link to zeros without end": lambda where, original: where.symlink_to("/dev/zero"),
    "a pipe": lambda where, original: os.mkfifo(where),
    "a socket": bound,
}
PLACES = (*FILES, "segments", "states")
DAMAGE: dict[str, Damage] = {f"{name}: {what}": swapped(name, make) for name in PLACES for what, make in SWAPS.items()}
DAMAGE |= {f"{name}: a folder": swapped(name, lambda where, original: where.mkdir()) for name in FILES}
DAMAGE |= {f"{name}: a file": swapped(name, lambda where, original: where.touch()) for name in ("segments", "states")}
DAMAGE |= {
    "no segments": swapped("segments", lambda where, original: where.mkdir()),
    "no states": swapped("states", lambda where, original: where.mkdir()),
    "a segment misnumbered": renamed(SEGMENT, "segments/00000009.json"),
    "a segment with a short number": renamed(SEGMENT, "segments/1.json"),
    "a segment with another ending": renamed(SEGMENT, "segments/00000001.JSON"),
    "a file that does not belong": added("README"),
    "a hidden file": added(".hidden"),
    "code": added("sitecustomize.py", b"raise SystemExit(0)"),
    "a pickle beside the state": added("states/00000001.pt", b"x"),
    "a segment file that does not belong": added("segments/notes.txt"),
    "a hidden segment": added("segments/.00000001.json"),
    "a state of no segment": added("states/00000099.safetensors"),
    "a folder that does not belong": added("extra/x"),
    "a name that controls a terminal": added("\x1b[31mred\n\x07"),
    "a name that is not UTF-8": lambda record: Path(os.fsdecode(os.fsencode(record) + b"/\xff\xfe")).touch(),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_that_is_not_a_records(
    damage: str, bench: Bench, honest: Honest, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGE[damage](record)
    refused(bench, honest, record)
    refused_by_the_command_line(capsys, honest, record, tmp_path)


def test_hidden_files_in_states_are_named(bench: Bench, honest: Honest, record: Path) -> None:
    (record / "states" / ".payload").write_bytes(b"x" * 1000)
    assert "not part of a record" in refused(bench, honest, record)


@pytest.mark.parametrize("path", ["", "nowhere", "\0", "a" * 300, "/dev/null", "/dev/zero", "."])
def test_paths_that_are_no_record(
    path: str, bench: Bench, honest: Honest, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError):
        bench.verify(honest, Path(path))
    code, out, error = command(capsys, "verify", path, "--recipe", honest.recipe, "--policy", "bitwise")
    assert (code, out) == (4, "")
    one_line(error)


# -- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["half", "random", "huge"])
def test_the_command_line_says_one_line(
    name: str, how: str, honest: Honest, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], bench: Bench
) -> None:
    data = (record / name).read_bytes()
    (record / name).write_bytes(data[: len(data) // 2] if how == "half" else random.Random(3).randbytes(len(data) - 1))
    if how == "huge":
        os.truncate(record / name, SIZES[name] + 1)
    refused_by_the_command_line(capsys, honest, record, tmp_path)


def test_a_process_of_its_own_says_one_line_and_runs_nothing(honest: Honest, record: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (record / STATE).write_bytes(_saved(mark))
    code = "import sys; from trainproof.cli import main; sys.exit(main())"
    options = ["--recipe", honest.recipe, "--policy", "strict", "--no-ledger", "--json"]
    for path, exit_code in ((record, 4), (honest.path / "seal.json", 4)):
        done = subprocess.run(
            [sys.executable, "-c", code, "verify", str(path), *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == exit_code
        one_line(done.stderr)
        assert json.loads(done.stdout)["exit_code"] == exit_code
    assert not mark.exists()


# -- the caller's own files ------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["", "version = 1", "[bounds]", "\0", "version = 1e400", "a = " + "[" * 10_000])
def test_a_policy_that_checks_nothing_is_refused(
    text: str, honest: Honest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(PolicyError) as caught:
        Policy.load(path)
    assert caught.value.exit_code == 2
    code, out, error = command(capsys, "verify", honest.path, "--recipe", honest.recipe, "--policy", path)
    assert (code, out) == (2, "")
    one_line(error)


@pytest.mark.timeout(60)
def test_a_policy_without_end_is_refused(honest: Honest, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PolicyError, match="limit"):
        Policy.load("/dev/zero")
    code, out, error = command(capsys, "verify", honest.path, "--recipe", honest.recipe, "--policy", "/dev/zero")
    assert (code, out) == (2, "")
    one_line(error)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", ["pipe", "zeros", "folder", "random", "half", "others can read it"])
def test_key_files_that_are_none(what: str, honest: Honest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "prover.key"
    honest.signer.save(path)
    data = path.read_bytes()
    if what in ("pipe", "folder", "zeros"):
        path.unlink()
    make: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(path, 0o600),
        "folder": path.mkdir,
        "zeros": lambda: path.symlink_to("/dev/zero"),
        "random": lambda: path.write_bytes(random.Random(1).randbytes(len(data))),
        "half": lambda: path.write_bytes(data[: len(data) // 2]),
        "others can read it": lambda: path.chmod(0o644),
    }
    make[what]()
    with pytest.raises(KeyFileError) as caught:
        Signer.load(path)
    assert caught.value.exit_code == 4
    out = tmp_path / "run"
    code, printed, error = command(
        capsys, "train", honest.recipe, "--out", out, "--epochs", "1", "--every", "1", "--key", path
    )
    assert (code, printed) == (4, "")
    one_line(error)
    assert not out.exists()


DATASETS = {
    "a list of objects": "[object() for _ in range(24)]",
    "nothing": "[]",
    "no length": "(i for i in range(3))",
    "samples that differ when read again": "Moody()",
}


@pytest.mark.parametrize("data", DATASETS)
def test_datasets_that_cannot_be_committed_to(data: str, honest: Honest, tmp_path: Path) -> None:
    moody = (
        "class Moody(list):\n    def __len__(self): return 9\n    def __getitem__(self, i): return torch.rand(2)\n\n\n"
    )
    text = RECIPE.replace("class Tiny", f"{moody}class Tiny").replace(
        "TensorDataset(x, x.argmax(1) % 3)", DATASETS[data]
    )
    assert DATASETS[data] in text
    recipe = tmp_path / "recipe.py"
    recipe.write_text(text)
    with as_a_process(), pytest.raises(DatasetError) as caught:
        train(f"{recipe}:Tiny", out=tmp_path / "run", epochs=1, every=1, key=honest.signer, quiet=True)
    assert caught.value.exit_code == 4
    assert not (tmp_path / "run" / COMMITMENT).exists()


@pytest.mark.parametrize("size", [0, 5, 31, 33, 1000])
def test_a_salt_secret_of_another_size(size: int, bench: Bench, honest: Honest, tmp_path: Path) -> None:
    salts = tmp_path / "salts"
    salts.write_bytes(b"\0" * size)
    with pytest.raises(RecordError, match="32 bytes"):
        bench.verify(honest, honest.path, salts=salts)
    salts.write_bytes(b"\0" * 32)
    with pytest.raises(UsageError, match="is public"):
        bench.verify(honest, honest.path, salts=salts)


def test_a_record_read_again_is_the_record(honest: Honest) -> None:
    record = Record.open(honest.path)
    assert [record.segment(i).index for i in range(len(record))] == list(range(len(record)))
