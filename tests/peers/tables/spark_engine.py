"""Spark with Delta's connector as one more engine: see engines.py. Run as a program it fetches the connector's jars, by
Spark's own mechanism for packages."""

import os
from pathlib import Path

from pyspark.sql import SparkSession

# It is made for just one minor version of Spark: the one in requirements.txt.
DELTA = "io.delta:delta-spark_4.1_2.13:4.4.0"
# Of what comes along Spark has the rest itself.
JARS = ("io.delta_*.jar", "io.unitycatalog_*.jar")
CONFIG = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.driver.memory": "1g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # A short life on a small machine: the optimising compiler costs more than it brings.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    # VACUUM lists files in so many tasks; 10 000 if not told otherwise.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
}


def session(more):
    """PEERS_JARS names a folder for the jars, and PEERS_SPARK one for what Spark writes."""
    builder = SparkSession.builder.master("local[1]").appName("tracewell-peers")
    folders = {"spark.jars.ivy": os.environ["PEERS_JARS"], "spark.sql.warehouse.dir": os.environ["PEERS_SPARK"]}
    for key, value in {**CONFIG, **folders, **more}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


class Spark:
    name = "spark"
    first, micros = 0, "unix_micros(start_time)"

    def __init__(self, store):
        jars = [str(jar) for name in JARS for jar in Path(os.environ["PEERS_JARS"], "jars").glob(name)]
        self.session = session({"spark.jars": ",".join(jars)})
        self.session.sparkContext.setLogLevel("ERROR")
        self.folder = f"{store}/default"

    def table(self, name):
        return f"delta.`{self.folder}/{name}`"

    def rows(self, sql):
        tables = {name: self.table(name) for name in ("spans", "traces")}
        return [tuple(row) for row in self.session.sql(sql.format(**tables)).collect()]

    def stop(self):
        self.session.stop()


if __name__ == "__main__":
    session({"spark.jars.packages": DELTA}).stop()
