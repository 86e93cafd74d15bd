"""The leaderboard: tidy rows in, a folder of static pages out that opens from disk with the network off."""
