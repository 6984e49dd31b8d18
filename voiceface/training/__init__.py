"""`voiceface fit`: the command's options, run folders, logging, stopping and resuming."""
