create table cust (id int primary key, name text not null, tier int default 1, boss int references cust); create index cust_name on cust (name);
create table ord (id serial primary key, cust_id int references cust on delete cascade on update cascade, st text default 'new', tot numeric(10,2)); create index ord_cust on ord (cust_id);
create table item (oid int references ord on delete set null, n int default 1, prod int, note text, primary key (n, prod)); create table prod (id int primary key, cat int); alter table item add foreign key (prod) references prod deferrable;
create table ev (id int not null, k int not null, v text, cid int references cust, primary key (id, k)) partition by range (k); create table ev1 partition of ev for values from (0) to (10); create table ev2 partition of ev for values from (10) to (20); create table ev3 partition of ev for values from (20) to (30) partition by list (id); create table ev3a partition of ev3 for values in (1, 2); create table ev3b partition of ev3 default; create index ev_v on ev (v);
create table lg (id int, kind text, cid int) partition by list (kind); create table lga partition of lg for values in ('a'); create table lgb partition of lg for values in ('b', null); create table lgd partition of lg default;
create table par (id int, v text); create table chi1 (w int) inherits (par); create table chi2 () inherits (par); create index chi1_v on chi1 (v);
create table idt (id int generated always as identity primary key, u text unique, ref int references cust default 1);
create view vc as select id, name, tier from cust where tier > 0; create view vo as select o.id, o.tot, c.name from ord o join cust c on c.id = o.cust_id; create view ve as select id, k, v from ev where k < 20; create view vu as select id, name from cust union all select id, v from ev; create view vagg as select cust_id, sum(tot) s from ord group by cust_id; create view vv as select * from vc where tier < 5; create view vl as select kind, cid from lg where kind = 'a';
create materialized view mv as select * from vo; create unique index mv_id on mv (id);
create sequence sq; create function f(int) returns int language sql stable as 'select count(*)::int from prod where id = $1'; create function g() returns int language plpgsql as 'begin return (select max(id) from prod); end';
insert into cust (id, name, tier) values (1, 'ann', 1), (2, 'bob', 2), (3, 'cy', 3); insert into prod values (1, 1), (2, 2); insert into ord (cust_id, tot) values (1, 5), (2, 6); insert into item values (1, 1, 1), (2, 2, 2); insert into ev values (1, 1, 'x', 1), (2, 12, 'y', null), (1, 22, 'z', 2), (5, 25, 'w', 3); insert into lg values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, null, 4); insert into par values (1, 'p'); insert into chi1 values (2, 'q', 1); insert into idt (u) values ('u1');
-- each
select * from vu x where not (x.id is not null);
select * from vu x where x.id is null;
select * from ev x where not (x.id is not null);
select * from ev x where x.id is null;
select * from (select * from ev) x where x.id is null;
select * from (select * from ev) x where not (x.id is not null);
select * from ev x, cust y where x.id is null;
select * from (select id from cust union all select id from ev) x where x.id is null;
select * from (select id from cust union all select id from ev) x where x.id is null and x.id = 1;
select id from ev where id is null union all select 1;
select * from lg where kind in (null, null);
select * from lg where kind in (null, 'a');
select * from lg where kind in (null);
select * from lg where kind = any (array[null, null]);
select * from lg where kind = any ('{NULL}');
select * from lg, cust where kind in (null, null);
select * from lg where kind not in (null, null);
select * from lg where kind = null;
select * from lg where kind = any (array['a']) and kind = 'b';
select * from lg where kind = any (array['a']);
select * from lg where kind = any ('{a}');
select * from ev where k in (null, null); -- at most
select * from ev where v = any (array['a']) and v = 'b';
select * from ev where v in ('a') and v = 'b';
select * from ev where v in ('a', 'c') and v = 'b';
select * from vl where kind in (null, null);
select * from vl, cust where kind in (null, null);
delete from vl x using ev3 y where x.kind in (null, null); -- at most
select * from vl where cid = null; -- at most
select * from vl where kind = 'b'; -- at most
select * from ev where cid = null;
select * from ev, cust where ev.cid = null;
select * from cust where id = null;
select * from ev3 where cid <> null; -- at most
select * from ev where cid in (null);
select * from ev where v = any (null);
select * from ev where v like null; -- at most
select * from ev where k between null and 5;
select * from ev where k + 1 = null;
select * from ev where null = k;
select * from ev where not (k = null);
select * from ev where k = null or k = 5;
select * from ev where k = 5 or v = null;
select * from ev where v is distinct from null;
