"""`voiceface compare`: many result files to one leaderboard."""
