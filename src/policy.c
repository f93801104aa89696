/*
 * policy.c
 *		When views are to be refreshed by themselves, and how that went.
 *
 * matview.policies has what users have said, matview.policy_runs how the last
 * refresh by a worker went.  They are apart because a worker must not wait for
 * a user's transaction, nor the other way round: users write only the first,
 * one after the other by a lock on the view's policy, and of a view's second
 * only the one worker that refreshes it.  What is left of it when no worker has
 * the view any more is nobody's concern, and goes when one gets it again.
 *
 * (1) A dump has the first table, with a view's name beside its OID, which
 *	   means nothing where it is restored.  The "home" of a row says in which
 *	   database of which cluster it was written.  At home the OID is right and
 *	   the name follows; elsewhere the name is right, and the row is adopted,
 *	   which gives it the OID that the name has here.  That may be later than
 *	   the table is restored: pg_dump creates some views last of all.
 * (2) A name follows a rename by event trigger, and otherwise when the row is
 *	   read by a scheduler.
 * (3) Whoever changes the table tells the scheduler at commit.
 *
 * The tables are small and have no keys: what is read is mostly all of them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "matview_refresh.h"

PG_FUNCTION_INFO_V1(mvr_set_auto_refresh);
PG_FUNCTION_INFO_V1(mvr_schedule_auto_refresh);
PG_FUNCTION_INFO_V1(mvr_pause);
PG_FUNCTION_INFO_V1(mvr_resume);
PG_FUNCTION_INFO_V1(mvr_next_due);
PG_FUNCTION_INFO_V1(mvr_policy_name);
PG_FUNCTION_INFO_V1(mvr_note_policies);

/* Columns, in the order of the installation script */
enum
{
	POLICIES_VIEW = 1, POLICIES_NAME, POLICIES_HOME, POLICIES_POLICY,
	POLICIES_PAUSED, POLICIES_SINCE, POLICIES_NATTS = POLICIES_SINCE
};

enum
{
	RUNS_VIEW = 1, RUNS_STARTED, RUNS_FINISHED, RUNS_FAILURES, RUNS_SQLSTATE,
	RUNS_ERROR, RUNS_RETRY_AT, RUNS_NATTS = RUNS_RETRY_AT
};

/* What is kept of texts, in bytes: a row is never so long that it is toasted */
#define MAX_POLICY		200
#define MAX_ERROR		1000

/* No more than ten times a second */
#define MIN_EVERY		(USECS_PER_SEC / 10)

/* ----------
 * Texts
 * ----------
 */

static TimestampTz
add_interval(TimestampTz start, const Interval *every)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(start),
												   IntervalPGetDatum(every)));
}

/*
 * The end of an interval that begins at a time.  "1 month -29 days" is shorter in
 * some months than in others.
 */
TimestampTz
mvr_policy_add_interval(TimestampTz start, const Interval *every)
{
	return Max(add_interval(start, every), start + MIN_EVERY);
}

/*
 * The next turn of a view after "now": such intervals follow each other from the time
 * at which its last refresh began.  Of views to which nothing happens turns go by.
 */
TimestampTz
mvr_policy_next_turn(TimestampTz start, const Interval *every, TimestampTz now)
{
	TimestampTz due = mvr_policy_add_interval(start, every);

	if (due <= now && every->month == 0 && every->day == 0)
		return start + ((now - start) / every->time + 1) * every->time;
	for (int turns = 0; due <= now && turns < 10000; turns++)
		due = mvr_policy_add_interval(due, every);
	return Max(due, now);
}

static void
raise_bad_policy(const char *text, const char *detail)
{
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("invalid refresh policy \"%s\"", text),
			errdetail("%s", detail),
			errhint("A policy is off, on_statement, on_commit, on_change, an interval such as '5 seconds', or a cron line such as '*/5 * * * *' or @daily."));
}

