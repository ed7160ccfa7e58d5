"""Engines that read the tables of a store. Each has a `name`, and `rows(sql)`: tuples, from the tables' newest version.
In the SQL, {spans} and {traces} stand for the tables. Where dialects differ: `first` is the index of a list's first item,
`micros` the start time in microseconds since the Unix epoch."""

import os
from pathlib import Path

import duckdb
import duckdb_ext
from deltalake import DeltaTable, QueryBuilder


class DuckDb:
    name = "duckdb"
    first, micros = 1, "epoch_us(start_time)"

    def __init__(self, store):
        self.store = store
        self.connection = duckdb.connect()
        extensions = Path(next(iter(duckdb_ext.__path__)))
        for name in ["httpfs", "delta"] if store.startswith("s3://") else ["delta"]:
            found = next(extensions.rglob(f"{name}.duckdb_extension"))
            self.connection.execute(f"LOAD '{found}'")
        if store.startswith("s3://"):
            endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
            self.connection.execute(
                f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', "
                f"SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}', REGION '{os.environ['AWS_REGION']}', "
                f"ENDPOINT '{endpoint}', URL_STYLE 'path', USE_SSL false)"
            )

    def rows(self, sql):
        tables = {name: f"delta_scan('{self.store}/default/{name}')" for name in ("spans", "traces")}
        return self.connection.execute(sql.format(**tables)).fetchall()


class DeltaLake:
    name = "deltalake"
    first, micros = 1, "CAST(start_time AS BIGINT)"

    def __init__(self, store):
        self.store = store
        self.options = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}

    def rows(self, sql):
        query = QueryBuilder()
        for name in ("spans", "traces"):
            if "{" + name + "}" in sql:
                query.register(name, self.table(name))
        table = query.execute(sql.format(spans="spans", traces="traces")).read_all()
        columns = [table.column(index).to_pylist() for index in range(table.num_columns)]
        return list(zip(*columns))

    def table(self, name):
        return DeltaTable(f"{self.store}/default/{name}", storage_options=self.options)

    def exists(self):
        return DeltaTable.is_deltatable(f"{self.store}/default/spans", storage_options=self.options)
