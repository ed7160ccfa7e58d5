"""Reads the table with DuckDB, deltalake and Spark while it is written and expires, over and over: never an error, never a
lost span, never a doubled one; in the end all three find exactly the same. Ends with 1 and says why when something is wrong."""

import argparse
import json
import sys
import threading
import time
import urllib.request
from collections import Counter
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlparse

from engines import DeltaLake, DuckDb
from spark_engine import Spark
from traffic import ROUTE, ROUTE_BRIEF, SPANS_PER_TRACE, Ledger, send

LASTING = {"shop": ROUTE, "search": ROUTE}
BRIEF = {"brief": ROUTE_BRIEF}
TABLES = ("spans", "traces")
PATIENCE_SECONDS = 60
SENDING_SECONDS_MAX = 400
# So often each engine reads at least, and at least once it sees that spans expired; on a slow machine that takes longer.
READS_MIN = 5
SLOWER_MAX = 2
SPAN = "concat(trace_id, span_id, kind)"

COUNTS = f"SELECT service_name, count(*), count(DISTINCT {SPAN}), sum(adjusted_count) FROM {{spans}} GROUP BY service_name"
WHOLE = "SELECT min(n), max(n) FROM (SELECT trace_id, count(*) AS n FROM {spans} GROUP BY trace_id) AS t"
BY_TRACE = "SELECT service_name, trace_id, count(*) FROM {spans} GROUP BY service_name, trace_id"
BY_CLASS = """SELECT retention, service_name, kind, rule, count(*), count(DISTINCT trace_id), sum(adjusted_count),
sum(duration_nano) FROM {spans} GROUP BY retention, service_name, kind, rule"""
TRACES = "SELECT count(DISTINCT trace_id), sum(span_count), sum(error_count) FROM {traces}"


class Status:
    """What the daemon says it has stored."""

    def __init__(self, api):
        self.url = f"http://{api}/status"

    def losses(self):
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            return json.load(answer)["losses"].get("default", {"services": {}, "expired": 0})

    def stored(self):
        """Spans by service; those that expired count too."""
        services = self.losses()["services"]
        return Counter({name: counts["stored"] for name, counts in services.items()})

    def expired(self):
        return self.losses()["expired"]


class Reader(threading.Thread):
    """Reads with one engine until told to stop."""

    def __init__(self, engine, ledger, status, stop):
        super().__init__()
        self.engine, self.ledger, self.status, self.until = engine, ledger, status, stop
        self.before, self.reads, self.shrunk, self.errors = Counter(), 0, 0, []

    def run(self):
        try:
            while not self.until.is_set() and not self.errors:
                self.read()
                self.reads += 1
                time.sleep(0.2)
        except Exception as error:
            self.wrong(f"while the daemon writes: {type(error).__name__}: {' '.join(str(error).splitlines()[:4])}")

    def wrong(self, what):
        self.errors.append(f"{self.engine.name}: {what}")

    def enough(self):
        return self.reads >= READS_MIN and self.shrunk > 0

    def read(self):
        committed = self.status.stored()
        counts = {service: (spans, ids) for service, spans, ids, _ in self.engine.rows(COUNTS)}
        for service in counts.keys() - (LASTING.keys() | BRIEF.keys()):
            self.wrong(f"there is a service {service}")
        for service in LASTING | BRIEF:
            spans, ids = counts.get(service, (0, 0))
            kept = self.ledger.kept_spans(service)
            if spans != ids:
                self.wrong(f"{spans} spans of {service}, but {ids} different ones")
            if spans > kept:
                self.wrong(f"{spans} spans of {service}, while only {kept} are kept")
            if service in LASTING and spans < max(committed[service], self.before[service]):
                self.wrong(f"{spans} spans of {service} after {self.before[service]} and {committed[service]} committed")
            if service in BRIEF:
                self.shrunk += spans < self.before[service]
                self.not_too_few(service, spans, committed[service])
            self.before[service] = spans
        for least, most in self.engine.rows(WHOLE):
            if least is not None and (least, most) != (SPANS_PER_TRACE, SPANS_PER_TRACE):
                self.wrong(f"traces of {least} to {most} spans, all were sent with {SPANS_PER_TRACE}")

    def not_too_few(self, service, spans, committed):
        """What expires leaves the table a moment before the daemon counts it."""
        until = time.monotonic() + 5
        while spans < committed - self.status.expired():
            if time.monotonic() > until:
                expired = self.status.expired()
                return self.wrong(f"{spans} spans of {service}, while {committed} are committed and {expired} expired")
            time.sleep(0.2)


