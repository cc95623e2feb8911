"""The tables of a sweep's file, and the view that people ask (docs/sweeps.md)."""

FORMAT_VERSION = 1

TABLES = """
CREATE TABLE sweep (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE bundles (
    bundle TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    model_name TEXT NOT NULL,
    owner TEXT NOT NULL,
    task TEXT NOT NULL,
    alpha REAL NOT NULL,
    asked_as TEXT NOT NULL,
    is_present INTEGER NOT NULL
) STRICT;
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    stamp TEXT NOT NULL,
    suspect TEXT,
    digest TEXT,
    beside_json TEXT NOT NULL,
    problem TEXT NOT NULL,
    seen INTEGER NOT NULL
) STRICT;
CREATE INDEX files_by_suspect ON files (suspect);
CREATE TABLE pairs (
    suspect TEXT NOT NULL,
    bundle TEXT NOT NULL,
    asked_as TEXT NOT NULL,
    status TEXT NOT NULL,
    verdict TEXT,
    score_name TEXT,
    score REAL,
    p_value REAL,
    smallest_p_value REAL,
    adjusted_p_value REAL,
    control_accuracy REAL,
    num_questions INTEGER,
    cost TEXT,
    currency TEXT,
    seconds REAL NOT NULL,
    exit_code INTEGER NOT NULL,
    reason TEXT NOT NULL,
    audit TEXT,
    record TEXT,
    worker TEXT NOT NULL,
    ended REAL NOT NULL,
    PRIMARY KEY (suspect, bundle, asked_as)
) STRICT;
CREATE INDEX pairs_by_p ON pairs (p_value);
CREATE VIEW results AS
SELECT files.path AS suspect, bundles.model_name AS model, bundles.path AS bundle_path,
    CASE WHEN files.problem != '' THEN 'failed' ELSE COALESCE(pairs.status, 'waiting') END
        AS status,
    pairs.verdict AS verdict, pairs.score_name AS score_name, pairs.score AS score,
    pairs.p_value AS p_value, pairs.smallest_p_value AS smallest_p_value,
    pairs.adjusted_p_value AS adjusted_p_value, pairs.control_accuracy AS control_accuracy,
    pairs.num_questions AS num_questions, pairs.cost AS cost, pairs.currency AS currency,
    pairs.seconds AS seconds,
    CASE WHEN files.problem != '' THEN 2 ELSE pairs.exit_code END AS exit_code,
    CASE WHEN files.problem != '' THEN files.problem ELSE pairs.reason END AS reason,
    pairs.record AS record, pairs.audit AS audit, files.kind AS kind,
    files.digest AS suspect_sha256, files.suspect AS suspect_key, bundles.bundle AS bundle_sha256,
    pairs.worker AS worker, pairs.ended AS ended, files.id AS file_id
FROM files CROSS JOIN bundles
LEFT JOIN pairs ON pairs.suspect = files.suspect AND pairs.bundle = bundles.bundle
    AND pairs.asked_as = bundles.asked_as
WHERE bundles.is_present
    AND files.seen = (SELECT CAST(value AS INTEGER) FROM sweep WHERE name = 'pass');
"""
