/* A small pool of threads that shares out the panels of a product.

   It lives as long as the process. Between products a worker spins for SPIN_US, so that the next matrix of a layer finds
   it awake, and then sleeps: an idle pool costs nothing. A worker that the operating system does not run keeps nobody
   waiting, unless it has begun an index; where that happens the pool rests for a while, and callers work alone. */

#ifndef TERNARY_POOL_H
#define TERNARY_POOL_H

#include <stdint.h>

typedef void pool_task(void *context, int64_t index);

/* Call task(context, i) once for each i in 0..count-1, by at most `threads` threads, the caller among them; return when
   all are done. Before that the caller alone calls before(context, 0), where that is not NULL; workers that join
   meanwhile call meanwhile(context, i) with the index they will begin with, and wait.

   A second caller at the same time does its own work alone. Where threads cannot be had, the caller does all. */
void pool_run(pool_task *before, pool_task *meanwhile, pool_task *task, void *context, int64_t count, int threads);

/* Call it once, before there are threads: then a child of fork() starts workers of its own. */
void pool_survive_fork(void);

#endif
