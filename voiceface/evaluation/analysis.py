"""Analysis of embeddings: linear probes, correlation of distance with agreement, t-SNE."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from voiceface.evaluation.analysis_plots import correlations_figure, probes_figure
from voiceface.evaluation.cells import new_table
from voiceface.evaluation.embeddings import Embeddings
from voiceface.evaluation.results import environment
from voiceface.evaluation.tsne import (
    FORMATS,
    SAID,
    Map,
    category_figure,
    draw_map,
    identity_figure,
    map_csv,
    number_figure,
    rendered,
)
from voiceface.scores.agreement import agreement_correlations
from voiceface.scores.probes import Identities, attribute_values, is_chance, plan_probes, probe
from voiceface.scores.similarity import centred, directions
from voiceface.utils.errors import UserError
from voiceface.utils.files import write_for_user
from voiceface.utils.progress import progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1
COLOURED = ("gender", "age")  # attributes shown in the pictures, besides identity
MEASURED = {"voice_pitch": ("pitch", "Hz"), "voice_loudness": ("loudness", "dBFS")}
PICTURES = ("identity", *COLOURED, *(name for name, _ in MEASURED.values()))
FIGURES = ("probes", "correlations", *(f"tsne_{name}" for name in PICTURES))
WRITTEN = {"analysis.json", "tsne.csv", *(f"{name}.{kind}" for name in FIGURES for kind in FORMATS)}


def analyze(
    embeddings: Embeddings,
    identities: Identities,
    out: Path,
    seed: int = 0,
    level: float = 0.99,
    points: int = 2000,
    measures: Mapping[str, NDArray[np.float64]] | None = None,
) -> dict[str, Any]:
    """Probe and plot embeddings as in Kim et al. 2018, section 4.5.

    Writes `analysis.json`, `tsne.csv` and, as PNG and SVG, `probes`, `correlations` if there are any, `tsne_identity`,
    and `tsne_gender`, `tsne_age`, `tsne_pitch` and `tsne_loudness` if the attribute or measure is known. Either all
    files are written or none.

    Args:
        embeddings: Voices and faces in one space, compared by cosine (also if `similarity` is None) or Euclidean
            distance.
        identities: Attributes of each identity; the attribute `identity` merges several ids of one person.
        out: Output folder; it must be new, empty or an earlier analysis, which is replaced.
        seed: Seed of the probes' holdouts, the permutations, the sample drawn and the t-SNE.
        level: Confidence level of the probes' intervals, in (0, 1).
        points: Maximum number of points in a picture, at least 20.
        measures: `voice_pitch` (Hz) and `voice_loudness` (dBFS), float (Nv,), non-finite = unknown; None: those of
            `embeddings`.

    Returns:
        The content of `analysis.json`: schema, similarity, people, voices, faces, dimensions, seed, level, `scores`
        (the probes' records), `left_out`, `correlations`, `tsne`, `about` (model and data), environment.

    Raises:
        UserError: `out` contains other files or cannot be written; there is nothing to analyse: no embeddings, all of
            them equal, or no person in the table; an option is out of range.
    """
    if not 0 <= seed < 1 << 32:
        raise UserError(f"analyze: seed {seed} is not between 0 and 4294967295; use one that is")
    if not 0.0 < level < 1.0 or points < 20:
        raise UserError(f"analyze: level {level} and {points} points; use a level between 0 and 1, 20 points or more")
    out = out.resolve()
    _check_out(out)
    voices, faces = _space(embeddings)
    voice_identity, face_identity = (
        np.array([identities.get(name, {}).get("identity") or name for name in names.tolist()])
        for names in (embeddings.voice_identity, embeddings.face_identity)
    )
    people = sorted({*voice_identity.tolist(), *face_identity.tolist()})
    if not attribute_values(people, identities):
        raise UserError(
            f"identities: says nothing of any of the {len(people)} people, such as {people[0]!r}; check its names"
        )
    similarity = embeddings.similarity or "cosine"
    sides = {"voice": (voices, voice_identity.tolist()), "face": (faces, face_identity.tolist())}
    plans = {side: plan_probes(names, identities) for side, (_, names) in sides.items()}
    shown = measures if measures is not None else embeddings.measures
    attributes = len(attribute_values(people, identities))
    steps = sum(len(probes) for probes, _ in plans.values()) + 3 * attributes + 1 + len(PICTURES)
    with progress("analyse", steps) as done:
        scores = []
        for side, (rows, names) in sides.items():
            for planned in plans[side][0]:
                scores.append(probe(rows, names, planned, side, level=level, seed=seed))
                done()
        correlations = agreement_correlations(
            voices, *sides["voice"][1:], faces, *sides["face"][1:], identities, str(similarity), seed=seed, done=done
        )
        drawn = draw_map(voices, voice_identity, faces, face_identity, points, seed)
        done()
        about = _about(embeddings.about)
        figures, columns = _figures(drawn, identities, shown, about)
        files: dict[str, bytes] = {}
        for name in PICTURES:
            if name in figures:
                files |= {f"tsne_{name}.{kind}": data for kind, data in rendered(figures[name]).items()}
            done()
    result = {
        "schema": SCHEMA,
        "similarity": similarity,
        "people": len(people),
        "voices": len(voices),
        "faces": len(faces),
        "dimensions": voices.shape[1],
        "seed": seed,
        "level": level,
        "scores": scores,
        "left_out": [{"direction": side, **left} for side, (_, few) in plans.items() for left in few],
        "correlations": correlations,
        "tsne": {
            "voices": int((drawn.modality == "voice").sum()),
            "faces": int((drawn.modality == "face").sum()),
            "perplexity": drawn.perplexity,
            "divergence": drawn.divergence,
            "pictures": sorted(files),
        },
        "about": {part: embeddings.about[part] for part in ("model", "data") if part in embeddings.about},
        "environment": environment(),
    }
    if scores:
        files |= {f"probes.{kind}": data for kind, data in rendered(probes_figure(result, about)).items()}
    if correlations:
        drawn_too = rendered(correlations_figure(result, about))
        files |= {f"correlations.{kind}": data for kind, data in drawn_too.items()}
    files["tsne.csv"] = map_csv(drawn, columns)
    files["analysis.json"] = json.dumps(result, indent=1, allow_nan=False).encode()
    _write(out, files)
    return result


def analysis_tables(result: Mapping[str, Any]) -> list[Table]:
    """Lay out an analysis as tables: probes in per cent, and correlations of distance with agreement."""
    size = f"{result['people']} people, {result['voices']} voices, {result['faces']} faces"
    scores = result["scores"]
    trials = scores[0]["trials"] if scores else 0
    probes = new_table(
        f"linear probes: mAP on people held out ({size})",
        "attribute",
        "value",
        values=["voice", "chance", "face", "chance"],
        caption=f"Per cent; ± is half the {100 * result['level']:g} % interval over {trials} splits of these people.\n"
        "chance: mAP with the labels swapped: 50 for large holdouts, more for small ones.\n"
        "≈: not told from chance (the interval comes within 5 points of it).",
    )
    found = {(r["stratum"], r["direction"]): r for r in scores}
    last = ""
    for stratum in dict.fromkeys(r["stratum"] for r in scores):
        attribute, value = stratum.split("=", 1)
        if last and attribute != last:
            probes.add_section()
        cells = [cell for side in ("voice", "face") for cell in _cells(found.get((stratum, side)))]
        probes.add_row("" if attribute == last else attribute, SAID.get(value, value), *cells)
        last = attribute
    kinds = ("voices", "faces", "voices and faces")
    agreement = new_table(
        "correlation of distance with agreement: are people who agree nearer?",
        "attribute",
        values=kinds,
        caption="Point-biserial; below 0: people who agree are nearer to each other. p: by permutation of people.",
    )
    rows = {(c["attribute"], c["between"]): c for c in result["correlations"]}
    for attribute in dict.fromkeys(c["attribute"] for c in result["correlations"]):
        row = [rows.get((attribute, kind)) for kind in kinds]
        agreement.add_row(
            attribute,
            *("-" if c is None else f"{c['point_biserial']:+.2f} (p {c['point_biserial_p']:.3f})" for c in row),
        )
    return [probes, agreement]


def print_analysis(result: Mapping[str, Any]) -> None:
    """Print the tables of an analysis and what was left out to standard output."""
    console = Console()
    if not console.is_terminal:
        console.width = 160
    for table in analysis_tables(result):
        if table.row_count:
            console.print(table, "")
    few: dict[str, set[str]] = {}
    for left in result["left_out"]:
        few.setdefault(left["attribute"], set()).add(left["value"] or "all values")
    for attribute, values in few.items():
        named = ", ".join(sorted(values)[:8]) + (" ..." if len(values) > 8 else "")
        console.print(f"too few people to probe, see analysis.json: {attribute} {named}", highlight=False)


def _cells(probed: Mapping[str, Any] | None) -> tuple[str, str]:
    if probed is None:
        return "-", ""
    half = 100 * (probed["ci_high"] - probed["ci_low"]) / 2
    sign = "≈" if is_chance(probed) else " "
    return f"{100 * probed['value']:.1f} ± {half:4.1f} {sign}", f"[dim]{100 * probed['chance']:.0f}[/dim]"


def _space(embeddings: Embeddings) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return voices and faces as the model compares them: of unit length under cosine."""
    voices, faces = embeddings.voices, embeddings.faces
    if voices is None or faces is None or not (embeddings.similarity is None or isinstance(embeddings.similarity, str)):
        raise UserError("similarity: a matrix cannot be analysed; give embeddings compared by cosine or euclidean")
    if voices.shape[1] != faces.shape[1]:
        raise UserError(f"voices have {voices.shape[1]} dimensions, faces {faces.shape[1]}; embed both in one space")
    if embeddings.similarity != "euclidean":
        voices, faces = directions(voices), directions(faces)
    else:
        both = centred(np.concatenate([voices, faces]), np.concatenate([voices, faces]))[0]
        voices, faces = both[: len(voices)].astype(np.float32), both[len(voices) :].astype(np.float32)
    if (voices == voices[0]).all() and (faces == faces[0]).all():
        raise UserError("voices, faces: all embeddings of a kind are the same; there is nothing to analyse")
    return voices, faces


def _figures(
    drawn: Map, identities: Identities, measures: Mapping[str, NDArray[np.float64]], about: str
) -> "tuple[dict[str, Figure], dict[str, list[Any]]]":
    """Draw the pictures, by name; also return the known values of each point."""
    known = attribute_values(drawn.identity.tolist(), identities)
    columns: dict[str, list[Any]] = {name: known[name] for name in COLOURED if name in known}
    figures = {"identity": identity_figure(drawn, about)}
    figures |= {name: category_figure(drawn, labels, name, about) for name, labels in columns.items()}
    for key, (name, unit) in MEASURED.items():
        if key not in measures:
            continue
        voice = drawn.modality == "voice"
        values = np.where(voice, np.asarray(measures[key], np.float64)[np.where(voice, drawn.row, 0)], np.nan)
        columns[name] = values.tolist()
        if np.isfinite(values).any():
            figures[name] = number_figure(drawn, values.tolist(), name, unit, about)
    return figures, columns


def _about(about: Mapping[str, Any]) -> str:
    """Whose embeddings of what, as far as they say it."""
    model, data = about.get("model") or {}, about.get("data") or {}
    where = f"on {data['corpus']}, {data.get('split')} split" if data.get("corpus") else ""
    return " ".join(filter(None, (model.get("recipe") or model.get("method"), where))) or "embeddings"


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a new folder")
    foreign = sorted({path.name for path in out.iterdir()} - WRITTEN) if out.exists() else []
    if foreign:
        raise UserError(f"--out {out}: holds other files, such as {foreign[0]}; name a new folder")
    above = next(folder for folder in out.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"--out {out}: cannot be written (in {above}); choose another place")


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    """Write the files to a folder beside `out`, then move it to `out`."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as beside:
            for name, data in files.items():
                write_for_user(Path(beside) / "new" / name, data)
            _check_out(out)
            if out.exists():
                os.replace(out, Path(beside) / "old")
            os.replace(Path(beside) / "new", out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from None
