/*
 * spi_limit(query, n): run a command by SPI that ends after n rows, as
 * plpy.execute(query, n) does.  Core fires no AFTER STATEMENT trigger then.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(spi_limit);

Datum
spi_limit(PG_FUNCTION_ARGS)
{
	uint64		n;

	SPI_connect();
	SPI_execute(text_to_cstring(PG_GETARG_TEXT_PP(0)), false, PG_GETARG_INT32(1));
	n = SPI_processed;
	SPI_finish();
	PG_RETURN_INT64(n);
}