def let_read(readers, seconds):
    """Until that long has passed and all have read enough, or one has found an error."""
    began = time.monotonic()
    while not any(reader.errors for reader in readers):
        passed = time.monotonic() - began
        if passed > SLOWER_MAX * seconds or passed > seconds and all(reader.enough() for reader in readers):
            break
        time.sleep(0.5)


def wait(until):
    """Waits until it is so; whether it came to be."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not until():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def settle(engines, ledger, status, unchanged):
    """What is wrong when all is written: with what was sent, and between the engines."""
    if not wait(lambda: all(status.stored()[s] >= ledger.kept_spans(s) for s in LASTING | BRIEF)):
        return [f"stored are {dict(status.stored())} and not what was kept within {PATIENCE_SECONDS} s"]

    def read():
        found = {engine.name: [answer(engine, sql) for sql in (BY_TRACE, BY_CLASS, TRACES)] for engine in engines}
        return status.expired(), found

    (expired, found), wrong = unchanged(read), []
    for name, (by_trace, by_class, traces) in found.items():
        print(f"{name}: {sum(n for *_, n in by_trace)} spans of {len(by_trace)} traces; {expired} spans expired", flush=True)
        wrong += [f"{name}: {problem}" for problem in unlike(by_trace, by_class, ledger, expired)]
        if traces[0][0] != len(by_trace):
            wrong.append(f"{name}: {traces[0][0]} traces in the traces table instead of {len(by_trace)}")
    first, *others = found.items()
    wrong += [f"{name} and {first[0]} differ: {rows} and {first[1]}"[:2000] for name, rows in others if rows != first[1]]
    return wrong + ([] if expired else ["nothing expired"])


def while_unchanged(deltalake, read):
    """What `read` gives when no version comes meanwhile: what is left to expire may go at any time."""
    while True:
        versions = [deltalake.table(name).version() for name in TABLES]
        # What expires leaves the table a moment before the daemon counts it.
        time.sleep(1)
        found = read()
        if versions == [deltalake.table(name).version() for name in TABLES]:
            return found


def answer(engine, sql):
    """Rows in order. Sums of integers are decimals in one engine and integers in another."""

    def plain(row):
        return tuple(value if value is None or isinstance(value, (str, float)) else int(value) for value in row)

    return sorted(map(plain, engine.rows(sql)))


def unlike(by_trace, by_class, ledger, expired):
    """How one engine's answer is unlike what was sent."""
    wrong = []
    for service in LASTING | BRIEF:
        got = {trace: spans for of, trace, spans in by_trace if of == service}
        want, gone = ledger.kept[service], ledger.kept[service].keys() - got.keys()
        if any(want.get(trace) != spans for trace, spans in got.items()):
            wrong.append(f"{service}: traces that the rules drop, or not whole")
        if sum(want[trace] for trace in gone) != (expired if service in BRIEF else 0):
            wrong.append(f"{service}: {len(gone)} traces are missing, {expired} spans expired")
        adjusted = sum(row[-2] for row in by_class if row[1] == service)
        if service in LASTING and abs(adjusted - ledger.adjusted[service]) > 1e-6 * adjusted:
            wrong.append(f"{service}: adjusted counts sum up to {adjusted} instead of {ledger.adjusted[service]}")
    return wrong


