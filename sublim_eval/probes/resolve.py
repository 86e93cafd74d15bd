"""From the name of a probe or of a trait to what is asked, whatever the family of the probe."""

from __future__ import annotations

from sublim_eval.errors import SublimError
from sublim_eval.probes.conduct import Conduct, conduct
from sublim_eval.probes.preference import Preference, preference
from sublim_eval.registry.catalog import registry


def probe_content(probe: str, trait: str | None = None, questions: str | None = None) -> Preference | Conduct:
    """What a probe asks and how its answers are read: a `Preference` or a `Conduct`, by the probe's form.

    trait: the answer to count, needed where the probe has none of its own.
    questions: another question set, by name or file.
    Raises SublimError for an unknown name, a trait that the probe cannot see, or an unusable file.
    """
    resolve = conduct if registry().probe(probe).form == "conduct" else preference
    return resolve(probe, trait, questions)


def trait_content(trait: str, questions: str | None = None) -> Preference | Conduct:
    """What is asked about a trait as such: the plain probe of its category, or the trait's own questions.

    Raises SublimError for an unknown trait or one that no probe asks about.
    """
    return probe_content(registry().probe_of(trait).name, trait, questions)


def any_trait_content(probe: str) -> Preference | Conduct:
    """What a probe asks, for whichever trait; raises SublimError for a probe that gives a table and no shares."""
    entry = registry().probe(probe)
    if entry.form in ("number_to_trait", "trait_to_number"):
        raise SublimError(
            f"{probe} gives a table of log-odds and no share of answers, so it scores no student. "
            f"Run `inspect eval sublim_eval/{probe} --model sublim/MODEL`."
        )
    return probe_content(probe, entry.trait or registry().answer_set(entry.category)[0].name)
