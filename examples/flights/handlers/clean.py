"""Bronze -> silver: one day of flights from CSV to clean, enriched Parquet."""

import io
import json
from urllib.parse import unquote_plus

import boto3
import pandas as pd

s3 = boto3.client("s3")

REQUIRED = [
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay",
    "carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance", "time_hour",
]
FLIGHT = ["year", "month", "day", "carrier", "flight", "origin", "sched_dep_time"]
NUMBERS = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "distance"]
_reference = {}  # stays between warm invocations


def lambda_handler(event, context):
    return [clean(record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"]))
            for record in event["Records"]]


def clean(bucket, key):
    name = key.removeprefix("bronze/").removesuffix(".csv")
    output_key = f"silver/{name}.parquet"

    # Idempotency check
    if exists(bucket, output_key):
        print(f"Already processed, skipping: {key}")
        return {"input": key, "status": "duplicate"}
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        if exists(bucket, f"quarantine/{name}.reason.json"):
            print(f"Already quarantined, skipping: {key}")
            return {"input": key, "status": "quarantined"}
        raise
    try:
        df = read(body)
    except ValueError as error:
        return quarantine(bucket, key, name, str(error))

    rows_in = len(df)
    df["reason"] = reasons(df)
    rejected = df[df["reason"] != ""]
    counts = {str(reason): int(rows) for reason, rows in rejected["reason"].value_counts().sort_index().items()}
    df = enrich(bucket, cast(df[df["reason"] == ""].drop(columns="reason")))

    if len(rejected):
        s3.put_object(Bucket=bucket, Key=f"rejected/{name}.csv", Body=rejected.to_csv(index=False).encode())
    report = {"input": key, "rows_in": rows_in, "rows_out": len(df), "rejected": counts}
    s3.put_object(Bucket=bucket, Key=f"reports/{name}.json", Body=json.dumps(report).encode())
    df.to_parquet(f"s3://{bucket}/{output_key}", index=False)  # last: its presence says that all is done
    print(f"Cleaned {key}: {rows_in} rows in, {len(df)} out, rejected {counts}")
    return report


def exists(bucket, key):
    try:
        s3.head_object(Bucket=bucket, Key=key)
        return True
    except s3.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return False


def read(body):
    """The rows of a CSV; ValueError with a reason where it is none of ours."""
    if not body.strip():
        raise ValueError("empty file")
    try:
        df = pd.read_csv(io.BytesIO(body))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"not a CSV file: {type(error).__name__}") from error
    missing = [column for column in REQUIRED if column not in df.columns]
    if len(missing) == len(REQUIRED):
        raise ValueError("not a CSV file of flights: none of the columns is there")
    if missing:
        raise ValueError(f"missing columns: {', '.join(missing)}")
    if df.empty:
        raise ValueError("no rows")
    return df


def reasons(df):
    """Why each row is rejected; the first reason counts, an empty one means that it is good."""
    numbers = df[NUMBERS].apply(pd.to_numeric, errors="coerce")
    found = pd.Series("", index=df.index)

    def reject(rows, reason):
        found[rows & (found == "")] = reason

    reject(df[["carrier", "flight", "origin", "dest", "time_hour"]].isna().any(axis=1), "no key")
    reject(df.duplicated(subset=FLIGHT, keep="first"), "duplicate")
    reject((numbers.isna() & df[NUMBERS].notna()).any(axis=1), "not a number")
    reject(numbers["dep_time"].isna(), "cancelled")
    reject(numbers["arr_time"].isna(), "no arrival time")
    reject(numbers[["arr_delay", "air_time"]].isna().any(axis=1), "diverted")
    reject(df["tailnum"].isna(), "no tail number")
    reject(numbers["distance"] <= 0, "no distance")
    return found


def cast(df):
    df = df.astype({column: "int32" for column in NUMBERS})
    df["date"] = pd.to_datetime(df[["year", "month", "day"]])
    df["time_hour"] = pd.to_datetime(df["time_hour"], utc=True)
    return df


def enrich(bucket, df):
    """Add the airline's name, the airports' names and the plane's make and age."""
    airlines = reference(bucket, "airlines").rename(columns={"name": "airline"})
    airports = reference(bucket, "airports")[["faa", "name", "lat", "lon"]]
    planes = reference(bucket, "planes")[["tailnum", "year", "manufacturer", "model", "seats"]]
    df = df.merge(airlines, on="carrier", how="left")
    for column in ("origin", "dest"):
        named = airports.rename(columns={"faa": column, "name": f"{column}_name", "lat": f"{column}_lat",
                                         "lon": f"{column}_lon"})
        df = df.merge(named, on=column, how="left")
    df = df.merge(planes.rename(columns={"year": "plane_year"}), on="tailnum", how="left")
    df["plane_age"] = (df["year"] - df["plane_year"]).astype("Int32")
    df["speed_mph"] = (df["distance"] / (df["air_time"] / 60)).round(1)
    return df


def reference(bucket, name):
    if name not in _reference:
        _reference[name] = pd.read_csv(s3.get_object(Bucket=bucket, Key=f"reference/{name}.csv")["Body"])
    return _reference[name]


def quarantine(bucket, key, name, reason):
    print(f"Quarantined {key}: {reason}")
    source = {"Bucket": bucket, "Key": key}
    s3.copy_object(Bucket=bucket, Key=f"quarantine/{name}.csv", CopySource=source)
    body = json.dumps({"input": key, "reason": reason}).encode()
    s3.put_object(Bucket=bucket, Key=f"quarantine/{name}.reason.json", Body=body)
    s3.delete_object(**source)
    return {"input": key, "status": "quarantined", "reason": reason}
