create schema s; create table t (id int primary key, a int); create table s.t (id int primary key, b int); create table s.only_s (id int); insert into t values (1,1); create table pg (id int);
create function f_set() returns void language plpgsql as $$ begin set local search_path = s, public; delete from t; end $$;
create function f_cfg() returns void language plpgsql as $$ begin perform set_config('search_path', 's, public', true); delete from t; end $$;
create function f_dyn(p text) returns void language plpgsql as $$ begin perform set_config('search_path', p, true); delete from t; end $$;
create function f_if(p bool) returns void language plpgsql as $$ begin if p then set search_path = s; end if; delete from t; end $$;
create function f_reset() returns void language plpgsql as $$ begin perform set_config('search_path', 's', true); reset search_path; delete from t; end $$;
create function f_sql() returns void language sql as $$ select set_config('search_path', 's', true); $$;
create function f_attr() returns void language plpgsql set search_path = s as $$ begin delete from t; perform set_config('search_path', '"public"', true); delete from t; end $$;
-- each
select f_set();
select f_cfg();
select f_if(false); -- rows
select f_reset();
select f_attr();
do $$ begin set search_path = s; delete from t; end $$;
do $$ begin perform set_config('search_path', 's', false); create index on t (b); end $$;
do $$ begin perform set_config('search_path', 'S , "public"', false); alter table t add column z int; end $$;
do $$ begin execute 'set search_path = s'; delete from t; end $$;
do $$ begin set search_path = "$user", s, public; create table fresh (id int); delete from t; delete from only_s; end $$;
do $$ begin perform set_config('search_path', '', false); delete from s.t; end $$;