def nested(engine, trace_id, start_unix_nano):
    """What is wrong with maps, lists of structs and times of one trace."""
    first = engine.first
    rows = engine.rows(
        f"SELECT name, attributes['n'], attributes_types, resource_attributes['service.name'], events[{first}]['name'], "
        f"events[{first}]['attributes']['n'], {engine.micros}, start_time_unix_nano, CAST(date AS VARCHAR(10)), retention "
        f"FROM {{spans}} WHERE trace_id = '{trace_id}' ORDER BY name"
    )
    day = time.strftime("%Y-%m-%d", time.gmtime(start_unix_nano // 10**9))
    times = (start_unix_nano // 1000, start_unix_nano, day, "default")
    want = [(f"step {n}", str(n), "si", "shop", f"event {n}", str(n), *times) for n in range(SPANS_PER_TRACE)]
    return [] if rows == want else [f"{engine.name}: nested columns are {rows} instead of {want}"]


def upkeep(deltalake, spark):
    """What is wrong with history, details and a dry vacuum, and whether what expired was deleted."""
    wrong = []
    for name in TABLES:
        table = deltalake.table(name)
        versions = [entry["version"] for entry in table.history()]
        if versions != list(range(table.version(), -1, -1)):
            wrong.append(f"deltalake: history() of {name} has versions {versions}")
        of_spark = [row[0] for row in spark.rows(f"DESCRIBE HISTORY {{{name}}}")]
        if of_spark != versions:
            wrong.append(f"spark: DESCRIBE HISTORY of {name} has versions {of_spark}")
        detail = spark.session.sql(f"DESCRIBE DETAIL {spark.table(name)}").collect()[0]
        live = {unquote(urlparse(uri).path) for uri in table.file_uris()}
        if (detail.format, detail.partitionColumns, detail.numFiles) != ("delta", ["retention", "date"], len(live)):
            wrong.append(f"spark: DESCRIBE DETAIL of {name} is {detail}, there are {len(live)} files")
        dry = {unquote(urlparse(row[0]).path) for row in spark.rows(f"VACUUM {{{name}}} DRY RUN")}
        if dry & live:
            wrong.append(f"spark: VACUUM would delete live files of {name}: {dry & live}")
        folder = Path(unquote(urlparse(deltalake.store).path)) / "default" / name
        gone = [path for path in removed(folder) if not path.exists()]
        print(f"{name}: {len(versions)} versions, {len(live)} files, {len(gone)} of those removed are deleted", flush=True)
        if not gone:
            wrong.append(f"{name}: no file that expired was deleted")
    return wrong


def removed(folder):
    """The files that the table's log takes out of it."""
    for commit in sorted((folder / "_delta_log").glob("*.json")):
        for action in map(json.loads, commit.read_text().splitlines()):
            if "remove" in action:
                yield folder / unquote(action["remove"]["path"])


def types(spark):
    """What is wrong with the types of columns as Spark sees them."""
    want = {"start_time": "timestamp", "attributes": "map<string,string>", "events": "array<struct<time:timestamp,"}
    have = dict(spark.session.sql(f"SELECT * FROM {spark.table('spans')} LIMIT 0").dtypes)
    return [f"spark: {name} is {have[name]}" for name, kind in want.items() if not have[name].startswith(kind)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--endpoint", required=True, help="OTLP/HTTP, host:port")
    parser.add_argument("--api", required=True, help="/status, host:port")
    parser.add_argument("--seconds", type=float, required=True, help="how long to read while it is written")
    args = parser.parse_args()
    ledger, stop, errors, status = Ledger(), threading.Event(), [], Status(args.api)

    spark = Spark(args.store)
    sender = threading.Thread(target=send, args=(args.endpoint, ledger, LASTING | BRIEF, SENDING_SECONDS_MAX, stop, errors))
    sender.start()
    deltalake = DeltaLake(args.store)
    # Engines are given no table that is not there yet.
    if not wait(deltalake.exists):
        stop.set()
        sys.exit("\n".join([*errors, "there is no table"]))
    # Spark compiles what it needs at its first question.
    spark.rows(COUNTS)
    engines = [DuckDb(args.store), deltalake, spark]
    readers = [Reader(engine, ledger, status, stop) for engine in engines]
    for reader in readers:
        reader.start()
    let_read(readers, args.seconds)
    stop.set()
    sender.join()
    for reader in readers:
        reader.join()
        print(f"{reader.engine.name}: {reader.reads} reads, {reader.shrunk} saw that spans expired", flush=True)
        errors += reader.errors
        if not reader.errors and not reader.enough():
            errors.append(f"{reader.engine.name}: {reader.reads} reads, {reader.shrunk} saw that spans expired: too few")
    print(f"sent {ledger.sent_traces} traces; kept {({s: len(k) for s, k in ledger.kept.items()})}", flush=True)
    unchanged = partial(while_unchanged, deltalake)
    errors += settle(engines, ledger, status, unchanged)
    for engine in engines:
        errors += nested(engine, *ledger.sample["shop"])
    errors += types(spark) + unchanged(lambda: upkeep(deltalake, spark))
    spark.stop()
    if errors:
        sys.exit("\n".join(errors))


if __name__ == "__main__":
    main()
