-- What operators do, and the timeline of every decision.

-- The last link of the timeline, so that a timeline that lost its end is noticed as well.
alter table registry add column timeline_seq integer not null default 0;
alter table registry add column timeline_hash text not null
    default '0000000000000000000000000000000000000000000000000000000000000000';
-- Which boot of the machine the registry's time was taken in, and its distance from the time since
-- that boot: a clock that is set while the machine runs expires nothing early.
alter table registry add column clock_boot text;
alter table registry add column clock_offset integer not null default 0;
alter table registry add column clock_up integer not null default 0;

-- A revoked token is kept for a day, so that nobody can make it again by accident.
alter table token add column revoked_at integer;
-- How many refusals and repeats are in the timeline; they are bounded.
alter table token add column noted integer not null default 0;
alter table token add column expiry_recorded integer not null default 0;

-- The address that a registration came from.
alter table registration add column origin text;

create table timeline (
    seq integer primary key,
    -- The public id of the token; the token itself is a secret and not in here.
    token text not null,
    -- JSON, exactly as it was hashed.
    body text not null,
    -- SHA-256 over the hash before, as bytes, and the body; in hexadecimal.
    hash text not null
) strict;

create index timeline_by_token on timeline (token, seq);
