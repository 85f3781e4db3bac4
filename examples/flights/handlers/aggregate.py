"""Silver -> gold: one day's flights by airline and origin."""

from urllib.parse import unquote_plus

import boto3
import pandas as pd

s3 = boto3.client("s3")


def lambda_handler(event, context):
    return [aggregate(record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"]))
            for record in event["Records"]]


def aggregate(bucket, key):
    df = pd.read_parquet(f"s3://{bucket}/{key}")
    df["is_late"] = df["arr_delay"] > 15
    gold = df.groupby(["date", "origin", "carrier", "airline"], as_index=False).agg(
        flights=("flight", "size"),
        destinations=("dest", "nunique"),
        departure_delay_mean=("dep_delay", "mean"),
        arrival_delay_mean=("arr_delay", "mean"),
        late=("is_late", "sum"),
        miles=("distance", "sum"),
        seats=("seats", "sum"),
    )
    gold["late_share"] = (gold["late"] / gold["flights"]).round(4)
    output_key = key.replace("silver/", "gold/")
    gold.to_parquet(f"s3://{bucket}/{output_key}", index=False)
    print(f"Aggregated {key}: {len(df)} flights into {len(gold)} rows")
    return {"input": key, "output": output_key, "flights": len(df), "rows": len(gold)}
