"""Makes a bucket, or says what is wrong with its lifecycle rules (a line a problem). AWS_* variables say where."""

import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def main(what, bucket):
    path_style = Config(s3={"addressing_style": "path"})
    s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=path_style)
    if what == "create":
        s3.create_bucket(Bucket=bucket)
        return
    try:
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError as error:
        print(f"no lifecycle rules: {error}")
        return
    expiring = {}
    for rule in rules:
        if rule["Status"] != "Enabled" or "Days" not in rule.get("Expiration", {}):
            continue
        conditions = rule.get("Filter", {})
        tags = [conditions["Tag"]] if "Tag" in conditions else conditions.get("And", {}).get("Tags", [])
        if not tags:
            print(f"rule {rule.get('ID')} expires whatever it finds: {rule}")
        expiring |= {(tag["Key"], tag["Value"]): rule["Expiration"]["Days"] for tag in tags}
    if not expiring:
        print(f"no rule expires objects by tag: {rules}")
    listed = [page for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)]
    data = [entry["Key"] for page in listed for entry in page.get("Contents", []) if entry["Key"].endswith(".parquet")]
    data = [key for key in data if "_delta_log" not in key]
    if not data:
        print("no data files in the bucket")
    for key in data:
        tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        if not any((tag["Key"], tag["Value"]) in expiring for tag in tags):
            print(f"no rule expires {key}, whose tags are {tags}")


if __name__ == "__main__":
    main(*sys.argv[1:])
