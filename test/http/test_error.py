"""The tree of errors: what every class says of itself."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from thor.http import error

CLASSES = [
    cls for cls in vars(error).values() if inspect.isclass(cls) and issubclass(cls, error.HttpError)
]

#: Names that existing programs catch.
KNOWN_TO_USERS = [
    "ConnectError",
    "DnsError",
    "AccessError",
    "UrlError",
    "LengthRequiredError",
    "HttpVersionError",
    "ReadTimeoutError",
    "StartLineError",
    "FieldSectionTooLargeError",
    "TooManyFieldsError",
    "TransferCodeError",
    "ChunkError",
    "ChunkTerminatorError",
    "DuplicateCLError",
    "MalformedCLError",
    "ExtraDataError",
    "HeaderSpaceError",
    "HeaderNoColonError",
    "HeaderNameError",
    "HeaderValueError",
    "HeaderLineEndingError",
    "ObsoleteFoldError",
    "BareCRError",
    "TopLineSpaceError",
    "TransferEncodingCLError",
    "RequestTransferEncodingError",
    "TooManyMsgsError",
    "HostRequiredError",
    "InvalidHostError",
    "RequestLineError",
    "OutputError",
    "OutputSyntaxError",
    "OutputStateError",
]


def test_names_known_to_users_exist() -> None:
    for name in KNOWN_TO_USERS:
        assert issubclass(getattr(error, name), error.HttpError)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_error_class_is_complete(cls: type[error.HttpError]) -> None:
    assert isinstance(cls.desc, str)
    assert cls is error.HttpError or cls.desc != error.HttpError.desc
    assert cls.__doc__
    assert isinstance(cls.server_recoverable, bool)
    assert isinstance(cls.client_recoverable, bool)
    if cls.server_status is not None:
        status, phrase = cls.server_status
        assert re.fullmatch(rb"[45]\d\d", status)
        assert re.fullmatch(rb"[A-Za-z -]+", phrase)
    if issubclass(cls, error.MessageError):  # a message that was misread ends its connection
        assert not cls.client_recoverable
        assert not cls.server_recoverable or cls is error.ExpectationError
    for detail in (None, "because"):
        copy = pickle.loads(pickle.dumps(cls(detail)))
        assert type(copy) is cls
        assert copy.detail == detail
        assert str(copy) == str(cls(detail))


def test_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn = error.__doc__ or ""
    tree = drawn[drawn.index("    HttpError") : drawn.index("Each class says")]
    words = set(re.findall(r"\b[A-Z]\w+Error\b", tree))
    assert words == {cls.__name__ for cls in CLASSES}


def test_tree_is_indented_as_it_inherits() -> None:
    drawn = error.__doc__ or ""
    path: list[str] = []
    for line in drawn[drawn.index("    HttpError") : drawn.index("Each class says")].splitlines():
        names = re.findall(r"\b[A-Z]\w+Error\b", line)
        depth = (len(line) - len(line.lstrip())) // 2 - 2
        for name in names:
            path[depth:] = [name]
            cls = getattr(error, name)
            if depth:
                assert cls.__bases__ == (getattr(error, path[depth - 1]),)


def test_text_is_description_and_detail() -> None:
    assert str(error.ChunkError()) == error.ChunkError.desc
    assert str(error.ChunkError("size 'x'")) == f"{error.ChunkError.desc}: size 'x'"


@pytest.mark.parametrize(
    ("cls", "status"),
    [
        (error.RequestLineError, b"400"),
        (error.RequestTargetError, b"400"),
        (error.HostRequiredError, b"400"),
        (error.RequestTimeoutError, b"408"),
        (error.ContentTooLargeError, b"413"),
        (error.TargetTooLongError, b"414"),
        (error.ExpectationError, b"417"),
        (error.FieldSectionTooLargeError, b"431"),
        (error.TooManyFieldsError, b"431"),
        (error.TransferCodeError, b"501"),
        (error.RequestTransferEncodingError, b"400"),
        (error.HttpVersionError, b"505"),
        (error.ReadTimeoutError, b"504"),
        (error.ConnectError, b"502"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_status_that_a_server_answers(cls: type[error.HttpError], status: bytes) -> None:
    assert cls.server_status is not None
    assert cls.server_status[0] == status
