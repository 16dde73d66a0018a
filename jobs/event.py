"""What a record in Kafka holds and how it is named; `jobs.contract` decides which clicks are valid.

Standard library only.
"""

from __future__ import annotations

import datetime as dt
import hashlib

TOPIC = "tripclick.clicks"
PARTITIONS = 3
RETENTION_DAYS = 7

# Key: the SessionId's bytes, so that a session stays in order. Value: the log line's bytes, unchanged. This header
# holds how many milliseconds the replay moves the click: event_ts = source_ts + shift.
SHIFT_HEADER = "shift_ms"

MAX_EVENT_AHEAD = dt.timedelta(days=31)  # of the record's Kafka timestamp

UNKNOWN_AREA = "Unknown"
CLINICAL_AREAS = (
    "Anesthesiology",
    "Cardiology",
    "Critical Care",
    "Dentistry",
    "Dermatology",
    "Emergency Medicine",
    "Endocrinology",
    "Epidemiology",
    "Gastroenterology",
    "Geriatrics",
    "Hematology",
    "Infectious Disease",
    "Neurology",
    "OB-Gyn",
    "Oncology",
    "Orthopedic",
    "Otolaryngology-ENT",
    "Pediatrics",
    "Physical Medicine",
    "Preventive Medicine",
    "Primary Care",
    "Psychiatry",
    "Public Health",
    "Pulmonology",
    "Radiology",
    "Rheumatology",
    "Surgery",
    "Urology",
    "Women's Health",
)


def event_id(value: bytes, shift_ms: int) -> str:
    """The click's identity: lower-case hex SHA-256 of the raw line and its shift.

    A resend and an exact duplicate line have the same one; a replay on other days has a different one.
    """
    return hashlib.sha256(value + b"|" + str(shift_ms).encode("ascii")).hexdigest()
