"""How other programs are told where a target is."""

from lockgate.postgres.target import Target


def test_the_address_of_a_target_names_its_server_without_the_password():
    """What psql is given names host, port, database and user, quoted for a shell, and never the password."""
    target = Target("postgresql://ann:s3cret@db.internal:5433/shop", source="--database-url")
    assert sorted(target.address.strip("'").split()) == [
        "dbname=shop",
        "host=db.internal",
        "port=5433",
        "user=ann",
    ]
    assert "s3cret" not in target.address
