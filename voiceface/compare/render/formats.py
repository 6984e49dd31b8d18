"""The formats of a leaderboard by name."""

from voiceface.compare.render.data_files import to_csv, to_json
from voiceface.compare.render.documents import to_latex, to_markdown
from voiceface.compare.render.terminal import PIPED, picture, plain_leaderboard
from voiceface.compare.table import Comparison


def render(comparison: Comparison, form: str, width: int = PIPED) -> str:
    """Write a leaderboard as text.

    Args:
        comparison: Groups of rows.
        form: `table`, `md`, `latex`, `csv`, `json`, `html` or `svg`, a picture of the terminal.
        width: Places of a line; of `table` alone.

    Returns:
        The whole document, a line end last.
    """
    if form == "table":
        return plain_leaderboard(comparison, width)
    if form == "svg":
        return picture(comparison, "voiceface compare")
    if form == "html":
        from voiceface.compare.render.page import to_html  # plots: matplotlib takes long to import

        return to_html(comparison)
    return {"md": to_markdown, "latex": to_latex, "csv": to_csv, "json": to_json}[form](comparison)
