import errno
import json
import os

import pytest

from mbert_cli.errors import DataError, ResourceError, RunInUseError, Stopped, UsageError
from mbert_cli.storage.resumable_output import partial_folder, partial_output

FINGERPRINT = {"model": "abc", "limit": None}
PIECES = ["header\n", "one\n", "two\n", "three\n"]


def write(path, die_before=None, error=KeyboardInterrupt, fingerprint=FINGERPRINT, force=False):
    """Write one row per piece, after those that exist; raise an error instead of the piece `die_before`."""
    with partial_output(path, fingerprint, force) as out:
        began_at = out.rows
        for index in range(out.rows, len(PIECES)):
            out.write(PIECES[index])
            if index == die_before:
                raise error
            out.commit(index + 1)
    return began_at


def test_pieces_become_the_output_and_no_other_file_is_left(tmp_path):
    assert write(tmp_path / "out") == 0
    assert (tmp_path / "out").read_text() == "".join(PIECES)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


@pytest.mark.parametrize("die_before", range(4))
def test_an_interrupted_output_continues_after_its_last_piece(tmp_path, die_before):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", die_before)
    assert not (tmp_path / "out").exists()
    assert partial_folder(tmp_path / "out").exists() == (die_before > 0)
    assert write(tmp_path / "out") == die_before
    assert (tmp_path / "out").read_text() == "".join(PIECES)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


@pytest.mark.parametrize(
    ("file", "change", "continues_at"),
    [
        ("rows", lambda data: data[:-5], 1),  # the last piece is incomplete
        ("rows", lambda data: data + b"thr", 2),  # a piece was started
        ("rows", lambda data: b"H" + data[1:], 0),
        ("rows", lambda data: b"", 0),
        ("journal.jsonl", lambda data: data[:-5], 1),  # its last line is incomplete
        ("journal.jsonl", lambda data: b"", 0),
        ("journal.jsonl", lambda data: b"\xff" + data, 0),
        ("journal.jsonl", lambda data: data.replace(b"sha", b"sh\xff"), 0),
    ],
)
def test_only_pieces_with_the_right_hash_are_kept(tmp_path, file, change, continues_at):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", 2)
    path = partial_folder(tmp_path / "out") / file
    path.write_bytes(change(path.read_bytes()))
    assert write(tmp_path / "out") == continues_at
    assert (tmp_path / "out").read_text() == "".join(PIECES)


def test_without_the_file_of_pieces_the_output_starts_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", 2)
    (partial_folder(tmp_path / "out") / "rows").unlink()
    assert write(tmp_path / "out") == 0


def test_with_another_fingerprint_the_output_starts_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", 2)
    assert write(tmp_path / "out", fingerprint={**FINGERPRINT, "model": "abd"}) == 0
    assert (tmp_path / "out").read_text() == "".join(PIECES)


@pytest.mark.parametrize("error", [ResourceError("full"), Stopped(15), OSError(errno.ENOSPC, "full")])
def test_pieces_are_kept_after_an_interruption_or_a_full_disk(tmp_path, error):
    with pytest.raises(type(error) if isinstance(error, Stopped) else ResourceError):
        write(tmp_path / "out", 2, error)
    assert write(tmp_path / "out") == 2


def test_pieces_are_removed_if_the_input_is_invalid(tmp_path):
    with pytest.raises(DataError):
        write(tmp_path / "out", 2, DataError("in.tsv:9: is odd"))
    assert list(tmp_path.iterdir()) == []


def test_a_crash_after_the_output_got_its_name_is_detected(tmp_path, monkeypatch):
    real = os.unlink

    def die(path, *arguments, **options):
        if str(path).endswith("journal.jsonl"):
            raise KeyboardInterrupt
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "out")
    assert partial_folder(tmp_path / "out").exists()
    with partial_output(tmp_path / "out", FINGERPRINT, force=False) as out:
        assert (out.finished, out.rows) == (True, 4)
    assert (tmp_path / "out").read_text() == "".join(PIECES)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_an_existing_output_is_replaced_only_with_force(tmp_path):
    (tmp_path / "out").write_text("thesis")
    with pytest.raises(UsageError, match="out: exists; replace it with --force"):
        write(tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", 2, force=True)
    assert (tmp_path / "out").read_text() == "thesis"
    write(tmp_path / "out", force=True)
    assert (tmp_path / "out").read_text() == "".join(PIECES)


def test_a_second_process_cannot_write_the_same_output(tmp_path):
    with partial_output(tmp_path / "out", FINGERPRINT, force=False) as out:
        out.write("x")
        with pytest.raises(RunInUseError, match="is being written by another mbert") as error:
            write(tmp_path / "out")
        assert error.value.exit_code == 3
    assert (tmp_path / "out").read_text() == "x"


def test_the_journal_has_rows_bytes_and_hashes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", 2)
    fingerprint, *entries = (partial_folder(tmp_path / "out") / "journal.jsonl").read_text().splitlines()
    assert json.loads(fingerprint) == {"origin": FINGERPRINT}
    assert [(each["rows"], each["bytes"], len(each["sha256"])) for each in map(json.loads, entries)] == [
        (1, 7, 64),
        (2, 11, 64),
    ]


def test_the_output_has_the_permissions_of_a_new_file(tmp_path):
    write(tmp_path / "out")
    (tmp_path / "other").touch()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "other").stat().st_mode
