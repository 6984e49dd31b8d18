"""The legend of a leaderboard: the signs that occur in it."""

from collections.abc import Iterable, Sequence

from voiceface.compare.render.blocks import (
    BEST,
    SAME,
    SIGMA,
    UNTESTED,
    footnotes,
    mark_symbols,
    shared_facts,
    sign_of,
)
from voiceface.compare.table import DRAWN, Comparison, Group
from voiceface.utils.text import clean

PROTOCOLS = {"exact": "scored on every pair of the split", "sampled": "scored on seeded trials"}


def about(group: Group) -> str:
    """By what protocol a group was scored, and whose clips, as far as the title does not say it."""
    by = PROTOCOLS.get(group.protocol, "" if " " in group.protocol else group.protocol and f"protocol {group.protocol}")
    if group.kind == "published":
        people = group.data.get("identities")
        words = [str(group.data[key]) for key in ("split", "gallery") if group.data.get(key)]
        words += [f"{people:,} people" if isinstance(people, int) else str(people)] if people else []
        return clean("; ".join(word for word in dict.fromkeys([*words, by]) if word and word not in group.title))
    sha = str(group.data.get("clips_sha256") or "")[:12]
    return clean(", ".join(filter(None, (by, sha and f"clips {sha}"))))


def legend(groups: Iterable[Group], best: str) -> list[str]:
    """Explain what the tables of groups show.

    Args:
        groups: Of a leaderboard.
        best: How the best value is shown, such as `bold`.

    Returns:
        Sentences, one for each kind of sign that occurs.
    """
    groups = list(groups)
    cells = [(g, r, c) for g in groups for r in g.rows for c in r.cells]
    columns = [column for g in groups for column in g.columns]
    signs = {sign_of(r, number, g) for g in groups for r in g.rows for number in range(len(g.columns))}
    ranks = any(column.metric == "median_rank" for column in columns)
    lines = ["Per cent, but for the median rank." if ranks else "Per cent."] if columns else []
    lower = list(dict.fromkeys(column.what for column in columns if column.lower_is_better))
    if lower:
        lines.append(f"{' and '.join(lower)}: lower is better.")
    if BEST in signs:
        lines.append(f"{best}: the best of its column.")
    tested = [g for g in groups if any(c.same is not None for r in g.rows for c in r.cells)]
    if tested and (SAME in signs or UNTESTED in signs):
        level = min(g.data.get("test_level", g.level) for g in tested)
        lines.append(
            f"{SAME}: the difference to the best is not significant at {100 * (1 - level):.3g} % (paired test over "
            "people, corrected by Holm's method for all pairs of models in the column)."
        )
    if UNTESTED in signs:
        lines.append(f"{UNTESTED}: not tested against the best: the effects of people on one of the two are not known.")
    lines += _intervals(groups)
    if any(c.spread is not None for _, _, c in cells):
        lines.append(
            f"{SIGMA}: standard deviation over training runs that differ in their seed; the line above is their mean."
        )
    if any(c.paper is not None for _, _, c in cells):
        lines.append("paper: what the paper reports, on its own data.")
    kinds = {row.kind for g in groups for row in g.rows}
    if "ideal" in kinds:
        lines.append(
            "ideal observer: the best possible scores on these clips, "
            "for an observer that knows how the clips were generated."
        )
    if any(c.value is None for _, r, c in cells if r.kind == "model"):
        lines.append("-: no such score.")
    if len(groups) > 1:
        lines.append("Do not compare numbers across tables.")
    return lines


def below(group: Group, signs: Sequence[str] = ()) -> list[str]:
    """What is said below a group's tables: shared facts, single values after their symbols, `signs`, the whole."""
    facts, marks = shared_facts(group), mark_symbols(group).items()
    said = [f"{symbol} {clean(mark)}" for mark, symbol in marks]
    return [*filter(None, [facts]), *said, *signs, *map(clean, group.notes)]


def numbered_footnotes(group: Group) -> list[str]:
    """The notes of rows, each after its number."""
    return [f"[{number}] {note}" for number, note in enumerate(footnotes(group), 1)]


def left_out_lines(comparison: Comparison) -> list[str]:
    """Files that were left out, and why."""
    return [clean(why) if why.startswith(path) else clean(f"{path}: {why}") for path, why in comparison.left_out]


def _intervals(groups: list[Group]) -> list[str]:
    with_ends = [g for g in groups if any(c.low is not None for r in g.rows for c in r.cells)]
    own = [g for g in with_ends if g.kind != "published"]
    levels = sorted({g.level for g in own})
    drawn = sum(DRAWN in g.notes for g in own)
    words = []
    if levels:
        wide = " or ".join(f"{100 * level:g} %" for level in levels)
        words.append(f"half the {wide} interval")
        if drawn < len(own):
            words[-1] += f", people being the sampling unit{' where no note says otherwise' if drawn else ''}"
    if any(g.kind == "published" for g in with_ends):
        words.append("in published numbers as printed there")
    return [f"±: {'; '.join(words)}. Asymmetric intervals are given as (low-high)."] if words else []
