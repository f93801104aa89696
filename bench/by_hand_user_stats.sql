MERGE INTO by_hand.user_stats v
USING (SELECT country, sum(weight) AS n, sum(weight * age) AS s
         FROM by_hand.users_log
        GROUP BY country) d
   ON v.country = d.country
 WHEN MATCHED AND v.total + d.n = 0 THEN
      DELETE
 WHEN MATCHED THEN
      UPDATE SET total = v.total + d.n,
                 avg_age = (v.sum_age + d.s)::numeric / (v.total + d.n),
                 sum_age = v.sum_age + d.s
 WHEN NOT MATCHED THEN
      INSERT VALUES (d.country, d.n, d.s::numeric / d.n, d.s);
