"""An audit of the journal as a record that nobody has signed: for looking at, never as evidence.

The words and tables of a report come from a record. Before an auditor signs one, the same words are
wanted on a screen; the key that stands in here is made for the purpose and thrown away.
"""

import time

from audit.records.record import Draft, Record, parse_record, record_bytes, utc
from audit.signing.keys import PrivateKey, Trust


def unsigned_preview(draft: Draft) -> Record:
    """Return what a record of the draft will say; its signature and key mean nothing.

    Raises:
        RecordError: The draft is no valid record.
    """
    key = PrivateKey.generate()
    data = record_bytes(draft, key, written=utc(time.time()))
    return parse_record(data, Trust(keys=(key.public_key,)))
