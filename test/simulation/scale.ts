import { scryptCost } from '../../src/app/accounts/passwords.ts'
import { limits } from '../../src/core/limits.ts'
import type { Scheduler } from './scheduler.ts'

export const LEASE_MS = 2_000
export const GRACE_MS = 10_000

/**
 * Everything smaller, so that few rows make many stretches, and a second holds what takes minutes: the relations between
 * the numbers stay. To be called before anything else.
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
    moveNoteMs: 100,
    moveStuckRetryMs: 2_000,
    moveCaptureLookMs: 1_500,
    moveCaptureLookMsMin: 100,
    moveLaneRetryMs: 200,
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
  })
}

/** What differs from seed to seed: else some steps would hardly ever come. */
export function drawScale(scheduler: Scheduler): void {
  Object.assign(limits, {
    moveTailRowsMax: scheduler.pick([2, 4, 24]),
    moveCutoverBudgetMs: scheduler.pick([40, 120, 500]),
    moveTurnMs: scheduler.pick([100, 700, 4_000]),
    movePurgeRowsMax: scheduler.pick([4, 24]),
    // A log of few changes stops the capture of settled moves, and fails others.
    moveLogRowsMax: scheduler.chance(0.1) ? 12 : 200_000,
  })
}
