"""A node that checks signatures and policies: who may not, doesn't get in."""

import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from penstock.testkit.functions import zipped

pytestmark = [pytest.mark.real_clients, pytest.mark.xdist_group("enforce")]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, start_node):
    node = start_node(tmp_path_factory.mktemp("guarded") / "data", "--auth", "enforce")
    root = json.loads((node.data / "root-credentials.json").read_text())
    node.root = {"aws_access_key_id": root["AccessKeyId"], "aws_secret_access_key": root["SecretAccessKey"]}
    yield node
    assert node.stop() == 0


@pytest.fixture(scope="module")
def user(guarded):
    """A user who may read one bucket."""
    iam = guarded.client("iam", **guarded.root)
    iam.create_user(UserName="ana")
    read = allow(["s3:GetObject", "s3:ListBucket"], ["arn:aws:s3:::open", "arn:aws:s3:::open/*"])
    iam.put_user_policy(UserName="ana", PolicyName="read", PolicyDocument=policy(read))
    key = iam.create_access_key(UserName="ana")["AccessKey"]
    s3 = guarded.client("s3", **guarded.root)
    for bucket in ("open", "shut"):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def code_of(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


def test_a_user_does_what_the_policy_allows_and_no_more(guarded, user):
    s3 = guarded.client("s3", **user)
    assert s3.get_object(Bucket="open", Key="k")["Body"].read() == b"v"
    assert code_of(s3.get_object, Bucket="shut", Key="k") == "AccessDenied"
    assert code_of(s3.put_object, Bucket="open", Key="k", Body=b"w") == "AccessDenied"
    assert code_of(guarded.client("lambda", **user).list_functions) == "AccessDeniedException"
    assert code_of(guarded.client("iam", **user).list_users) == "AccessDenied"


def test_unknown_keys_and_wrong_secrets_are_refused_in_each_services_words(guarded, user):
    unknown = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "x"}
    wrong = {**user, "aws_secret_access_key": "x"}
    assert code_of(guarded.client("s3", **unknown).list_buckets) == "InvalidAccessKeyId"
    assert code_of(guarded.client("s3", **wrong).list_buckets) == "SignatureDoesNotMatch"
    assert code_of(guarded.client("sts", **unknown).get_caller_identity) == "InvalidClientTokenId"
    assert code_of(guarded.client("sts", **wrong).get_caller_identity) == "SignatureDoesNotMatch"
    assert code_of(guarded.client("lambda", **unknown).list_functions) == "UnrecognizedClientException"
    assert code_of(guarded.client("lambda", **wrong).list_functions) == "InvalidSignatureException"
    assert code_of(guarded.client("ssm", **wrong).describe_parameters) == "InvalidSignatureException"


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_url_holds_for_what_was_signed(guarded, user, version):
    s3 = guarded.client("s3", signature=version, **user)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "open", "Key": "k"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"v"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url.replace("/open/k", "/open/other"))
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{guarded.url}/open/k")


def test_an_assumed_role_is_as_good_as_its_policy(guarded, user):
    iam = guarded.client("iam", **guarded.root)
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(RoleName="writer", AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="writer", PolicyName="w", PolicyDocument=policy(allow("s3:PutObject", "*")))
    assert code_of(guarded.client("sts", **user).assume_role, RoleArn=arn, RoleSessionName="me") == "AccessDenied"
    iam.put_user_policy(UserName="ana", PolicyName="assume", PolicyDocument=policy(allow("sts:AssumeRole", arn)))
    made = guarded.client("sts", **user).assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    s3 = guarded.client(
        "s3",
        aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"],
        aws_session_token=made["SessionToken"],
    )
    s3.put_object(Bucket="shut", Key="new", Body=b"x" * 100_000)
    assert code_of(s3.get_object, Bucket="shut", Key="new") == "AccessDenied"


def test_a_function_has_its_roles_rights(guarded, user):
    iam, client = guarded.client("iam", **guarded.root), guarded.client("lambda", **guarded.root)
    arn = iam.create_role(RoleName="job", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    statements = [allow("s3:GetObject", "arn:aws:s3:::open/*"), allow("logs:*", "*")]
    iam.put_role_policy(RoleName="job", PolicyName="p", PolicyDocument=policy(*statements))
    code = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    s3 = boto3.client('s3')\n"
        "    got = s3.get_object(Bucket='open', Key='k')['Body'].read().decode()\n"
        "    try:\n        s3.get_object(Bucket='shut', Key='k')\n"
        "    except Exception as error:\n        return got, error.response['Error']['Code']\n"
    )
    client.create_function(
        FunctionName="job", Runtime="python3.12", Role=arn, Handler="app.handler", Code={"ZipFile": zipped(code)}
    )
    client.get_waiter("function_active_v2").wait(FunctionName="job")
    answer = client.invoke(FunctionName="job")
    assert json.load(answer["Payload"]) == ["v", "AccessDenied"]
    assert code_of(guarded.client("lambda", **user).invoke, FunctionName="job") == "AccessDeniedException"


def test_the_nodes_own_interface_is_the_roots(guarded, user):
    with urllib.request.urlopen(f"{guarded.url}/_penstock/health") as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{guarded.url}/_penstock/status")
    assert guarded.run("status", check=False, credentials=user).returncode == 1
    assert json.loads(guarded.run("status", "--json", credentials=guarded.root).stdout)["auth"] == "enforce"
