"""Conditions on dates, with a row just inside and just outside of each limit. The service runs with another time zone and language than UTC and English."""

import calendar
import datetime
import json
import pathlib
import re
import urllib.parse
import uuid

import pytest
from service import Deployment

NAMES = json.loads((pathlib.Path(__file__).parents[2] / "Fixtures/dataverse_names.json").read_text())
ATTRIBUTE = "processemailreceivedafter"
SECOND, HOUR, DAY = (datetime.timedelta(**{unit: 1}) for unit in ("seconds", "hours", "days"))
UTC = datetime.timezone.utc
#: The service may read its clock this much before or after the test. Rows that are closer to a limit are left out.
UNSURE = 2 * SECOND


# A model of the limits that docs/web-api.md defines, with Python's calendar


def at_midnight(date):
    return date.replace(hour=0, minute=0, second=0, microsecond=0)


def moved(date, unit, count):
    """The date that is `count` units later. If the month does not have that day, it is the last day of the month."""
    if unit in ("minute", "hour", "day", "week"):
        return date + count * datetime.timedelta(**{f"{unit}s": 1})
    months = date.year * 12 + date.month - 1 + count * (12 if unit == "year" else 1)
    year, month = months // 12, months % 12 + 1
    return date.replace(year=year, month=month, day=min(date.day, calendar.monthrange(year, month)[1]))


def start_of(date, unit):
    day = at_midnight(date)
    return {
        "hour": lambda: date.replace(minute=0, second=0, microsecond=0), "day": lambda: day, "week": lambda: day - DAY * ((date.weekday() + 1) % 7),
        "month": lambda: day.replace(day=1), "year": lambda: day.replace(month=1, day=1)}[unit]()


def limits(operator, number, now):
    """The first moment that the operator finds, and the first later moment that it does not find. None means that there is no limit."""
    words = operator.replace("last-seven-days", "last-x-days").replace("next-seven-days", "next-x-days").split("-")
    unit = words[-1].removesuffix("s")
    if words[0] in ("yesterday", "today", "tomorrow"):
        first = at_midnight(now) + DAY * ("yesterday", "today", "tomorrow").index(words[0]) - DAY
        return first, first + DAY
    if words[0] == "olderthan":
        return None, moved(now, unit, -number)
    if "x" not in words:
        first = moved(start_of(now, unit), unit, ("last", "this", "next").index(words[0]) - 1)
        return first, moved(first, unit, 1)
    whole = "hour" if unit == "hour" else "day"
    if words[0] == "last":
        return start_of(moved(now, unit, -number), whole), now
    return now, start_of(moved(now, unit, number), whole) + (HOUR if whole == "hour" else DAY)


def finds(operator, number, now, moment):
    first, end = limits(operator, number, now)
    return (first is None or moment >= first) and (end is None or moment < end)


#: Each operator of FetchXML without a date as its value, with the numbers to test it with. Operators without a number have 7.
OPERATORS = {
    name: (1, 5) if values else (7,) for name, values in NAMES["fetchxml operators"]["createdon"].items()
    if "fiscal" not in name and not re.fullmatch("(not-)?on(-or-.*)?", name)}


def function(operator):
    """The name of the OData query function: `LastXDays` for `last-x-days`."""
    name = "".join(word.capitalize() for word in operator.replace("seven", "7").replace("olderthan", "older-than").split("-"))
    assert name in NAMES["query functions"]["createdon"], name
    return name


@pytest.fixture(scope="module")
def elsewhere():
    """A deployment with a time zone 14 hours ahead of UTC, and a language in which weeks begin on Monday. Its client has a third time zone."""
    with Deployment.made(TZ="Pacific/Kiritimati", LC_ALL="de_DE.UTF-8", LANG="de_DE.UTF-8") as deployment:
        user = deployment.get("WhoAmI").json()["UserId"]
        assert deployment.request("PATCH", f"usersettingscollection({user})", {"timezonecode": 4}).status_code == 204
        yield deployment


