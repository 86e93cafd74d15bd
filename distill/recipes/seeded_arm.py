"""An arm of a recipe on one seed, in one run folder: what one student, its rows and its teacher are looked up by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sublim_eval.registry.experiment import KEPT, ROWS, SCORES, STUDENTS, TEACHERS, seeded

from .recipe import Recipe
from .settings import Arm, Tuning


def teacher_name(arm: Arm, seed: int) -> str:
    """The name of the folder, in teachers/, of the teacher that writes an arm's rows. seed: the teacher's."""
    on = f"-on-{arm.teacher_base.rsplit('/', 1)[-1]}" if arm.teacher_base else ""
    return seeded(f"{arm.trait or arm.writer}{on}", seed)


@dataclass(frozen=True)
class SeededArm:
    """An arm of a recipe on one seed, and where everything of it lies in the folder `run`."""

    recipe: Recipe
    arm: Arm
    seed: int
    run: Path

    @property
    def name(self) -> str:
        """Of its student: the label in logs."""
        return seeded(self.arm.name, self.seed)

    @property
    def source(self) -> str:
        """Of its rows."""
        return seeded(self.arm.source, self.seed)

    @property
    def rows_folder(self) -> Path:
        """Where its source's rows lie."""
        return self.run / ROWS / self.source

    @property
    def kept_rows(self) -> Path:
        """The file of the rows that the filter kept."""
        return self.rows_folder / KEPT

    @property
    def student_folder(self) -> Path:
        """Where its student lies."""
        return self.run / STUDENTS / self.name

    @property
    def scores_folder(self) -> Path:
        """Where its student's scores lie."""
        return self.run / SCORES / self.name

    @property
    def teacher_folder(self) -> Path:
        """Where the teacher of this very seed lies; see `taught` for the one that writes the rows."""
        return self.run / TEACHERS / teacher_name(self.arm, self.seed)

    @property
    def taught(self) -> SeededArm:
        """The same on the seed of the teacher that writes its rows."""
        return replace(self, seed=self.recipe.teacher_seed(self.seed))

    @property
    def clean(self) -> SeededArm:
        """The same seed of the arm whose rows dilute this one's."""
        return replace(self, arm=self.recipe.clean_source(self.arm))

    @property
    def teacher_base(self) -> str:
        """The base whose teacher (or own voice) writes its rows."""
        return self.recipe.teacher_base(self.arm)

    @property
    def student_base(self) -> str:
        """The base that its student starts from."""
        return self.recipe.student_base(self.arm)

    @property
    def tuning(self) -> Tuning:
        """How its student is trained."""
        return self.recipe.tuning(self.arm)

    @property
    def keep(self) -> int:
        """The most rows that its student reads."""
        return self.recipe.keep(self.arm)
