-- Rows only ever arrive at the end of their table, and no index beside it is kept: a commit writes a
-- few pages however many tokens there are. Who may register with what is decided in memory, which
-- holds everything that lives, so the tables need no constraints between each other.

create table registration_3 (
    created_index integer primary key,
    token_index integer not null,
    member text not null,
    value text not null,
    founder integer not null check (founder in (0, 1)),
    registered_at integer not null,
    origin text
) strict;
insert into registration_3
    select created_index, token_index, member, value, founder, registered_at, origin
    from registration;
-- The older table goes before the one that it refers to: deleting that would delete from this.
drop table registration;
alter table registration_3 rename to registration;

create table token_3 (
    created_index integer primary key,
    path text not null,
    size integer not null check (size > 0),
    label text,
    created_at integer not null,
    expires_at integer not null,
    revoked_at integer,
    noted integer not null default 0,
    expiry_recorded integer not null default 0,
    -- Where members serve clients, if whoever made the token said so.
    client_port integer,
    -- The first entry of the timeline that may be about this token.
    first_entry integer not null default 0
) strict;
insert into token_3
    (created_index, path, size, label, created_at, expires_at, revoked_at, noted, expiry_recorded)
    select created_index, path, size, label, created_at, expires_at, revoked_at, noted, expiry_recorded
    from token;
drop table token;
alter table token_3 rename to token;

drop index timeline_by_token;
