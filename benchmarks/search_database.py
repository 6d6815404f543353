"""What a step of a search costs at the database: transactions, statements, and processor time on both sides.

`python -m benchmarks.search_database` starts a PostgreSQL of Debian's for itself. Processor times are measured, since
other work changes them less than wall times. The figures of `docs/explanation/search-at-scale.md` come from here.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import sqlalchemy

from exporter.search.budget import Cost
from exporter.search.halving import StepResult
from exporter.search.space import Space
from exporter.search.study import SearchStudy
from tests.support.postgresql import temporary_postgresql

_SPACE = Space(60_000, 30, (28, 20, 16), ("grey",), ("shift", "flip", "erase"))
_NANOSECONDS = 1e9

#: Copies of a finished step, so that the study is as long as after many trials.
_COPIES = (
    "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) SELECT (SELECT max(number) FROM "
    "trials) + g, study_id, state, now(), now() FROM trials, generate_series(1, {count}) g WHERE trial_id = {model}",
    "INSERT INTO trial_values (trial_id, objective, value, value_type) SELECT t.trial_id, v.objective, v.value, "
    "v.value_type FROM trials t, trial_values v WHERE v.trial_id = {model} AND t.trial_id > {last}",
    "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) SELECT t.trial_id, p.param_name, "
    "p.param_value, p.distribution_json FROM trials t, trial_params p WHERE p.trial_id = {model} "
    "AND t.trial_id > {last}",
    "INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT t.trial_id, a.key, a.value_json FROM "
    "trials t, trial_user_attributes a WHERE a.trial_id = {model} AND t.trial_id > {last} AND a.key <> 'claim'",
)


def main() -> None:
    """Measure, and print a line for each length of the study."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10, help="steps of each measurement")
    parser.add_argument("--finished", type=int, nargs="*", default=[0, 1000, 10_000], help="steps that are done before")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows = []
    with temporary_postgresql() as address, SearchStudy(address, "data", _SPACE, (30,)) as study:
        _work(study, len(_SPACE.presets()) + 3)
        for finished in arguments.finished:
            _lengthen(study, finished)
            rows.append({"finished": finished, **_measure(study, arguments.steps)})
    if arguments.json:
        print(json.dumps(rows))
        return
    print("finished  transactions  statements  server ms  worker ms   wall ms   (each: of one step)")
    for row in rows:
        print(
            "{finished:8d} {transactions:13.1f} {statements:11.1f} {server:10.1f} {worker:10.1f} {wall:9.1f}".format(
                **row
            )
        )


def _work(study: SearchStudy, steps: int) -> None:
    for _ in range(steps):
        due = study.next_step()
        assert due is not None
        study.note_cost(due, Cost(20_000), 0.5)
        study.finish(due, StepResult(0.9, (20_000.0,)), 1.0)


def _measure(study: SearchStudy, steps: int) -> dict[str, float]:
    engine, counts = study._storage._backend.engine, Counter[str]()

    def count_commit(_: object) -> None:
        counts["transactions"] += 1

    def count_statement(*_: object) -> None:
        counts["statements"] += 1

    sqlalchemy.event.listen(engine, "commit", count_commit)
    sqlalchemy.event.listen(engine, "before_cursor_execute", count_statement)
    study.records()  # the first reading of a long study is not that of a step
    counts.clear()
    before, worker, began = _server_times(), time.process_time(), time.perf_counter()
    _work(study, steps)
    wall, worker = time.perf_counter() - began, time.process_time() - worker
    time.sleep(0.1)
    server = sum(spent - before.get(process, 0) for process, spent in _server_times().items()) / _NANOSECONDS
    sqlalchemy.event.remove(engine, "commit", count_commit)
    sqlalchemy.event.remove(engine, "before_cursor_execute", count_statement)
    times = {"server": server, "worker": worker, "wall": wall}
    return {name: counts[name] / steps for name in ("transactions", "statements")} | {
        name: 1000 * seconds / steps for name, seconds in times.items()
    }


def _lengthen(study: SearchStudy, finished: int) -> None:
    records = study.records()
    count = finished - len(records)
    if count <= 0:
        return
    model, last = records[-1].key, max(record.key for record in records)
    with study._storage._backend.engine.begin() as connection:
        for statement in _COPIES:
            connection.execute(sqlalchemy.text(statement.format(count=count, model=model, last=last)))
        connection.execute(sqlalchemy.text("ANALYZE"))


def _server_times() -> dict[str, int]:
    """Nanoseconds of the processor for each process of PostgreSQL that runs now."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if path.read_text("utf-8", "replace").partition("(")[2].startswith("postgres"):
                found[path.parent.name] = int(path.with_name("schedstat").read_text("utf-8").split()[0])
        except OSError:  # it has ended
            continue
    return found


if __name__ == "__main__":
    main()