static void
check_every(const Interval *every, const char *text)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		fits = false;

	if (every->month <= 1200 && every->month >= -1200 && every->day <= 36525 &&
		every->day >= -36525 && every->time <= USECS_PER_DAY * 36525 &&
		every->time >= -USECS_PER_DAY * 36525)
		fits = add_interval(now, every) - now >= MIN_EVERY;
	if (!fits)
		raise_bad_policy(text, "An interval must be at least 100 milliseconds and at most 100 years.");
}

/* An interval from text; any error of it is ours */
static void
parse_every(const char *text, MvrPolicy *policy)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		policy->every = *DatumGetIntervalP(DirectFunctionCall3(interval_in,
															   CStringGetDatum(text),
															   ObjectIdGetDatum(InvalidOid),
															   Int32GetDatum(-1)));
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		if (ERRCODE_TO_CATEGORY(code) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		raise_bad_policy(text, "It is no keyword, no interval and no cron line.");
	}
	PG_END_TRY();
	check_every(&policy->every, text);
}

/* As it is stored: the same in all sessions */
static char *
format_every(const Interval *every)
{
	int			style = IntervalStyle;
	char	   *text;

	IntervalStyle = INTSTYLE_POSTGRES;
	text = DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(every)));
	IntervalStyle = style;
	return text;
}

static void
parse_cron(const char *text, MvrPolicy *policy)
{
	char	   *problem;

	if (!mvr_cron_parse(text, &policy->cron, &problem))
		raise_bad_policy(text, problem);
}

static char *
trim_text(const char *text)
{
	char	   *copy = pstrdup(text);
	int			length = strlen(copy);

	while (length > 0 && isspace((unsigned char) copy[length - 1]))
		copy[--length] = '\0';
	while (isspace((unsigned char) *copy))
		copy++;
	return copy;
}

static const struct
{
	const char *name;
	MvrPolicyKind kind;
}			keywords[] = {
	{"off", MVR_POLICY_OFF},
	{"on_statement", MVR_POLICY_ON_STATEMENT},
	{"on_commit", MVR_POLICY_ON_COMMIT},
	{"on_change", MVR_POLICY_ON_CHANGE}
};

/* Fill in what the text says; raises 22023 if it is none */
static void
parse_policy(const char *text, MvrPolicy *policy)
{
	policy->text = trim_text(text);
	if (strlen(policy->text) > MAX_POLICY)
		raise_bad_policy(policy->text, "It is too long.");
	for (int i = 0; i < (int) lengthof(keywords); i++)
	{
		if (pg_strcasecmp(policy->text, keywords[i].name) == 0)
		{
			policy->kind = keywords[i].kind;
			policy->text = pstrdup(keywords[i].name);
			return;
		}
	}
	if (mvr_cron_is_like(policy->text))
	{
		policy->kind = MVR_POLICY_CRON;
		parse_cron(policy->text, policy);
	}
	else
	{
		policy->kind = MVR_POLICY_EVERY;
		parse_every(policy->text, policy);
		policy->text = format_every(&policy->every);
	}
}

/*
 * The same of a stored text.  False if it is none after all: somebody may have
 * written the table by hand, and a scheduler must not fail of that.
 */
static bool
parse_stored(const char *text, MvrPolicy *policy)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool is_valid = true;

	PG_TRY();
	{
		parse_policy(text, policy);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_INVALID_PARAMETER_VALUE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		is_valid = false;
	}
	PG_END_TRY();
	return is_valid;
}

/* ----------
 * Names and homes
 * ----------
 */

/* Where rows are written: a database of a cluster */
static const char *
get_home(void)
{
	static char home[64] = "";

	if (home[0] == '\0')
		snprintf(home, sizeof(home), UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId);
	return home;
}

/* The name by which a view is found elsewhere; NULL if it is gone */
static char *
build_name(Oid view)
{
	char	   *name = get_rel_name(view);
	char	   *schema = name ? get_namespace_name(get_rel_namespace(view)) : NULL;
	bool		quote_all = quote_all_identifiers;
	char	   *result = NULL;

	/* the same for every session */
	quote_all_identifiers = false;
	if (schema)
		result = quote_qualified_identifier(schema, name);
	quote_all_identifiers = quote_all;
	return result;
}

