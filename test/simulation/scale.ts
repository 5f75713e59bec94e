import { scryptCost } from '../../src/app/accounts/passwords.ts'
import { limits } from '../../src/core/limits.ts'
import type { Scheduler } from './scheduler.ts'

export const LEASE_MS = 2_000
export const GRACE_MS = 10_000

/**
 * The scaled-down limit of statements per invocation; the platform's is 1,000. Each statement of a batch counts. A call
 * beyond the limit fails, as on the platform, and is a violation.
 */
export const INVOCATION_STATEMENTS_MAX = 300

/** Queues' limits, scaled down: bytes of one message, with overhead, and of one call. The queue refuses more. */
export const QUEUE_MESSAGE_BYTES_MAX = 3_000
export const QUEUE_BATCH_BYTES_MAX = 6_000
export const QUEUE_MESSAGE_OVERHEAD_BYTES = 100
export const QUEUE_BATCH_MESSAGES_MAX = 3

/** How long a silent cache takes (ms). */
export const CACHE_SILENT_MS = 60_000

/** The last lease (docs/resharding.md): a lease, plus a map copy's maximum age in a data centre, plus a second. */
export const STALE_MS = LEASE_MS + 1_000 + 1_000

/** How many replicas a shard has in seeds with replicas, and how far behind they are at most (ms): also beyond a lease. */
export const REPLICAS_MAX = 3
export const LAGS_MS_MAX = [200, 1_000, 7_000]

/** The times of cached values are divided by this. */
export const CACHE_SCALE = 60

/** How far behind a cached read may be: the age that every policy allows, and the steps of a clock meanwhile. */
export const CACHED_STALE_MS = limits.cacheAgeMsMax / CACHE_SCALE + 1_000

/**
 * Scales the limits down, so that few rows make many chunks and minutes become a second. The relations between the
 * numbers stay. Call it before anything else.
 */
export function scaleDown(): void {
  Object.assign(scryptCost, { ln: 1, r: 1, p: 1 })
  Object.assign(limits, {
    moveTurnMs: 4_000,
    moveTurnMsMax: 12_000,
    moveWatchMs: 1_500,
    moveCutoverBudgetMs: 500,
    moveCutoverAttemptsMax: 30,
    moveTargetWaitMs: 200,
    moveTargetPatienceMs: 800,
    moveChunkRowsMin: 8,
    moveChunkRowsFirst: 10,
    moveChunkRowsMax: 30,
    moveChunkBytesMax: 300_000,
    moveCountRowsMax: 12,
    moveTailRowsMax: 24,
    moveBatchMs: 40,
    moveRestMsMax: 30,
    movePurgeRowsMax: 24,
    moveReportMs: 100,
    moveLaneOfferMs: 500,
    moveUnheardMs: 2_000,
    directoryShardMs: 3_000,
    moveNoteMs: 100,
    moveStuckRetryMs: 2_000,
    moveCaptureLookMs: 1_500,
    moveCaptureLookMsMin: 100,
    moveRetryBaseMs: 20,
    moveRetryCapMs: 500,
    moveFencedRetryCapMs: 100,
    claimReservationMs: 2_500,
    outboxSweepAfterMs: 1_500,
    outboxResendAfterMs: 4_000,
    sessionStampMs: 3_000,
    sessionLastSeenMs: 5_000,
    mapRetryMs: 300,
    mapLoadTimeoutMs: 1_200,
    mapWaitMs: 400,
    kvWaitMs: 400,
    kvWriteMs: 400,
    cacheWaitMs: 200,
    cacheMemoryMs: 300,
    cacheJoinMs: 300,
    cacheSoftMs: 150,
    cacheReadMs: 1_500,
    cacheHotReads: 5,
    cacheVersionsMax: 20,
    cacheAgeMsMax: limits.cacheAgeMsMax / CACHE_SCALE,
    requestMs: 5_000,
    afterResponseMs: 5_000,
    queueBatchMs: 20_000,
    cronMs: 2_700,
    queueSendMs: 1_000,
    directoryMs: 1_500,
    shardCallMs: 800,
    replicaReadMs: 300,
    replicaWaitedMs: 20,
    shardWriteMs: 2_000,
    moveCallMs: 3_000,
    invocationStatementsMax: INVOCATION_STATEMENTS_MAX,
    queueMessageBytesMax: QUEUE_MESSAGE_BYTES_MAX,
    queueBatchBytesMax: QUEUE_BATCH_BYTES_MAX,
    queueBatchMessagesMax: QUEUE_BATCH_MESSAGES_MAX,
    outboxSweepBytesMax: 12_000,
    outboxSweepRowsMax: 8,
    movesRecordedAtOnce: 2,
    cronDutyStatementsMin: 60,
    jobStatementsMax: 40, // the application's jobs send 10 to 15; six at once use up most of a scaled budget, so some are postponed
  })
}

/** The limits that differ per seed. Otherwise some steps would hardly ever occur. */
export function drawScale(scheduler: Scheduler): void {
  Object.assign(limits, {
    moveTailRowsMax: scheduler.pick([2, 4, 24]),
    moveCutoverBudgetMs: scheduler.pick([40, 120, 500]),
    moveTurnMs: scheduler.pick([100, 700, 4_000]),
    movePurgeRowsMax: scheduler.pick([4, 24]),
    // A log of few changes stops the capture of settled moves, and fails other moves.
    moveLogRowsMax: scheduler.pick([30, 40, 80, 200_000, 200_000, 200_000, 200_000]),
  })
}
