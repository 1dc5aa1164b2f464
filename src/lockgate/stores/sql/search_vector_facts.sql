-- What the vectors of a physical index look like, in one scan.
SELECT count(*), count(*) FILTER (WHERE n = 0), count(*) FILTER (WHERE n = 'NaN' OR n = 'Infinity' OR n IS NULL),
       min(n) FILTER (WHERE n > 0 AND n < 'Infinity'), max(n) FILTER (WHERE n > 0 AND n < 'Infinity'), count(*) FILTER (WHERE w)
  FROM (SELECT {norm} AS n, {wrong} AS w FROM {table} OFFSET 0) q