/* InvalidOid if there is no such materialized view here */
static Oid
lookup_name(const char *name)
{
	List	   *names;
	Oid			view;

	if (!SplitIdentifierString(pstrdup(name), '.', &names) || list_length(names) != 2)
		return InvalidOid;
	view = get_namespace_oid(linitial(names), true);
	if (OidIsValid(view))
		view = get_relname_relid(lsecond(names), view);
	return OidIsValid(view) && get_rel_relkind(view) == RELKIND_MATVIEW ? view : InvalidOid;
}

/* ----------
 * The tables
 * ----------
 */

/* NULL if the extension has gone */
static Relation
try_open(const char *name, LOCKMODE lockmode)
{
	Oid			schema = get_namespace_oid("matview", true);
	Oid			relid = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
	Relation	rel;

	rel = OidIsValid(relid) ? try_relation_open(relid, lockmode) : NULL;
	if (rel && lockmode > AccessShareLock)
		mvr_catalog_ensure_mark(rel);
	return rel;
}

static Relation
open_registry(const char *name, LOCKMODE lockmode)
{
	Relation	rel = try_open(name, lockmode);

	if (rel == NULL)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table matview.%s does not exist", name),
				errdetail("The extension matview_refresh is not there, or not as a whole."),
				errhint("Create the extension matview_refresh in this database."));
	return rel;
}

/* A row of matview.policies, taken apart */
typedef struct Row
{
	Oid			view;			/* here; InvalidOid if it is not (yet) known */
	Oid			dropped;		/* what it was about and is not here any more */
	char	   *name;
	char	   *text;
	bool		paused;
	TimestampTz since;			/* when the policy was set, here */
	bool		is_stale;		/* OID or name are not as the view has them */
	bool		is_foreign;		/* it was written elsewhere */
	bool		is_early;		/* and a restore has not filled the view yet */
} Row;

static bool
is_populated(Oid view)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(view));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_class) GETSTRUCT(tuple))->relispopulated;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Take a row apart.  If it can be seen at once that it is not about the view
 * that is looked for (InvalidOid: any), only that is found out.
 */
static Row
read_row(TupleDesc desc, HeapTuple tuple, Oid view)
{
	Datum		values[POLICIES_NATTS];
	bool		nulls[POLICIES_NATTS];
	Row			row = {0};
	char	   *name;
	bool		is_home;

	heap_deform_tuple(tuple, desc, values, nulls);
	row.view = DatumGetObjectId(values[POLICIES_VIEW - 1]);
	is_home = strcmp(TextDatumGetCString(values[POLICIES_HOME - 1]), get_home()) == 0;
	/* a restore into the database of the dump has made the views anew */
	if (is_home && !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(row.view)))
	{
		row.dropped = row.view;
		is_home = false;
	}
	if (is_home && OidIsValid(view) && row.view != view)
		return row;
	row.name = TextDatumGetCString(values[POLICIES_NAME - 1]);
	row.text = TextDatumGetCString(values[POLICIES_POLICY - 1]);
	row.paused = DatumGetBool(values[POLICIES_PAUSED - 1]);
	row.since = DatumGetTimestampTz(values[POLICIES_SINCE - 1]);
	if (!is_home)
	{
		row.since = GetCurrentTimestamp();
		row.view = lookup_name(row.name);
		row.is_foreign = OidIsValid(row.view);
		row.is_early = row.is_foreign && !is_populated(row.view);
		row.is_stale = row.is_foreign && !row.is_early;
		return row;
	}
	name = build_name(row.view);
	if (name && strcmp(name, row.name) != 0)
	{
		row.name = name;
		row.is_stale = true;
	}
	return row;
}

static HeapTuple
form_row(TupleDesc desc, const Row *row)
{
	Datum		values[POLICIES_NATTS];
	bool		nulls[POLICIES_NATTS] = {0};

	values[POLICIES_VIEW - 1] = ObjectIdGetDatum(row->view);
	values[POLICIES_NAME - 1] = CStringGetTextDatum(row->name);
	values[POLICIES_HOME - 1] = CStringGetTextDatum(get_home());
	values[POLICIES_POLICY - 1] = CStringGetTextDatum(row->text);
	values[POLICIES_PAUSED - 1] = BoolGetDatum(row->paused);
	values[POLICIES_SINCE - 1] = TimestampTzGetDatum(row->since);
	return heap_form_tuple(desc, values, nulls);
}

