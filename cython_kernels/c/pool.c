#include "pool.h"

#include <stddef.h>

#define MOST_THREADS 256
#define SPIN_US 100
#define STALL_US 500 /* a wait at the end of a job that is longer than this, and than the job, is no accident */
#define SHORTEST_REST_US 10000
#define LONGEST_REST_US 640000

/* ---- what the systems name differently: atomics (all sequentially consistent), lock, wait, clock, thread */

#if defined(_WIN32)

#include <windows.h>

#define PAUSE() YieldProcessor()
typedef volatile LONG64 atomic;
static int64_t atomic_add(atomic *a, int64_t n) { return InterlockedExchangeAdd64(a, n); }
static int64_t atomic_get(atomic *a) { return InterlockedCompareExchange64(a, 0, 0); }
static void atomic_set(atomic *a, int64_t n) { InterlockedExchange64(a, n); }
static int atomic_swap(atomic *a, int64_t from, int64_t to) { return InterlockedCompareExchange64(a, to, from) == from; }

static SRWLOCK lock = SRWLOCK_INIT;
static CONDITION_VARIABLE wake = CONDITION_VARIABLE_INIT;
static void lock_take(void) { AcquireSRWLockExclusive(&lock); }
static void lock_leave(void) { ReleaseSRWLockExclusive(&lock); }
static void wait_for_wake(void) { SleepConditionVariableSRW(&wake, &lock, INFINITE, 0); }
static void wake_all(void) { WakeAllConditionVariable(&wake); }
static void yield_cpu(void) { SwitchToThread(); }

static int64_t now_us(void) {
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    return ticks.QuadPart / per_second.QuadPart * 1000000 + ticks.QuadPart % per_second.QuadPart * 1000000 / per_second.QuadPart;
}

static void work(int64_t id);
static DWORD WINAPI thread_main(void *id) {
    work((int64_t)(intptr_t)id);
    return 0;
}
static int start_thread(int64_t id) {
    HANDLE handle = CreateThread(NULL, 0, thread_main, (void *)(intptr_t)id, 0, NULL);
    return handle != NULL && CloseHandle(handle);
}
void pool_survive_fork(void) {}

#else

