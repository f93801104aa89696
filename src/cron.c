/*
 * cron.c
 *		When a cron line comes next.
 *
 * The five standard fields: minute, hour, day of the month, month, day of the
 * week.  Each is a list of values, ranges and asterisks, with steps; months
 * and days of the week may be names; 7 is Sunday too.  When both days are
 * restricted, either will do; a field that begins with an asterisk does not
 * restrict.  @hourly and the like stand for what they do elsewhere.
 *
 * Times are those of log_timezone, which is the same in all databases and
 * sessions.  A time that the clock skips in spring does not come on that day,
 * one that it shows twice in autumn comes twice.
 */
#include "postgres.h"

#include <ctype.h>

#include "pgtime.h"
#include "utils/timestamp.h"

#include "matview_refresh.h"

typedef struct Field
{
	const char *name;
	int			min;
	int			max;
	const char *const *names;	/* of the values from "first_name" on */
	int			first_name;
} Field;

static const char *const month_names[] = {
	"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL
};

static const char *const weekday_names[] = {
	"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL
};

static const Field fields[] = {
	{"minute", 0, 59, NULL, 0},
	{"hour", 0, 23, NULL, 0},
	{"day of the month", 1, 31, NULL, 0},
	{"month", 1, 12, month_names, 1},
	{"day of the week", 0, 7, weekday_names, 0}
};

#define NFIELDS		((int) lengthof(fields))

static const struct
{
	const char *name;
	const char *line;
}			shorthands[] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"}
};

/* ----------
 * Parsing
 * ----------
 */

/* A number, or a name of three letters; -1 if there is neither */
static int
parse_value(const char **p, const Field *field)
{
	int			value = 0;

	if (isdigit((unsigned char) **p))
	{
		while (isdigit((unsigned char) **p) && value < 1000)
			value = value * 10 + *(*p)++ - '0';
		return value;
	}
	for (int i = 0; field->names && field->names[i]; i++)
	{
		if (pg_strncasecmp(*p, field->names[i], 3) == 0 && !isalnum((unsigned char) (*p)[3]))
		{
			*p += 3;
			return field->first_name + i;
		}
	}
	return -1;
}

/* value[-value][/step], or an asterisk for the values; false if it is neither */
static bool
parse_item(const char **p, const Field *field, uint64 *bits)
{
	int			from = field->min;
	int			to = field->max;
	int			step = 1;

	if (**p == '*')
		(*p)++;
	else
	{
		from = to = parse_value(p, field);
		if (**p == '-')
		{
			(*p)++;
			to = parse_value(p, field);
		}
		else if (**p == '/')
			to = field->max;
	}
	if (**p == '/')
	{
		(*p)++;
		step = isdigit((unsigned char) **p) ? parse_value(p, field) : -1;
	}
	if (from < field->min || to > field->max || from > to || step < 1)
		return false;
	for (int i = from; i <= to; i += step)
		*bits |= UINT64CONST(1) << i;
	return true;
}

static bool
parse_field(const char **p, const Field *field, uint64 *bits, bool *any)
{
	*bits = 0;
	*any = (**p == '*');
	for (;;)
	{
		if (!parse_item(p, field, bits))
			return false;
		if (**p != ',')
			break;
		(*p)++;
	}
	return **p == '\0' || isspace((unsigned char) **p);
}

static void
skip_space(const char **p)
{
	while (isspace((unsigned char) **p))
		(*p)++;
}

static const char *
expand_shorthand(const char *text)
{
	for (int i = 0; i < (int) lengthof(shorthands); i++)
		if (pg_strcasecmp(text, shorthands[i].name) == 0)
			return shorthands[i].line;
	return text;
}

/*
 * Is this meant as a cron line, rather than as an interval?  Five words, the
 * first three of which have no letters in them; a word with an at sign; or
 * anything with an asterisk, which the input function of intervals would skip.
 */
