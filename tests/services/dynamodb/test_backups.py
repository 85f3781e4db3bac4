import gzip
from datetime import UTC, datetime

import orjson

from penstock.services import dynamodb, s3
from penstock.testkit.world import World

from .conftest import Dynamo, plain, typed


async def filled():
    found = Dynamo()
    found.world = World(dynamodb.SERVICE, s3.SERVICE)
    await found.world.call("s3", "CreateBucket", Bucket="lake")
    await found.table(gsi=[("by-g", "g")])
    for n in range(250):
        await found.put(p=str(n % 5), s=n, g="x", b=b"\xff")
    return found


def moment(dynamo):
    return datetime.fromtimestamp(dynamo.world.clock.now_ms() / 1000, UTC)


async def contents(dynamo, table):
    page = await dynamo.call("Scan", TableName=table)
    return sorted((plain(one) for one in page["Items"]), key=lambda one: one["s"])


async def test_a_backup_holds_what_was_there_and_is_restored_with_its_indexes():
    dynamo = await filled()
    before = await contents(dynamo, "table")
    made = await dynamo.call("CreateBackup", TableName="table", BackupName="monday")
    arn = made["BackupDetails"]["BackupArn"]
    await dynamo.put(p="0", s=0, g="y")
    await dynamo.call("DeleteTable", TableName="table")
    restored = await dynamo.call("RestoreTableFromBackup", TargetTableName="again", BackupArn=arn)
    assert restored["TableDescription"]["TableStatus"] == "CREATING"
    code, _ = await dynamo.refused("Scan", TableName="again")
    assert code == "ResourceNotFoundException"
    await dynamo.world.settle()
    assert await contents(dynamo, "again") == before
    found = await dynamo.call(
        "Query",
        TableName="again",
        IndexName="by-g",
        KeyConditionExpression="g = :g",
        ExpressionAttributeValues={":g": typed("x")},
    )
    assert found["Count"] == 250
    listed = await dynamo.call("ListBackups")
    assert [one["BackupName"] for one in listed["BackupSummaries"]] == ["monday"]
    described = await dynamo.call("DescribeBackup", BackupArn=arn)
    assert described["BackupDescription"]["SourceTableDetails"]["ItemCount"] == 250
    await dynamo.call("DeleteBackup", BackupArn=arn)
    assert (await dynamo.refused("DescribeBackup", BackupArn=arn))[0] == "BackupNotFoundException"


async def test_a_table_is_restored_as_it_was_at_any_second():
    dynamo = await filled()
    code, _ = await dynamo.refused(
        "RestoreTableToPointInTime", SourceTableName="table", TargetTableName="again", UseLatestRestorableTime=True
    )
    assert code == "PointInTimeRecoveryUnavailableException"
    specification = {"PointInTimeRecoveryEnabled": True}
    await dynamo.call("UpdateContinuousBackups", TableName="table", PointInTimeRecoverySpecification=specification)
    wanted = {}
    for n in range(4):
        await dynamo.world.advance(10)
        await dynamo.put(p="0", s=0, v=n)
        await dynamo.put(p="new", s=1000 + n)
        await dynamo.call("DeleteItem", TableName="table", Key={"p": typed(str(n % 5)), "s": typed(n + 5)})
        wanted[moment(dynamo)] = await contents(dynamo, "table")
    for number, (at, expected) in enumerate(wanted.items()):
        await dynamo.call(
            "RestoreTableToPointInTime",
            SourceTableName="table",
            TargetTableName=f"again-{number}",
            RestoreDateTime=at,
        )
        await dynamo.world.settle()
        assert await contents(dynamo, f"again-{number}") == expected


async def read(dynamo, key):
    answer = await dynamo.world.call("s3", "GetObject", Bucket="lake", Key=key)
    return await answer["Body"].read(bytes_max=1 << 20)


