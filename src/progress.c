/*
 * progress.c
 *		Where the refresh of this backend is.
 *
 * Each backend has a slot in shared memory that it alone writes.  It is read
 * without a lock, so the numbers of a row of matview.progress may be of
 * slightly different moments.  The phase is also in the process title, which
 * is all there is when the library is not preloaded.
 *
 * A refresh ends for us with its transaction or subtransaction at the latest,
 * so an error leaves nothing behind.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ps_status.h"
#include "utils/tuplestore.h"

#include "matview_refresh.h"

PG_FUNCTION_INFO_V1(mvr_progress);

static MvrProgress *mine = NULL;	/* in shared memory */
static MvrProgress private;		/* in its place when there is none */
static int	level = 0;			/* of the transaction that has begun it */
static char title[64];			/* of the process, when it began */
static char shown_name[2 * NAMEDATALEN + 2];	/* of the view */

/* The title of the process tells a new number of rows when so many more have come */
#define SHOW_EVERY	0x10000

static const char *
name_phase(MvrPhase phase)
{
	switch (phase)
	{
		case MVR_PHASE_NONE:
			break;
		case MVR_PHASE_LOCK:
			return "locking";
		case MVR_PHASE_READ:
			return "reading changes";
		case MVR_PHASE_APPLY:
			return "applying changes";
		case MVR_PHASE_COMPARE:
			return "comparing";
		case MVR_PHASE_REBUILD:
			return "rebuilding";
		case MVR_PHASE_SWAP:
			return "swapping";
		case MVR_PHASE_RECORD:
			return "recording";
	}
	return "none";
}

static void
set_title(void)
{
	char		text[sizeof(shown_name) + 100];
	int			length = snprintf(text, sizeof(text), "refresh of %s: %s", shown_name,
								  name_phase(mine->phase));

	if (mine->expected > 0)
		snprintf(text + length, sizeof(text) - length, ", " INT64_FORMAT " of " INT64_FORMAT " rows",
				 mine->done, mine->expected);
	set_ps_display(text);
}

static MvrProgress *
get_slot(void)
{
	int			slot = mvr_shared ? MyProc - ProcGlobal->allProcs : -1;

	return slot >= 0 && slot < mvr_nprogress ? &mvr_progress_slots[slot] : &private;
}

static void
end_at_xact_end(XactEvent event, pg_attribute_unused() void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		mvr_progress_end();
}

static void
end_at_subxact_end(SubXactEvent event, pg_attribute_unused() SubTransactionId mine_id,
				   pg_attribute_unused() SubTransactionId parent,
				   pg_attribute_unused() void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && GetCurrentTransactionNestLevel() <= level)
		mvr_progress_end();
}

/* A refresh begins in this backend; the caller has the right to it */
void
mvr_progress_begin(Oid view)
{
	static bool is_registered = false;

	if (!is_registered)
	{
		RegisterXactCallback(end_at_xact_end, NULL);
		RegisterSubXactCallback(end_at_subxact_end, NULL);
		is_registered = true;
	}
	if (mine == NULL)
	{
		int			length;
		const char *text = get_ps_display(&length);

		strlcpy(title, text, Min(sizeof(title), (size_t) length + 1));
	}
	mine = get_slot();
	level = GetCurrentTransactionNestLevel();
	mine->database = MyDatabaseId;
	mine->view = view;
	mine->started = GetCurrentTimestamp();
	mine->pid = MyProcPid;
	mvr_progress_set_phase(MVR_PHASE_LOCK);
}

/* The refresh that this session runs enters a phase; rows are counted anew */
void
mvr_progress_set_phase(MvrPhase phase)
{
	char	   *name;

	if (mine == NULL)
		return;
	mine->done = mine->expected = 0;
	mine->phase = phase;
	name = get_rel_name(mine->view);
	if (name == NULL)
		return;
	snprintf(shown_name, sizeof(shown_name), "%s.%s",
			 get_namespace_name(get_rel_namespace(mine->view)), name);
	set_title();
}

/* How many rows the phase's query will give, as the planner sees it */
void
mvr_progress_expect(double rows)
{
	if (mine == NULL)
		return;
	mine->expected = (int64) Min(rows, 1e18);
	if (mine->expected >= SHOW_EVERY)
		set_title();
}

/* One of them has come */
void
mvr_progress_count(void)
{
	if (mine && ++mine->done % SHOW_EVERY == 0)
		set_title();
}

/* The refresh that this session runs has ended */
void
mvr_progress_end(void)
{
	if (mine == NULL)
		return;
	mine->phase = MVR_PHASE_NONE;
	mine->pid = 0;
	mine = NULL;
	set_ps_display(title);
}

/* ----------
 * SQL
 * ----------
 */

static void
put_row(ReturnSetInfo *result, const MvrProgress *progress)
{
	Datum		values[6];
	bool		nulls[6] = {0};

	values[0] = Int32GetDatum(progress->pid);
	values[1] = ObjectIdGetDatum(progress->view);
	values[2] = CStringGetTextDatum(name_phase(progress->phase));
	values[3] = Int64GetDatum(progress->done);
	values[4] = Int64GetDatum(progress->expected);
	nulls[4] = (progress->expected == 0);
	values[5] = TimestampTzGetDatum(progress->started);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* SQL: matview.running_refreshes(), of this database */
Datum
mvr_progress(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < mvr_nprogress; i++)
	{
		MvrProgress copy = mvr_progress_slots[i];

		if (copy.pid != 0 && copy.phase != MVR_PHASE_NONE && copy.database == MyDatabaseId)
			put_row((ReturnSetInfo *) fcinfo->resultinfo, &copy);
	}
	return (Datum) 0;
}