bool
mvr_cron_is_like(const char *text)
{
	int			words = 0;

	if (*text == '@' && !isspace((unsigned char) text[1]) && text[1] != '\0')
		return !isdigit((unsigned char) text[1]);
	if (strchr(text, '*'))
		return true;
	while (*text)
	{
		if (isspace((unsigned char) *text))
		{
			text++;
			continue;
		}
		words++;
		for (; *text && !isspace((unsigned char) *text); text++)
			if (words <= 3 && strchr("0123456789*,-/", *text) == NULL)
				return false;
	}
	return words == NFIELDS;
}

/* False, and what is wrong, if it is no cron line or one that never comes */
bool
mvr_cron_parse(const char *text, MvrCron *cron, char **problem)
{
	const char *p = expand_shorthand(text);
	uint64		bits[NFIELDS];
	bool		any[NFIELDS];

	for (int i = 0; i < NFIELDS; i++)
	{
		skip_space(&p);
		if (*p == '\0')
		{
			*problem = psprintf("It has fewer than %d fields.", NFIELDS);
			return false;
		}
		if (!parse_field(&p, &fields[i], &bits[i], &any[i]))
		{
			*problem = psprintf("The %s is not a list of values and ranges from %d to %d.",
								fields[i].name, fields[i].min,
								i == NFIELDS - 1 ? 7 : fields[i].max);
			return false;
		}
	}
	skip_space(&p);
	cron->minutes = bits[0];
	cron->hours = bits[1];
	cron->days = bits[2];
	cron->months = bits[3];
	cron->weekdays = (bits[4] | bits[4] >> 7) & 0x7f;
	cron->any_day = any[2];
	cron->any_weekday = any[4];
	*problem = NULL;
	if (*p != '\0')
		*problem = psprintf("It has more than %d fields.", NFIELDS);
	else if (TIMESTAMP_IS_NOEND(mvr_cron_next(cron, GetCurrentTimestamp())))
		*problem = pstrdup("There is no such day.");
	return *problem == NULL;
}

/* ----------
 * The next time
 * ----------
 */

#define MINUTES_PER_DAY		(24 * 60)
/* the longest time without a February 29th, and a year to begin with */
#define YEARS_AHEAD			9

static bool
is_day(const MvrCron *cron, const struct pg_tm *tm)
{
	bool		day = (cron->days >> tm->tm_mday) & 1;
	bool		weekday = (cron->weekdays >> tm->tm_wday) & 1;

	if (!((cron->months >> (tm->tm_mon + 1)) & 1))
		return false;
	return cron->any_day || cron->any_weekday ? day && weekday : day || weekday;
}

/*
 * Minutes by which to go on from a minute that does not match.  Where the day
 * is not the right one, stop short of midnight: the clock may be changed.
 */
static int
count_minutes_to_skip(const MvrCron *cron, const struct pg_tm *tm)
{
	int			rest = MINUTES_PER_DAY - tm->tm_hour * 60 - tm->tm_min;

	if (!is_day(cron, tm))
		return rest > 180 ? rest - 150 : Min(60 - tm->tm_min, 30);
	if (!((cron->hours >> tm->tm_hour) & 1))
		return Min(60 - tm->tm_min, 30 - tm->tm_min % 30);
	return (cron->minutes >> tm->tm_min) & 1 ? 0 : 1;
}

/* The first matching minute after a time; DT_NOEND if there is none in years */
TimestampTz
mvr_cron_next(const MvrCron *cron, TimestampTz after)
{
	TimestampTz result;
	pg_time_t	start = timestamptz_to_time_t(after);
	pg_time_t	t = start - start % 60 + 60;
	pg_time_t	end = t + (pg_time_t) YEARS_AHEAD * 366 * SECS_PER_DAY;

	while (t < end)
	{
		struct pg_tm *tm = pg_localtime(&t, log_timezone);
		int			skip = tm ? count_minutes_to_skip(cron, tm) : 1;

		if (skip == 0)
			return time_t_to_timestamptz(t);
		t += (pg_time_t) skip * 60;
	}
	TIMESTAMP_NOEND(result);
	return result;
}
