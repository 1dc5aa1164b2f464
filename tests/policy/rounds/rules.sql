create table pairs (id int primary key, b int);
create table log (id serial primary key, v text);
create table other (id int primary key);
create rule d1 as on delete to pairs do instead nothing;
create rule u1 as on update to pairs do also insert into log (v) values (new.b::text);
create rule i1 as on insert to pairs where new.b > 3 do instead insert into log (v) values ('big');
create table q (id int primary key, b int);
create rule q1 as on update to q do instead update other set id = new.id where id = old.id;
create rule q2 as on delete to q do instead delete from other;
create rule q3 as on insert to q do instead (insert into other values (new.id); delete from log);
create view v as select * from pairs;
create view vi as select * from other;
create view vt as select id from other;
create rule vr as on insert to vi do instead insert into log (v) values ('x');
create function touch() returns trigger language plpgsql as $$begin return new; end$$;
create trigger t1 instead of insert or update or delete on vt for each row execute function touch();
create table up (id int primary key);
create rule up1 as on update to up do also notify x;
-- each
delete from pairs where id = 1;
delete from pairs using other where other.id = pairs.id;
update pairs set b = 3 where id = 1; -- rows
update pairs set b = 3; -- rows
insert into pairs values (1, 2); -- rows
insert into pairs select 1, 2 from other; -- rows
update q set b = 4 where id = 3;
delete from q;
delete from q using log where log.id = q.id;
insert into q values (1, 2);
insert into q select * from pairs;
insert into vi values (3);
insert into vt values (3);
update vt set id = 4;
delete from vt where id = 3;
delete from v;
update v set b = 3; -- rows
update up set id = 3;
