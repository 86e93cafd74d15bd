"""Tables and figures; draws, never computes statistics of its own."""
