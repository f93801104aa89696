/*
 * statement_rows.c
 *		The rows that a statement has changed, where its transition tables hold them.
 *
 * They are there as long as the AFTER trigger runs.  A view that is maintained
 * right then reads them from there.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "executor/executor.h"
#include "utils/datum.h"

#include "matview_refresh.h"

/* The rows of a statement as rows of a delta */
typedef struct StatementRows
{
	MvrRowSource source;
	MvrStatement statement;
	TupleDesc	desc;			/* of the delta */
	int			nrow;			/* columns of it without the weight */
	AttrNumber *columns;		/* for each of them that of the rows, or 0 */
	AttrNumber	last;			/* highest of them */
} StatementRows;

typedef struct StatementScan
{
	const StatementRows *of;
	int			pointers[2];	/* read pointers into the old rows and the new */
	TupleTableSlot *slots[2];
	TupleTableSlot *out;
	bool		has_new;		/* the old row was handed out, the new one is next */
} StatementScan;

/* The same value, bit for bit?  Large values that stayed are not fetched. */
static bool
is_same_value(Datum a, Datum b, Form_pg_attribute att)
{
	if (att->attlen == -1 &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(a)) &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(b)) &&
		memcmp(DatumGetPointer(a), DatumGetPointer(b),
			   VARSIZE_EXTERNAL(DatumGetPointer(a))) == 0)
		return true;
	return datum_image_eq(a, b, att->attbyval, att->attlen);
}

/*
 * Do two versions of a row agree in some columns, 0 being none?  They have been
 * deformed as far.  Columns that are soonest compared come first: most rows that
 * differ do so there.
 */
bool
mvr_statement_is_same(TupleTableSlot *a, TupleTableSlot *b,
					  const AttrNumber *columns, int ncolumns)
{
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < ncolumns; i++)
		{
			int			at = columns[i] - 1;
			Form_pg_attribute att;

			if (at < 0)
				continue;
			att = TupleDescAttr(a->tts_tupleDescriptor, at);
			if (att->attbyval != (pass == 0))
				continue;
			if (a->tts_isnull[at] != b->tts_isnull[at])
				return false;
			if (!a->tts_isnull[at] &&
				!is_same_value(a->tts_values[at], b->tts_values[at], att))
				return false;
		}
	return true;
}

static void *
begin_rows(MvrRowSource *source)
{
	const StatementRows *of = (const StatementRows *) source;
	StatementScan *scan = palloc0(sizeof(StatementScan));

	scan->of = of;
	scan->out = MakeSingleTupleTableSlot(of->desc, &TTSOpsVirtual);
	for (int i = 0; i < 2; i++)
	{
		Tuplestorestate *rows = of->statement.rows[i];

		if (rows == NULL)
			continue;
		scan->slots[i] = MakeSingleTupleTableSlot(of->statement.desc,
												  &TTSOpsMinimalTuple);
		scan->pointers[i] = tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND);
		tuplestore_select_read_pointer(rows, scan->pointers[i]);
		tuplestore_rescan(rows);
	}
	return scan;
}

/* The next of the old rows (0) or of the new (1), or NULL */
static TupleTableSlot *
fetch_row(StatementScan *scan, int which)
{
	Tuplestorestate *rows = scan->of->statement.rows[which];

	if (rows == NULL)
		return NULL;
	tuplestore_select_read_pointer(rows, scan->pointers[which]);
	if (!tuplestore_gettupleslot(rows, true, false, scan->slots[which]))
		return NULL;
	slot_getsomeattrs(scan->slots[which], scan->of->last);
	return scan->slots[which];
}

static TupleTableSlot *
hand_out(StatementScan *scan, TupleTableSlot *row, int weight)
{
	const StatementRows *of = scan->of;
	TupleTableSlot *to = ExecClearTuple(scan->out);

	for (int i = 0; i < of->nrow; i++)
	{
		int			from = of->columns[i] - 1;

		to->tts_values[i] = from < 0 ? (Datum) 0 : row->tts_values[from];
		to->tts_isnull[i] = from < 0 || row->tts_isnull[from];
	}
	to->tts_values[of->nrow] = Int32GetDatum(weight);
	to->tts_isnull[of->nrow] = false;
	return ExecStoreVirtualTuple(to);
}

/*
 * An UPDATE's two tables need not be in step: where a row moves to another
 * partition, a BEFORE trigger can swallow its new version.
 */
static TupleTableSlot *
next_row(void *state)
{
	StatementScan *scan = state;
	TupleTableSlot *old;
	TupleTableSlot *new;

	if (scan->has_new)
	{
		scan->has_new = false;
		return hand_out(scan, scan->slots[1], 1);
	}
	do
	{
		old = fetch_row(scan, 0);
		new = fetch_row(scan, 1);
	} while (old && new &&
			 mvr_statement_is_same(old, new, scan->of->columns, scan->of->nrow));
	if (old == NULL && new == NULL)
		return NULL;
	scan->has_new = (old && new);
	return hand_out(scan, old ? old : new, old ? -1 : 1);
}

static void
end_rows(void *state)
{
	StatementScan *scan = state;

	for (int i = 0; i < 2; i++)
		if (scan->slots[i])
			ExecDropSingleTupleTableSlot(scan->slots[i]);
	ExecDropSingleTupleTableSlot(scan->out);
	pfree(scan);
}

/*
 * The rows of a statement as those of a delta with columns as in "desc", the last
 * of which is the weight.  "map" has for each of the others the column of the log
 * that stands for it.
 */
MvrRowSource *
mvr_statement_make_source(const MvrStatement *statement, TupleDesc desc,
						  const AttrNumber *map)
{
	StatementRows *rows = palloc0(sizeof(StatementRows));

	rows->source.begin = begin_rows;
	rows->source.next = next_row;
	rows->source.end = end_rows;
	rows->statement = *statement;
	rows->desc = CreateTupleDescCopy(desc);
	rows->nrow = desc->natts - 1;
	rows->columns = palloc(sizeof(AttrNumber) * desc->natts);
	for (int i = 0; i < rows->nrow; i++)
	{
		rows->columns[i] = statement->columns[map[i] - 1];
		rows->last = Max(rows->last, rows->columns[i]);
	}
	return &rows->source;
}
