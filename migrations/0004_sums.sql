-- CRC-32C of what a row says, so that a bit that flipped on the disk is noticed and never served.
-- Rows of earlier versions have none.

-- Of what never changes, and of the rest.
alter table token add column sum integer;
alter table token add column state_sum integer;
alter table registration add column sum integer;
