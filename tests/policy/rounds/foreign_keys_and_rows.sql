create table cust (id int primary key, code text unique, note text); insert into cust values (1,'a',null),(2,'b',null),(3,'c',null);
create table ord (id int primary key, cust_id int references cust, cust_code text references cust (code) on update cascade on delete set null, v int); insert into ord values (1,1,'a',1),(2,2,'b',2),(3,null,null,3);
create table item (ord_id int references ord on delete cascade on update cascade, n int, primary key (ord_id, n)); insert into item values (1,1),(2,1);
create table tag (id int primary key, ord_id int references ord on delete set default deferrable initially deferred); insert into tag values (1,1);
create table chk (id int primary key, item_o int, item_n int, foreign key (item_o, item_n) references item on delete restrict); insert into chk values (1,1,1);
create table tree (id int primary key, up int references tree); insert into tree values (1,null),(2,1);
create table par (id int, k int, cust_id int references cust, primary key (id, k)) partition by list (k); create table par1 partition of par for values in (1); create table par2 partition of par for values in (2); insert into par values (1,1,1),(2,2,2);
create table topar (id int primary key, pid int, pk int, foreign key (pid, pk) references par on delete cascade); insert into topar values (1,1,1);
create table nofk (id int primary key, v int); insert into nofk values (1,1);
create view ordv as select * from ord;
create unique index ord_v on ord (v);
-- each
update ord set cust_id = 2 where id = 1;
update ord set v = 9 where id = 1;
update ord set cust_id = 2;
update ord set cust_id = 2 where id = 77; -- at most
update ord set cust_id = null where id = 1;
update ord set cust_code = 'b', cust_id = 3;
update ord set id = 50 where id = 3; -- rows
update cust set code = 'z' where id = 1;
update cust set note = 'q';
update cust set id = id;
update cust set id = 70 where id = 3;
delete from cust where id = 3;
delete from cust where id = 77; -- at most
delete from ord where id = 3; -- rows
delete from item where ord_id = 2;
delete from chk;
delete from tag;
delete from tree where id = 2;
update tree set up = 1;
delete from par where k = 2;
delete from par where k = 1;
update par set cust_id = 1 where k = 1; -- at most
update par set id = 5 where k = 2;
delete from topar;
update topar set pk = 2, pid = 2; -- rows
delete from nofk;
update nofk set v = 3;
merge into ord o using nofk n on o.id = n.id when matched then update set cust_id = 2 when not matched then insert values (9, 1, 'a', 50);
merge into ord o using nofk n on o.id = n.id when matched then update set v = 30;
merge into nofk o using ord n on o.id = n.id when matched then delete when not matched then insert values (n.id, 1);
insert into ord values (1, 2, 'a', 90) on conflict (id) do update set cust_id = excluded.cust_id;
insert into ord values (7, 2, 'a', 90) on conflict (id) do update set cust_id = excluded.cust_id;
insert into ord values (1, 2, 'a', 90) on conflict (id) do update set v = 80; -- rows
insert into ord values (1, 2, 'a', 90) on conflict do nothing; -- rows
insert into ord values (8, 2, 'a', 90) on conflict do nothing; -- hidden
insert into ord select 9, 1, 'a', 60;
insert into ord (id, cust_id, v) select id + 100, id, id + 100 from nofk;
insert into ord (id, v) select id + 100, id + 100 from nofk;
insert into item values (3, 5);
insert into tag values (9, 3);
insert into tree values (3, 1);
insert into par values (9, 1, 2);
insert into topar values (9, 2, 2);
with u as (update ord set cust_id = 1 returning *) select * from u;
update ordv set cust_id = 2 where id = 1;
delete from ordv where id = 3; -- rows
insert into ordv values (12, 1, 'a', 99);
truncate item cascade;
update ord set cust_id = n.v from nofk n where n.id = ord.id; -- at most
