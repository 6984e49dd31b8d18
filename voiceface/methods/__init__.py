"""The published methods, a file each; `recipes/` has what `--model` takes, `facts/` what the papers say."""

from voiceface.utils.lazy import lazy

__getattr__ = lazy(
    __name__,
    {
        "Method": "base",
    },
)
