alter table lone set tablespace tsp;
alter index child_name set tablespace tsp;
alter table app.t owner to bob;
alter table grand owner to bob;
alter sequence sq owner to bob;
alter view v1 owner to bob;
alter materialized view mv owner to bob;
alter type mood owner to bob;
create table n1 tablespace tsp as select 1;
