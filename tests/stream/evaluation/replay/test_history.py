"""Histories from files: kinds, visitors, attributes, and files that are refused."""

import pytest

from stream.evaluation.protocol import EvaluationProtocol, WrongInput
from stream.evaluation.replay.history import attribute, load
from stream.evaluation.replay.run import evaluate


def written(tmp_path, text, name="shop.tsv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_kinds_are_kept_and_dropped(tmp_path):
    path = written(tmp_path, "ts\tuser\titem\tevent\n1\tu\ta\tclick\n2\tu\tb\tpurchase\n3\tu\tc\tclick\n")
    assert len(load(path, events=["click"])) == 2
    assert load(path, events=["click", "cart"]).notes == ("no event is of kind 'cart'",)
    with pytest.raises(WrongInput, match="no event is of kind cart; there are click, purchase"):
        load(path, events=["cart"])


def test_a_file_without_users_is_not_evaluated_by_user(tmp_path):
    path = written(tmp_path, "ts\tsession\titem\tevent\n1\ts\ta\tclick\n2\ts\tb\tclick\n")
    with pytest.raises(WrongInput, match="no user column; --by session"):
        evaluate(load(path), EvaluationProtocol(by="user"))
    assert load(path).default_by == "session"


def test_a_row_without_a_user_counts_for_its_session(tmp_path):
    path = written(tmp_path, "ts\tuser\tsession\titem\tevent\n1\tu\ts\ta\tclick\n2\t\ts\tb\tclick\n3\t\tt\tb\tclick\n")
    visitor = load(path).visitor("user")
    assert [visitor.names[code] for code in visitor.codes] == ["u", "s", "t"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column"),
        ("ts\tuser\titem\tevent\n", "no event"),
        ("ts\tuser\tevent\n1\tu\tclick\n", "no column 'item'. There are: ts, user, event"),
        ("ts\titem\tevent\n1\ta\tclick\n", "no column 'user' or 'session'"),
        ("ts\tuser\titem\tevent\nnan\tu\ta\tclick\n", "line 2: timestamp"),
        ("ts\tuser\titem\tevent\n1\tu\t\tclick\n", "line 2"),
        ("ts\tuser\titem\tevent\n1\t\ta\tclick\n", "line 2"),
        ("ts\tuser\titem\tevent\nsoon\tu\ta\tclick\n", "line 2"),
    ],
)
def test_a_file_that_is_no_history_is_refused_with_the_reason(tmp_path, text, message):
    with pytest.raises(WrongInput, match=message):
        load(written(tmp_path, text))


def test_any_column_can_be_the_group_of_the_visitor(tmp_path):
    rows = ["ts,user,item,event,city", "1,u,a,view,Rome", "2,u,b,click,Rome", "3,v,c,click,", "4,w,a,click,Oslo"]
    text = "\n".join(rows).replace(",", "\t")
    path = written(tmp_path, text)
    kept = load(path, events=["click"])
    city = attribute(path, kept, "city")
    assert [city.names[code] if code >= 0 else None for code in city.codes] == ["Rome", None, "Oslo"]
    with pytest.raises(WrongInput, match="no column 'town'"):
        attribute(path, kept, "town")
