-- Tokens and who registered with them. Everything else follows: a token's state from its size, its
-- founders and its expiry; its events from the founders in order of their index.

create table registry (
    id integer primary key check (id = 1),
    -- Shown to clients of the v2 API, which expect every cluster to have an id.
    cluster_id text not null,
    -- Stored and not derived: an index must never come back, even when the token that had the
    -- highest one is deleted.
    last_index integer not null
) strict;

create table token (
    -- Where the token lives below the public URL: `/<token>` or `/v2/keys/<key>`.
    path text primary key,
    size integer not null check (size > 0),
    label text,
    created_index integer not null unique,
    -- Milliseconds since 1970, like all times here.
    created_at integer not null,
    expires_at integer not null
) strict, without rowid;

create table registration (
    -- One counter numbers tokens and registrations, so this orders the founders for everybody.
    created_index integer primary key,
    token_index integer not null references token (created_index) on delete cascade,
    -- The member id as nodes print it; SQLite has no unsigned 64-bit integers.
    member text not null,
    value text not null,
    founder integer not null check (founder in (0, 1)),
    registered_at integer not null,
    unique (token_index, member)
) strict;
