alter table child add constraint z not null qty;
alter table child add constraint z not null qty not valid;
alter table child add column z int generated always as (qty+1) virtual;
alter table child add column z int generated always as (qty+1) virtual check (z > 1);
alter table child add constraint z check (qty < 5) not enforced;
alter table child add constraint z foreign key (qty) references grand(id) not enforced;
alter table gen alter column b set expression as (a+2);
alter table child alter constraint child_parent_id_fkey not enforced;
alter table inh add constraint z not null a;
