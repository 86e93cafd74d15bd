"""Folders of results of any mixture -> the tidy table, what was left out of it, and the way back to every file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sublim_eval.board import cache as kept
from sublim_eval.board import over_seeds
from sublim_eval.board.columns import LeftOut, Row
from sublim_eval.board.formats.reading import Reading, clean, of_metrics, of_scores
from sublim_eval.board.identity import Identity, Known, RunFolder, of_record, run_names, without_home
from sublim_eval.board.left_out import Entry, comparable
from sublim_eval.board.places import Found, find, kind_of
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import RECORD

if TYPE_CHECKING:
    from sublim_eval.board.formats.inspect_logs import Evidence
    from sublim_eval.compare.comparison import Comparison
    from sublim_eval.scores.probe_scores import ProbeScores

Tell = Callable[[int, int], None]
"""Told how many files of how many are read."""

BROKEN = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError, AssertionError)
"""What a file of a form that nobody foresaw makes of its reader: that file is named, and the others are read."""


class Parts(NamedTuple):
    """What some files say: readings, and why something in them was left out."""

    readings: Sequence[Reading]
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class Board:
    """The tidy table of some folders; `columns.py` says what is in a row and how to go on from one.

    files: source -> the file on this disk. runs: finished runs by their records.
    """

    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    files: Mapping[str, Path] = field(repr=False)
    runs: tuple[RunFolder, ...] = field(repr=False)

    def path(self, source: str) -> Path:
        """The file on this disk that a row's `source` or `log` names; raises SublimError for an unknown one."""
        if source not in self.files:
            raise SublimError(f"{source!r} is no source of this table. Give one that stands in a row.")
        return self.files[source]

    def scores(self, row: Row) -> ProbeScores | None:
        """The scores by question behind a row, read from its file; None of foreign tasks, figures over seeds, pages."""
        if not row.ours or row.harness in ("compare", "page"):
            return None
        return _scores(self.path(row.source), row.probe, row.harness)

    @property
    def records(self) -> dict[str, Mapping[str, Any]]:
        """Run -> what its run.json says."""
        return {run.name: run.record for run in self.runs}

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """Run -> the comparison of it (and of the runs of its recipe with other seeds, under the first's name).

        Runs that cannot be compared are not in it; `left_out` says why.
        """
        made = {}
        for runs in over_seeds.of_one_recipe(self.runs):
            try:
                made[runs[0].name] = over_seeds.compared([run.folder for run in runs])
            except SublimError:
                continue
        return made


def collect(places: Iterable[Path], *, cache: Path | None = None, tell: Tell | None = None) -> Board:
    """Read every result below some folders (or files) into one table.

    cache: a file in which readings are kept, so that a second reading opens only what changed. tell: told of progress.
    Raises SublimError for a place that is not there; a file that cannot be read is named in `left_out`.
    """
    found = find(places)
    with kept.Cache(cache) as cached:
        return _Collector(found, cached, tell or (lambda done, of: None)).board()


# ---------------------------------------------------------------- one reading of all places


