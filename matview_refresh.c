/*
 * matview_refresh.c
 *		The door: settings and library initialization.
 *
 * Nothing here is needed for correctness: the library may be loaded by the
 * first call of one of its functions.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/guc.h"

#include "matview_refresh.h"

PG_MODULE_MAGIC;

int			mvr_history_limit = 100;
int			mvr_swap_timeout = 60000;
int			mvr_max_log_size = 1024 * 1024;

void		_PG_init(void);

void
_PG_init(void)
{
	DefineCustomIntVariable("matview.history_limit",
							"Number of past refreshes kept per materialized view.",
							"0 keeps no history.",
							&mvr_history_limit, 100, 0, 1000000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("matview.swap_timeout",
							"How long a concurrent refresh goes on trying for the lock to swap in the new contents.",
							"When the time is over, the differing rows are written instead.",
							&mvr_swap_timeout, 60000, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("matview.max_log_size",
							"Size of a change log from which a view left behind is recomputed at its next refresh.",
							"-1 lets a view hold back a change log of any size.",
							&mvr_max_log_size, 1024 * 1024, -1, MAX_KILOBYTES,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	MarkGUCPrefixReserved("matview");
}
