import subprocess
import sys

import pytest

from penstock.kernel.errors import Bug
from penstock.model.loader import paginators, service_model
from penstock.model.overlay import apply_overlay


def test_operations_and_shapes_are_read_from_the_newest_version():
    model = service_model("lambda")
    invoke = model.operations["Invoke"]
    assert (invoke.method, invoke.uri) == ("POST", "/2015-03-31/functions/{FunctionName}/invocations")
    assert invoke.input.members["FunctionName"].location == "uri"
    assert invoke.input.payload == "Payload"


def test_a_member_named_like_a_dropped_field_stays():
    assert "Documentation" not in service_model("sqs").metadata
    assert "Endpoint" in service_model("sns").operations["Subscribe"].input.members


def test_recursive_shapes_resolve_lazily():
    value = service_model("dynamodb").operations["PutItem"].input.members["Item"].value
    assert value.members["M"].value.members["L"].element.members["S"].type == "string"


def test_member_traits_lie_over_the_shapes_own():
    put = service_model("s3").operations["PutObject"].input.members
    assert put["Bucket"].location == "uri"
    assert put["Metadata"].location == "headers"
    assert put["Metadata"].wire_name == "x-amz-meta-"


def test_errors_are_found_by_shape_and_by_code():
    errors = service_model("iam").errors
    assert errors["NoSuchEntityException"] is errors["NoSuchEntity"]
    assert errors["NoSuchEntity"].status == 404


def test_paginators_are_read():
    assert paginators("s3")["ListObjectsV2"]["input_token"] == "ContinuationToken"
    assert paginators("sts") == {}


def test_an_unknown_service_is_a_bug():
    with pytest.raises(Bug, match="nosuch"):
        service_model("nosuch")


def test_an_overlay_that_changes_nothing_is_refused():
    entry = {"path": ["shapes", "A", "min"], "value": 1, "source": "a page"}
    with pytest.raises(Bug, match="changes nothing"):
        apply_overlay({"shapes": {"A": {"min": 1}}}, [entry])
    with pytest.raises(Bug, match="no source"):
        apply_overlay({"shapes": {}}, [{**entry, "source": ""}])


def test_an_overlay_sets_adds_and_deletes():
    declared = {"shapes": {"A": {"min": 2}}}
    entries = [
        {"path": ["shapes", "A", "min"], "value": None, "source": "s"},
        {"path": ["shapes", "B", "max"], "value": 3, "source": "s"},
    ]
    assert apply_overlay(declared, entries) == {"shapes": {"A": {}, "B": {"max": 3}}}


def test_loading_a_model_does_not_import_botocore():
    code = "import sys; from penstock.model.loader import service_model as m; m('s3'); print('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