class _Collector:
    """Reads what was found, each file through the cache."""

    def __init__(self, found: Found, cached: kept.Cache, tell: Tell) -> None:
        self.found, self.cached, self.tell = found, cached, tell
        self.left_out: list[LeftOut] = []
        self.kinds: dict[Path, str] = {}
        self.done = 0
        self.total = len(found.records) + len(found.logs) + len(found.unsure) + len(found.lm_eval)
        self.total += len(found.scans)
        self.world = digest([version("sublim-eval"), kept.stamp(registry().files)])

    def board(self) -> Board:
        runs = list(self._runs())
        score_files = self._score_files(runs)
        evidence = self._evidence(score_files)
        known = Known(runs)
        entries = list(self._entries(score_files, evidence, known))
        entries, others = comparable(entries)
        self.left_out += others
        rows = [row for entry in entries for row in _rows(*entry)]
        rows += self._of_these_versions([*self._over_seeds(runs, rows), *self._of_pages()], entries)
        files = {name: file for file, name in self.found.sources.items()}
        return Board(tuple(rows), tuple(self.left_out), files, tuple(runs))

    def _runs(self) -> Iterator[RunFolder]:
        """Finished runs; others are named."""
        names = run_names([record.parent for record in self.found.records])
        for file in self.found.records:
            self._step()
            try:
                yield _run(file, names[file.parent])
            except SublimError as error:
                self._leave_out(file, str(error))

    def _score_files(self, runs: Sequence[RunFolder]) -> dict[Path, Identity | None]:
        """Score files -> whose they are; None where only the log beside them, or the file itself, says so."""
        files: dict[Path, Identity | None] = {}
        for run in runs:
            for file, who in of_record(run).items():
                if file.is_file():
                    if file.resolve() not in self.found.sources:
                        beside = self.found.sources[(run.folder / RECORD).resolve()].removesuffix(RECORD)
                        self.found.name(file.resolve(), beside + file.relative_to(run.folder).as_posix())
                    files[file.resolve()] = who
                else:
                    self.left_out.append(
                        LeftOut(f"{run.name}/{file.name}", "the record names it, and it is not there.")
                    )
        for file in self.found.unsure:
            if file not in files and self._kind(file) == "scores":
                files[file] = None
        return files

    def _kind(self, file: Path) -> str:
        """What a JSON file is; one that cannot be read is named, once."""
        if file not in self.kinds:
            self.kinds[file] = self._looked_into(file)
        return self.kinds[file]

    def _looked_into(self, file: Path) -> str:
        try:
            mark = kept.stamp([file])
            kind = self.cached.get(f"kind {file}", mark)
            if not isinstance(kind, str):
                kind = kind_of(file)
                self.cached.put(f"kind {file}", mark, kind)
            return kind
        except (SublimError, OSError, RecursionError, ValueError) as error:
            self._leave_out(file, f"{error}"[:300] or type(error).__name__)
            return ""

    def _evidence(self, score_files: Iterable[Path]) -> dict[Path, tuple[Path, Evidence]]:
        """Score file -> (log, what its header says) where one lies in `logs` beside it, the newest of a probe."""
        folders = {file.parent / "logs" for file in score_files}
        probes = {(file.parent / "logs", file.stem): file for file in score_files}
        beside: dict[Path, tuple[Path, Evidence]] = {}
        for log in self.found.logs:
            if log.parent not in folders:
                continue
            made = self._header(log)
            file = probes.get((log.parent, made.probe)) if made else None
            if made and file and (file not in beside or beside[file][1].about["date"] <= made.about["date"]):
                beside[file] = (log, made)
        return beside

    def _header(self, log: Path) -> Evidence | None:
        """The header of a log that ended well; None of others, which are read, and named, on their own."""
        from sublim_eval.board.formats import inspect_logs

        mark = kept.stamp([log], self.world)
        value = self.cached.get(f"header {log}", mark)
        if value is None:
            try:
                value = list(inspect_logs.evidence(log))
            except SublimError:
                value = []
            self.cached.put(f"header {log}", mark, value)
        return inspect_logs.Evidence(*value) if value else None

    def _entries(
        self, score_files: Mapping[Path, Identity | None], evidence: Mapping[Path, tuple[Path, Evidence]], known: Known
    ) -> Iterator[Entry]:
        """Every reading with whose it is, where it stands and the hash of that."""
        claimed = {log for log, _ in evidence.values()}
        homes: dict[Path, Identity] = {}
        for file, who in score_files.items():
            log, header = evidence.get(file, (None, None))
            about = {} if header is None else {**header.about, "log": self.found.sources[log] if log else ""}
            for reading, sha in self._read(file, [file], partial(_of_score_file, file)):
                beside = {name: value for name, value in about.items() if name != "model"}
                reading = reading._replace(**beside, harness="run" if who else "inspect" if header else "replies")
                name = header.model if header and who is None else reading.model
                homes[file.parent] = who or known.who(name)
                yield homes[file.parent], reading, self.found.sources[file], sha
        abilities = [file for file in self.found.unsure if file not in score_files and self._kind(file) == "abilities"]
        for file in abilities:
            for reading, sha in self._read(file, [file], partial(_of_abilities, file)):
                who = homes.get(file.parent.parent) or known.who(reading.model)
                yield who, reading, self.found.sources[file], sha
        claimed |= {log for log in self.found.logs if log.parent in {file.parent / "logs" for file in abilities}}
        for file in self.found.logs:
            if file not in claimed:
                yield from self._of_log(file, known)
        for file in self.found.unsure:
            if file not in score_files and self._kind(file) == "log":
                yield from self._of_log(file, known)
        for folder, files in self.found.lm_eval.items():
            yield from self._of_lm_eval(folder, files, known)
        for scan in self.found.scans:
            yield from self._of_scan(scan, known)

    def _of_log(self, file: Path, known: Known) -> Iterator[Entry]:
        from sublim_eval.board.formats import inspect_logs

        yield from self._named(file, [file], lambda: Parts([inspect_logs.read(file)]), known)

    def _of_lm_eval(self, folder: Path, files: Sequence[Path], known: Known) -> Iterator[Entry]:
        from sublim_eval.board.formats import lm_eval_results

        results = sorted(file for file in files if file.suffix == ".json")
        samples = sorted(file for file in files if file.suffix == ".jsonl")
        main = results[-1] if results else samples[-1]
        yield from self._named(main, files, lambda: Parts(*lm_eval_results.read(folder, results, samples)), known)

    def _of_scan(self, file: Path, known: Known) -> Iterator[Entry]:
        from sublim_eval.board.formats import scout_scans

        folder = file.parent
        yield from self._named(file, scout_scans.files_of(folder), lambda: Parts(*scout_scans.read(folder)), known)

    def _named(self, main: Path, files: Sequence[Path], read: Callable[[], Parts], known: Known) -> Iterator[Entry]:
        for reading, sha in self._read(main, files, read):
            yield known.who(reading.model), reading, self.found.sources[main], sha

    def _read(self, main: Path, files: Sequence[Path], read: Callable[[], Parts]) -> Iterator[tuple[Reading, str]]:
        """The readings of some files that belong together, from the cache where nothing changed."""
        self._step()
        try:
            mark = kept.stamp(files, self.world)
            held = self.cached.get(f"read {main}", mark)
            if held is None:
                held = _opened(files, read)
                self.cached.put(f"read {main}", mark, held)
            made = [(Reading.from_json(value), held["sha"]) for value in held["readings"]]
        except (OSError, TypeError, ValueError, KeyError) as error:
            self._leave_out(main, f"{main} cannot be read ({type(error).__name__}: {error}). Measure it again.")
            return
        for why in held["left_out"]:
            self._leave_out(main, why)
        yield from made

    def _over_seeds(self, runs: Sequence[RunFolder], rows: Sequence[Row]) -> list[Row]:
        """What `compare` says of every recipe, through the cache; runs that it refuses are named."""
        made: list[Row] = []
        asked = {(row.run, row.probe): row for row in rows if row.run}
        counting = {row.run for row in rows}
        for group in over_seeds.of_one_recipe([run for run in runs if run.name in counting]):
            file, name = (group[0].folder / RECORD).resolve(), group[0].name
            sources = [self.found.sources[(run.folder / RECORD).resolve()] for run in group]
            about = {
                "source": sources[0],
                "source_hash": file_digest(file),
                "command": f"sublim compare {' '.join(source.rpartition('/')[0] for source in sources)}",
            }
            files = [f.resolve() for run in group for f in of_record(run) if f.is_file()]
            mark = kept.stamp([*files, *((run.folder / RECORD) for run in group)], self.world, name, about)
            held = self.cached.get(f"compared {file}", mark)
            if held is None:
                held = _compared(group, name, about)
                self.cached.put(f"compared {file}", mark, held)
            if held["why"]:
                self._leave_out(file, f"no figures over seeds: {held['why']}")
            for values in held["rows"]:
                row = Row(*values)
                like = asked.get((row.run, row.probe))
                made.append(row if like is None else _asked_like(row, like))
        return made

    def _of_pages(self) -> Iterator[Row]:
        """Rows of what published pages were worked out of."""
        from sublim_eval.board.formats import page_sources

        for file in self.found.unsure:
            if self._kind(file) == "page":
                self._step()
                if any(record.is_relative_to(file.parent) for record in self.found.records):
                    self._leave_out(file, "a page was worked out of it; the runs that lie beside it count.")
                    continue
                try:
                    yield from page_sources.rows(file, self.found.sources[file], file_digest(file))
                except (SublimError, OSError) as error:
                    self._leave_out(file, str(error))

    def _of_these_versions(self, over_seeds_rows: Sequence[Row], entries: Sequence[Entry]) -> Iterator[Row]:
        """Figures over seeds of the versions that count; those of others are named, once a run and probe."""
        counting = {reading.probe: reading.version for _, reading, _, _ in entries}
        for row in over_seeds_rows:
            if row.version == counting.get(row.probe, row.version):
                yield row
                continue
            why = f"figures over seeds of {row.probe} {row.version}, beside others of {counting[row.probe]}."
            one = LeftOut(row.source, f"{why} Measure it again.")
            self.left_out += [] if one in self.left_out else [one]

    def _leave_out(self, file: Path, why: str) -> None:
        source = self.found.sources.get(file.resolve()) or clean(file.name)
        self.left_out.append(LeftOut(source, clean(why.replace(str(file), file.name).replace(f"{file.parent}/", ""))))

    def _step(self) -> None:
        self.done += 1
        self.tell(min(self.done, self.total), self.total)


