import pytest
from place import SQL_ROLES, Place


@pytest.fixture(scope="module")
def place():
    """A file overrides this with what its own deployment needs from the start."""
    with Place.made() as place:
        yield place


@pytest.fixture
def own_place():
    """For attacks after which the organization is not the same."""
    with Place.made() as place:
        place.run("key", "show")
        yield place


@pytest.fixture(params=SQL_ROLES)
def role(request, place):
    """As whom SQL is written. A fresh server has a second look after the first of them alone."""
    place.looks_twice = request.param == SQL_ROLES[0]
    yield request.param
    place.looks_twice = True
