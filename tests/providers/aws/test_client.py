"""The real botocore over real HTTP: no call outlives its grant, none is repeated, and no secret is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ReadTimeoutError
from pydantic import ValidationError

from providers.aws.client import Aws, AwsOptions, leaving_before
from providers.aws.errors import translate
from providers.base import ProviderError, StaleGrant
from providers.cloud.deadline import Deadline
from tests.lab.host.clocks import HandClock
from tests.lab.http.canned import Answer, Canned, canned

LIVENESS = 60.0  # seconds, generous because the machine can be busy
ROLE = "arn:aws:iam::123456789012:role/vip"
DONE = Answer(body="<DescribeRegionsResponse><requestId>r</requestId><regionInfo/></DescribeRegionsResponse>")


@pytest.fixture
def made() -> Iterator[list[Aws]]:
    some: list[Aws] = []
    yield some
    for each in some:
        each.close()


def opened(made: list[Aws], endpoint: str | None, *, read_timeout: float = LIVENESS, **options: Any) -> Aws:
    given = {"region": "eu-central-1", "endpoint_url": endpoint, **options}
    made.append(Aws(AwsOptions.model_validate(given), read_timeout=read_timeout))
    return made[-1]


def refused(status: int, code: str, message: str = "no", **headers: str) -> Answer:
    body = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
    return Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def error_of(aws: Aws) -> Exception:
    with pytest.raises((ClientError, BotoCoreError)) as caught:
        aws.client("ec2").describe_regions()
    return caught.value


def test_an_answer_is_not_awaited_beyond_the_grant(made: list[Aws]) -> None:
    with canned(Answer(None)) as server:
        aws = opened(made, server.url, read_timeout=1000, connect_timeout_seconds=0.2)
        ec2, clock = aws.client("ec2"), HandClock()
        with leaving_before(Deadline.within(0.6, clock)), pytest.raises(ReadTimeoutError) as caught:
            ec2.describe_regions()
        assert len(server.asked) == 1
        assert translate(caught.value).retry


def test_a_call_that_cannot_end_in_time_is_not_sent(made: list[Aws]) -> None:
    with canned(DONE) as server:
        aws = opened(made, server.url, connect_timeout_seconds=0.5)
        clock = HandClock()
        with leaving_before(Deadline.within(0.4, clock)), pytest.raises(StaleGrant, match="too short"):
            aws.client("ec2").describe_regions()
        assert (server.asked, server.connections) == ([], 0)
        aws.client("ec2").describe_regions()  # without a grant there is no such limit
        assert len(server.asked) == 1


def test_nothing_is_repeated(made: list[Aws]) -> None:
    with canned(refused(503, "Unavailable")) as server:
        assert translate(error_of(opened(made, server.url))).retry
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "retry", "after"),
    [
        (refused(503, "RequestLimitExceeded"), True, None),
        (refused(400, "ThrottlingException", Retry_After="3"), True, 3.0),
        (refused(500, "InternalError"), True, None),
        (refused(400, "RequestExpired"), True, None),
        (refused(403, "UnauthorizedOperation"), False, None),
        (refused(400, "InvalidParameterValue"), False, None),
    ],
    ids=lambda value: value.body if isinstance(value, Answer) else str(value),
)
def test_what_is_worth_another_try(made: list[Aws], answer: Answer, retry: bool, after: float | None) -> None:
    with canned(answer) as server:
        refusal = translate(error_of(opened(made, server.url)))
    assert (refusal.retry, refusal.after) == (retry, after)
    assert refusal.message.startswith("DescribeRegions: ")


def test_a_refusal_is_short(made: list[Aws]) -> None:
    message = "You are not authorized. Encoded authorization failure message: " + "x" * 2000
    with canned(refused(403, "UnauthorizedOperation", message)) as server:
        refusal = translate(error_of(opened(made, server.url)))
    assert refusal.message == "DescribeRegions: UnauthorizedOperation: You are not authorized."


def test_what_is_not_of_aws_is_not_tried_again() -> None:
    assert translate(ValueError("odd\nmore")).message == "ValueError: odd"
    assert not translate(ValueError("odd")).retry


def test_a_closed_port_is_worth_another_try(made: list[Aws]) -> None:
    with canned(DONE) as server:
        pass
    assert translate(error_of(opened(made, server.url))).retry


def test_credentials_that_come_later_are_found(made: list[Aws], monkeypatch: pytest.MonkeyPatch) -> None:
    with canned(DONE) as server:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        aws = opened(made, server.url)
        with pytest.raises(NoCredentialsError) as caught:
            aws.client("ec2")
        assert translate(caught.value).retry
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        aws.client("ec2").describe_regions()


def test_refused_credentials_are_forgotten_once(made: list[Aws], monkeypatch: pytest.MonkeyPatch) -> None:
    with canned(DONE) as server:
        aws = opened(made, server.url)
        old = aws.client("ec2")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEWER")
        aws.forget(old)
        new = aws.client("ec2")
        aws.forget(old)
        assert aws.client("ec2") is new
        new.describe_regions()
        assert "AKIANEWER" in server.asked[0].headers["authorization"]


def assumed(key: str, until: datetime) -> Answer:
    keys = f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>not-to-be-seen</SecretAccessKey>"
    credentials = f"<Credentials>{keys}<SessionToken>token-{key}</SessionToken><Expiration>{until:%FT%TZ}</Expiration>"
    user = f"<AssumedRoleUser><AssumedRoleId>A:b</AssumedRoleId><Arn>{ROLE}</Arn></AssumedRoleUser>"
    result = f"<AssumeRoleResult>{credentials}</Credentials>{user}</AssumeRoleResult>"
    return Answer(body=f"<AssumeRoleResponse>{result}</AssumeRoleResponse>")


def test_a_role_is_assumed_at_the_regions_sts_and_again_before_it_ends(
    made: list[Aws], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    first, second = assumed("ASIAFIRST", now + timedelta(seconds=30)), assumed("ASIASECOND", now + timedelta(hours=1))
    with canned(DONE) as ec2, canned(first, second) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        aws = opened(made, ec2.url, role_arn=ROLE, external_id="shop")
        aws.client("ec2").describe_regions()  # the first credentials expire too soon to be used again
        aws.client("ec2").describe_regions()
        aws.client("ec2").describe_regions()
    _check_role(ec2, sts)


def _check_role(ec2: Canned, sts: Canned) -> None:
    assert [asked.form["Action"] for asked in sts.asked] == ["AssumeRole"] * 2
    assert {asked.form["ExternalId"] for asked in sts.asked} == {"shop"}
    assert {asked.form["RoleArn"] for asked in sts.asked} == {ROLE}
    assert all("/eu-central-1/sts/" in asked.headers["authorization"] for asked in sts.asked)
    assert ec2.asked[-1].headers["x-amz-security-token"] == "token-ASIASECOND"


def test_external_id_alone_is_refused() -> None:
    with pytest.raises(ValidationError, match="external_id needs role_arn"):
        AwsOptions.model_validate({"external_id": "shop"})


def test_endpoints_are_botocores(made: list[Aws], monkeypatch: pytest.MonkeyPatch) -> None:
    with canned(DONE) as general, canned(DONE) as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", general.url)
        opened(made, None).client("ec2").describe_regions()
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", own.url)
        opened(made, None).client("ec2").describe_regions()
    assert (len(general.asked), len(own.asked)) == (1, 1)


def test_fips_endpoints(made: list[Aws]) -> None:
    aws = opened(made, None, use_fips=True, region="us-east-1")
    assert aws.client("ec2").meta.endpoint_url == "https://ec2-fips.us-east-1.amazonaws.com"


def test_the_region_is_configured_or_the_environments_or_unknown(
    made: list[Aws], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened(made, None, region="eu-west-3").region == "eu-west-3"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert opened(made, None, region=None).region == "eu-north-1"
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ProviderError, match="no AWS region"):
        _ = opened(made, None, region=None).region


def test_no_secret_is_written_down(
    made: list[Aws], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with canned(DONE) as ec2, canned(assumed("ASIAROLE", datetime.now(UTC) + timedelta(hours=1))) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        opened(made, ec2.url, role_arn=ROLE).client("ec2").describe_regions()
        assert len(ec2.asked) == 1
    assert "not-to-be-seen" not in caplog.text
    assert "token-ASIAROLE" not in caplog.text
