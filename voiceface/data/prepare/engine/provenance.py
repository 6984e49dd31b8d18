"""Provenance of a corpus: what it is made of and how, so that only the same command continues it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voiceface.data.corpus.bundles import Reject
from voiceface.data.corpus.shards import SCHEMA
from voiceface.data.prepare.engine.packing import CorpusOptions
from voiceface.utils.errors import UserError
from voiceface.utils.files import write_atomic

PLAN, INPUTS = "plan.json", "inputs.json"
Plan = dict[str, Any]
Inputs = dict[str, dict[str, str]]


def describe(
    jobs: Sequence[object],
    identities: Mapping[str, Mapping[str, str]],
    rejects: Sequence[Reject],
    options: CorpusOptions,
    made_by: Mapping[str, Any],
) -> tuple[Plan, Inputs]:
    """Describe a preparation.

    Args:
        jobs: One job per person; their `repr` says all about them.
        identities: Attributes of every identity.
        rejects: What was left out before.
        options: Layout of the corpus.
        made_by: Command, options, versions.

    Returns:
        The plan, which stays in the corpus; and a hash of every person's job and attributes and of what was left out,
        to say what differs.
    """
    digest = hashlib.sha256()
    inputs: Inputs = {"person": {}, "attributes of": {}, "left-out input": {}}
    end = b""

    def add(kind: str, name: str, item: object) -> None:
        nonlocal end
        text = repr(item).encode()
        digest.update(end + text)
        end = b"\n"
        inputs[kind][name] = hashlib.blake2b(text, digest_size=8).hexdigest()

    for number, job in enumerate(jobs):
        add("person", str(getattr(job, "identity", number)), job)
    for row in sorted(identities.items()):
        add("attributes of", row[0], row)
    for reject in rejects:
        add("left-out input", reject.path, reject)
    layout = asdict(options)
    if options.bundle == "random":
        del layout["bundle"]  # corpora of version 0.1.0 do not name it: they stay the corpus of the same command
    plan = {
        "schema": SCHEMA,
        "options": layout,
        "made_by": dict(made_by),
        "people": len(jobs),
        "input_sha256": digest.hexdigest(),
    }
    loaded: Plan = json.loads(json.dumps(plan))
    return loaded, inputs


def same_plan(work: Path, plan: Plan, inputs: Inputs) -> None:
    """Make sure that the work in a folder is that of the same plan; leave the plan in a folder that has none.

    Raises:
        UserError: It is that of another plan; says what differs.
    """
    if (work / "corpus.json").exists():
        before = json.loads((work / "corpus.json").read_text())["plan"]
    elif (work / PLAN).exists():
        before = json.loads((work / PLAN).read_text())
    else:
        write_atomic(work / INPUTS, json.dumps(inputs).encode())
        write_atomic(work / PLAN, json.dumps(plan, indent=1, sort_keys=True).encode())
        return
    if before != plan:
        told = json.loads((work / INPUTS).read_text()) if (work / INPUTS).exists() else None
        raise UserError(
            f"{work}: holds the unfinished work of another command ({differences(before, plan, told, inputs)}); "
            "finish that one, choose another OUT, or delete it"
        )


def differences(before: Plan, now: Plan, inputs_before: Inputs | None = None, inputs: Inputs | None = None) -> str:
    """Say in a few words in what two plans differ: the command, else options, else the input."""
    a, b = (dict(_flat(plan)) for plan in (before, now))
    if a.get("made_by.command") != b.get("made_by.command"):
        return f"it is `{a.get('made_by.command')}`, not `{b.get('made_by.command')}`"
    different = [
        f"{name.removeprefix('made_by.')} is {_value(a, name)}, not {_value(b, name)}"
        for name in dict.fromkeys([*a, *b])
        if _value(a, name) != _value(b, name) and name not in ("people", "input_sha256")
    ]
    if different:
        return _few(different)
    if inputs_before and inputs:
        for kind, items in inputs.items():
            was = inputs_before.get(kind, {})
            different += [f"{kind} {name} was added" for name in items if name not in was]
            different += [f"{kind} {name} was removed" for name in was if name not in items]
            different += [f"{kind} {name} has changed" for name in items if was.get(name, items[name]) != items[name]]
    return _few(different) if different else f"its input was another, of {before.get('people')} people"


def _flat(plan: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in plan.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _value(flat: Mapping[str, Any], name: str) -> str:
    return json.dumps(flat[name]) if name in flat else "not given"


def _few(texts: Sequence[str]) -> str:
    return "; ".join(texts[:3]) + (f"; and {len(texts) - 3} more" if len(texts) > 3 else "")
