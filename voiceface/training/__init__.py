"""`voiceface fit`: command-line options, run folders, logging, preemption and resuming."""