/*
 * Serialize those who write the policy of one view; no one else takes this
 * lock.  The registry is read with a fresh snapshot behind it.
 */
static void
lock_policy(Oid view)
{
	LockDatabaseObject(RelationRelationId, view, 1, ExclusiveLock);
}

/* The row of one view, false if there is none */
static bool
lookup_row(Oid view, Row *result)
{
	Relation	rel = open_registry("policies", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Row			row = read_row(RelationGetDescr(rel), tuple, view);

		if (row.view == view)
		{
			*result = row;
			found = true;
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Replace the row of one view, or delete it if "new" is NULL */
static void
replace_row(Oid view, const Row *new)
{
	Relation	rel = open_registry("policies", RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (read_row(RelationGetDescr(rel), tuple, view).view == view)
			CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	if (new)
		CatalogTupleInsert(rel, form_row(RelationGetDescr(rel), new));
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
	mvr_wake_note_policies();
}

/* All policies of views that are here, as MvrPolicy; NIL without the extension */
List *
mvr_policy_list(void)
{
	Relation	rel = try_open("policies", AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *policies = NIL;

	if (rel == NULL)
		return NIL;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Row			row = read_row(RelationGetDescr(rel), tuple, InvalidOid);
		MvrPolicy  *policy = palloc0(sizeof(MvrPolicy));

		if (row.is_early || get_rel_relkind(row.view) != RELKIND_MATVIEW ||
			!parse_stored(row.text, policy))
			continue;
		policy->view = row.view;
		policy->paused = row.paused;
		policy->since = row.since;
		policies = lappend(policies, policy);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return policies;
}

/* Is a view to be refreshed automatically, as of what is committed now? */
bool
mvr_policy_is_in_force(Oid view)
{
	Row			row;

	return lookup_row(view, &row) && !row.paused;
}

/*
 * Bring names and OIDs of rows up to date: follow renames, and adopt what a
 * restore has brought.  Of views that it has not filled only if it has come to
 * that: before, it makes indexes and constraints, and a worker would be in its
 * way.  Returns whether there was anything to adopt.
 */
bool
mvr_policy_adopt(bool also_unfilled)
{
	Relation	rel = try_open("policies", AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *stale = NIL;
	ListCell   *lc;
	bool		is_foreign = false;

	if (rel == NULL)
		return false;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Row			row = read_row(RelationGetDescr(rel), tuple, InvalidOid);

		if (row.is_early && !also_unfilled)
			continue;
		if (row.is_stale || row.is_early)
			stale = lappend_oid(stale, row.view);
		is_foreign |= row.is_foreign;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	list_sort(stale, list_oid_cmp);
	foreach(lc, stale)
	{
		Row			row;

		lock_policy(lfirst_oid(lc));
		if (lookup_row(lfirst_oid(lc), &row) && (row.is_stale || row.is_early))
			replace_row(lfirst_oid(lc), &row);
	}
	return is_foreign;
}

/* ----------
 * Runs
 * ----------
 */

/* Find the row of a view's last run */
static HeapTuple
find_run(Relation rel, Oid view, SysScanDesc *scan)
{
	ScanKeyData key;
	Oid			index = get_relname_relid("policy_runs_pkey", RelationGetNamespace(rel));

	ScanKeyInit(&key, RUNS_VIEW, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(view));
	*scan = systable_beginscan(rel, index, OidIsValid(index), NULL, 1, &key);
	return systable_getnext(*scan);
}

static void
read_run(TupleDesc desc, HeapTuple tuple, MvrRun *run)
{
	Datum		values[RUNS_NATTS];
	bool		nulls[RUNS_NATTS];

	heap_deform_tuple(tuple, desc, values, nulls);
	run->started = DatumGetTimestampTz(values[RUNS_STARTED - 1]);
	run->finished = DatumGetTimestampTz(values[RUNS_FINISHED - 1]);
	run->failures = DatumGetInt32(values[RUNS_FAILURES - 1]);
	if (!nulls[RUNS_SQLSTATE - 1])
	{
		char	   *state = TextDatumGetCString(values[RUNS_SQLSTATE - 1]);

		run->sqlstate = MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
	}
	if (!nulls[RUNS_RETRY_AT - 1])
		run->retry_at = DatumGetTimestampTz(values[RUNS_RETRY_AT - 1]);
}

/* How the last refresh by a worker went; false, and zeros, if there was none */
bool
mvr_policy_lookup_run(Oid view, MvrRun *run)
{
	Relation	rel = try_open("policy_runs", AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;

	memset(run, 0, sizeof(*run));
	run->view = view;
	if (rel == NULL)
		return false;
	tuple = find_run(rel, view, &scan);
	if (HeapTupleIsValid(tuple))
		read_run(RelationGetDescr(rel), tuple, run);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return run->started != 0;
}

/*
 * Store it.  Only the worker that has the view calls this, or the scheduler when that has
 * ended, with a lock on the view, so that none is left behind when it is dropped.
 */
void
mvr_policy_store_run(const MvrRun *run, const char *error)
{
	Relation	rel = try_open("policy_runs", RowExclusiveLock);
	Datum		values[RUNS_NATTS] = {0};
	bool		nulls[RUNS_NATTS] = {0};
	SysScanDesc scan;
	HeapTuple	old;
	HeapTuple	tuple;

	if (rel == NULL)
		return;
	old = find_run(rel, run->view, &scan);

	values[RUNS_VIEW - 1] = ObjectIdGetDatum(run->view);
	values[RUNS_STARTED - 1] = TimestampTzGetDatum(run->started);
	values[RUNS_FINISHED - 1] = TimestampTzGetDatum(run->finished);
	values[RUNS_FAILURES - 1] = Int32GetDatum(run->failures);
	nulls[RUNS_SQLSTATE - 1] = nulls[RUNS_ERROR - 1] = nulls[RUNS_RETRY_AT - 1] =
		(run->failures == 0);
	if (run->failures > 0)
	{
		values[RUNS_SQLSTATE - 1] = CStringGetTextDatum(unpack_sql_state(run->sqlstate));
		values[RUNS_ERROR - 1] =
			PointerGetDatum(cstring_to_text_with_len(error, pg_mbcliplen(error, strlen(error),
																		 MAX_ERROR)));
		values[RUNS_RETRY_AT - 1] = TimestampTzGetDatum(run->retry_at);
	}
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	else
		CatalogTupleInsert(rel, tuple);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
}

static void
delete_run(Oid view)
{
	Relation	rel = open_registry("policy_runs", RowExclusiveLock);
	SysScanDesc scan;
	HeapTuple	tuple = find_run(rel, view, &scan);

	if (HeapTupleIsValid(tuple))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
}

/* ----------
 * Setting policies
 * ----------
 */

static char
get_live(const MvrPolicy *policy)
{
	if (policy->kind == MVR_POLICY_ON_STATEMENT)
		return MVR_LIVE_STATEMENT;
	if (policy->kind == MVR_POLICY_ON_COMMIT)
		return MVR_LIVE_COMMIT;
	return MVR_LIVE_NOT;
}

/* Make the view live if a policy says so, or end that */
static void
follow_policy(Oid view, const MvrPolicy *policy, bool paused)
{
	char		live = paused ? MVR_LIVE_NOT : get_live(policy);

	if (live == MVR_LIVE_NOT)
		mvr_in_transaction_stop(view);
	else
		mvr_in_transaction_start(view, live);
}

static void
warn_if_nobody_does_it(const MvrPolicy *policy)
{
	if (mvr_shared == NULL && policy->kind >= MVR_POLICY_ON_CHANGE)
		ereport(NOTICE,
				errmsg("no background worker is there to refresh materialized views"),
				errdetail("The policy is stored, and will be followed as soon as there is one."),
				errhint("Add matview_refresh to shared_preload_libraries and restart the server."));
}

/*
 * Check that the caller may change the policy of a view, and lock that.  The view
 * is not kept locked: to make it live, or end that, may have to wait for a
 * refresh, which would wait for us to exchange its files.
 */
static void
prepare_to_change(Oid view, const char *command)
{
	mvr_view_check_may_write(command);
	relation_close(mvr_view_open(view, AccessShareLock), AccessShareLock);
	lock_policy(view);
}

/* Store the new policy of a view, which from here on nobody can drop */
static void
store_policy(Oid view, const Row *row)
{
	relation_close(mvr_view_open(view, AccessShareLock), NoLock);
	replace_row(view, row);
}

static bool
is_for_workers(const MvrPolicy *policy)
{
	return policy->kind >= MVR_POLICY_ON_CHANGE;
}

/*
 * Is a view to be refreshed by workers that was not so far, or the other way
 * round?  Then what was the matter in former times does not count.  A worker that
 * still has it is let be.
 */
static void
forget_runs(Oid view, const MvrPolicy *policy)
{
	MvrPolicy	before = {0};
	Row			row;

	if (policy->kind == MVR_POLICY_OFF)
		return;
	if (lookup_row(view, &row) && parse_stored(row.text, &before) &&
		is_for_workers(&before) == is_for_workers(policy))
		return;
	if (ConditionalLockRelationOid(view, ShareUpdateExclusiveLock))
		delete_run(view);
}

/* Set the policy of a view: that of SQL and of DDL, which "command" names */
void
mvr_policy_set(Oid view, const char *text, const char *command)
{
	MvrPolicy	policy = {0};
	Row			row;

	parse_policy(text, &policy);
	prepare_to_change(view, command);
	warn_if_nobody_does_it(&policy);
	forget_runs(view, &policy);
	if (!lookup_row(view, &row) || strcmp(row.text, policy.text) != 0)
		row.since = GetCurrentTimestamp();
	follow_policy(view, &policy, false);
	row.view = view;
	row.name = build_name(view);
	row.text = policy.text;
	row.paused = false;
	store_policy(view, policy.kind == MVR_POLICY_OFF ? NULL : &row);
	mvr_track_sweep();
}

static void
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	Oid			view = mvr_view_get_argument(fcinfo);
	MvrPolicy	policy = {0};
	Row			row;

	prepare_to_change(view, mvr_view_get_command(fcinfo));
	if (!lookup_row(view, &row))
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("materialized view \"%s\" is not refreshed automatically",
					   get_rel_name(view)),
				errdetail("It has no refresh policy."),
				errhint("Give it one by matview.set_auto_refresh()."));
	if (parse_stored(row.text, &policy))
		follow_policy(view, &policy, paused);
	row.paused = paused;
	store_policy(view, &row);
}

/* Make a view live that its policy wants to be; a failure is only told of */
static void
try_start(Oid view, char live)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		mvr_in_transaction_start(view, live);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
			ReThrowError(error);
		ereport(WARNING,
				errcode(error->sqlerrcode),
				errmsg("materialized view \"%s\" does not follow its refresh policy",
					   get_rel_name(view)),
				errdetail("%s", error->message),
				errhint("Set the policy again by matview.set_auto_refresh()."));
	}
	PG_END_TRY();
}

/* What the policy of a view that is not live wants it to become */
static char
get_missing_live(Oid view)
{
	MvrTracked *tracked = mvr_catalog_lookup_view(view);
	MvrPolicy	policy = {0};
	Row			row;

	if ((tracked && tracked->live != MVR_LIVE_NOT) || !lookup_row(view, &row) ||
		row.paused || !parse_stored(row.text, &policy))
		return MVR_LIVE_NOT;
	return get_live(&policy);
}

/*
 * REFRESH MATERIALIZED VIEW has written a view.  If its policy came with a
 * restore, which ends with this command, the view becomes live now.
 */
void
mvr_policy_follow_refresh(Oid view)
{
	char		live = get_missing_live(view);

	mvr_in_transaction_note_refresh(view);
	if (live != MVR_LIVE_NOT && !IsolationUsesXactSnapshot())
		try_start(view, live);
}

/* Make a view live that its policy wants to be and is not, as its owner */
void
mvr_policy_start_missing(Oid view)
{
	char		live = get_missing_live(view);

	if (live == MVR_LIVE_NOT)
		return;
	lock_policy(view);
	live = get_missing_live(view);
	if (live != MVR_LIVE_NOT)
		mvr_in_transaction_start(view, live);
}

/* Forget the policies of relations that have been dropped */
void
mvr_policy_forget(List *relations)
{
	Relation	rel = try_open("policies", RowExclusiveLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	ListCell   *lc;

	if (rel == NULL)
		return;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Row			row = read_row(RelationGetDescr(rel), tuple, InvalidOid);

		if (!list_member_oid(relations, row.dropped) && !list_member_oid(relations, row.view))
			continue;
		CatalogTupleDelete(rel, &tuple->t_self);
		mvr_wake_note_policies();
	}
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	foreach(lc, relations)
		delete_run(lfirst_oid(lc));
}

/* ----------
 * SQL
 * ----------
 */

/* SQL: matview.set_auto_refresh(view, policy) */
Datum
mvr_set_auto_refresh(PG_FUNCTION_ARGS)
{
	Oid			view = mvr_view_get_argument(fcinfo);

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("refresh policy must not be null"),
				errdetail("The argument \"policy\" is NULL."),
				errhint("Use 'off' to end automatic refreshes."));
	mvr_policy_set(view, text_to_cstring(PG_GETARG_TEXT_PP(1)), mvr_view_get_command(fcinfo));
	PG_RETURN_VOID();
}

/* SQL: matview.schedule_auto_refresh(view, every) */
Datum
mvr_schedule_auto_refresh(PG_FUNCTION_ARGS)
{
	Oid			view = mvr_view_get_argument(fcinfo);

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("refresh interval must not be null"),
				errdetail("The argument \"every\" is NULL."),
				errhint("Use matview.set_auto_refresh(view, 'off') to end automatic refreshes."));
	mvr_policy_set(view, format_every(PG_GETARG_INTERVAL_P(1)), mvr_view_get_command(fcinfo));
	PG_RETURN_VOID();
}

/* SQL: matview.pause(view) */
Datum
mvr_pause(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, true);
	PG_RETURN_VOID();
}

