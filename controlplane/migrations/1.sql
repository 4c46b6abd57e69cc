CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE artifacts (
    digest TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    published_at BIGINT NOT NULL,
    published_by TEXT NOT NULL,
    UNIQUE (kind, name, version)
);

CREATE TABLE rollouts (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    stable TEXT NOT NULL REFERENCES artifacts (digest),
    canary TEXT REFERENCES artifacts (digest),
    percent_hundredths BIGINT NOT NULL,
    tenants TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    PRIMARY KEY (kind, name, revision)
);

CREATE TABLE workers (
    name TEXT PRIMARY KEY,
    incarnation BIGINT NOT NULL,
    standing TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    endpoint TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    region TEXT NOT NULL,
    program TEXT NOT NULL,
    capacity BIGINT NOT NULL,
    load_permille BIGINT NOT NULL,
    health TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    digest TEXT NOT NULL REFERENCES artifacts (digest),
    worker TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    state TEXT NOT NULL,
    resume_hash TEXT NOT NULL,
    placed_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, session)
);

CREATE INDEX sessions_by_worker ON sessions (worker, incarnation, state);

CREATE TABLE journeys (
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    worker TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (tenant, session, epoch)
);

CREATE TABLE quotas (
    tenant TEXT PRIMARY KEY,
    sessions BIGINT NOT NULL,
    per_minute BIGINT NOT NULL
);

CREATE TABLE allowances (
    tenant TEXT PRIMARY KEY,
    left_milli BIGINT NOT NULL,
    counted_at BIGINT NOT NULL
);

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    label TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    made_at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash TEXT NOT NULL
);
