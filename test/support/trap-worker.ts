/**
 * A Worker with two caches in front of the same load: the application's, and one that keeps its loads in a map. Each HTTP
 * request is a request of its own to the runtime.
 */
import type { CachePolicy } from '../../src/cache/entry.ts'
import { IsolateCache } from '../../src/cache/isolate-cache.ts'
import { KvStore } from '../../src/cache/kv-store.ts'
import { ReadThroughCache } from '../../src/cache/read-through.ts'
import { systemClock } from '../../src/core/clock.ts'
import { limits } from '../../src/core/limits.ts'
import { quietLog, silence } from './sharding-doubles.ts'

export interface TrapQuestion {
  cache: 'ours' | 'naive'
  key: string
  load: 'answers' | 'fails' | 'hangs'
  /** How long the load takes. */
  ms: number
  /** How long the value is fresh. */
  ttlMs: number
  /** Answers when its load has begun, so that the request ends before its load. */
  leaves: boolean
  /** False: the load is not passed to `waitUntil`, so it ends with its request. */
  outlives: boolean
}

/** Asks a question this many times at once. Each is a request of its own. */
export interface TrapCrowd {
  readers: number
  question: TrapQuestion
}

export interface TrapAnswer {
  /** The number of the load that the value came from, or null if the read failed. */
  value: number | null
  status: string | null
}

// The application's readers wait longer.
Object.assign(limits, { cacheReadMs: 2_000 })

let isolate: IsolateCache | null = null
const loads = new Map<string, number>()
const naive = new Map<string, Promise<number>>()

async function load({ key, load, ms }: TrapQuestion, kv: KVNamespace, begin: () => void): Promise<number> {
  begin()
  const count = (loads.get(key) ?? 0) + 1
  loads.set(key, count)
  await kv.get('a call, as a load makes one')
  await systemClock.sleep(ms)
  if (load === 'hangs') await silence()
  if (load === 'fails') throw new Error('the shard is down')
  return count
}

/** A cache that looks right: concurrent readers share one promise. */
async function readNaively(question: TrapQuestion, kv: KVNamespace, begin: () => void): Promise<TrapAnswer> {
  const { key } = question
  const shared = naive.get(key) ?? load(question, kv, begin).finally(() => naive.delete(key))
  naive.set(key, shared)
  return { value: await shared, status: null }
}

async function read(
  question: TrapQuestion,
  kv: KVNamespace,
  context: ExecutionContext,
  begin: () => void,
): Promise<TrapAnswer> {
  const policy: CachePolicy<number> = {
    ttlMs: question.ttlMs,
    staleWhileRevalidateMs: 0,
    graceMs: 0,
    negativeTtlMs: 0,
    version: (count) => count,
  }
  isolate ??= new IsolateCache(systemClock.now) // draws a random number, which the global scope may not
  const cache = new ReadThroughCache({
    isolate,
    kv: new KvStore(kv, quietLog, () => undefined),
    clock: systemClock,
    log: quietLog,
    ownSlots: new Set(),
    waitUntil: (promise) => void (question.outlives && context.waitUntil(promise)),
  })
  const value = await cache.read(question.key, {
    ...policy,
    owner: '0'.repeat(30),
    load: () => load(question, kv, begin),
  })
  return { value, status: cache.status() }
}

interface TrapEnv {
  KV: KVNamespace
  /** This Worker. */
  SELF: Fetcher
}

export default {
  async fetch(request, { KV, SELF }, context) {
    const asked = await request.json<TrapQuestion | TrapCrowd | { loadsOf: string }>()
    if ('loadsOf' in asked) return Response.json(loads.get(asked.loadsOf) ?? 0)
    if ('readers' in asked) {
      const body = JSON.stringify(asked.question)
      const ask = async () => (await SELF.fetch('http://trap', { method: 'POST', body })).json<TrapAnswer>()
      return Response.json(await Promise.all(Array.from({ length: asked.readers }, ask)))
    }
    const begun = Promise.withResolvers<void>()
    const begin = begun.resolve
    const reading = asked.cache === 'naive' ? readNaively(asked, KV, begin) : read(asked, KV, context, begin)
    const answered = reading.catch((): TrapAnswer => ({ value: null, status: null }))
    return Response.json(asked.leaves ? await begun.promise.then(() => null) : await answered)
  },
} satisfies ExportedHandler<TrapEnv>
