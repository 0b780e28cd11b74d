import pytest

from mnist12k.errors import without_passwords


@pytest.mark.parametrize(
    "address",
    [
        "http://ann:SECRET@host:5000/path",
        "postgresql://ann:SECRET@host/db",
        "postgresql+psycogp://ann:SECRET@host/db",
        "postgresql://ann:SEC@RET@host/db",
        "postgresql://host/db?user=ann&password=SECRET&sslmode=require",
        "postgresql://:SECRET@host/db",
        "no server answers at 'http://ann:SECRET@host' (refused)",
    ],
)
def test_a_password_in_an_address_is_replaced(address: str) -> None:
    shown = without_passwords(address)
    assert "SEC" not in shown
    assert "RET" not in shown
    assert "host" in shown
    assert "***" in shown


@pytest.mark.parametrize("text", ["http://host:5000/path", "sqlite:////a/b@c:d/mlflow.db", "a: b"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_passwords(text) == text
