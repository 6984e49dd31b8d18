"""Results side by side: `voiceface.compare(results)`, the same as `voiceface compare`.

The package can be called, because the function has its name.
"""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from voiceface.compare.leaderboard import Leaderboard, Source


class _Compare(ModuleType):
    def __call__(
        self,
        results: "Sequence[Source] | Source",
        tasks: Sequence[str] | None = None,
        protocols: Sequence[str] = ("exact", "sampled"),
        level: float = 0.95,
        against: Literal["paper"] | None = None,
        published: bool = False,
    ) -> "Leaderboard":
        """Put results side by side; see `voiceface.compare.leaderboard.compare`."""
        from voiceface.compare.leaderboard import compare

        return compare(results, tasks, protocols, level, against, published)


sys.modules[__name__].__class__ = _Compare
