"""The sample rate of all audio in the package."""

SAMPLE_RATE = 16_000
