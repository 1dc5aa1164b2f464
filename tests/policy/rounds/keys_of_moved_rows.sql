CREATE TABLE cust (id int PRIMARY KEY);
INSERT INTO cust VALUES (1), (2), (10);
CREATE TABLE ord (id int PRIMARY KEY, cust_id int REFERENCES cust);
INSERT INTO ord VALUES (1, 1);
CREATE TABLE def (id int PRIMARY KEY, c int DEFAULT 2 REFERENCES cust);
INSERT INTO def VALUES (1, 1);
CREATE TABLE par (id int, k int, n int, cust_id int REFERENCES cust, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE par1 PARTITION OF par FOR VALUES IN (1);
CREATE TABLE par2 PARTITION OF par FOR VALUES IN (2);
CREATE TABLE pard PARTITION OF par DEFAULT PARTITION BY RANGE (id);
CREATE TABLE pard1 PARTITION OF pard FOR VALUES FROM (0) TO (3);
CREATE TABLE pard2 PARTITION OF pard FOR VALUES FROM (3) TO (99);
INSERT INTO par VALUES (1, 1, 1, 1), (2, 2, 2, 2), (1, 3, 1, 1);
CREATE TABLE mov (id int, k int, cust_id int REFERENCES cust) PARTITION BY LIST (k);
CREATE TABLE mov1 PARTITION OF mov FOR VALUES IN (1);
CREATE TABLE mov2 PARTITION OF mov FOR VALUES IN (2);
CREATE TABLE movd PARTITION OF mov DEFAULT PARTITION BY RANGE (id);
CREATE TABLE movd1 PARTITION OF movd FOR VALUES FROM (0) TO (3);
CREATE TABLE movd2 PARTITION OF movd FOR VALUES FROM (3) TO (99);
INSERT INTO mov VALUES (1, 1, 1), (2, 2, 2), (1, 3, 1);
CREATE TABLE kid (id int PRIMARY KEY, pid int, pk int, FOREIGN KEY (pid, pk) REFERENCES par);
INSERT INTO kid VALUES (1, 1, 1);
CREATE TABLE s (id int PRIMARY KEY, c int);
INSERT INTO s VALUES (5, 1);
CREATE TABLE p (k int, v int) PARTITION BY RANGE (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (6);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (6) TO (20);
INSERT INTO p VALUES (1, 1);
CREATE VIEW pv AS SELECT k AS kk, v FROM p;
CREATE VIEW movv AS SELECT id, k AS kk, cust_id FROM mov;
CREATE VIEW ov AS SELECT id, cust_id AS c FROM ord;
CREATE VIEW first AS SELECT * FROM p WHERE k = 1;
CREATE TABLE base (id int PRIMARY KEY, cust int);
CREATE RULE also AS ON INSERT TO base DO ALSO INSERT INTO ord VALUES (new.id, new.cust);
-- each
UPDATE mov SET k = 2 WHERE k = 1;
UPDATE mov SET k = 2 WHERE k = 2;
UPDATE mov SET k = k + 10 WHERE k = 1; -- hidden
UPDATE mov SET k = k + 10;
UPDATE mov SET id = 5 WHERE k = 3; -- rows
UPDATE mov SET k = 2, cust_id = NULL WHERE k = 1;
UPDATE movv SET kk = 2 WHERE kk = 1;
UPDATE pv SET kk = 8 WHERE kk = 1;
WITH u AS (UPDATE p SET k = 8 WHERE k = 1 RETURNING *) SELECT * FROM u;
WITH u AS (UPDATE p SET k = 8 RETURNING *) INSERT INTO s SELECT k, v FROM u;
WITH u AS (UPDATE p SET k = k + 8 WHERE k = 1 RETURNING *) SELECT * FROM u; -- hidden
WITH u AS (UPDATE pv SET kk = 8 WHERE kk = 1 RETURNING *) SELECT * FROM u;
WITH u AS (UPDATE mov SET k = 2 WHERE k = 1 RETURNING *) SELECT * FROM u;
WITH u AS (UPDATE movv SET kk = 2 WHERE kk = 1 RETURNING *) SELECT * FROM u;
WITH u AS (UPDATE ord SET cust_id = 2 WHERE id = 1 RETURNING *) SELECT * FROM u;
WITH u AS (UPDATE ov SET c = 2 WHERE id = 1 RETURNING *) SELECT * FROM u;
WITH d AS (DELETE FROM cust WHERE id = 10 RETURNING *) SELECT * FROM d;
WITH n AS (INSERT INTO ord VALUES (7, 1) RETURNING *) SELECT * FROM n;
WITH n AS (INSERT INTO ord VALUES (7, 1) RETURNING *) UPDATE def SET c = n.cust_id FROM n;
MERGE INTO ord o USING s ON s.id = o.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.c);
INSERT INTO ord VALUES (7, coalesce(NULL, 1));
INSERT INTO ord VALUES (7, abs(1));
INSERT INTO ord VALUES (7, (SELECT max(id) FROM cust));
INSERT INTO ord VALUES (7, DEFAULT);
INSERT INTO ord VALUES (7, NULL);
INSERT INTO ord (id) VALUES (7);
INSERT INTO def (id) VALUES (9);
INSERT INTO def VALUES (9);
INSERT INTO def VALUES (9, DEFAULT);
INSERT INTO def (id) SELECT 9;
INSERT INTO def (id) SELECT id FROM s;
INSERT INTO ord (id) SELECT id FROM s;
INSERT INTO base VALUES (5, 1);
INSERT INTO kid VALUES (2, 2, 2);
INSERT INTO kid VALUES (5, 1, 1), (6, 2, 2);
INSERT INTO kid VALUES (5, 1, 1), (6, 1, 1), (7, 1, 1), (8, 1, 1), (9, 1, 1);
INSERT INTO kid VALUES (5, 1, 1), (6, 1, 1), (7, 1, 1), (8, 1, 1), (9, 1, 1), (10, 1, 1);
INSERT INTO kid VALUES (5, 1, 1), (6, 1, 1), (7, 1, 1), (8, 1, 1), (9, 1, 1), (10, 1, 1), (11, 1, 1), (12, 1, 1), (13, 1, 1);
UPDATE kid SET pid = 2, pk = 2 WHERE id = 1; -- rows
CREATE TABLE x AS WITH i AS (INSERT INTO ord VALUES (9, 1) RETURNING id) SELECT * FROM i;
CREATE TABLE x AS WITH u AS (UPDATE p SET k = 8 WHERE k = 1 RETURNING *) SELECT * FROM u;
EXPLAIN ANALYZE CREATE TABLE x AS WITH i AS (INSERT INTO ord VALUES (9, 1) RETURNING id) SELECT * FROM i;
EXPLAIN WITH i AS (INSERT INTO ord VALUES (9, 1) RETURNING id) SELECT * FROM i;
SELECT * FROM cust, first WHERE k = 7; -- at most
UPDATE first SET v = 1 FROM cust WHERE first.k = 7; -- at most
INSERT INTO ord VALUES (100, 1), (101, 1), (102, 1), (103, 1), (104, 1), (105, 1), (106, 1), (107, 1), (108, 1), (109, 1), (110, 1), (111, 1), (112, 1), (113, 1), (114, 1), (115, 1), (116, 1), (117, 1), (118, 1), (119, 1), (120, 1), (121, 1), (122, 1), (123, 1), (124, 1), (125, 1), (126, 1), (127, 1), (128, 1), (129, 1), (130, 1), (131, 1), (132, 1), (133, 1), (134, 1), (135, 1), (136, 1), (137, 1), (138, 1), (139, 1), (140, 1), (141, 1), (142, 1), (143, 1), (144, 1), (145, 1), (146, 1), (147, 1), (148, 1), (149, 1), (150, 1), (151, 1), (152, 1), (153, 1), (154, 1), (155, 1), (156, 1), (157, 1), (158, 1), (159, 1), (160, 1), (161, 1), (162, 1), (163, 1), (164, 1), (165, 1), (166, 1), (167, 1), (168, 1), (169, 1), (170, 1), (171, 1), (172, 1), (173, 1), (174, 1), (175, 1), (176, 1), (177, 1), (178, 1), (179, 1), (180, 1), (181, 1), (182, 1), (183, 1), (184, 1), (185, 1), (186, 1), (187, 1), (188, 1), (189, 1), (190, 1), (191, 1), (192, 1), (193, 1), (194, 1), (195, 1), (196, 1), (197, 1), (198, 1), (199, 1), (200, 1);
SELECT * FROM p WHERE k = 1;
UPDATE par SET n = 5 WHERE k = 1;
UPDATE par SET k = 1 WHERE k = 2;
UPDATE ONLY mov SET k = 2;
UPDATE ONLY mov SET cust_id = 2;
UPDATE ord SET cust_id = ord.cust_id;
UPDATE ord o SET cust_id = o.cust_id;
UPDATE ord o SET cust_id = s.c FROM s WHERE s.id = 5; -- at most
DELETE FROM ONLY mov;
WITH u AS (UPDATE ord o SET cust_id = o.cust_id RETURNING *) SELECT * FROM u;
WITH m AS (MERGE INTO ord o USING s ON s.id = o.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.c) RETURNING o.id) SELECT * FROM m; -- 18
MERGE INTO ov USING s ON s.id = ov.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.c); -- 18
