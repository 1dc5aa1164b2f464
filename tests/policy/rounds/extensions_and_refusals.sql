create extension vector; create schema ext;
create table other (id int primary key, v int); create table t (id int primary key, a int, b text); create table te (id int primary key, a int); insert into t values (1, 1, 'x'), (2, 2, 'y');
create function okp(int) returns bool language plpgsql as $$ begin return not exists (select 1 from other where id = $1); end $$;
create function oks(int) returns bool language sql as 'select not exists (select 1 from other where id = $1)';
create function immut(int) returns int language plpgsql immutable as $$ begin return $1 + 1; end $$;
create table vec (id int primary key, e vector(3)); create index vec_e on vec using hnsw (e vector_l2_ops); create table vec2 (id int primary key, v vector, h halfvec(3)); create view vv as select id, e from vec; create table vp (k int, e vector(3)) partition by range (k); create table vp1 partition of vp for values from (0) to (10); create materialized view vm as select id, e from vec; create domain dv as vector; create table vd (x dv);
create table idx (id int primary key, e real[], n int check (vector_dims(e::vector) > 0)); create index idx_e on idx using hnsw ((e::vector(3)) vector_l2_ops); create index idx_f on idx ((vector_norm(e::vector)));
create table par (k int, v text) partition by list (k); create table par1 partition of par for values in (1); insert into par values (1, 'x');
create domain dok as int; create table dtab (d dok); insert into dtab values (3); create domain nn as int not null; create table nnt (d nn);
create table log (id serial primary key, v int); create table cr (id serial primary key, a int); create rule cr1 as on insert to cr where new.a > 3 do also insert into log (v) values (new.a);
create table cr2 (id serial primary key, a int); create rule cr2r as on insert to cr2 where new.a > 3 do instead insert into log (v) values (new.a);
create function note() returns trigger language plpgsql as $$ begin insert into log (v) values (1); return new; end $$; create function refuse() returns trigger language plpgsql as $$ begin return null; end $$;
create table up (id int primary key, a int); create trigger up1 after insert or update on up for each row execute function note(); insert into up values (1, 1);
create table up2 (id int primary key, a int); create trigger up2 after update on up2 for each row execute function note(); insert into up2 values (1, 1);
create table up3 (id int primary key, a int); create trigger up3 before insert on up3 for each row execute function note(); insert into up3 values (1, 1);
create table ref (id int primary key, a int references other); create trigger ref1 before insert or update or delete on ref for each row execute function refuse(); create trigger ref2 after insert or update or delete on ref for each row execute function note(); create trigger ref3 after insert on ref for each statement execute function note(); insert into ref values (1, 1);
create table sales (id int, total numeric(12,2), at date); create domain amount as numeric(12,2); create table paid (total amount, sum amount); create materialized view totals as select count(*) as total, sum from paid group by sum; create table copy as select count(*) as total, sum as s from paid group by sum;
create type state as enum ('a', 'b'); create table tree (id int, s state) partition by range (id); create table tree1 partition of tree for values from (0) to (9) partition by list (s); create table tree1a partition of tree1 for values in ('a'); create index on tree (id); create table ts (s state);
-- each
alter table t add check (okp(a));
alter table te add check (okp(a)); -- hidden
alter table t add check (oks(a));
alter table t add check (okp(a)) not valid;
alter table t add check (immut(a) > 0);
alter table te add check (immut(a) > 0);
alter table t add check (a is null or okp(a)); -- hidden
alter table par add check (okp(k));
alter table t add column z int default 3 check (okp(z));
alter table t add column z bool default okp(3);
alter table t add column z int generated always as (immut(a)) stored;
alter table t alter column a type bool using okp(a);
alter table te alter column a type bool using okp(a); -- hidden
alter domain dok add check (okp(value));
alter domain nn set not null;
alter domain amount add check (value > 0);
alter domain dok set not null;
drop extension vector cascade;
drop extension if exists vector cascade;
drop extension if exists hstore cascade;
alter extension vector set schema ext;
alter extension vector update;
insert into cr (a) values (1); -- hidden
insert into cr (a) values (5); -- hidden
insert into cr2 (a) values (1); -- hidden
insert into cr2 (a) values (5); -- hidden
insert into up values (1, 2) on conflict (id) do update set a = 3;
insert into up values (7, 2) on conflict (id) do update set a = 3;
insert into up values (1, 2) on conflict (id) do update set a = 3 where up.a > 9; -- hidden
insert into up values (1, 2) on conflict do nothing; -- hidden
insert into up values (7, 2) on conflict do nothing; -- hidden
insert into up values (7, 2);
insert into up2 values (1, 2) on conflict (id) do update set a = 3; -- hidden
insert into up2 values (7, 2) on conflict (id) do update set a = 3; -- hidden
insert into up3 values (1, 2) on conflict (id) do update set a = 3;
insert into up3 values (1, 2) on conflict do nothing;
insert into ref values (3, 3); -- hidden
update ref set a = 3; -- hidden
delete from ref; -- hidden
drop type state cascade;
drop domain amount cascade;