#include <pthread.h>
#include <sched.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("isb")
#else
#define PAUSE() ((void)0)
#endif
typedef int64_t atomic;
static int64_t atomic_add(atomic *a, int64_t n) { return __atomic_fetch_add(a, n, __ATOMIC_SEQ_CST); }
static int64_t atomic_get(atomic *a) { return __atomic_load_n(a, __ATOMIC_SEQ_CST); }
static void atomic_set(atomic *a, int64_t n) { __atomic_store_n(a, n, __ATOMIC_SEQ_CST); }
static int atomic_swap(atomic *a, int64_t from, int64_t to) {
    return __atomic_compare_exchange_n(a, &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static void lock_take(void) { pthread_mutex_lock(&lock); }
static void lock_leave(void) { pthread_mutex_unlock(&lock); }
static void wait_for_wake(void) { pthread_cond_wait(&wake, &lock); }
static void wake_all(void) { pthread_cond_broadcast(&wake); }
static void yield_cpu(void) { sched_yield(); }

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void work(int64_t id);
static void *thread_main(void *id) {
    work((int64_t)(intptr_t)id);
    return NULL;
}
static int start_thread(int64_t id) {
    pthread_t thread;
    pthread_attr_t detached;
    if (pthread_attr_init(&detached) != 0) return 0;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    const int failed = pthread_create(&thread, &detached, thread_main, (void *)(intptr_t)id);
    pthread_attr_destroy(&detached);
    return !failed;
}
static void in_the_child(void);
void pool_survive_fork(void) { pthread_atfork(NULL, NULL, in_the_child); }

#endif

/* ---- the pool */

/* What different threads write at the same time stands in different cache lines, or they would wait for each other. */
#define NEXT_LINE(name) char name[64]

/* The indices that one thread begins with: a run, since memory is fastest when it is read in order. */
typedef struct {
    atomic next; /* first one that nobody has taken */
    int64_t end;
    NEXT_LINE(line);
} share;

static struct {
    atomic job; /* goes up with each job: what an idle worker looks at */
    NEXT_LINE(line0);

    atomic open;   /* 1 while workers may join */
    atomic ready;  /* 1 when `before` is done */
    atomic inside; /* workers that look at the job */
    NEXT_LINE(line1);

    pool_task *meanwhile, *task;
    void *context;
    atomic threads; /* workers with an id below this one join: id 0 is the caller */
    atomic busy;    /* 1 while a caller owns the pool and the job */
    atomic asleep;
    int64_t workers;
    atomic rest_until; /* on the clock of now_us: until then callers work alone */
    int64_t rest_us;
    NEXT_LINE(line2);

    share shares[MOST_THREADS];
} pool;

#if !defined(_WIN32)
/* fork() copies the caller alone: no worker, and perhaps a lock that a vanished worker held. */
static void in_the_child(void) {
    const pthread_mutex_t new_lock = PTHREAD_MUTEX_INITIALIZER;
    const pthread_cond_t new_wake = PTHREAD_COND_INITIALIZER;
    lock = new_lock;
    wake = new_wake;
    pool.busy = pool.open = pool.inside = pool.asleep = 0;
    pool.workers = 0;
}
#endif

/* Its own share first, then what is left of the others'. A quarter of what is left at a time: long runs at first, single
   indices at the end, so that all finish together. */
static void take_shares(int64_t id) {
    const int64_t threads = atomic_get(&pool.threads);
    for (int64_t i = 0; i < threads; i++) {
        share *from = &pool.shares[(id + i) % threads];
        for (int64_t left; (left = from->end - atomic_get(&from->next)) > 0;) {
            const int64_t some = left < 8 ? 1 : left / 4;
            const int64_t first = atomic_add(&from->next, some);
            const int64_t end = first + some < from->end ? first + some : from->end;
            for (int64_t index = first; index < end; index++) {
                pool.task(pool.context, index);
            }
        }
    }
}

/* A worker's life. `inside` goes up before `open` is read, and the caller closes before it reads `inside`: so either the
   worker sees that it is too late, or the caller sees the worker. */
static void work(int64_t id) {
    for (int64_t seen = 0;;) {
        const int64_t start = now_us();
        while (atomic_get(&pool.job) == seen && now_us() - start < SPIN_US) {
            for (int i = 0; i < 4; i++) {
                PAUSE();
            }
        }
        if (atomic_get(&pool.job) == seen) {
            lock_take();
            atomic_add(&pool.asleep, 1);
            while (atomic_get(&pool.job) == seen) {
                wait_for_wake();
            }
            atomic_add(&pool.asleep, -1);
            lock_leave();
        }
        seen = atomic_get(&pool.job);
        if (id >= atomic_get(&pool.threads)) continue;
        atomic_add(&pool.inside, 1);
        if (atomic_get(&pool.open)) {
            if (!atomic_get(&pool.ready)) {
                pool.meanwhile(pool.context, atomic_get(&pool.shares[id].next));
                while (!atomic_get(&pool.ready)) {
                    PAUSE();
                }
            }
            take_shares(id);
        }
        atomic_add(&pool.inside, -1);
    }
}

static void start_workers(int64_t wanted) {
    while (pool.workers < wanted && start_thread(pool.workers + 1)) {
        pool.workers++;
    }
}

/* Wait for the workers that are inside; they finish the index that they have begun.

   Where another program wants the same core, the operating system stops a worker in the middle of an index, for
   milliseconds, and the caller can do nothing but wait. One thread is faster than that. So after such a wait the pool
   rests, and twice as long each time that it happens again soon after a rest. */
static void wait_for_workers(int64_t job_start) {
    const int64_t start = now_us();
    for (int64_t waited = 0; atomic_get(&pool.inside) > 0; waited++) {
        if (waited < 1000) {
            PAUSE();
        } else {
            yield_cpu();
        }
    }
    const int64_t end = now_us();
    if (end - start < STALL_US || end - start < start - job_start) return;
    const int soon = end - atomic_get(&pool.rest_until) < pool.rest_us;
    pool.rest_us = !soon ? SHORTEST_REST_US : pool.rest_us < LONGEST_REST_US ? 2 * pool.rest_us : LONGEST_REST_US;
    atomic_set(&pool.rest_until, end + pool.rest_us);
}

void pool_run(pool_task *before, pool_task *meanwhile, pool_task *task, void *context, int64_t count, int threads) {
    int64_t start = 0;
    if (threads < 2 || count < 2 || (start = now_us()) < atomic_get(&pool.rest_until) ||
        !atomic_swap(&pool.busy, 0, 1)) {
        if (before != NULL) before(context, 0);
        for (int64_t i = 0; i < count; i++) {
            task(context, i);
        }
        return;
    }
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads > count) threads = (int)count;
    start_workers(threads - 1);
    pool.meanwhile = meanwhile;
    pool.task = task;
    pool.context = context;
    for (int64_t i = 0; i < threads; i++) {
        atomic_set(&pool.shares[i].next, i * count / threads);
        pool.shares[i].end = (i + 1) * count / threads;
    }
    atomic_set(&pool.threads, threads);
    atomic_set(&pool.ready, before == NULL);
    atomic_set(&pool.open, 1);
    atomic_add(&pool.job, 1);
    if (atomic_get(&pool.asleep) > 0) {
        lock_take();
        wake_all();
        lock_leave();
    }
    if (before != NULL) {
        before(context, 0);
        atomic_set(&pool.ready, 1);
    }
    take_shares(0);
    atomic_set(&pool.open, 0);
    wait_for_workers(start);
    atomic_set(&pool.busy, 0);
}
