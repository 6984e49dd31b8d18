"""From embeddings to a result: metric, callback, result files, tables, analysis."""

from voiceface.utils.lazy import lazy

__getattr__ = lazy(
    __name__,
    {
        "CrossModalMetrics": "callback",
        "CrossModalScores": "metric",
        "read_results": "results",
        "score_embeddings": "scoring",
        "analyze": "analysis",
    },
)
