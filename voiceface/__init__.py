"""voiceface: a model zoo and benchmark for voice-face association.

Importing the package imports neither torch nor Lightning.
"""

__version__ = "0.1.0"
