"""Sends traces for a while, reads the table all the while with DuckDB and deltalake, and compares what is in it with
what the rules keep (traffic.py). Ends with 1 and says why when anything is wrong."""

import argparse
import sys
import threading
import time

from engines import DeltaLake, DuckDb
from traffic import ROUTE, Ledger, send

SECONDS = 25
SERVICE = "peer-table"
PATIENCE_SECONDS = 60
READS_MIN = 5

SUMS = "SELECT count(*), count(DISTINCT span_id), count(DISTINCT trace_id), sum(adjusted_count) FROM {spans}"
BY_TRACE = "SELECT trace_id, count(*) FROM {spans} GROUP BY trace_id"
TRACES = "SELECT count(DISTINCT trace_id) FROM {traces}"


def read(engine, ledger, stop, errors, reads):
    """Reads until told to stop: counts only grow, no span is there twice, none that is not kept."""
    before = 0
    try:
        while not stop.is_set():
            spans, ids, _, _ = engine.rows(SUMS)[0]
            kept = ledger.kept_spans(SERVICE)
            if spans != ids:
                errors.append(f"{engine.name}: {spans} spans, but {ids} span ids")
            if not before <= spans <= kept:
                errors.append(f"{engine.name}: {spans} spans after {before}, while {kept} are kept")
            before = spans
            reads[engine.name] = reads.get(engine.name, 0) + 1
            time.sleep(0.2)
    except Exception as error:
        errors.append(f"{engine.name} while the daemon writes: {error!r}")


def wait(what, until):
    """Waits until it is so; whether it came to be."""
    while not until():
        if time.monotonic() > wait.deadline:
            return False
        time.sleep(0.3)
    return True


def final(engine, ledger, errors):
    """What is there when all is written."""
    wanted, wanted_adjusted = ledger.kept[SERVICE], ledger.adjusted[SERVICE]
    complete = wait("all", lambda: engine.rows(SUMS)[0][0] >= ledger.kept_spans(SERVICE))
    spans, ids, traces, adjusted = engine.rows(SUMS)[0]
    by_trace = dict(engine.rows(BY_TRACE))
    told = f"{engine.name}: {spans} spans of {traces} traces, adjusted count {adjusted}"
    print(told, flush=True)
    if not complete or by_trace != wanted or spans != ids:
        missing, extra = wanted.keys() - by_trace.keys(), by_trace.keys() - wanted.keys()
        partial = [t for t in wanted.keys() & by_trace.keys() if by_trace[t] != wanted[t]]
        errors.append(
            f"{engine.name}: {spans} spans ({ids} ids) instead of {ledger.kept_spans(SERVICE)}; "
            f"{len(missing)} traces missing, {len(extra)} that rules drop, {len(partial)} not whole"
        )
    if adjusted is None or abs(adjusted - wanted_adjusted) > 1e-6 * wanted_adjusted:
        errors.append(f"{engine.name}: adjusted counts sum up to {adjusted} instead of {wanted_adjusted}")
    if (rows := engine.rows(TRACES)[0][0]) != len(wanted):
        errors.append(f"{engine.name}: {rows} traces in the traces table instead of {len(wanted)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--endpoint", required=True, help="OTLP/HTTP, host:port")
    args = parser.parse_args()
    ledger, stop, errors, reads = Ledger(), threading.Event(), [], {}
    wait.deadline = time.monotonic() + SECONDS + PATIENCE_SECONDS

    sending = (args.endpoint, ledger, {SERVICE: ROUTE}, SECONDS, stop, errors)
    sender = threading.Thread(target=send, args=sending)
    sender.start()
    # Engines are given no table that is not there yet.
    if not wait("the table", DeltaLake(args.store).exists):
        errors.append("there is no table")
    engines = [DuckDb(args.store), DeltaLake(args.store)]
    readers = [threading.Thread(target=read, args=(engine, ledger, stop, errors, reads)) for engine in engines]
    for thread in readers if not errors else []:
        thread.start()
    sender.join()
    stop.set()
    for thread in readers:
        if thread.ident:
            thread.join()
    kept = len(ledger.kept[SERVICE])
    print(f"sent {ledger.sent_traces} traces, of them {kept} kept; reads meanwhile: {reads}", flush=True)
    for engine in engines if not errors else []:
        if reads.get(engine.name, 0) < READS_MIN:
            errors.append(f"{engine.name}: only {reads.get(engine.name, 0)} reads")
        final(engine, ledger, errors)
    if errors:
        sys.exit("\n".join(errors))


if __name__ == "__main__":
    main()
