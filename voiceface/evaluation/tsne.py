"""t-SNE of voices and faces in one picture: sampling of clips, their coordinates, and pictures by colour."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.probes import rows_by_person

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLIPS = 5  # per person and modality, before people are left out
CATEGORIES = 12  # values in colour; rarer ones are grey
GREY, PALE = "#a3a3a3", "#e3e3e3"
SHAPES = {"voice": "o", "face": "^"}  # in every picture of the package
SAID = {"f": "female", "m": "male"}
MEANING = "Near points are alike to the model; distances between far points and sizes of groups mean nothing."
# Okabe and Ito's colours, told apart by colour-blind people too, then darker ones.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
COLOURS += ["#8c564b", "#4d4d4d", "#6a3d9a", "#b2df1e", "#003f5c", "#a50026"]
FORMATS = ("png", "svg")


@dataclass(frozen=True)
class Map:
    """Clips as points in a plane.

    Attributes:
        modality: str (N,): `voice` or `face`.
        row: intp (N,): row of the clip among the voices or the faces.
        identity: str (N,).
        xy: float64 (N, 2).
        perplexity: Perplexity of the t-SNE.
        divergence: Final Kullback-Leibler divergence: how badly the plane represents the space.
    """

    modality: NDArray[np.str_]
    row: NDArray[np.intp]
    identity: NDArray[np.str_]
    xy: NDArray[np.float64]
    perplexity: float
    divergence: float


def draw_map(
    voices: NDArray[Any],
    voice_identity: NDArray[np.str_],
    faces: NDArray[Any],
    face_identity: NDArray[np.str_],
    points: int = 2000,
    seed: int = 0,
) -> Map:
    """Place a sample of voices and faces in a plane by t-SNE of their Euclidean distances, initialised with PCA.

    The sample is half voices and half faces, of the same people if they have both: up to 5 clips per drawn person, and
    more only if all people are in.

    Args:
        voices: float (Nv, D): embeddings, of unit length if they are compared by cosine (the Euclidean distance of unit
            vectors orders pairs like their angle).
        voice_identity: str (Nv,).
        faces: float (Nf, D).
        face_identity: str (Nf,).
        points: Maximum number of points.
        seed: Seed of the sample and of the t-SNE.

    Returns:
        The map, voices first.
    """
    from sklearn.manifold import TSNE

    rng = np.random.default_rng(seed)
    both = sorted(set(voice_identity.tolist()) & set(face_identity.tolist()))
    alone = sorted(set(voice_identity.tolist()) ^ set(face_identity.tolist()))
    people = rng.permutation(both).tolist() + rng.permutation(alone).tolist()
    row = [_sample(names, people, points // 2, rng) for names in (voice_identity, face_identity)]
    table = np.concatenate([voices[row[0]], faces[row[1]]]).astype(np.float32)
    perplexity = min(30.0, (len(table) - 1) / 3)
    start = "pca" if min(table.shape) > 1 else "random"
    tsne = TSNE(perplexity=perplexity, init=start, random_state=seed)  # type: ignore[no-untyped-call]
    xy = tsne.fit_transform(table - table.mean(axis=0))
    return Map(
        np.repeat(["voice", "face"], [len(rows) for rows in row]),
        np.concatenate(row),
        np.concatenate([voice_identity[row[0]], face_identity[row[1]]]),
        xy.astype(np.float64),
        perplexity,
        float(tsne.kl_divergence_),
    )


def _sample(names: NDArray[np.str_], people: Sequence[str], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    rows_of = rows_by_person(names.tolist())
    candidates = [
        (0 if number < CLIPS else number, place, row)
        for place, person in enumerate(people)
        for number, row in enumerate(rng.permutation(rows_of.get(person, np.array([], np.intp))).tolist())
    ]
    return np.array(sorted(row for *_, row in sorted(candidates)[:most]), np.intp)


def map_csv(drawn: Map, columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Return the map as CSV: modality, row, identity, x, y and `columns` (name to one value per point)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["modality", "row", "identity", "x", "y", *columns])
    for index, (x, y) in enumerate(drawn.xy):
        more = [values[index] for values in columns.values()]
        cells = [drawn.modality[index], drawn.row[index], drawn.identity[index], f"{x:.4f}", f"{y:.4f}"]
        writer.writerow(
            cells + [("" if not np.isfinite(v) else f"{v:.2f}") if isinstance(v, float) else v for v in more]
        )
    return text.getvalue().encode()


def identity_figure(drawn: Map, about: str = "") -> "Figure":
    """Draw two panels, voices and faces: a dozen people in colour, those with most points; the rest grey.

    Args:
        drawn: The map.
        about: Whose embeddings of what; the beginning of the title.
    """
    people = _most_seen(drawn, len(COLOURS))
    styles = dict(zip(people, COLOURS, strict=False))
    title = f"{len(people)} people\n(ids of the corpus)"
    return _two_panels(drawn, drawn.identity.tolist(), styles, (about, "by person", title), "others", 26)


def category_figure(drawn: Map, labels: Sequence[str], title: str, about: str = "") -> "Figure":
    """Draw two panels, voices and faces, coloured by an attribute.

    Args:
        drawn: The map.
        labels: One per point; "" = unknown, grey. If all begin with a number, they are ordered by it, dark to light.
        title: Name of the attribute.
        about: Whose embeddings of what; the beginning of the figure's title.

    Returns:
        The figure. Each panel shows the other modality pale in the background. Beyond 12 values the rarest are grey.
    """
    from matplotlib import colormaps

    counts = Counter(label for label in labels if label)
    shown = sorted(sorted(counts, key=lambda v: (-counts[v], v))[:CATEGORIES], key=_in_order)
    colours: Sequence[Any] = COLOURS
    if all(value[0].isdigit() for value in shown):
        colours = colormaps["viridis"](np.linspace(0.0, 0.92, len(shown))).tolist()
    styles = dict(zip(shown, colours, strict=False))
    rest = "others" if len(counts) > len(shown) else "unknown"
    return _two_panels(drawn, labels, styles, (about, f"by {title.replace('_', ' ')}", title), rest, 12)


def run_figure(drawn: Map, title: str) -> "Figure":
    """One panel with both: a dozen people in colour, those with most points, voices and faces in shapes of their own.

    Args:
        drawn: The map.
        title: Says what is drawn.
    """
    colours = dict(zip(_most_seen(drawn, len(COLOURS)), COLOURS, strict=False))
    figure, (panel,) = _panels(drawn, title, 1)
    coloured = np.array([name in colours for name in drawn.identity.tolist()])
    for inside, size in ((~coloured, 14), (coloured, 38)):
        for kind, shape in SHAPES.items():
            points = np.flatnonzero(inside & (drawn.modality == kind))
            own = [colours.get(name, GREY) for name in drawn.identity[points].tolist()]
            _dots(panel, drawn.xy[points], own, shape, size, alpha=0.9)
    entries: list[tuple[str, Any, str]] = [(f"{kind}s", "#444444", shape) for kind, shape in SHAPES.items()]
    entries += [(name, colour, "s") for name, colour in colours.items()]
    entries += [] if coloured.all() else [("others", GREY, "s")]
    _legend(figure, entries, f"{len(colours)} people\n(ids of the corpus)")
    return figure


def _most_seen(drawn: Map, most: int) -> list[str]:
    """People with most points of both kinds, in the order of their names."""
    voices, faces = (Counter(drawn.identity[drawn.modality == kind].tolist()) for kind in SHAPES)
    least = {name: min(voices[name], faces[name]) for name in sorted(voices.keys() | faces.keys())}
    return sorted(sorted(least, key=lambda name: (-least[name], -voices[name] - faces[name], name))[:most])


def _two_panels(
    drawn: Map, labels: Sequence[str], styles: Mapping[str, Any], titles: tuple[str, str, str], rest: str, size: float
) -> "Figure":
    """Colour of each label; `titles` are what is drawn, how it is coloured, and that of the legend."""
    about, how, title = titles
    figure, panels = _panels(drawn, _about(about, how), 2)
    grey = np.array([label not in styles for label in labels])
    for panel, (modality, shape) in zip(panels, SHAPES.items(), strict=True):
        own = drawn.modality == modality
        _behind(panel, drawn, modality)
        _dots(panel, drawn.xy[own & grey], GREY, shape)
        inside = np.flatnonzero(own & ~grey).tolist()
        _dots(panel, drawn.xy[inside], [styles[labels[i]] for i in inside], shape, size)
    entries = [(_short(SAID.get(label, label)), colour, "s") for label, colour in styles.items()]
    _legend(figure, [*entries, (rest, GREY, "s")] if grey.any() else entries, title.replace("_", " "))
    return figure


def number_figure(drawn: Map, values: Sequence[float], title: str, unit: str, about: str = "") -> "Figure":
    """Draw one panel: the voices coloured by a measure, above the faces.

    Args:
        drawn: The map.
        values: One per point, non-finite = unknown, grey.
        title: Name of the measure.
        unit: Unit of the measure.
        about: Whose embeddings of what; the beginning of the figure's title.

    Returns:
        The figure. The colours span the middle 96 % of the values.
    """
    numbers, voice = np.array(values, np.float64), drawn.modality == "voice"
    known = voice & np.isfinite(numbers)
    figure, (panel,) = _panels(drawn, _about(about, f"by {title}"), 1)
    _behind(panel, drawn, "voice")
    _dots(panel, drawn.xy[voice & ~known], GREY)
    low, high = np.percentile(numbers[known], [2, 98])
    x, y = drawn.xy[known].T
    dots = panel.scatter(x, y, c=numbers[known], vmin=low, vmax=high, cmap="viridis", s=16, linewidths=0)
    bar = figure.colorbar(dots, ax=panel, shrink=0.8, label=f"{title} of the voice, {unit}", extend="both")
    bar.outline.set_visible(False)
    return figure


def rendered(figure: "Figure", formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """A figure as PNG and as SVG, the same bytes for the same figure."""
    from matplotlib import rc_context

    files = {}
    for kind in formats:
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": "voiceface"}):
            figure.savefig(buffer, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else {})
        files[kind] = buffer.getvalue()
    return files


def _short(label: str) -> str:
    return label if len(label) <= 20 else label[:19] + "…"


def _in_order(value: str) -> tuple[bool, int, str]:
    number = re.match(r"\d+", value)
    return number is None, int(number[0]) if number else 0, value


def _about(about: str, how: str) -> str:
    return f"{about}: voices and faces {how}".removeprefix(": ")


def _panels(drawn: Map, title: str, count: int) -> "tuple[Figure, Sequence[Axes]]":
    """Panels that share their limits and are as high as the points need."""
    from matplotlib.figure import Figure

    middle, half = (drawn.xy.max(axis=0) + drawn.xy.min(axis=0)) / 2, np.maximum(np.ptp(drawn.xy, axis=0), 1e-9) * 0.53
    ratio = float(np.clip(half[1] / half[0], 0.45, 1.1))
    half = np.maximum(half, [half[1] / ratio, half[0] * ratio])
    width = 4.6 if count > 1 else 5.6
    figure = Figure(figsize=(width * count + 1.7, width * ratio + 1.35), layout="constrained")
    voices = int((drawn.modality == "voice").sum())
    size = f"t-SNE of {voices:,} voices (circles) and {len(drawn.xy) - voices:,} faces (triangles)"
    figure.suptitle(f"{title}\n{size}", x=0.01, ha="left", fontsize=11)
    meaning = MEANING if count > 1 else MEANING.replace("; ", ";\n")
    figure.supxlabel(meaning, x=0.01, ha="left", fontsize=8.5, color="#555555")
    panels: Sequence[Axes] = figure.subplots(1, count, squeeze=False)[0].tolist()
    (left, low), (right, top) = (middle - half).tolist(), (middle + half).tolist()
    for panel in panels:
        panel.set(xlim=(left, right), ylim=(low, top), aspect="equal", xticks=[], yticks=[])
        for spine in panel.spines.values():
            spine.set_color("#cccccc")
    return figure, panels


def _behind(panel: "Axes", drawn: Map, modality: str) -> None:
    """The other modality, pale."""
    other = "face" if modality == "voice" else "voice"
    _dots(panel, drawn.xy[drawn.modality == other], PALE, SHAPES[other])
    panel.set_title(f"{modality}s (pale: {other}s)", fontsize=10)


def _dots(
    panel: "Axes", xy: NDArray[np.float64], colour: Any, marker: str = "o", size: float = 12, alpha: float | None = None
) -> None:
    panel.scatter(xy[:, 0], xy[:, 1], color=colour, marker=marker, s=size, linewidths=0, alpha=alpha)


def _legend(figure: "Figure", entries: Sequence[tuple[str, Any, str]], title: str) -> None:
    """Label, colour and marker of each entry."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=6, label=label)
        for label, colour, marker in entries
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9, title=title, title_fontsize=9)
