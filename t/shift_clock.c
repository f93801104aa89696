/*
 * shift_clock.c
 *		A clock that a test can put forward and back, for LD_PRELOAD.
 *
 * The file named by SHIFT_CLOCK has one int64, the microseconds by which the
 * time of day differs from the true one.  Clocks that measure time are left
 * alone, as they are when somebody sets the machine's clock.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t none = 0;
static const volatile int64_t *shift = &none;

__attribute__((constructor))
static void
map_file(void)
{
	const char *name = getenv("SHIFT_CLOCK");
	int			fd = name ? open(name, O_RDONLY) : -1;
	void	   *mapped = fd >= 0 ? mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (mapped != MAP_FAILED)
		shift = mapped;
	if (fd >= 0)
		close(fd);
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int			result = syscall(SYS_clock_gettime, id, ts);

	if (result == 0 && id == CLOCK_REALTIME)
	{
		int64_t		us = ts->tv_sec * INT64_C(1000000) + ts->tv_nsec / 1000 + *shift;

		ts->tv_sec = us / 1000000;
		ts->tv_nsec = us % 1000000 * 1000;
	}
	return result;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *result)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (result)
		*result = ts.tv_sec;
	return ts.tv_sec;
}