async def test_a_table_is_exported_and_imported_again():
    dynamo = await filled()
    table_arn = (await dynamo.call("DescribeTable", TableName="table"))["Table"]["TableArn"]
    specification = {"PointInTimeRecoveryEnabled": True}
    await dynamo.call("UpdateContinuousBackups", TableName="table", PointInTimeRecoverySpecification=specification)
    made = await dynamo.call("ExportTableToPointInTime", TableArn=table_arn, S3Bucket="lake", S3Prefix="out")
    assert made["ExportDescription"]["ExportStatus"] == "IN_PROGRESS"
    await dynamo.world.settle()
    arn = made["ExportDescription"]["ExportArn"]
    done = (await dynamo.call("DescribeExport", ExportArn=arn))["ExportDescription"]
    assert (done["ExportStatus"], done["ItemCount"]) == ("COMPLETED", 250)
    summary = orjson.loads(await read(dynamo, done["ExportManifest"]))
    [file] = [orjson.loads(line) for line in (await read(dynamo, summary["manifestFilesS3Key"])).splitlines()]
    lines = gzip.decompress(await read(dynamo, file["dataFileS3Key"])).splitlines()
    assert len(lines) == file["itemCount"] == 250
    imported = await dynamo.call(
        "ImportTable",
        S3BucketSource={"S3Bucket": "lake", "S3KeyPrefix": file["dataFileS3Key"].rpartition("/")[0]},
        InputFormat="DYNAMODB_JSON",
        InputCompressionType="GZIP",
        TableCreationParameters={
            "TableName": "again",
            "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
            "AttributeDefinitions": [
                {"AttributeName": "p", "AttributeType": "S"},
                {"AttributeName": "s", "AttributeType": "N"},
            ],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    await dynamo.world.settle()
    arn = imported["ImportTableDescription"]["ImportArn"]
    done = (await dynamo.call("DescribeImport", ImportArn=arn))["ImportTableDescription"]
    assert (done["ImportStatus"], done["ImportedItemCount"], done["ErrorCount"]) == ("COMPLETED", 250, 0)
    assert await contents(dynamo, "again") == await contents(dynamo, "table")


async def test_an_incremental_export_has_what_changed():
    dynamo = await filled()
    table_arn = (await dynamo.call("DescribeTable", TableName="table"))["Table"]["TableArn"]
    specification = {"PointInTimeRecoveryEnabled": True}
    await dynamo.call("UpdateContinuousBackups", TableName="table", PointInTimeRecoverySpecification=specification)
    since = moment(dynamo)
    await dynamo.world.advance(1)
    await dynamo.put(p="0", s=0, g="changed")
    await dynamo.call("DeleteItem", TableName="table", Key={"p": typed("1"), "s": typed(1)})
    await dynamo.world.advance(1)
    await dynamo.call(
        "ExportTableToPointInTime",
        TableArn=table_arn,
        S3Bucket="lake",
        ExportType="INCREMENTAL_EXPORT",
        IncrementalExportSpecification={"ExportFromTime": since, "ExportViewType": "NEW_AND_OLD_IMAGES"},
    )
    await dynamo.world.settle()
    listed = await dynamo.world.call("s3", "ListObjectsV2", Bucket="lake", Prefix="AWSDynamoDB/data/")
    [key] = [one["Key"] for one in listed["Contents"]]
    changes = [orjson.loads(line) for line in gzip.decompress(await read(dynamo, key)).splitlines()]
    shown = {one["Keys"]["s"]["N"]: (one.get("OldImage"), one.get("NewImage")) for one in changes}
    assert shown["0"][1]["g"] == {"S": "changed"}
    assert shown["1"][1] is None


async def test_csv_is_imported_and_bad_rows_are_counted():
    dynamo = await filled()
    body = "p,s,colour\na,1,red\nb,two,blue\n,3,none\nc,4,\n"
    await dynamo.world.call("s3", "PutObject", Bucket="lake", Key="in/a.csv", Body=body.encode())
    imported = await dynamo.call(
        "ImportTable",
        S3BucketSource={"S3Bucket": "lake", "S3KeyPrefix": "in/"},
        InputFormat="CSV",
        TableCreationParameters={
            "TableName": "again",
            "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
            "AttributeDefinitions": [
                {"AttributeName": "p", "AttributeType": "S"},
                {"AttributeName": "s", "AttributeType": "N"},
            ],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )
    await dynamo.world.settle()
    arn = imported["ImportTableDescription"]["ImportArn"]
    done = (await dynamo.call("DescribeImport", ImportArn=arn))["ImportTableDescription"]
    assert (done["ImportStatus"], done["ImportedItemCount"], done["ErrorCount"]) == ("COMPLETED", 2, 2)
    assert await contents(dynamo, "again") == [{"p": "a", "s": 1, "colour": "red"}, {"p": "c", "s": 4, "colour": ""}]


async def test_an_export_without_its_bucket_fails_and_says_so():
    dynamo = await filled()
    table_arn = (await dynamo.call("DescribeTable", TableName="table"))["Table"]["TableArn"]
    specification = {"PointInTimeRecoveryEnabled": True}
    await dynamo.call("UpdateContinuousBackups", TableName="table", PointInTimeRecoverySpecification=specification)
    made = await dynamo.call("ExportTableToPointInTime", TableArn=table_arn, S3Bucket="nowhere")
    await dynamo.world.settle()
    done = await dynamo.call("DescribeExport", ExportArn=made["ExportDescription"]["ExportArn"])
    assert done["ExportDescription"]["ExportStatus"] == "FAILED"
    assert done["ExportDescription"]["FailureCode"] == "S3NoSuchBucket"


async def test_a_recoverable_table_leaves_a_backup_when_it_is_deleted():
    dynamo = await filled()
    before = await contents(dynamo, "table")
    specification = {"PointInTimeRecoveryEnabled": True}
    await dynamo.call("UpdateContinuousBackups", TableName="table", PointInTimeRecoverySpecification=specification)
    await dynamo.call("DeleteTable", TableName="table")
    [left] = (await dynamo.call("ListBackups", BackupType="SYSTEM"))["BackupSummaries"]
    assert left["BackupName"] == "table$DeletedTableBackup"
    await dynamo.call("RestoreTableFromBackup", TargetTableName="table", BackupArn=left["BackupArn"])
    await dynamo.world.settle()
    assert await contents(dynamo, "table") == before
