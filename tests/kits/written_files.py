"""Files of rows as other projects write them, and what our reader makes of them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def document(path, content):
    path.write_text(json.dumps(content, indent=2))
    return str(path)


def parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def of(samples):
    """problem -> (n, correct)."""
    counts = zip(samples.n.tolist(), samples.correct.tolist(), strict=True)
    return dict(zip(samples.problem_ids, counts, strict=True))
