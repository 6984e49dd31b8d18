"""From embeddings to a result: metric, callback, result files, tables, analysis."""

from importlib import import_module

# Imported when they are asked for: some need torch.
_PLACES = {
    "CrossModalMetrics": "callback",
    "CrossModalScores": "metric",
    "read_results": "results",
    "score_embeddings": "scoring",
    "analyze": "analysis",
}


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
