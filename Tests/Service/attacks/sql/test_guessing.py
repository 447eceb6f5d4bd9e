"""Without the key-encryption key, a copy of the database is not enough to test guesses of people's passwords."""

import hashlib
import uuid

from attested import Attestor
from place import PASSWORD


def scrypt(password, salt):
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << 15, r=8, p=3, maxmem=64 << 20, dklen=32)


def stored(place, name):
    [(salt, verifier)] = place.sql("SELECT salt, verifier FROM config.console_user WHERE name = %s", [name])
    return bytes(salt), bytes(verifier)


def test_what_is_stored_does_not_tell_a_right_guess(place):
    place.add_user("ada")
    assert place.visit("ada").is_in and not place.visit("ada", "another long password").is_in
    salt, verifier = stored(place, "ada")
    # The verifier is none of the values that an attacker can compute from a guess and the salt.
    guesses = [scrypt(PASSWORD, salt), hashlib.sha256(scrypt(PASSWORD, salt)).digest(), hashlib.sha256(salt + scrypt(PASSWORD, salt)).digest()]
    assert verifier not in guesses
    # A reset stores the new password in the same way.
    place.run("user", "reset", "ada", "--org", "contoso", stdin="another long password\n")
    salt, verifier = stored(place, "ada")
    assert verifier != scrypt("another long password", salt)
    assert place.visit("ada", "another long password").is_in and not place.visit("ada").is_in


def test_it_is_bound_to_the_key_encryption_key(place):
    place.add_user("bob")
    salt, verifier = stored(place, "bob")
    attestor = Attestor(place)
    assert verifier == attestor.tag("console_password", [salt, scrypt(PASSWORD, salt)])
    attestor.kek = bytes(64)
    assert verifier != attestor.tag("console_password", [salt, scrypt(PASSWORD, salt)])


def test_what_an_earlier_version_stored_is_replaced_at_the_next_sign_in(place):
    place.add_user("carol")
    attestor = Attestor(place)
    [(id, organization, user, role, salt)] = place.sql("SELECT user_id, organization_id, systemuser_id, role, salt FROM config.console_user WHERE name = 'carol'")
    weak = scrypt(PASSWORD, bytes(salt))
    tag = attestor.tag("attested console_user", [id.bytes, organization.bytes, b"carol", user.bytes, role.encode(), bytes(salt), weak, b"\0", b"\0"])
    place.sql("UPDATE config.console_user SET verifier = %s, tag = %s WHERE user_id = %s", [weak, tag, id])
    grants = attestor.grants()
    grants[attestor.name("console_user", [id.bytes])] = tag[:16]
    attestor.sign(grants)
    assert not place.visit("carol", "another long password").is_in and stored(place, "carol")[1] == weak
    visitor = place.visit("carol")
    assert visitor.is_in and visitor.page().status_code == 200
    assert stored(place, "carol")[1] == attestor.tag("console_password", [bytes(salt), weak])
    assert place.visit("carol").is_in and "user-not-made-here" not in place.doctor()
    # The stored verifier itself is not accepted as a password.
    assert not place.visit("carol", stored(place, "carol")[1].hex()).is_in


def test_sql_can_t_bring_its_own(place):
    """SQL writes a verifier that the attacker computed for their own password. It is not accepted."""
    place.add_user("dan")
    salt, right = stored(place, "dan")
    for verifier in (scrypt("a password of an attacker", salt), bytes(32), uuid.uuid4().bytes * 2):
        place.sql("UPDATE config.console_user SET verifier = %s WHERE name = 'dan'", [verifier])
        assert not place.visit("dan", "a password of an attacker").is_in and "user-not-made-here" in place.doctor()
    place.sql("UPDATE config.console_user SET verifier = %s WHERE name = 'dan'", [right])
    assert place.visit("dan").is_in