# ---------------------------------------------------------------- one file


def _run(file: Path, name: str) -> RunFolder:
    """A finished run; raises SublimError for an unfinished one and for a record of another form."""
    record = read_json(file)
    if not isinstance(record, dict) or record.get("schema") != 1 or "recipe" not in record:
        raise SublimError(f"{file} is no run record of schema 1. Make the run again with this version.")
    if record.get("status", "done") != "done" or "students" not in record:
        raise SublimError(
            f"{file} is of an unfinished run. Give the same `sublim run` again; what is finished is kept."
        )
    run = RunFolder(file.parent, name, record)
    try:
        of_record(run)
        Known([run])
        over_seeds.of_one_recipe([run])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SublimError(
            f"{file}: not as `sublim run` writes it ({type(error).__name__}: {error}). Make the run again."
        ) from error
    return run


def _opened(files: Sequence[Path], read: Callable[[], Parts]) -> dict[str, Any]:
    """What some files say, as plain data; why they say nothing, where that is so."""
    try:
        readings, why = read()
    except SublimError as error:
        readings, why = [], [str(error)]
    except BROKEN as error:
        named = f"{type(error).__name__}: {error}"[:300]
        readings, why = [], [f"{files[0]} is of a form that cannot be read ({named}). Measure it again."]
    hashes = [file_digest(file) for file in files]
    sha = hashes[0] if len(hashes) == 1 else digest(hashes)
    return {"readings": [reading.to_json() for reading in readings], "left_out": list(why), "sha": sha}


