create collation cc (locale = 'C'); create collation dd (locale = 'C');
create table oc (id int primary key, a text collate cc, b text); create index oc_b on oc (b collate cc); create index oc_a on oc (a);
create table two (id int primary key, b text collate dd); create index two_b on two (b collate cc);
create table kid (a text collate cc) partition by list (a); create table kid_1 partition of kid default;
create view v as select a from oc;
insert into oc select i, 'x', 'y' from generate_series(1, 100) i;
-- each
drop collation cc cascade;
drop collation dd cascade;
drop collation if exists ee cascade;
