create table cust (id int primary key, email text unique); insert into cust values (1,'a'),(2,'b');
create table ord (id int primary key, cust_id int references cust, qty int default 1); create index on ord (cust_id);
insert into ord values (1,1,1),(2,2,2);
create table aud (id bigserial primary key, what text, at timestamptz default now());
create table ev (id int, ten int, v text, primary key (ten,id)) partition by list (ten);
create table ev1 partition of ev for values in (1); create table ev2 partition of ev for values in (2);
insert into ev values (1,1,'x'),(2,2,'y');
create table evref (id int, ten int, foreign key (ten,id) references ev);
create function f_sql() returns bigint language sql as 'select count(*) from ord';
create function f_st() returns bigint language sql stable as 'select count(*) from ord';
create function f_ins() returns void language sql as 'insert into aud (what) values (''x'')';
create function f_two() returns void language sql as $$ update ord set qty = 2 where id = 1; delete from aud; $$;
create function f_atomic() returns bigint language sql begin atomic select count(*) from cust; end;
create function f_pl() returns bigint language plpgsql as $$ declare n bigint; begin select count(*) into n from ord where cust_id = 1; return n; end $$;
create function f_pl2() returns void language plpgsql as $$ begin if exists (select 1 from cust) then insert into aud (what) values ('y'); end if; perform f_sql(); end $$;
create function f_dyn() returns void language plpgsql as $$ begin execute 'update ord set qty = 3'; end $$;
create function f_pure(x int) returns int language sql immutable as 'select x + 1';
create function f_ev(t int) returns bigint language sql stable as 'select count(*) from ev where ten = t';
create function f_set() returns setof ord language sql stable as 'select * from ord';
create function f_nest() returns bigint language sql as 'select f_sql() + f_pl()';
create procedure p_sql() language sql as $$ insert into aud (what) values ('p'); $$;
create procedure p_pl(n int) language plpgsql as $$ begin update ord set qty = n; if n > 3 then delete from aud; end if; end $$;
create procedure p_ddl() language plpgsql as $$ begin alter table ord add column extra text; end $$;
create function tg_aud() returns trigger language plpgsql as $$ begin insert into aud (what) values (tg_op); return new; end $$;
create function tg_branch() returns trigger language plpgsql as $$ begin if tg_op = 'INSERT' then insert into aud (what) values ('i'); elsif tg_op = 'UPDATE' then perform 1 from ev; end if; return null; end $$;
create table trow (id int, v text); insert into trow values (1,'x');
create trigger t1 after insert or update on trow for each row execute function tg_aud();
create table tst (id int, v text); insert into tst values (1,'x');
create trigger t1 after insert or update or delete or truncate on tst for each statement execute function tg_branch();
create table tdef (id int, n bigint default f_sql()); create table tdef2 (id int, n int default f_pure(1), m bigint generated always as identity);
create view vf as select f_sql() as n; create view vset as select * from f_set();
-- each
select f_sql();
select f_st();
select f_ins();
select f_two();
select f_atomic();
select f_pl();
select f_pl2(); -- hidden
select f_dyn();
select f_pure(1);
select * from f_set();
select f_nest();
select * from vf;
select * from vset;
call p_sql();
call p_pl(1); -- hidden
call p_pl(5); -- hidden
call p_ddl();
do $$ begin update ord set qty = 5 where id = 1; end $$;
do $$ begin alter table ord add column q2 int; create index ord_q2 on ord (q2); end $$;
do $$ begin perform f_sql(); end $$;
do $$ declare r record; begin for r in select * from cust loop insert into aud (what) values (r.email); end loop; end $$; -- hidden
do $$ begin create type mood as enum ('x'); exception when duplicate_object then null; end $$;
do $$ begin if not exists (select 1 from cust where id = 9) then insert into cust values (9, 'z'); end if; end $$; -- hidden
do $$ declare i int := 0; begin while i < 3 loop insert into aud (what) values (i::text); i := i + 1; end loop; end $$; -- hidden
insert into ord values (3, 1, 5);
insert into ord (id) values (4);
insert into ord values (5, null, 5);
insert into evref values (1, 1);
insert into trow values (5, 'x');
insert into trow select 5, 'x';
update trow set v = 'y';
update trow set v = 'y' where id = 99; -- hidden
insert into tst values (1, 'x');
update tst set v = 'y' where id = 99;
delete from tst;
truncate tst;
merge into tst using cust on cust.id = tst.id when matched then update set v = 'q';
insert into tst values (1, 'x') on conflict do nothing;
insert into tdef values (1);
insert into tdef values (1, 5);
insert into tdef2 values (1);
select id, f_sql() from ord; -- hidden
select id from ord where qty = f_sql(); -- hidden
update ord set qty = f_pure(qty);
update ord set qty = f_sql(); -- hidden
alter table ord add check (f_pure(qty) > 0);
create table x as select f_sql();
create view x as select f_sql();
select pg_relation_size('ord'), pg_total_relation_size('cust');
select count(*) from ord having f_sql() > 0; -- hidden
select case when true then f_sql() end; -- hidden
select coalesce((select max(id) from ord), f_sql()); -- hidden
explain analyze select f_sql();
with x as (select f_ins()) select 1; -- hidden
with x as (select f_ins()) select * from x;