def _of_score_file(file: Path) -> Parts:
    from sublim_eval.scores.probe_scores import ProbeScores

    return Parts([of_scores(ProbeScores.read(file), harness="replies")])


def _of_abilities(file: Path) -> Parts:
    """What `sublim abilities` wrote: a reading for every task of a suite."""
    value = read_json(file)
    readings = []
    for task, metrics in value["tasks"].items():
        figures = [(name, m.get("value"), m.get("stderr"), len(m.get("items") or ())) for name, m in metrics.items()]
        readings.append(
            of_metrics(
                figures,
                model=str(value["model"]),
                probe=str(task),
                version="",
                question_set=digest([value["suite"], task, value.get("limit")])[:12],
                questions=max((count for *_, count in figures), default=0) or None,
                harness="lm-eval" if str(task).startswith("lm_eval/") else "inspect",
            )
        )
    return Parts(readings)


def _scores(file: Path, probe: str, harness: str) -> ProbeScores:
    from sublim_eval.scores.probe_scores import ProbeScores

    if harness == "lm-eval":
        from sublim_eval.board.formats import lm_eval_results

        return lm_eval_results.scores(file.parent, probe)
    if file.suffix == ".eval" or kind_of(file) == "log":
        from sublim_eval.board.formats import inspect_logs

        return inspect_logs.scores(file)
    return ProbeScores.read(file)


# ---------------------------------------------------------------- rows


def _rows(who: Identity, reading: Reading, source: str, sha: str) -> Iterator[Row]:
    """A row for every number of a reading."""
    for number in reading.numbers:
        yield Row(
            model=who.model,
            base=who.base,
            role=who.role,
            trait=who.trait,
            run=who.run,
            arm=who.arm,
            control=who.control,
            seed=who.seed,
            probe=reading.probe,
            ours=reading.ours,
            version=reading.version,
            question_set=reading.question_set,
            questions=reading.questions,
            answer=number.answer,
            measure=number.measure,
            value=number.value,
            stderr=number.stderr,
            low=number.low,
            high=number.high,
            interval=number.interval,
            n=number.n,
            non_answers=reading.non_answers,
            unreadable=reading.unreadable,
            coverage=number.coverage,
            p=None,
            verdict="",
            sampling=reading.sampling,
            prompt_hash=reading.prompt_hash,
            settled=reading.settled,
            harness=reading.harness,
            harness_version=reading.harness_version,
            versions=reading.versions,
            command=without_home(reading.command),
            date=reading.date,
            source=source,
            source_hash=sha,
            log=reading.log,
            note=reading.note,
        )


def _compared(group: Sequence[RunFolder], name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Rows over seeds as plain data, or why there are none."""
    try:
        made = over_seeds.compared([run.folder for run in group])
    except SublimError as error:
        return {"rows": [], "why": str(error)}
    return {"rows": [list(row) for row in over_seeds.rows(made, name, about)], "why": ""}


def _asked_like(row: Row, like: Row) -> Row:
    """A row over seeds with what its students were asked."""
    return row._replace(question_set=like.question_set, questions=like.questions, date=like.date)
