-- The queries of Nexmark as materialized views.
--
-- Tumbling windows are made by date_bin, hopping ones by generate_series.  The
-- time that counts is that of the event (q12).  Where the original takes the
-- first of several rows, all columns order them.  q10, which writes files, has
-- the rows and the names of their files; q11 has session windows.

CREATE MATERIALIZED VIEW q00 AS
SELECT auction, bidder, price, date_time, extra FROM bid;

CREATE MATERIALIZED VIEW q01 AS
SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid;

CREATE MATERIALIZED VIEW q02 AS
SELECT auction, price FROM bid WHERE auction % 12 = 0;

CREATE MATERIALIZED VIEW q03 AS
SELECT p.name, p.city, p.state, a.id
  FROM auction AS a JOIN person AS p ON a.seller = p.id
 WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');

CREATE MATERIALIZED VIEW q04 AS
SELECT q.category, avg(q.final) AS average
  FROM (SELECT max(b.price) AS final, a.category
          FROM auction AS a, bid AS b
         WHERE a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
         GROUP BY a.id, a.category) AS q
 GROUP BY q.category;

CREATE MATERIALIZED VIEW q05 AS
WITH counts AS (
    SELECT b.auction, w.starts, count(*) AS num
      FROM bid AS b
     CROSS JOIN generate_series(date_bin('2 seconds', b.date_time, '2026-01-01') - interval '8 seconds',
                                date_bin('2 seconds', b.date_time, '2026-01-01'), '2 seconds') AS w (starts)
     GROUP BY b.auction, w.starts
)
SELECT c.auction, c.num, c.starts
  FROM counts AS c
  JOIN (SELECT starts, max(num) AS most FROM counts GROUP BY starts) AS m
    ON m.starts = c.starts AND c.num >= m.most;

CREATE MATERIALIZED VIEW q06 AS
SELECT id, seller,
       avg(final) OVER (PARTITION BY seller ORDER BY date_time, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS average
  FROM (SELECT a.id, a.seller, a.date_time, max(b.price) AS final
          FROM auction AS a JOIN bid AS b ON a.id = b.auction
         WHERE b.date_time BETWEEN a.date_time AND a.expires
         GROUP BY a.id, a.seller, a.date_time) AS q;

CREATE MATERIALIZED VIEW q07 AS
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
  FROM bid AS b
  JOIN (SELECT max(price) AS most, date_bin('10 seconds', date_time, '2026-01-01') AS starts
          FROM bid
         GROUP BY 2) AS m
    ON b.price = m.most AND b.date_time >= m.starts AND b.date_time < m.starts + interval '10 seconds';

CREATE MATERIALIZED VIEW q08 AS
SELECT p.id, p.name, p.starts
  FROM (SELECT id, name, date_bin('10 seconds', date_time, '2026-01-01') AS starts
          FROM person
         GROUP BY 1, 2, 3) AS p
  JOIN (SELECT seller, date_bin('10 seconds', date_time, '2026-01-01') AS starts
          FROM auction
         GROUP BY 1, 2) AS a
    ON p.id = a.seller AND p.starts = a.starts;

CREATE MATERIALIZED VIEW q09 AS
SELECT id, item_name, seller, category, bidder, price, bid_time
  FROM (SELECT a.*, b.bidder, b.price, b.date_time AS bid_time,
               row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder) AS place
          FROM auction AS a, bid AS b
         WHERE a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires) AS q
 WHERE place <= 1;

CREATE MATERIALIZED VIEW q10 AS
SELECT auction, bidder, price, date_time, extra,
       to_char(date_time, 'YYYY-MM-DD') AS dt, to_char(date_time, 'HH24:MI') AS hm
  FROM bid;

CREATE MATERIALIZED VIEW q11 AS
SELECT bidder, count(*) AS bid_count, min(date_time) AS starttime, max(date_time) AS endtime
  FROM (SELECT bidder, date_time,
               count(*) FILTER (WHERE is_first) OVER (PARTITION BY bidder ORDER BY date_time) AS session
          FROM (SELECT bidder, date_time,
                       date_time - lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time) > interval '3 seconds' AS is_first
                  FROM bid) AS gaps) AS sessions
 GROUP BY bidder, session;

