import { limits } from '../../src/core/limits.ts'

/**
 * The longest duration (ms) of each kind of invocation if its dependencies do not answer, as in
 * docs/operating/time-limits.md. It follows from one rule: no call starts after an invocation's time is up, and each
 * call has its own limit.
 */
export const longest = {
  health: () => 0,
  request: () => limits.requestMs + limits.shardWriteMs,
  operator: () => limits.requestMs + limits.directoryPlanMs,
  file: () => limits.rateLimitWaitMs + 2 * limits.storeWaitMs + limits.bundleWaitMs,
  readiness: () => limits.rateLimitWaitMs + limits.shardProbeMs + map() + limits.readinessMs + limits.shardProbeMs,
  /** Work that continues after the response. */
  follow: () => limits.afterResponseMs + Math.max(limits.shardWriteMs, limits.queueSendMs) + map(),
  queue: () => limits.queueBatchMs + limits.shardCallMs + limits.mailSendMs,
  cron: () => limits.cronMs + limits.directoryMs + limits.cronWakeMs,
}

/** One load of the shard map: waits for another request's load, then the data centre's copy, then the directory. */
const map = () => limits.mapWaitMs + limits.cacheWaitMs + limits.mapLoadTimeoutMs
