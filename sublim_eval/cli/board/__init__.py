"""Verbs that read results of any mixture: report, export, leaderboard."""
