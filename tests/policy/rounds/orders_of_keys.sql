create table ol (a text, b int) partition by range (a text_pattern_ops); create table ol1 partition of ol for values from ('a') to ('m'); create table ol2 partition of ol for values from ('m') to ('z');
create table cl (a text, b int) partition by range (a collate "C"); create table cl1 partition of cl for values from ('a') to ('m'); create table cl2 partition of cl for values from ('m') to ('z');
create table ll (a text, b int) partition by list (a collate "C"); create table ll1 partition of ll for values in ('a'); create table ll2 partition of ll for values in ('m');
create table hl (a text, b int) partition by hash (a text_pattern_ops); create table hl1 partition of hl for values with (modulus 2, remainder 0); create table hl2 partition of hl for values with (modulus 2, remainder 1);
create table hc (a text, b int) partition by hash (a collate "C"); create table hc1 partition of hc for values with (modulus 2, remainder 0); create table hc2 partition of hc for values with (modulus 2, remainder 1);
create table io (a int, b int) partition by range (a int4_ops); create table io1 partition of io for values from (1) to (5); create table io2 partition of io for values from (5) to (9);
create table cc (a text collate "C", b int) partition by range (a); create table cc1 partition of cc for values from ('a') to ('m'); create table cc2 partition of cc for values from ('m') to ('z');
create table cv (a text collate "C", b int) partition by range (a collate "default"); create table cv1 partition of cv for values from ('a') to ('m'); create table cv2 partition of cv for values from ('m') to ('z');
-- each
select * from ol where a > 'n';
select * from ol where a = 'n'; -- at most
select * from ol where a < 'b';
select * from cl where a > 'n';
select * from cl where a = 'n';
select * from ll where a = 'm';
select * from ll where a in ('m');
select * from ll where a <> 'm';
select * from hl where a = 'b'; -- at most
select * from hc where a = 'b';
select * from io where a = 2;
select * from cc where a > 'n';
select * from cc where a > 'n' collate "POSIX";
select * from cc where a = 'n' collate "default";
select * from cv where a = 'n';
select * from cv where a > 'n';
insert into ol values ('b', 1); -- hidden
insert into cl values ('b', 1); -- hidden
insert into ll values ('a', 1); -- hidden
insert into hl values ('a', 1); -- hidden
insert into hc values ('a', 1); -- hidden
insert into io values (1, 1);
insert into cv values ('b', 1); -- hidden
update ol set a = 'c' where a = 'b'; -- at most
