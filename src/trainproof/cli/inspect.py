"""``trainproof inspect``: show a record. It says what is claimed; only ``verify`` says whether it is so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from trainproof.cli.terminal import Json, Result, Whole, console, rows
from trainproof.recording.format import Segment
from trainproof.recording.reader import Record
from trainproof.verification.printable import number, printable, size

EDGE = 15  # segments shown at either end of a long record
STEPS = 40  # steps shown of a segment


def inspect(
    record: Annotated[Path, Parameter(help="The record's folder.")],
    /,
    *,
    segment: Annotated[int | None, Whole, Parameter(help="Show this segment's steps, batches and state.")] = None,
    json: Json = False,
) -> Result:
    """Show a record: recipe, dataset, environment, segments, seal.

    This shows what the record claims. Only the seal's signature is checked; use verify for the rest.
    """
    opened = Record.open(record)
    if segment is not None:
        detail = _detail(opened.segment(segment))
        if not json:
            _print_segment(detail)
        return 0, detail
    return 0, _whole(opened, json)


def _whole(record: Record, quiet: bool) -> dict[str, Any]:
    from trainproof.cli.summary import describe, sealed

    facts = describe(record)
    state, seal = sealed(record)
    facts["seal"] = {"state": state}
    if seal is not None:
        facts["seal"] |= {
            "chain": seal.chain,
            "model": seal.model,
            "segments": seal.segments,
            "steps": seal.steps,
            "ended": seal.ended,
            "started": seal.started,
            "finished": seal.finished,
            "self_replays": [
                {"segment": s.segment, "outcome": s.outcome, "detail": s.detail} for s in seal.self_replays
            ],
        }
    if not quiet:
        _print_facts(facts)
        _print_segments(record)
        return facts
    facts["segments"] = [_row(record.segment(index)) for index in range(len(record))]
    return facts


def _row(segment: Segment) -> dict[str, Any]:
    from trainproof.cli.summary import mean_loss, rates, real

    return {
        "index": segment.index,
        "first_step": segment.first_step,
        "steps": len(segment.steps),
        "skipped": sum(step.skipped for step in segment.steps),
        "batches": sum(len(step.batches) for step in segment.steps),
        "lr": rates(segment),
        "mean_loss": mean_loss(segment),
        "update_norm": real(segment.update_norm),
        "stored": segment.stored,
        "resumed": segment.resumed,
        "state": segment.state.root,
        "chain": segment.chain,
    }


def _print_facts(facts: dict[str, Any]) -> None:
    recipe, data, loader, seal = facts["recipe"], facts["dataset"], facts["loader"], facts["seal"]
    environment, model, optimizer = facts["environment"], facts["model"], facts["optimizer"]
    names = [f"{f['module']} ({size(f['size'])}) {f['digest']}" for f in recipe["files"][:20]]
    hidden = len(recipe["files"]) - len(names)
    accelerator = f", CUDA {environment['cuda']}, cuDNN {environment['cudnn']}" if environment["cuda"] else ""
    pairs: list[tuple[str, Any]] = [
        ("record", f"{facts['record']} ({size(facts['bytes'])})"),
        ("recipe", f"{recipe['door']} {recipe['class'] or ''} {' '.join(recipe['arguments'])}".strip()),
        ("  closure", recipe["closure"]),
        ("  files", names + ([f"and {hidden} more"] if hidden else [])),
        ("dataset", f"{data['samples']} samples{', private' if data['private'] else ''}"),
        ("  root", data["root"]),
        (
            "loader",
            f"{loader['order']} order ({loader['sampler']}), batches of {loader['batch_size']}"
            f"{', last one dropped' if loader['drop_last'] else ''}, accumulate {loader['accumulate']}",
        ),
        (
            "model",
            [f"{v['elements']} {k} elements in {v['tensors']} tensors" for k, v in model.items() if v["tensors"]],
        ),
        ("optimizer", [optimizer["class"], *(_options(group) for group in optimizer["groups"][:8])]),
        ("  schedule", _options(optimizer["schedule"])),
        ("segments", f"of {facts['every']} steps; states stored every {facts['keyframes']}; epochs {facts['epochs']}"),
        (
            "environment",
            f"torch {environment['torch']}, Python {environment['python']}, {environment['device']}{accelerator}",
        ),
        (
            "  processor",
            f"{environment['cpu_model']}, {environment['cpu_capability']}, {environment['threads']} threads, "
            f"{'deterministic' if environment['deterministic'] else 'not deterministic'}",
        ),
        ("seed", f"nonce by {_NONCES[facts['seed']['source']]}"),
        ("  nonce", facts["seed"]["nonce"]),
        ("parent", "none" if facts["parent"] is None else facts["parent"]["chain"]),
        ("key", facts["key"]),
        ("seal", seal["state"]),
    ]
    if "chain" in seal:
        pairs += [
            ("  root", seal["chain"]),
            ("  model", seal["model"]),
            ("  ended", f"{seal['ended']}; {seal['steps']} steps in {seal['segments']} segments"),
            ("  times", f"{seal['started']} to {seal['finished']} (the prover's word)"),
            (
                "  self-replay",
                [f"segment {s['segment']}: {s['outcome']} {s['detail']}" for s in seal["self_replays"]] or "none",
            ),
        ]
    if facts["note"]:
        pairs.append(("note", facts["note"]))
    rows(pairs)


_NONCES = {
    "free": "the prover (freely chosen)",
    "verifier": "a verifier",
    "task": "a task, shared by its provers: without the prover's key",
}


def _options(options: Any) -> str:
    if isinstance(options, dict):
        return ", ".join(f"{name} {_options(part)}" for name, part in options.items())
    if isinstance(options, list):
        return f"({', '.join(map(_options, options))})"
    return number(options, 6) if isinstance(options, float) else str(options)


def _print_segments(record: Record) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for name in ("segment", "steps", "lr", "loss", "update", "batches", "stored", ""):
        table.add_column(name, justify="right" if name not in ("stored", "") else "left")
    count = len(record)
    indices = list(range(count)) if count <= 2 * EDGE + 1 else [*range(EDGE), -1, *range(count - EDGE, count)]
    for index in indices:
        if index < 0:
            table.add_row("…", *[""] * 7)
            continue
        row = _row(record.segment(index))
        first = row["first_step"]
        table.add_row(
            str(row["index"]),
            "initial" if not row["steps"] else f"{first}–{first + row['steps']}",
            " → ".join(dict.fromkeys(number(rate) for rate in row["lr"])),
            number(row["mean_loss"], 4) if row["steps"] else "",
            number(row["update_norm"]) if row["steps"] else "",
            str(row["batches"]) if row["steps"] else "",
            "yes" if row["stored"] else "hash",
            ", ".join(
                filter(
                    None, ["resumed" if row["resumed"] else "", f"{row['skipped']} skipped" if row["skipped"] else ""]
                )
            ),
        )
    out = console()
    out.print()
    out.print(table)


def _detail(segment: Segment) -> dict[str, Any]:
    from trainproof.cli.summary import real, value

    return _row(segment) | {
        "previous": segment.previous,
        "hypers": [value(tree) for tree in segment.hypers],
        "log": [
            {
                "step": segment.first_step + number_,
                "losses": [real(loss) for loss in step.losses],
                "hyper": step.hyper,
                "skipped": step.skipped,
                "batches": [{"iteration": b.iteration, "indices": b.indices, "digest": b.digest} for b in step.batches],
            }
            for number_, step in enumerate(segment.steps)
        ],
        "trailing": [{"iteration": b.iteration, "indices": b.indices, "digest": b.digest} for b in segment.trailing],
        "tensors": [
            {"name": t.name, "dtype": t.dtype, "shape": t.shape, "digest": t.digest} for t in segment.state.tensors
        ],
        "aliases": segment.state.aliases,
    }


def _print_segment(detail: dict[str, Any]) -> None:
    first, count = detail["first_step"], detail["steps"]
    rows(
        [
            ("segment", detail["index"]),
            ("steps", f"{first}–{first + count}" if count else "none: the initial state"),
            ("update", number(detail["update_norm"])),
            ("stored", "yes" if detail["stored"] else "no, its hash alone"),
            ("resumed", "yes" if detail["resumed"] else "no"),
            ("state", detail["state"]),
            ("chain", detail["chain"]),
            ("options", [_options(options) for options in detail["hypers"][:8]] or "none"),
        ]
    )
    out = console()
    for step in detail["log"][:STEPS]:
        losses = ", ".join(number(loss, 6) for loss in step["losses"])
        out.print(f"step {step['step']}: loss {losses or '—'}{', skipped' if step['skipped'] else ''}", soft_wrap=True)
        for batch in step["batches"]:
            indices = " ".join(map(str, batch["indices"][:12])) + (" …" if len(batch["indices"]) > 12 else "")
            out.print(f"    pass {batch['iteration']}: {indices}  {batch['digest'][:16]}…", soft_wrap=True)
    if count > STEPS:
        out.print(f"and {count - STEPS} more steps (--json has all)")
    for tensor in detail["tensors"][:200]:
        shape = "×".join(map(str, tensor["shape"])) or "scalar"
        out.print(
            f"{printable(tensor['name'], 100)}  {printable(tensor['dtype'], 20)}  {shape}  {tensor['digest'][:16]}…"
        )
    if len(detail["tensors"]) > 200:
        out.print(f"and {len(detail['tensors']) - 200} more tensors (--json has all)")