/* SQL: matview.resume(view) */
Datum
mvr_resume(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, false);
	PG_RETURN_VOID();
}

/* When a view with a policy comes next; 0 if that depends on changes */
static TimestampTz
get_next_due(const MvrPolicy *policy, const MvrRun *run)
{
	TimestampTz now = GetCurrentTimestamp();

	if (run->failures > 0)
		return Max(run->retry_at, now);
	if (policy->kind == MVR_POLICY_EVERY && run->started == 0)
		return now;
	if (policy->kind == MVR_POLICY_EVERY)
		return mvr_policy_next_turn(run->started, &policy->every, now);
	if (policy->kind == MVR_POLICY_CRON)
		return mvr_cron_next(&policy->cron, now);
	return 0;
}

/* SQL: matview.next_due(view oid) */
Datum
mvr_next_due(PG_FUNCTION_ARGS)
{
	Oid			view = PG_GETARG_OID(0);
	MvrPolicy	policy = {0};
	MvrRun		run;
	Row			row;
	TimestampTz due;

	if (!lookup_row(view, &row) || row.paused || !parse_stored(row.text, &policy))
		PG_RETURN_NULL();
	mvr_policy_lookup_run(view, &run);
	due = get_next_due(&policy, &run);
	if (due == 0 || TIMESTAMP_NOT_FINITE(due))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(due);
}

/* SQL: matview.policy_name(view oid) */
Datum
mvr_policy_name(PG_FUNCTION_ARGS)
{
	char	   *name = build_name(PG_GETARG_OID(0));

	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(name));
}

/* SQL: trigger on matview.policies: somebody else than we has written it */
Datum
mvr_note_policies(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("matview.note_policies() must be called as a trigger"));
	mvr_wake_note_policies();
	return PointerGetDatum(NULL);
}
