import pytest
from place import SQL_ROLES, Place


@pytest.fixture(scope="module")
def place():
    """The deployment to attack. A test file overrides this fixture if its own deployment needs settings from the start."""
    with Place.made() as place:
        yield place


@pytest.fixture
def own_place():
    """A deployment of one test's own, for an attack that changes the organization for good."""
    with Place.made() as place:
        place.run("key", "show")
        yield place


@pytest.fixture(params=SQL_ROLES)
def role(request, place):
    """The database role with which the attacker runs SQL. Only attacks with the first role repeat their checks on a fresh server."""
    place.looks_twice = request.param == SQL_ROLES[0]
    yield request.param
    place.looks_twice = True
