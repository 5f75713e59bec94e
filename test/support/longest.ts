import { limits } from '../../src/core/limits.ts'

/**
 * The longest that each kind of invocation takes when what it needs does not answer (ms), as docs/operating.md states it.
 * They follow from one rule: no call begins after an invocation's time is up, and each call has its own limit.
 */
export const longest = {
  health: () => 0,
  request: () => limits.requestMs + limits.shardWriteMs,
  operator: () => limits.requestMs + limits.directoryPlanMs,
  file: () => limits.rateLimitWaitMs + 2 * limits.storeWaitMs + limits.bundleWaitMs,
  readiness: () => limits.rateLimitWaitMs + limits.shardProbeMs + map() + limits.readinessMs + limits.shardProbeMs,
  /** What a request leaves for after its response. */
  follow: () => limits.afterResponseMs + Math.max(limits.shardWriteMs, limits.queueSendMs) + map(),
  queue: () => limits.queueBatchMs + limits.shardCallMs + limits.mailSendMs,
  cron: () => limits.cronMs + limits.directoryMs + limits.cronWakeMs,
}

/** One load of the shard map: another request's, then the data centre's copy, then the directory. */
const map = () => limits.mapWaitMs + limits.cacheWaitMs + limits.mapLoadTimeoutMs
