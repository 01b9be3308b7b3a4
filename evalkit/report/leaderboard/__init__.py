"""The leaderboard: its CSV, its check, its page."""
