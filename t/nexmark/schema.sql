-- The tables of Nexmark, an online auction, and what makes its events.
--
-- Of 50 events one is a new person, three are new auctions, 46 are bids, most
-- of them on few auctions.  Values come from a hash of the event's number.  A
-- bid has no key, and some are there twice.

CREATE TABLE person (
    id bigint PRIMARY KEY,
    name text,
    email_address text,
    credit_card text,
    city text,
    state text,
    date_time timestamp,
    extra text
);

CREATE TABLE auction (
    id bigint PRIMARY KEY,
    item_name text,
    description text,
    initial_bid bigint,
    reserve bigint,
    date_time timestamp,
    expires timestamp,
    seller bigint,
    category bigint,
    extra text
);

CREATE TABLE bid (
    auction bigint,
    bidder bigint,
    price bigint,
    channel text,
    url text,
    date_time timestamp,
    extra text
);

CREATE TABLE side_input (key bigint PRIMARY KEY, value text);

CREATE INDEX auction_seller ON auction (seller);
CREATE INDEX bid_auction ON bid (auction);
CREATE INDEX bid_bidder ON bid (bidder);

CREATE FUNCTION any_of(key bigint, col integer, n bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$ SELECT (hashint8extended(key, col) & 9223372036854775807) % n $$;

CREATE FUNCTION time_of(event bigint) RETURNS timestamp
LANGUAGE sql IMMUTABLE AS $$ SELECT timestamp '2026-01-01 09:00:00' + event * interval '20 milliseconds' $$;

-- Events number first to last.  Persons and auctions have the numbers of their
-- kind as ids; a bid is on a recent auction, or on a hot one.
CREATE PROCEDURE make_events(first bigint, last bigint)
BEGIN ATOMIC
INSERT INTO person
SELECT e / 50, 'person ' || any_of(e, 1, 40), 'p' || e || '@example.com', lpad(any_of(e, 2, 10000)::text, 4, '0'),
       (ARRAY['Portland', 'Boise', 'Bend', 'Seattle', 'Kent'])[1 + any_of(e, 3, 5)],
       (ARRAY['OR', 'ID', 'CA', 'WA', 'AZ'])[1 + any_of(e, 4, 5)], time_of(e), 'extra'
  FROM generate_series(first, last) AS e WHERE e % 50 = 0;
INSERT INTO auction
SELECT e / 50 * 3 + e % 50 - 1, 'item ' || any_of(e, 1, 30), 'as new', 1 + any_of(e, 2, 100), 50 + any_of(e, 3, 500),
       time_of(e), time_of(e) + any_of(e, 4, 60) * interval '1 second', greatest(0, e / 50 - any_of(e, 5, 10)), 10 + any_of(e, 6, 5), 'extra'
  FROM generate_series(first, last) AS e WHERE e % 50 BETWEEN 1 AND 3;
INSERT INTO bid
SELECT greatest(0, CASE WHEN any_of(e, 1, 2) = 0 THEN e / 50 / 10 * 30 ELSE e / 50 * 3 - any_of(e, 2, 30) END),
       greatest(0, e / 50 - any_of(e, 3, 20)), (10 ^ (1 + any_of(e, 4, 60) / 10.0))::bigint,
       channel, 'https://example.com/' || lower(channel) || '/item.htm?channel_id=' || any_of(e, 6, 9),
       time_of(e - any_of(e, 7, 25)), md5(e::text)
  FROM generate_series(first, last) AS e,
       LATERAL (SELECT (ARRAY['Google', 'Facebook', 'Baidu', 'Apple', 'channel-7'])[1 + any_of(e, 5, 5)] AS channel) AS c,
       generate_series(1, CASE any_of(e, 8, 40) WHEN 0 THEN 2 ELSE 1 END)
 WHERE e % 50 > 3;
END;

INSERT INTO side_input SELECT k, 'value ' || k FROM generate_series(0, 99) AS k;
