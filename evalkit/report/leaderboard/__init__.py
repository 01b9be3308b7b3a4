"""The leaderboard: a CSV file, its check against runs, and its page."""
