"""What is known beforehand: traits, probes and questions, shapes and prices of models, the words of an experiment."""

from sublim_eval.registry.catalog import Probe, Registry, Trait, registry

__all__ = ["Probe", "Registry", "Trait", "registry"]