def clock(deployment):
    return deployment.sql("SELECT now()")[0][0].astimezone(UTC)


@pytest.fixture(scope="module")
def moments(elsewhere):
    """Mailboxes with dates at each limit, a second before it, and an hour before and after it. A mailbox's name contains its date."""
    now = clock(elsewhere)
    at = {now.replace(microsecond=0)}
    for operator, numbers in OPERATORS.items():
        for limit in (limit for number in numbers for limit in limits(operator, number, now) if limit):
            limit = limit.replace(microsecond=0)
            at |= {limit, limit - SECOND, limit + HOUR, limit - HOUR}
    prefix = f"d{uuid.uuid4().hex[:8]}"
    make(elsewhere, prefix, sorted(at))
    return prefix, at


def make(deployment, prefix, dates):
    targets = [{"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "name": f"{prefix} {date:%Y-%m-%dT%H:%M:%SZ}", ATTRIBUTE: f"{date:%Y-%m-%dT%H:%M:%SZ}"} for date in dates]
    for first in range(0, len(targets), 100):
        response = deployment.request("POST", "mailboxes/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets[first:first + 100]})
        assert response.status_code == 200, response.text


def found(deployment, prefix, operator, values=(), by_function=False):
    """The dates, as texts, of the mailboxes that a condition finds."""
    if by_function:
        given = "".join(f",PropertyValue={value}" for value in values)
        condition = f"startswith(name,'{prefix}') and Microsoft.Dynamics.CRM.{function(operator)}(PropertyName='{ATTRIBUTE}'{given})"
        response = deployment.get(f"mailboxes?$select=name&$filter={urllib.parse.quote(condition)}")
    else:
        inner = "".join(f"<value>{value}</value>" for value in values)
        fetch = (f"<fetch><entity name='mailbox'><attribute name='name'/><filter><condition attribute='name' operator='like' value='{prefix}%'/>"
                 f"<condition attribute='{ATTRIBUTE}' operator='{operator}'>{inner}</condition></filter></entity></fetch>")
        response = deployment.get(f"mailboxes?fetchXml={urllib.parse.quote(fetch)}")
    assert response.status_code == 200, response.text
    return {row["name"].removeprefix(f"{prefix} ") for row in response.json()["value"]}


@pytest.mark.parametrize("by_function", [False, True], ids=["fetchxml", "function"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_rows_inside_and_outside_of_each_limit(elsewhere, moments, operator, by_function):
    prefix, at = moments
    for number in OPERATORS[operator]:
        before = clock(elsewhere) - UNSURE
        rows = found(elsewhere, prefix, operator, () if OPERATORS[operator] == (7,) else (number,), by_function)
        after = clock(elsewhere) + UNSURE
        # The test ignores rows whose result changes while the query runs.
        sure = {moment: finds(operator, number, before, moment) for moment in at if finds(operator, number, before, moment) == finds(operator, number, after, moment)}
        assert len(sure) > len(at) - 20 and set(sure.values()) == {True, False}, operator
        texts = {f"{moment:%Y-%m-%dT%H:%M:%SZ}": inside for moment, inside in sure.items()}
        wrong = {text: "not found" if inside else "found" for text, inside in texts.items() if (text in rows) != inside}
        assert not wrong, (operator, number, f"{after:%c}")


def test_numbers_that_lead_far_away(elsewhere, moments):
    prefix, at = moments
    for unit in ("days", "weeks", "months", "years"):
        older, last, ahead = (found(elsewhere, prefix, f"{way}-x-{unit}", (10_000,)) for way in ("olderthan", "last", "next"))
        # Each row is either before or after now. Only the seconds in which the query runs may be neither.
        assert not older and not last & ahead and len(last | ahead) > len(at) - 4, unit
    make(elsewhere, f"far{prefix}", [datetime.datetime(1753, 1, 1, tzinfo=UTC), datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])
    for operator, expected in (("last-x-years", {"1753-01-01T00:00:00Z"}), ("next-x-years", {"9999-12-31T23:59:59Z"}), ("olderthan-x-years", set())):
        for by_function in (False, True):
            assert found(elsewhere, f"far{prefix}", operator, (10_000,), by_function) == expected


@pytest.fixture(scope="module")
def days(elsewhere):
    prefix = f"o{uuid.uuid4().hex[:8]}"
    dates = [datetime.datetime.fromisoformat(text) for text in ("2025-02-02T23:59:59Z", "2025-02-03T00:00:00Z", "2025-02-03T12:00:00Z", "2025-02-03T23:59:59Z", "2025-02-04T00:00:00Z")]
    make(elsewhere, prefix, dates)
    elsewhere.create("mailboxes", {"name": f"{prefix} none"})
    return prefix


@pytest.mark.parametrize("value", ["2025-02-03", "2025-02-03T00:00:00Z", "2025-02-03T23:59:59Z", "2025-02-03T20:00:00-03:30", "2025-02-04T01:00:00+14:00"])
def test_a_day_is_one_of_utc(elsewhere, days, value):
    eve, day, next_day = {"2025-02-02T23:59:59Z"}, {"2025-02-03T00:00:00Z", "2025-02-03T12:00:00Z", "2025-02-03T23:59:59Z"}, {"2025-02-04T00:00:00Z"}
    for operator, expected in (("on", day), ("on-or-before", eve | day), ("on-or-after", day | next_day), ("not-on", eve | next_day | {"none"})):
        for by_function, given in ((False, value), (True, f"'{value}'")):
            assert found(elsewhere, days, operator, (given,), by_function) == expected, (operator, by_function)


# The week of each date. Week 1 begins on 1 January, and each Sunday begins a new week.
WEEKS = {
    "2025-12-31T23:59:59Z": 53, "2026-01-01T00:00:00Z": 1, "2026-01-03T23:59:59Z": 1, "2026-01-04T00:00:00Z": 2, "2026-01-10T23:59:59Z": 2, "2026-01-11T00:00:00Z": 3,
    "2026-02-22T12:00:00Z": 9, "2026-12-31T23:59:59Z": 53, "2000-01-01T00:00:00Z": 1, "2000-01-02T00:00:00Z": 2, "2000-12-30T23:59:59Z": 53, "2000-12-31T00:00:00Z": 54,
    "2023-01-01T00:00:00Z": 1, "2023-01-07T23:59:59Z": 1, "2023-01-08T00:00:00Z": 2, "2024-02-29T00:00:00Z": 9, "2024-12-31T00:00:00Z": 53,
}


def test_groups_by_parts_of_a_date(elsewhere):
    prefix = f"g{uuid.uuid4().hex[:8]}"
    dates = {text: datetime.datetime.fromisoformat(text) for text in WEEKS}
    make(elsewhere, prefix, dates.values())
    parts = {"day": lambda d: d.day, "month": lambda d: d.month, "quarter": lambda d: (d.month + 2) // 3, "year": lambda d: d.year, "week": lambda d: WEEKS[f"{d:%Y-%m-%dT%H:%M:%SZ}"]}
    for part, of in parts.items():
        fetch = (f"<fetch aggregate='true'><entity name='mailbox'><attribute name='mailboxid' aggregate='count' alias='n'/><attribute name='{ATTRIBUTE}' groupby='true' dategrouping='{part}' alias='p'/>"
                 f"<order alias='p'/><filter><condition attribute='name' operator='like' value='{prefix}%'/></filter></entity></fetch>")
        rows = elsewhere.get(f"mailboxes?fetchXml={urllib.parse.quote(fetch)}").json()["value"]
        values = [of(date) for date in dates.values()]
        assert [(row["p"], row["n"]) for row in rows] == [(value, values.count(value)) for value in sorted(set(values))], part
