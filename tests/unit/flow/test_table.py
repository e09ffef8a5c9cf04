import polars as pl

from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, batch, conform, no_flows


def test_a_batch_has_the_schemas_columns_whatever_was_given():
    made = batch(pl.DataFrame({"responder": ["9.9.9.9"], "start": [1.0], "unknown": [1]}))
    assert dict(made.flows.schema) == FLOW_SCHEMA
    assert dict(made.transactions.schema) == TRANSACTION_SCHEMA
    assert made.flows.row(0, named=True)["start"] == 1
    assert made.flows["bytes_orig"].to_list() == [None]


def test_a_value_that_does_not_fit_is_null():
    frame = conform(pl.DataFrame({"responder_port": [443, 70_000, -1]}), FLOW_SCHEMA)
    assert frame["responder_port"].to_list() == [443, None, None]


def test_no_columns_are_no_rows():
    assert conform(pl.DataFrame(), FLOW_SCHEMA).equals(no_flows())
