-- lockgate: transaction=off
REINDEX TABLE CONCURRENTLY orders;
