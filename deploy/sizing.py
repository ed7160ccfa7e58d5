#!/usr/bin/env python3
"""The tables of sizing.md: requests, bytes and dollars for spans stored on S3. Change the inputs and run it."""

# Measured on this program.
BYTES_IN_TABLE = 74  # a stored span: 70 in the tables, 4 in the index
BYTES_RECEIVED = 570  # the same span in OTLP
COMMIT_PUTS = 3  # a commit: one PUT, and two LISTs that look for newer ones
COMMIT_GETS = 20  # a commit: it reads what came since the last checkpoint twice, 10 on average
CHECKPOINT_EVERY = 20  # commits of a table; 2 PUTs

# Configuration.
BATCH_SECONDS = 30  # store.flush.age
BATCH_BYTES = 64 * 2**20  # store.flush.bytes, as received
CLASSES = 3  # retention classes that a batch has spans of: each makes a file in each table
RETENTION_DAYS = 7  # by bytes, over all classes
COMPACTION = True  # assumed: so many files become one, those of a day few large ones; a commit for each file written
GATHER, TARGET_BYTES = 16, 256 * 2**20

# Dollars, S3 Standard, us-east-1, list prices of March 2026. LIST costs as PUT; DELETE and traffic within the region are free.
A_PUT, A_GET, A_GB_MONTH = 5.0e-6, 0.4e-6, 0.023

SECONDS_A_MONTH = 30 * 86_400


def month(spans_a_second):
    """What a month costs at so many stored spans a second, by one daemon."""
    spans = spans_a_second * SECONDS_A_MONTH
    batch = min(spans_a_second * BATCH_SECONDS, BATCH_BYTES / BYTES_RECEIVED)
    batches = spans / batch
    files, commits = batches * (2 * CLASSES + 1), batches * 2
    written, read = files, 0
    if COMPACTION:
        gathered = files / GATHER
        large = min(gathered, spans * BYTES_IN_TABLE / TARGET_BYTES)
        written, read = files + gathered + large, files + gathered
        commits += gathered + large
    puts = written + commits * (COMMIT_PUTS + 2 / CHECKPOINT_EVERY)
    # A file is read in a GET for its footer and one for the rest.
    gets = commits * COMMIT_GETS + 2 * read
    stored_gb = spans_a_second * 86_400 * RETENTION_DAYS * BYTES_IN_TABLE / 1e9
    dollars = {"PUT and LIST": puts * A_PUT, "GET": gets * A_GET, "storage": stored_gb * A_GB_MONTH}
    return {"spans": spans, "batch": batch, "puts": puts, "gets": gets, "stored_gb": stored_gb, "dollars": dollars}


def main():
    print("| stored spans/s | spans a batch | file of a class | PUT, LIST a million | GET a million | in store |")
    print("| --- | --- | --- | --- | --- | --- |")
    rates = (1_000, 10_000, 100_000, 1_000_000)
    for rate in rates:
        m = month(rate)
        file = m["batch"] * BYTES_IN_TABLE / CLASSES / 2**20
        millions = m["spans"] / 1e6
        print(
            f"| {rate:,} | {m['batch']:,.0f} | {file:.1f} MiB | {m['puts'] / millions:,.0f} | "
            f"{m['gets'] / millions:,.0f} | {m['stored_gb']:,.0f} GB |"
        )
    print("\n| stored spans/s | PUT, LIST | GET | storage | a month | a million spans |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rate in rates:
        m = month(rate)
        total = sum(m["dollars"].values())
        parts = " | ".join(f"${cost:,.2f}" for cost in m["dollars"].values())
        print(f"| {rate:,} | {parts} | ${total:,.2f} | ${total / m['spans'] * 1e6:.5f} |")


if __name__ == "__main__":
    main()
