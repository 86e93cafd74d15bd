"""The doorbell both harnesses ring: one folder per probe that people run by name."""
