"""Makes a bucket, gives it versions, or says what is wrong with its lifecycle rules or objects (a line a problem). AWS_*
variables say where."""

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
    elif what == "version":
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    elif what == "encrypted":
        encrypted(s3, bucket)
    else:
        lifecycle(s3, bucket)


def data_files(s3, bucket):
    listed = [page for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)]
    data = [entry["Key"] for page in listed for entry in page.get("Contents", []) if entry["Key"].endswith(".parquet")]
    data = [key for key in data if "_delta_log" not in key]
    if not data:
        print("no data files in the bucket")
    return data


def encrypted(s3, bucket):
    """Data files under `encrypted/` have the key and the storage class that were asked for."""
    for key in (key for key in data_files(s3, bucket) if key.startswith("encrypted/")):
        head = s3.head_object(Bucket=bucket, Key=key)
        if head.get("ServerSideEncryption") != "aws:kms" or "tracewell-key" not in head.get("SSEKMSKeyId", ""):
            print(f"{key} is not encrypted with the key: {head}")
        if head.get("StorageClass") != "REDUCED_REDUNDANCY":
            print(f"{key} is not in the storage class: {head}")


def lifecycle(s3, bucket):
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
    for key in data_files(s3, bucket):
        tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        if not any((tag["Key"], tag["Value"]) in expiring for tag in tags):
            print(f"no rule expires {key}, whose tags are {tags}")


if __name__ == "__main__":
    main(*sys.argv[1:])
