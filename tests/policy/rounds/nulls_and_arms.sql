-- on shop_with_rows
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