CREATE MATERIALIZED VIEW q12 AS
SELECT bidder, count(*) AS bids, date_bin('10 seconds', date_time, '2026-01-01') AS starts
  FROM bid
 GROUP BY bidder, starts;

CREATE MATERIALIZED VIEW q13 AS
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
  FROM bid AS b JOIN side_input AS s ON b.auction % 150 = s.key;

CREATE MATERIALIZED VIEW q14 AS
SELECT auction, bidder, 0.908 * price AS price,
       CASE WHEN extract(second FROM date_time) BETWEEN 8 AND 18 THEN 'day'
            WHEN extract(second FROM date_time) <= 6 OR extract(second FROM date_time) >= 20 THEN 'night'
            ELSE 'other' END AS bid_time_type,
       date_time, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts
  FROM bid
 WHERE 0.908 * price > 1000 AND 0.908 * price < 50000;

CREATE MATERIALIZED VIEW q15 AS
SELECT date_trunc('minute', date_time) AS minute,
       count(*) AS total_bids,
       count(*) FILTER (WHERE price < 1000) AS rank1_bids,
       count(*) FILTER (WHERE price >= 1000 AND price < 100000) AS rank2_bids,
       count(*) FILTER (WHERE price >= 100000) AS rank3_bids,
       count(DISTINCT bidder) AS total_bidders,
       count(DISTINCT bidder) FILTER (WHERE price < 1000) AS rank1_bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 1000 AND price < 100000) AS rank2_bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 100000) AS rank3_bidders,
       count(DISTINCT auction) AS total_auctions
  FROM bid
 GROUP BY 1;

CREATE MATERIALIZED VIEW q16 AS
SELECT channel, to_char(date_time, 'YYYY-MM-DD HH24') AS hour, max(to_char(date_time, 'HH24:MI')) AS minute,
       count(*) AS total_bids,
       count(*) FILTER (WHERE price < 1000) AS rank1_bids,
       count(DISTINCT bidder) AS total_bidders,
       count(DISTINCT bidder) FILTER (WHERE price < 1000) AS rank1_bidders,
       count(DISTINCT auction) AS total_auctions,
       count(DISTINCT auction) FILTER (WHERE price >= 100000) AS rank3_auctions
  FROM bid
 GROUP BY channel, to_char(date_time, 'YYYY-MM-DD HH24');

CREATE MATERIALIZED VIEW q17 AS
SELECT auction, date_trunc('minute', date_time) AS minute,
       count(*) AS total_bids,
       count(*) FILTER (WHERE price < 1000) AS rank1_bids,
       count(*) FILTER (WHERE price >= 100000) AS rank3_bids,
       min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
  FROM bid
 GROUP BY auction, date_trunc('minute', date_time);

CREATE MATERIALIZED VIEW q18 AS
SELECT auction, bidder, price, channel, url, date_time, extra
  FROM (SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, price, channel, url, extra) AS place
          FROM bid) AS q
 WHERE place <= 1;

CREATE MATERIALIZED VIEW q19 AS
SELECT *
  FROM (SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, date_time, bidder, channel, url, extra) AS place
          FROM bid) AS q
 WHERE place <= 10;

CREATE MATERIALIZED VIEW q20 AS
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time AS bid_time,
       a.item_name, a.description, a.initial_bid, a.reserve, a.date_time, a.expires, a.seller, a.category
  FROM bid AS b JOIN auction AS a ON b.auction = a.id
 WHERE a.category = 10;

CREATE MATERIALIZED VIEW q21 AS
SELECT auction, bidder, price, channel,
       CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
            ELSE (regexp_match(url, '(?:&|^|\?)channel_id=([^&]*)'))[1] END AS channel_id
  FROM bid
 WHERE url ~ '(?:&|^|\?)channel_id=' OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu');

CREATE MATERIALIZED VIEW q22 AS
SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2
  FROM bid;
